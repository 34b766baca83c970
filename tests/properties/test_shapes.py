"""Shapes: geometries of known class, known distributions, definitions of the user's own, comparison of runs."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from ilforge.errors import SettingsError
from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.properties import System
from ilforge.properties.kernels.internal import dihedrals, divergence_of_blocks, jensen_shannon
from ilforge.properties.shapes import compare
from ilforge.properties.shared.conformations import classify_tfsi, matches, shapes_of
from ilforge.properties.shared.local_structure import ShapesSettings
from support.motion import estimate, measured, snapshots

CELL = 40.0 * np.eye(3)


def conformer(name, **torsions):
    """A catalogue ion with dihedrals set, ``t1=((i, j, k, l), degrees)``, other internal coordinates kept."""
    ion = get_ion(name)
    molecule = Chem.RWMol()
    for symbol in ion.symbols:
        molecule.AddAtom(Chem.Atom(symbol))
    for i, j in ion.bonds:
        molecule.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    Chem.FastFindRings(molecule)
    shape = Chem.Conformer(ion.n_atoms)
    for k, position in enumerate(ion.positions):
        shape.SetAtomPosition(k, position.tolist())
    molecule.AddConformer(shape)
    for atoms, angle in torsions.values():
        rdMolTransforms.SetDihedralDeg(molecule.GetConformer(), *atoms, angle)
    return np.array(molecule.GetConformer().GetPositions())


def the_shape(name, which=0):
    topology = Liquid.of({"PYR14": 1, name: 1} if name == "TFSI" else {name: 1, "BF4": 1}).topology
    return [shape for shape in shapes_of(topology, []) if shape.ion == name][which]


def test_dihedrals_have_the_sign_of_iupac():
    """Clockwise from front to back is positive; b-c need not be a bond; as rdkit has them."""
    points = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]])
    assert dihedrals(points[None]) == pytest.approx([90.0])
    rng = np.random.default_rng(1)
    for _ in range(20):
        points = rng.normal(size=(4, 3))
        shape = Chem.Conformer(4)
        for k in range(4):
            shape.SetAtomPosition(k, points[k].tolist())
        molecule = Chem.RWMol()
        for _ in range(4):
            molecule.AddAtom(Chem.Atom("C"))
        for k in range(3):
            molecule.AddBond(k, k + 1, Chem.BondType.SINGLE)
        molecule.AddConformer(shape)
        expected = rdMolTransforms.GetDihedralDeg(molecule.GetConformer(), 0, 1, 2, 3)
        assert dihedrals(points[None])[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("phi", "psi", "expected"),
    [(168, -88, "aTrans"), (-64, -89, "aCis"), (-172, -104, "Trans"), (64, 30, "Cis"), (64, -30, "aCis"),
     (179, 90, "Trans"), (-179, 90, "aTrans"), (0.5, 95, "aCis")],
)  # fmt: skip
def test_tfsi_classes_of_the_study(phi, psi, expected):
    """Its minima; the mirror image, and the other choice of the first S, are the same shape."""
    labels = ("Cis", "aCis", "Trans", "aTrans")
    other = (phi - psi + 180) % 360 - 180
    for pair in ((phi, psi), (-phi, -psi), (phi, other), (-phi, -other)):
        assert labels[classify_tfsi(np.array([pair], dtype=float))[0]] == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(90, 90, {"Trans", "aTrans"}), (90, -90, {"Cis", "aCis"}), (-90, -90, {"Trans", "aTrans"})],
)
def test_tfsi_geometries_of_known_class(left, right, expected):
    """C-S-N-S torsions of equal sign put the CF3 on opposite sides (C2, trans), of opposite sign on one side."""
    ion = get_ion("TFSI")
    c1, s1, n, s2, c2 = (ion.names.index(name) for name in ("C1", "S1", "N1", "S2", "C2"))
    positions = conformer("TFSI", a=((c1, s1, n, s2), left), b=((c2, s2, n, s1), right))
    shape = the_shape("TFSI")
    values = shape.values(positions, np.array([0]))
    assert values[0, 0] == pytest.approx(dihedrals(positions[[c1, s1, s2, c2]][None])[0])
    assert shape.labels[shape.classify(values)[0]] in expected


def test_pyr14_conformers_of_a_force_field():
    """All minima of MMFF94: anti is t?t and nothing else, scorpion is what curls back to the ring."""
    molecule = Chem.AddHs(Chem.MolFromSmiles("CCCC[N+]1(C)CCCC1"))
    ids = list(AllChem.EmbedMultipleConfs(molecule, 60, randomSeed=1))
    AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    order = molecule.GetSubstructMatch(skeleton())
    shape, butyl = (s for s in shapes_of(topology, []) if s.ion == "PYR14")
    seen = set()
    for k in ids:
        positions = molecule.GetConformer(k).GetPositions()[list(order)]
        kind = shape.labels[shape.classify(shape.values(positions, np.array([0])))[0]]
        pattern = butyl.labels[butyl.classify(butyl.values(positions, np.array([0])))[0]]
        seen.add((pattern, kind))
        assert (kind == "anti") == (pattern in ("ttt", "tgt")), pattern
    assert ("ttt", "anti") in seen and ("gtt", "gauche") in seen
    assert "scorpion" in {kind for _, kind in seen}


def skeleton():
    """PYR14 in the order of the catalogue, as a pattern of elements and bonds."""
    ion = get_ion("PYR14")
    pattern = Chem.RWMol()
    for symbol in ion.symbols:
        pattern.AddAtom(Chem.AtomFromSmarts(f"[#{Chem.Atom(symbol).GetAtomicNum()}]"))
    for i, j in ion.bonds:
        pattern.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    return pattern


def swinging(n_frames, n_ions, share, rng, stay=0.9, swing=4.0):
    """TFSI that jump between two geometries, in equilibrium ``share`` of them in the first; a liquid of them."""
    ion = get_ion("TFSI")
    c1, s1, n, s2, c2 = (ion.names.index(name) for name in ("C1", "S1", "N1", "S2", "C2"))
    forms = []
    for right in (90.0, -90.0):
        forms.append(conformer("TFSI", a=((c1, s1, n, s2), 90.0), b=((c2, s2, n, s1), right)))
    state = np.zeros((n_frames, n_ions), dtype=int)
    state[0] = rng.random(n_ions) >= share
    for t in range(1, n_frames):
        new = (rng.random(n_ions) >= share).astype(int)
        state[t] = np.where(rng.random(n_ions) < stay, state[t - 1], new)
    liquid = Liquid.of({"PYR14": n_ions, "TFSI": n_ions})
    cation = np.tile(get_ion("PYR14").positions, (n_ions, 1))
    anions = np.array(forms)[state] + 0.02 * rng.normal(size=(n_frames, n_ions, ion.n_atoms, 3))
    anions = (anions + 40.0 * rng.random((n_frames, n_ions, 1, 3))).reshape(n_frames, -1, 3)
    positions = np.concatenate([np.tile(cation, (n_frames, 1, 1)), anions], axis=1)
    return System(liquid.topology, n_frames, 2.0, temperature_K=400.0), positions - np.floor(positions / 40) * 40, state


def test_populations_map_and_transitions_of_ions_that_swing():
    rng = np.random.default_rng(2)
    system, positions, state = swinging(400, 12, 0.75, rng)
    result = measured("shapes", system, snapshots(system, positions, CELL))
    trans = [estimate(result, "shape_population", f"TFSI {name}") for name in ("Trans", "aTrans")]
    assert sum(e.value for e in trans) == pytest.approx(100 * np.mean(state == 0))
    largest = max(trans, key=lambda e: e.value)
    assert largest.converged and abs(largest.value - 75) < 4 * largest.error + 100 * np.mean(state == 0) * 0.05
    moves = result.tables["transitions TFSI"]
    between = sum(row[3] for row in moves.rows if ("Cis" in row[1]) != ("Cis" in row[2]))
    assert between == np.sum(state[1:] != state[:-1])
    table = result.tables["map TFSI"]
    assert table.columns[:2] == ("phi_degrees", "psi_degrees")
    assert sum(table.column("density")) * 100.0 == pytest.approx(1.0)
    weight = {(row[0], row[1]): row[2] for row in table.rows}
    assert all(weight.get((-x, -y)) == pytest.approx(p) for (x, y), p in weight.items())
    free = np.array(table.column("F_kT"))
    assert free.min() == 0 and np.allclose(table.column("F_kJ_mol"), free * 8.314463e-3 * 400)
    density = np.array(table.column("density"))
    assert np.allclose(free, -np.log(density / density.max()))
    curve = result.curves["distribution TFSI phi"]
    assert np.sum(curve.y) * 10 == pytest.approx(1.0)
    pyr = result.tables["populations PYR14"]
    assert sum(pyr.column("population_percent")) == pytest.approx(100)


@pytest.mark.parametrize(
    ("later", "quantity"), [({"share": 0.4}, "shape_population"), ({"stay": 0.4}, "shape_lifetime")]
)
def test_shapes_that_change_along_the_run_are_not_converged(later, quantity):
    """Another share of them in the second half, or the same share with more jumps between them."""
    rng = np.random.default_rng(2)
    usual = {"share": 0.75, "stay": 0.9}
    system, first, _ = swinging(200, 12, rng=rng, **usual)
    _, second, _ = swinging(200, 12, rng=rng, **(usual | later))
    system = replace(system, n_frames=400)
    result = measured("shapes", system, snapshots(system, np.concatenate([first, second]), CELL))
    of_tfsi = [one for name, species, one in result.estimates if name == quantity and species.startswith("TFSI")]
    assert any("not stationary" in one.note and not one.converged for one in of_tfsi)


def test_flicker_on_a_border_is_no_transition():
    """A dihedral that trembles about the border of two shapes changes shape often, and never settles in the other."""
    settings = defined(states=[{"name": "low", "ranges": {"d": [0, 1.6]}}, {"name": "high", "ranges": {"d": [1.6, 9]}}])
    rng = np.random.default_rng(3)
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    base = np.concatenate([get_ion("PYR14").positions, get_ion("BF4").positions + 15])
    positions = np.tile(base, (300, 1, 1))
    boron = topology.symbols.index("B")
    length = 1.6 + 0.03 * rng.normal(size=300)
    length[:5] = 1.3
    positions[:, boron + 1 :] = positions[:, [boron]] + length[:, None, None] * np.array(
        [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    ) / np.sqrt(3)
    system = System(topology, 300, 1.0)
    result = measured("shapes", system, snapshots(system, positions, CELL), settings)
    assert 30 < estimate(result, "shape_population", "BF4 low").value < 70
    assert result.tables["transitions BF4"].rows == []
    assert not estimate(result, "shape_lifetime", "BF4 low").converged


def defined(smarts="[#5]-[#9]", atoms=(0, 1), states=None, name="d"):
    states = states or [{"name": "any", "ranges": {name: [0, 9]}}]
    shape = {"ion": "BF4", "coordinates": [{"name": name, "smarts": smarts, "atoms": list(atoms)}], "states": states}
    return ShapesSettings(define=[shape])


def test_definitions_that_make_no_sense_are_refused():
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    for settings, words in (
        (defined("[#5"), "is not a valid SMARTS"),
        (defined("[#5]-[#9]", (0, 2)), "has 2 atoms"),
        (defined("[#5]-[#17]"), "matches nothing"),
        (ShapesSettings(define=[{**defined().define[0].model_dump(), "ion": "FSI"}]), "FSI.*PYR14, BF4"),
    ):
        with pytest.raises(SettingsError, match=words):
            shapes_of(topology, settings.define)
    torsion = {"name": "t", "smarts": "[#1]-[#6]-[#6]-[#1]", "atoms": [0, 1, 2, 3]}
    state = [{"name": "x", "ranges": {"t": [0, 90]}}]
    with pytest.raises(SettingsError, match="different dihedrals"):
        shapes_of(topology, ShapesSettings(define=[{"ion": "PYR14", "coordinates": [torsion], "states": state}]).define)
    with pytest.raises(ValidationError, match="needs ranges"):
        defined(states=[{"name": "x", "ranges": {"q": [0, 1]}}])
    with pytest.raises(ValidationError, match="two different ones"):
        defined(atoms=(0, 1, 0))


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        ([150, 210], r"'x' has t from 150 to 210: angles are -180 to 180.*larger: \[120, -120\]"),
        ([-200, -150], "from -200 to -150: angles are"),
        ([float("nan"), 90], "from nan to 90: angles are"),
        ([60, 60], r"contains no angle; \[-180, 180\] contains all"),
        ([180, -180], "contains no angle"),
    ],
)
def test_ranges_of_angles_that_hold_nothing_are_refused(range_, said):
    with pytest.raises(ValidationError, match=said):
        defined("[#6]-[#16]-[#7]-[#16]", (0, 1, 2, 3), [{"name": "x", "ranges": {"t": range_}}], "t")


@pytest.mark.parametrize("range_", [[2.0, 1.0], [2.0, 2.0], [1.0, float("nan")]])
def test_ranges_of_distances_that_hold_nothing_are_refused(range_):
    with pytest.raises(
        ValidationError, match="'x' has d from .*: the lower limit of a distance must be below the upper one, in Å"
    ):
        defined(states=[{"name": "x", "ranges": {"d": range_}}])


@pytest.mark.parametrize("range_", [[-180, 180], [120, -120], [180, -120], [-180, -60]])
def test_ranges_up_to_180_are_taken(range_):
    settings = defined("[#6]-[#16]-[#7]-[#16]", (0, 1, 2, 3), [{"name": "x", "ranges": {"t": range_}}], "t")
    assert settings.define[0].states[0].ranges["t"] == tuple(range_)


def test_range_of_angles_through_180():
    turn = {"name": "csns", "smarts": "[#6]-[#16]-[#7]-[#16]-[#6]", "atoms": [0, 1, 3, 4]}
    ion = {"ion": "TFSI", "coordinates": [turn], "states": [{"name": "anti", "ranges": {"csns": [150, -150]}}]}
    topology = Liquid.of({"PYR14": 1, "TFSI": 1}).topology
    (shape,) = (s for s in shapes_of(topology, ShapesSettings(define=[ion]).define) if s.ion == "TFSI")
    assert shape.classify(np.array([[160.0], [-170.0], [-140.0], [0.0]])).tolist() == [0, 0, 1, 1]
    assert len(matches(topology, "TFSI", "[#6]-[#16]", [0, 1])) == 2


def test_single_ion_in_a_large_cell():
    """As from a run in vacuum: blocks are parts of the run."""
    system, positions, _ = swinging(300, 1, 0.5, np.random.default_rng(4), stay=0.5)
    result = measured("shapes", system, snapshots(system, positions, CELL))
    assert len(set(result.tables["map blocks TFSI"].column("block"))) == 10
    assert result.curves["distribution TFSI phi"].error is not None


def test_ions_are_known_by_their_atoms_not_their_names():
    """A PDB file cuts names to four letters."""

    topology = Liquid.of({"PYR14": 1, "TFSI": 1, "Li": 1, "BF4": 1}).topology
    renamed = replace(topology, species=("PYR1", "NTF2", "Li", "BF4"))
    names = [(shape.name, shape.ion) for shape in shapes_of(renamed, [])]
    assert names == [("PYR1", "PYR1"), ("PYR1 butyl", "PYR1"), ("NTF2", "NTF2")]


def test_ions_without_shapes_are_named():
    topology = Liquid.of({"Li": 1, "BF4": 1}).topology
    system = System(topology, 1, 1.0)
    frame = np.concatenate([get_ion("Li").positions + 9, get_ion("BF4").positions])
    assert "Li, BF4" in measured("shapes", system, snapshots(system, frame[None], CELL)).notes[0]


def test_divergence_of_known_distributions():
    p, q = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert jensen_shannon(p, p) == pytest.approx(0) and jensen_shannon(p, q) == pytest.approx(1)
    assert jensen_shannon(p, np.array([1.0, 0, 0, 0])) == pytest.approx(0.311278, abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_divergence_is_unbiased_and_its_error_true(shift):
    """From few samples: the plain value is many errors too large, the corrected one is not."""
    grid = np.arange(60)
    p = np.exp(-0.5 * ((grid - 30) / 8.0) ** 2)
    q = np.exp(-0.5 * ((grid - 30 - 8 * shift) / 8.0) ** 2)
    p, q = p / p.sum(), q / q.sum()
    exact, found, errors, plain, significant = jensen_shannon(p, q), [], [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.multinomial(60, p, size=10), rng.multinomial(60, q, size=10)
        divergence = divergence_of_blocks(a, b, rng)
        found.append(divergence.value)
        errors.append(divergence.error)
        plain.append(jensen_shannon(a.sum(axis=0), b.sum(axis=0)))
        significant.append(divergence.p_value < 0.05)
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / np.sqrt(40) + 0.1 * exact
    assert np.mean(plain) - exact > 5 * abs(np.mean(found) - exact)
    assert 0.6 < np.mean(errors) / np.std(found) < 1.8
    assert np.mean(significant) > 0.95 if shift else np.mean(significant) < 0.2


def test_two_runs_of_one_potential_and_of_two():
    runs = []
    for seed, share in ((5, 0.7), (6, 0.7), (7, 0.2)):
        system, positions, _ = swinging(150, 12, share, np.random.default_rng(seed), stay=0.3)
        runs.append(measured("shapes", system, snapshots(system, positions, CELL)))
    same, different = (next(found for _, ion, found in compare(runs[0], other) if ion == "TFSI") for other in runs[1:])
    assert same.unit == "bit" and same.converged and different.converged and "p = " in different.note
    assert abs(same.value) < 3 * same.error + 0.01
    assert different.value > 10 * different.error and 0.1 < different.value < 0.4
    system, positions, _ = swinging(20, 12, 0.5, np.random.default_rng(8))
    other = measured("shapes", system, snapshots(system, positions, CELL), ShapesSettings(bin_degrees=20))
    with pytest.raises(SettingsError, match="different coordinates or bins"):
        compare(runs[0], other)


def test_runs_that_stay_in_one_shape_have_no_divergence():
    """Two runs of one ion, each stuck where it began: apart by 1 bit, and nobody knows how much that means."""
    runs = []
    for seed, share in ((9, 1.0), (10, 0.0)):
        system, positions, _ = swinging(40, 1, share, np.random.default_rng(seed))
        runs.append(measured("shapes", system, snapshots(system, positions, CELL)))
    (stuck,) = (found for _, ion, found in compare(*runs) if ion == "TFSI")
    assert stuck.value > 0.9 and not stuck.converged and not stuck.error <= 1e-9
    assert stuck.note.startswith("neither map has converged: see the populations of TFSI")
    system, positions, _ = swinging(150, 12, 0.5, np.random.default_rng(11), stay=0.3)
    moving = measured("shapes", system, snapshots(system, positions, CELL))
    (half,) = (found for _, ion, found in compare(moving, runs[0]) if ion == "TFSI")
    assert not half.converged and half.note.startswith("the second map has not converged")


@pytest.mark.slow
def test_equal_runs_of_a_few_ions_seldom_seem_to_differ():
    """Five ions that remember 20 of 300 frames: parts of such a run would not be independent, ions are."""
    chances = []
    for seed in range(30):
        runs = []
        for half in range(2):
            system, positions, _ = swinging(300, 5, 0.5, np.random.default_rng(100 + 2 * seed + half), stay=0.95)
            runs.append(measured("shapes", system, snapshots(system, positions, CELL)))
        (found,) = (one for _, ion, one in compare(*runs) if ion == "TFSI")
        if found.converged:
            chances.append(float(re.search("p = ([0-9.e-]+)", found.note).group(1)))
    assert len(chances) >= 20 and np.mean(np.array(chances) < 0.05) < 0.2, chances


@pytest.mark.parametrize(("n_frames", "converged"), [(300, False), (1200, True)])
def test_a_map_of_one_ion_takes_twenty_relaxations(n_frames, converged):
    """(1 + 0.95) / (1 - 0.95) = 39 frames: 300 of them carry the populations, and no parts of the run."""
    system, positions, _ = swinging(n_frames, 1, 0.5, np.random.default_rng(13), stay=0.95)
    found = measured("shapes", system, snapshots(system, positions, CELL), ShapesSettings(min_independent_samples=2))
    assert all(found.tables["map TFSI"].column("converged")) == converged
    assert found.tables["populations TFSI"].column("converged")[0]

"""The exp-6 polarizable force field against sums in NumPy, finite differences, and what it must refuse."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.potentials import create
from ilforge.potentials.classical.exp6 import Exp6, time_steps
from ilforge.potentials.classical.exp6 import file as exp6_file
from ilforge.potentials.classical.exp6.forces import BONDED, REST, SHORT, Electrostatics
from ilforge.potentials.classical.exp6.induced_dipoles import COULOMB, Ewald, Sites, evaluate, near_pairs
from ilforge.potentials.classical.exp6.lone_pairs import LonePairs
from support import exp6, exp6_by_hand

FILES = {"demonstration": exp6.TIGHT, "richer": exp6.RICHER}


@pytest.fixture(params=FILES)
def path(request, tmp_path):
    return exp6.changed(tmp_path, FILES[request.param])


def energy_of(system, positions, cell=None, groups=None):
    """kJ/mol, in double precision; positions and cell in Å."""
    import openmm
    from openmm import unit

    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    if cell is not None:
        context.setPeriodicBoxVectors(*(cell / 10))
    context.setPositions(positions / 10)
    state = context.getState(energy=True, **({} if groups is None else {"groups": groups}))
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def without_bonded_terms(potential, topology, cell):
    import openmm

    system = potential.openmm_system(topology, cell)
    kept = (openmm.PythonForce, openmm.CustomNonbondedForce, openmm.CustomBondForce)
    for index in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(index), kept):
            system.removeForce(index)
    return system


def test_charges_and_dipoles_in_a_vacuum_are_those_of_a_dense_solution(path, one_pair, topology_of):
    topology, x = topology_of(one_pair), one_pair.positions
    terms = Exp6(path).terms(topology)
    electrostatics = Electrostatics(terms, 10.0, None, threads=1)
    by_hand = exp6_by_hand.molecules(path, topology)
    energy, dipoles = exp6_by_hand.charges_and_dipoles(by_hand, exp6_by_hand.places(by_hand, x))
    assert electrostatics.whole(x, None)[0] == pytest.approx(energy, rel=1e-9)
    found = electrostatics.dipoles(x, None)
    np.testing.assert_allclose(found, dipoles[: len(x)], rtol=0, atol=1e-8 * np.abs(dipoles).max())
    assert np.abs(dipoles).max() > 0.05  # e Å: there is something to compare


def test_charges_and_dipoles_in_a_box_are_those_of_ewalds_sum_and_a_dense_solution(path, one_pair, topology_of):
    topology, cell = topology_of(one_pair), one_pair.cell.array
    terms = Exp6(path).terms(topology)
    electrostatics = Electrostatics(terms, 4.2, cell, threads=1)
    electrostatics._ewald = Ewald(cell, 4.2, 1e-9)
    by_hand = exp6_by_hand.molecules(path, topology)
    sites = exp6_by_hand.places(by_hand, one_pair.positions)
    energy, dipoles = exp6_by_hand.in_box(by_hand, sites, cell[0, 0])
    assert electrostatics.whole(one_pair.positions, cell)[0] == pytest.approx(energy, rel=1e-6)
    found = electrostatics.dipoles(one_pair.positions, cell)
    np.testing.assert_allclose(found, dipoles[: len(found)], rtol=0, atol=1e-6 * np.abs(dipoles).max())


def test_ewalds_sum_as_it_is_used_is_good_to_its_tolerance(one_pair, topology_of):
    topology, cell, x = topology_of(one_pair), one_pair.cell.array, one_pair.positions
    electrostatics = Electrostatics(Exp6(exp6.DEMONSTRATION).terms(topology), 4.2, cell, threads=1)
    energy, forces = electrostatics.whole(x, cell)
    electrostatics._ewald = Ewald(cell, 4.2, 1e-9)
    better, better_forces = electrostatics.whole(x, cell)
    assert energy == pytest.approx(better, rel=2e-5)
    assert np.sqrt(np.mean((forces - better_forces) ** 2)) < 1e-3 * np.sqrt(np.mean(better_forces**2))


def test_all_pair_terms_in_a_vacuum_are_those_of_a_sum(path, one_pair, topology_of):
    topology, x = topology_of(one_pair), one_pair.positions
    by_hand = exp6_by_hand.molecules(path, topology)
    expected = exp6_by_hand.exp6_in_vacuum(by_hand, x)
    expected += exp6_by_hand.charges_and_dipoles(by_hand, exp6_by_hand.places(by_hand, x))[0]
    assert energy_of(without_bonded_terms(Exp6(path), topology, None), x) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("cutoff_A", [4.0, 8.0])
def test_exp6_terms_in_a_box_with_and_without_a_short_range_part(path, cutoff_A, one_pair, topology_of):
    """A cutoff of 8 Å splits them at 6.5 Å: the parts must add up to the whole."""
    import openmm

    topology, side = topology_of(one_pair), 2.1 * cutoff_A
    cell = np.eye(3) * side
    x = one_pair.positions + np.where(topology.molecules[:, None] == 1, [0.55 * side, 0.0, 0.0], 0.0)
    system = without_bonded_terms(Exp6(path, cutoff_A), topology, cell)
    for index in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(index), openmm.PythonForce):
            system.removeForce(index)
    by_hand = exp6_by_hand.molecules(path, topology)
    expected = exp6_by_hand.exp6_in_box(by_hand, x, side, cutoff_A, 0.9 * cutoff_A)
    assert energy_of(system, x, cell) == pytest.approx(expected, rel=1e-5)


def test_bonded_terms_are_those_of_clp_but_for_a_constant(one_pair, topology_of):
    """The demonstration takes its bonds, bends and torsions from CL&P; 1 - cos and 1 + cos differ by a constant."""
    import openmm

    topology, rng, changes = topology_of(one_pair), np.random.default_rng(2), []
    systems = [create(spec).openmm_system(topology, None) for spec in ({"kind": "clp"}, exp6.SPEC)]
    names = ("HarmonicBondForce", "HarmonicAngleForce", "RBTorsionForce", "PeriodicTorsionForce")
    for system in systems:
        for index in reversed(range(system.getNumForces())):
            if not isinstance(system.getForce(index), tuple(getattr(openmm, name) for name in names)):
                system.removeForce(index)
    moved = one_pair.positions + rng.normal(scale=0.05, size=one_pair.positions.shape)
    for system in systems:
        changes.append(energy_of(system, moved) - energy_of(system, one_pair.positions))
    assert abs(changes[0]) > 10 and changes[1] == pytest.approx(changes[0], rel=1e-9)


@pytest.mark.parametrize("periodic", [True, False])
def test_forces_are_minus_the_gradient_also_with_every_kind_of_lone_pair(periodic, one_pair, topology_of, tmp_path):
    path = exp6.changed(tmp_path, exp6.RICHER)
    one_pair.pbc = periodic
    calculator, step = Exp6(path, 4.0).calculator(topology_of(one_pair)), 2e-4
    forces, rng = calculator.get_forces(one_pair), np.random.default_rng(1)
    for _ in range(2):
        move = rng.normal(size=forces.shape)
        move /= np.linalg.norm(move)
        energies = []
        for sign in (1, -1):
            moved = one_pair.copy()
            moved.positions += sign * step * move
            energies.append(calculator.get_potential_energy(moved))
        assert np.sum(forces * move) == pytest.approx((energies[1] - energies[0]) / (2 * step), abs=2e-6)


def test_parts_for_multiple_time_steps_add_up_to_the_whole(one_pair, topology_of):
    topology, cell = topology_of(one_pair), np.eye(3) * 17.0
    potential = Exp6(exp6.DEMONSTRATION, 8.0)
    system = potential.openmm_system(topology, cell)
    x = one_pair.positions
    parts = [energy_of(system, x, cell, {group}) for group in (BONDED, SHORT, REST)]
    assert sum(parts) == pytest.approx(energy_of(system, x, cell), rel=1e-9)
    electrostatics = Electrostatics(potential.terms(topology), 8.0, cell, threads=1)
    whole, bare = electrostatics.whole(x, cell)[0], electrostatics.bare(x, cell)[0]
    assert abs(bare) > 10 and abs(parts[2] - (whole - bare)) < 20  # the rest: no more than exp-6 terms beyond 6.5 Å


def test_time_steps_are_those_of_the_paper():
    assert time_steps(3.0) == [(BONDED, 6), (SHORT, 2), (REST, 1)]
    assert time_steps(0.5) == [(BONDED, 1), (SHORT, 1), (REST, 1)]
    assert time_steps(2.0) == [(BONDED, 4), (SHORT, 2), (REST, 1)]


def test_lone_pairs_lie_where_their_numbers_say():
    """Water in the yz plane: hydrogens at +z, so that along is -z and across is x."""
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
    none = -1
    sites = LonePairs(
        hosts=np.array([0, 0, 1]),
        neighbours=np.array([[1, 2, none], [1, 2, none], [0, none, none]]),
        along=np.array([0.3, 0.3, 0.2]),
        across=np.array([0.5, -0.5, 0.0]),
    )
    found = sites.offsets(x, None)
    np.testing.assert_allclose(found[:2], [[0.5, 0.0, -0.3], [-0.5, 0.0, -0.3]], atol=1e-12)
    np.testing.assert_allclose(found[2], 0.2 * x[1] / np.linalg.norm(x[1]), atol=1e-12)
    wrapped = x + np.array([[0, 0, 0], [9.0, 0, 0], [0, -9.0, 0]])
    np.testing.assert_allclose(sites.offsets(wrapped, np.eye(3) * 9.0), found, atol=1e-12)


def two_dipoles(distance, alpha=1.0, thole=0.2, damp_charges=False):
    """A charge of 1 e at the origin and two polarizable sites in line behind it."""
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 5.0 + distance]])
    sites = Sites(
        np.array([1.0, 0.0, 0.0]), np.array([0.0, alpha, alpha]), np.empty((0, 2), int), np.empty((0, 3)),
        thole, damp_charges, 1e-12,
    )  # fmt: skip
    from ilforge.potentials.classical.exp6.induced_dipoles import Pairs

    i, j = np.triu_indices(3, 1)
    return evaluate(sites, x, [Pairs(i, j, x[i] - x[j]), near_pairs(sites, x, None)])


def test_two_dipoles_in_line_are_those_of_the_closed_form():
    r, damped = 2.0, 2 / 2.0**3 * (1 - (1 + 0.2 * 8) * np.exp(-0.2 * 8) - (1 - np.exp(-0.2 * 8)) / 3) * 1.5
    f1, f2 = 1 / 25, 1 / 49
    first, second = (f1 + damped * f2) / (1 - damped**2), (f2 + damped * f1) / (1 - damped**2)
    found = two_dipoles(r)
    np.testing.assert_allclose(found.dipoles[1:, 2], [first, second], rtol=1e-10)
    assert found.energy == pytest.approx(-COULOMB / 2 * (first * f1 + second * f2), rel=1e-10)


def test_polarization_catastrophe_is_stated():
    """Undamped dipoles of 1 Å^3 nearer than 4^(1/6) Å have no minimum."""
    with pytest.raises(DidNotConverge, match="polarization catastrophe: induced dipoles grow without bound"):
        two_dipoles(1.2, thole=1e6)
    assert np.isfinite(two_dipoles(1.2).energy)  # Thole's function is there to prevent it


def test_a_catastrophe_in_a_frame_is_a_frame_without_a_label(one_pair, topology_of, tmp_path):
    path = exp6.changed(
        tmp_path, {"thole_a = 0.2": "thole_a = 1e6", "polarizability_A3 = 0.323": "polarizability_A3 = 20.0"}
    )
    with pytest.raises(DidNotConverge, match="polarization catastrophe"):
        Exp6(path, 4.0).calculator(topology_of(one_pair)).get_potential_energy(one_pair)


REFUSED = {
    "a missing pair": (
        {'combining = "waldman-hagler"': 'combining = "explicit"'},
        r"has no pair term N4-N4. With combining = 'explicit' every pair .* add pairs.N4-N4",
    ),
    "a type without numbers": ({"C_kJ_mol_A6 = 834.262, ": ""}, r"types.FB has no A_kJ_mol, B_per_A or C_kJ_mol_A6"),
    "a missing type": ({'"N4", "C1"': '"N5", "C1"'}, r"ions.PYR14.types has 'N5', which is not in \[types\]"),
    "a charge": ({"0.96, -0.39": "0.97, -0.39"}, r"ions.BF4 add up to -0.99 e with its lone pairs, but BF4 has -1 e"),
    "a count": ({"0.96, -0.39": "-0.39"}, r"ions.BF4 has 5 types and 4 charges_e"),
    "an element": ({'"N4", "C1"': '"C1", "N4"'}, r"atom 0 of the liquid's PYR14 is N, but its type C1 is for C"),
    "a bond": ({"B-F = { r0": "B-FX = { r0"}, r"has no bonds.B-F, which the liquid needs"),
    "a torsion": ({"CT-CT-NT-CT =": "CT-CT-NT-CX ="}, r"has no torsions.CT-NT-CT-CT, which the liquid needs"),
    "an atom": ({'on = "F1"': 'on = "F9"'}, r"lone pair of ions.BF4 names the atom 'F9'; its atoms are B1, F1, F2"),
    "an atom twice": ({'["B1"], along': '["F1"], along'}, r"on F1 names an atom twice"),
    "a plane": ({"along_A = 0.20, ch": "along_A = 0.20, across_A = 0.1, ch"}, r"across_A needs two neighbours"),
    "a word": ({'damped = "dipoles"': 'damped = "all"'}, r"polarization.damped is 'all', but should be 'dipoles' or"),
    "a key": ({"thole_a": "thole"}, r"polarization.thole is not a known key. Did you mean thole_a\?"),
    "a unit": ({"tolerance = 1e-3": "tolerance = 0.1"}, r"polarization.tolerance is 0.1, but should be at most 0.01"),
    "a negative": ({"polarizability_A3 = 1.208": "polarizability_A3 = -1"}, r"types.N4.polarizability_A3 is -1"),
    "a pair's name": ({"H1-FB = { A": "H1FB = { A"}, r"pairs.H1FB must be the names of two types, joined by '-'"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refused_in_words(fault, tmp_path):
    changes, message = REFUSED[fault]
    with pytest.raises(SettingsError, match=message):
        Exp6(exp6.changed(tmp_path, changes)).terms(Liquid.of({"PYR14": 1, "BF4": 1}).topology)


def test_other_refusals(two_pairs, topology_of, tmp_path):
    with pytest.raises(SettingsError, match="There is no file"):
        Exp6(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match=r"has no ion TFSI: it has PYR14, BF4. Add a table \[ions.TFSI\]"):
        Exp6(exp6.DEMONSTRATION).calculator(Liquid.of({"PYR14": 1, "TFSI": 1}).topology)
    with pytest.raises(SettingsError, match=r"cutoff of 10 Å.*cutoff of 4.5 Å"):
        Exp6(exp6.DEMONSTRATION).calculator(topology_of(two_pairs)).get_potential_energy(two_pairs)
    with pytest.raises(SettingsError, match="cannot constrain bonds to H"):
        Exp6(exp6.DEMONSTRATION).openmm_system(topology_of(two_pairs), None, constrain_hydrogens=True)
    with pytest.raises(SettingsError, match="give it a topology"):
        Exp6(exp6.DEMONSTRATION).calculator()


def test_the_example_of_the_documentation_is_a_parameter_file(tmp_path):
    page = (exp6.DEMONSTRATION.parents[2] / "docs/polarizable-force-field.md").read_text("utf-8")
    (example,) = [block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[types]" in block]
    path = tmp_path / "example.toml"
    path.write_text(example, "utf-8")
    terms = Exp6(path).terms(Liquid.of({"Li": 2, "BF4": 2}).topology)
    assert len(terms.lone_pairs) == 8
    assert terms.sites.charges.sum() == pytest.approx(0.0, abs=1e-12)


def test_every_key_is_documented():
    """What the page says of keys and defaults is what the program has."""
    page = (exp6.DEMONSTRATION.parents[2] / "docs/polarizable-force-field.md").read_text("utf-8")
    for name in ("PairTerms", "AtomType", "LonePair", "IonTerms", "Bond", "Bend", "Torsion", "OutOfPlane", "Near"):
        for key in getattr(exp6_file, name).model_fields:
            assert re.search(rf"[`.]{key}`", page), key
    for key in (*exp6_file.Polarization.model_fields, "title", "combining", "D_kJ_mol"):
        assert re.search(rf"[`.]{key}`", page), key


def test_explicit_pairs_need_no_rule(tmp_path, one_pair, topology_of):
    """The rule's numbers written out pair by pair are the same force field."""
    kinds, rows = ("N4", "C1", "C2", "CS", "CT", "H1", "HC", "B", "FB"), []
    by_hand = exp6_by_hand.molecules(exp6.DEMONSTRATION, topology_of(one_pair))
    for k, first in enumerate(kinds):
        for second in kinds[k:]:
            a, b, c = exp6_by_hand.pair_terms(by_hand, first, second)
            if (first, second) != ("H1", "FB"):
                rows.append(f"{first}-{second} = {{ A_kJ_mol = {a!r}, B_per_A = {b!r}, C_kJ_mol_A6 = {c!r} }}")
    text = "\n".join(re.sub(r"np\.float64\((.*?)\)", r"\1", row) for row in rows)
    changes = {'combining = "waldman-hagler"': 'combining = "explicit"', "\nH1-FB": f"\n{text}\nH1-FB"}
    topology = topology_of(one_pair)
    ours, rule = (Exp6(p).terms(topology) for p in (exp6.changed(tmp_path, changes), exp6.DEMONSTRATION))
    for key in "abc":
        np.testing.assert_allclose(getattr(ours, key), getattr(rule, key), rtol=1e-12)


def test_the_title_is_no_part_of_what_it_is(tmp_path):
    other = Exp6(exp6.changed(tmp_path, {'title = "demonstration': 'title = "my own demonstration'}))
    assert other.describe() == Exp6(exp6.DEMONSTRATION).describe()
    changed = exp6.changed(tmp_path, {"thole_a = 0.2": "thole_a = 0.3"})
    assert Exp6(changed).describe() != other.describe()


def test_out_of_plane_bends_belong_to_atoms_with_three_neighbours():
    """C bonded to N, N and H, and to nothing else; its H leaves the plane, whichever N is named first."""
    from ilforge.potentials.classical.exp6.file import OutOfPlane
    from ilforge.potentials.classical.exp6.terms import _out_of_plane

    term = OutOfPlane(k_kJ_mol_rad2=50.0)
    file = exp6_file.checked(tomllib.loads(exp6.DEMONSTRATION.read_text("utf-8")))
    file = file.model_copy(update={"out_of_plane": {"C-H-M-N": term}})
    star = np.array([[0, 1], [0, 2], [0, 3]])
    assert _out_of_plane(file, star, ["C", "N", "M", "H"]) == [((0, 3, 2, 1), term)]
    assert _out_of_plane(file, star, ["C", "M", "N", "H"]) == [((0, 3, 1, 2), term)]
    assert _out_of_plane(file, np.vstack([star, [0, 4]]), ["C", "N", "M", "H", "H"]) == []
    assert _out_of_plane(file, star, ["C", "N", "N", "H"]) == []


def test_out_of_plane_bends_against_geometry(tmp_path):
    """C2 of imidazolium: the angle between its H and the plane of the N."""
    import openmm

    from ilforge.potentials.classical.exp6.file import OutOfPlane
    from ilforge.potentials.classical.exp6.forces import _out_of_plane_force
    from ilforge.potentials.classical.exp6.terms import Exp6Terms

    x = np.array([[0.0, 0.0, 0.0], [1.0, 0.1, 0.4], [-0.5, 1.0, 0.1], [-0.6, -0.9, 0.0]])
    fields = dict.fromkeys(Exp6Terms.__dataclass_fields__)
    terms = replace(Exp6Terms(**fields), out_of_plane=[((0, 1, 2, 3), OutOfPlane(k_kJ_mol_rad2=100.0))])
    system = openmm.System()
    for _ in x:
        system.addParticle(12.0)
    system.addForce(_out_of_plane_force(terms))
    normal = np.cross(x[2], x[3])
    gamma = np.arcsin(x[1] @ normal / np.linalg.norm(normal) / np.linalg.norm(x[1]))
    assert energy_of(system, x) == pytest.approx(50.0 * gamma**2, rel=1e-9)
    flat = x * [1, 1, 0]
    assert energy_of(system, flat) == pytest.approx(0.0, abs=1e-9)

"""CL&P of a user's own ion from its public files; and the project's own parameters against those files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.liquid.ions import CATALOGUE, get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.potentials import create, digest
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.classical.clp_files import ion_parameters
from ilforge.potentials.classical.clp_parameters import assign, ion_terms, known_ions, parameters
from ilforge.potentials.classical.terms import Terms

DATA = Path(__file__).parents[1] / "data/clandp"
ORDERS = json.loads((DATA / "atom_orders.json").read_text())
ZMATS = {name: entry["zmat"] for name, entry in ORDERS.items() if name != "source"}
LONE = ("Li", "Na")  # in the force field, but without a z-matrix
CHAINS = ("PMIM", "C5MIM", "C7MIM")  # the same


@pytest.mark.parametrize("name", [*ZMATS, *CHAINS])
def test_the_projects_own_parameters_are_those_of_the_public_files(name, tmp_path):
    ion = get_ion(name)
    found = ion_parameters(name, DATA / ZMATS[name] if name in ZMATS else typed_structure(name, tmp_path))
    assert found["charge"] == ion.charge
    assert [found["types"][key]["element"] for key in found["atoms"]] == list(ion.symbols)
    assert found["bonds"] == ion.bonds.tolist()
    public, partner = ion_terms(found), "Cl" if ion.charge > 0 else "Li"
    ours = assign(Liquid.of({name: 1, partner: 1}).topology)
    for key in Terms.__dataclass_fields__:
        if key in ("charges", "sigmas", "epsilons"):
            np.testing.assert_array_equal(getattr(public, key), getattr(ours, key)[:-1], err_msg=key)
        else:
            np.testing.assert_array_equal(getattr(public, key), getattr(ours, key), err_msg=key)


def typed_structure(name, folder):
    """An ion without a z-matrix as the force field reads it: the types of its atoms and where they are."""
    shutil.copy(DATA / "il.ff", folder)
    types, ion = parameters()["ions"][name]["atoms"], get_ion(name)
    atoms = [f"{kind} {x:.4f} {y:.4f} {z:.4f}" for kind, (x, y, z) in zip(types, ion.positions, strict=True)]
    (folder / "ion.xyz").write_text("\n".join([str(len(types)), f"{name} il.ff", *atoms, ""]))
    return folder / "ion.xyz"


def test_every_ion_with_parameters_is_compared_with_the_files():
    assert set(known_ions()) == set(ZMATS) | set(LONE) | set(CHAINS)
    assert set(CATALOGUE) - set(known_ions()) == {"NO3", "Choline", "EtNH3", "K", "OAc", "I", "H2O", "Urea", "MeCN"}


@pytest.mark.parametrize("name", LONE)
def test_single_ions_without_a_zmat_too(name, tmp_path):
    (tmp_path / "ion.zmat").write_text(f"{name}+\n\n1 {name}\n\nil.ff\n")
    shutil.copy(DATA / "il.ff", tmp_path)
    public, ours = (
        ion_terms(ion_parameters(name, tmp_path / "ion.zmat")),
        assign(Liquid.of({name: 1, "Cl": 1}).topology),
    )
    for key in ("charges", "sigmas", "epsilons"):
        assert getattr(public, key)[0] == getattr(ours, key)[0]


def packed(counts, side, seed=0):
    """A box of ions on a grid, turned at random: no packing program needed."""
    liquid, rng = Liquid.of(counts), np.random.default_rng(seed)
    ions = [ion for ion, count in liquid.ions for _ in range(count)]
    per_side = int(np.ceil(len(ions) ** (1 / 3)))
    corners = np.array([(i, j, k) for i in range(per_side) for j in range(per_side) for k in range(per_side)])
    x = []
    for ion, corner in zip(ions, corners, strict=False):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        shaken = ion.positions - ion.positions.mean(axis=0) + rng.normal(scale=0.05, size=ion.positions.shape)
        x.append(shaken @ turn + (corner + 0.5) * side / per_side)
    return liquid, Atoms(list(liquid.topology.symbols), np.concatenate(x), cell=[side] * 3, pbc=True)


@pytest.mark.parametrize(
    "cation, anion",
    [("EMIM", "FSI"), ("BMIM", "PF6"), ("PYR13", "TFSI"), ("OMIM", "DCA"), ("HMIM", "OTf"), ("PYR14", "BF4")],
)
def test_energy_of_a_box_is_the_same_from_the_files(cation, anion):
    liquid, frame = packed({cation: 2, anion: 2}, 30.0)
    own = {name: ion_parameters(name, DATA / ZMATS[name]) for name in (cation, anion)}
    energies = [Clp(10.0, ions=ions).calculator(liquid.topology).get_potential_energy(frame) for ions in ({}, own)]
    assert energies[1] == pytest.approx(energies[0], rel=1e-6)
    assert digest(Clp(10.0)) != digest(Clp(10.0, ions=own))


def test_forces_of_imidazolium_and_crowded_anion_are_minus_the_gradient():
    liquid, frame = packed({"EMIM": 1, "PF6": 1}, 16.0)
    frame.positions += np.random.default_rng(4).normal(scale=0.05, size=frame.positions.shape)
    calculator = Clp(7.0).calculator(liquid.topology)
    forces = calculator.get_forces(frame)
    for atom, axis in [(0, 2), (1, 0), (5, 1), (6, 2), (9, 0), (19, 1), (20, 0), (25, 2)]:
        energies = []
        for step in (1e-3, -1e-3):
            moved = frame.copy()
            moved.positions[atom, axis] += step
            energies.append(calculator.get_potential_energy(moved))
        assert forces[atom, axis] == pytest.approx((energies[1] - energies[0]) / 2e-3, abs=1e-3)


def test_impropers_keep_imidazolium_flat():
    terms = assign(Liquid.of({"EMIM": 1, "Cl": 1}).topology)
    expected = [[1, 4, 0, 5], [0, 2, 1, 6], [1, 3, 2, 7], [2, 4, 3, 8], [0, 3, 4, 9]]
    assert terms.torsions[-5:].tolist() == expected
    assert terms.torsion_v[-5:, 1].tolist() == [8.368, 9.2048, 8.368, 9.2048, 9.2048]


def test_impropers_are_found_where_the_file_leaves_them_open(tmp_path):
    text = (DATA / "c2c1im.zmat").read_text()
    (tmp_path / "own.zmat").write_text("\n".join(line for line in text.splitlines() if "improper" not in line))
    found = ion_parameters("OWN", tmp_path / "own.zmat", DATA / "il.ff")
    given = ion_parameters("EMIM", DATA / "c2c1im.zmat")
    flat = [{(row[2], frozenset(row)) for row in ion["impropers"]} for ion in (found, given)]
    assert flat[0] == flat[1] and len(flat[0]) == 5


def test_an_own_ion_goes_from_its_files_to_a_potential(tmp_path):
    shutil.copy(DATA / "il.ff", tmp_path / "my.ff")
    (tmp_path / "scn.zmat").write_text("thiocyanate\n\nSK\nCK 1 1.66\nNK 2 1.19 1 180.0\n\nmy.ff\n")
    define = {"SCN": IonSettings(structure="scn.zmat")}
    liquid = Liquid.of({"EMIM": 1, "SCN": 1}, define, tmp_path)
    own = {"SCN": ion_parameters("SCN", tmp_path / "scn.zmat")}
    potential = create({"kind": "clp", "cutoff_A": 7.0, "ions": own})
    apart = [ion.positions + 8.0 * k for k, (ion, _) in enumerate(liquid.ions)]
    frame = Atoms(list(liquid.topology.symbols), np.concatenate(apart))
    assert np.isfinite(potential.calculator(liquid.topology).get_potential_energy(frame))
    assert set(potential.describe()["ions"]) == {"SCN"}
    changed = (DATA / "il.ff").read_text().replace("SK  CK   harm   1.67 ", "SK  CK   harm   1.68 ")
    (tmp_path / "my.ff").write_text(changed)
    other = Clp(7.0, ions={"SCN": ion_parameters("SCN", tmp_path / "scn.zmat")})
    assert other.describe()["ions"] != potential.describe()["ions"] and other != potential
    assert json.loads(json.dumps(other.describe())) == other.describe()


@pytest.mark.parametrize(
    "section, line, words",
    [
        ("BONDS", "FB  SB   harm   1.575   1879.0", ["no bond FB-SB", "atoms F1-S1 of MYION in my.ff"]),
        ("ANGLES", "FB  SB  NB   harm   103.0   902.0", ["no angle FB-SB-NB", "F1-S1-N1 of MYION"]),
        (
            "DIHEDRALS",
            "FB  SB  NB  SB   opls   11.4450  -15.1860   -3.2120    0.0000",
            ["no dihedral", "SB-NB", "zeros"],
        ),
        (
            "ATOMS",
            "FSI   FB   18.998  -0.13   lj    3.118  0.25540",
            ["my.ff has no atom type FSI", "atom 1 of fsi.zmat"],
        ),
    ],
)
def test_a_missing_term_is_named_with_its_atoms(section, line, words, tmp_path):
    text = (DATA / "il.ff").read_text()
    assert text.count(line) == 1, section
    (tmp_path / "my.ff").write_text(text.replace(line, ""))
    shutil.copy(DATA / "fsi.zmat", tmp_path)
    with pytest.raises(SettingsError) as error:
        ion_parameters("MYION", tmp_path / "fsi.zmat", tmp_path / "my.ff")
    for word in words:
        assert word in str(error.value)


def test_an_improper_that_is_asked_for_must_be_there(tmp_path):
    text = (DATA / "il.ff").read_text().replace("NA  CW  CW  HA   opls    0.0000    9.2048", "# NA  CW  CW  HA   opls")
    (tmp_path / "il.ff").write_text(text)
    shutil.copy(DATA / "c2c1im.zmat", tmp_path)
    with pytest.raises(SettingsError, match="no improper dihedral NA-CW-CW-HA for the atoms N2-C3-C2-H2 of EMIM"):
        ion_parameters("EMIM", tmp_path / "c2c1im.zmat")


def test_parameters_must_be_read_before_they_are_given():
    with pytest.raises(SettingsError, match="ion_parameters"):
        Clp(4.0, ions={"MYION": "my.zmat"})

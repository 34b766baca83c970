"""Trained models: which files are loaded, how they agree with themselves in every engine, how far two disagree."""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.learned.committee import DEVIATION_FILE, Committee, force_deviation
from ilforge.potentials.learned.deepmd import Deepmd
from ilforge.potentials.learned.mace import Mace
from ilforge.potentials.learned.model_file import lammps_word
from ilforge.units import KJ_PER_MOL

KINDS = [Mace, Deepmd]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def mace(tiny_mace_model):
    return Mace(tiny_mace_model, sha256(tiny_mace_model))


@pytest.fixture(scope="module")
def members(tiny_deepmd_models):
    return tuple(Deepmd(path, sha256(path)) for path in tiny_deepmd_models)


# ---------------------------------------------------------------- which files are loaded


@pytest.mark.parametrize("kind", KINDS)
def test_model_without_digest_is_refused_and_told_its_digest(kind, tmp_path):
    path = tmp_path / "some.model"
    path.write_bytes(b"anything")
    with pytest.raises(SettingsError, match=f'trust where it comes from, write\n  sha256 = "{sha256(path)}"'):
        kind(path)


@pytest.mark.parametrize("kind", KINDS)
def test_model_file_that_is_not_there_is_named(kind, tmp_path):
    with pytest.raises(SettingsError, match=f"{tmp_path}/no.model could not be read: No such file"):
        kind(tmp_path / "no.model", "0" * 64).calculator()


@pytest.mark.parametrize("kind", KINDS)
def test_digest_must_be_one(kind, tmp_path):
    with pytest.raises(SettingsError, match="is not a SHA-256 digest"):
        kind(tmp_path / "no.model", "abc")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_or_truncated_model_is_not_loaded(kind, tmp_path):
    """The file would write another one when unpickled: it must not come to that."""
    path, victim = tmp_path / "some.model", tmp_path / "was-here"
    honest = pickle.dumps("honest")
    path.write_bytes(pickle.dumps(Saboteur(victim)))
    model = kind(path, hashlib.sha256(honest).hexdigest())
    with pytest.raises(SettingsError, match="replaced, changed or cut short"):
        model.calculator()
    assert not victim.exists()


class Saboteur:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return type(self.victim).touch, (self.victim,)


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_another_kind_is_said_so(kind, tmp_path):
    path = tmp_path / "some.pb"
    path.write_bytes(b"no model at all")
    with pytest.raises(SettingsError, match="could not be loaded as a (MACE|DeePMD) model"):
        kind(path, sha256(path)).calculator()


def test_elements_that_a_model_does_not_know_are_named(mace, members):
    topology = Liquid.of({"Li": 1, "TFSI": 1}).topology
    for model in (mace, members[0]):
        with pytest.raises(SettingsError, match="does not know Li, O, S: it was trained on H, B, C, N, F"):
            model.calculator(topology)


# ---------------------------------------------------------------- MACE


def test_mace_in_single_precision_resolves_energies_as_in_double(mace, two_pairs):
    """Isolated atoms hold thousands of eV here: single precision alone would leave 5e-4 eV of resolution."""
    double = Mace(mace.path, mace.sha256, dtype="float64").calculator()
    energy = double.get_potential_energy(two_pairs)
    assert energy < -3000
    assert mace.calculator().get_potential_energy(two_pairs) == pytest.approx(energy, abs=5e-6)


def test_mace_calculator_gives_the_energy_of_the_file(mace, two_pairs):
    from mace.calculators import MACECalculator

    theirs = MACECalculator(model_paths=[str(mace.path)], device="cpu", default_dtype="float64")
    ours = Mace(mace.path, mace.sha256, dtype="float64").calculator()
    assert ours.get_potential_energy(two_pairs) == pytest.approx(theirs.get_potential_energy(two_pairs), abs=1e-8)
    np.testing.assert_allclose(ours.get_forces(two_pairs), theirs.get_forces(two_pairs), atol=1e-10)


def test_mace_in_openmm_is_mace_even_where_the_box_is_smaller_than_twice_the_cutoff(mace, two_pairs, topology_of):
    import openmm
    from openmm import unit

    assert two_pairs.cell.array[0, 0] > 9  # twice the cutoff: make it smaller
    two_pairs.set_cell([8.4, 8.4, 8.4], scale_atoms=False)
    topology, calculator = topology_of(two_pairs), mace.calculator()
    system = mace.openmm_system(topology, two_pairs.cell.array)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Threads": "1"})
    context.setPositions(two_pairs.positions / 10)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
    assert energy == pytest.approx(calculator.get_potential_energy(two_pairs), abs=1e-5)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer) * KJ_PER_MOL / 10
    np.testing.assert_allclose(forces, calculator.get_forces(two_pairs), atol=1e-6)
    # the barostat would otherwise move single atoms
    assert [list(atoms) for atoms in context.getMolecules()] == [topology.atoms_of(m).tolist() for m in range(4)]


def test_only_a_force_field_can_hold_bonds(mace, two_pairs, topology_of):
    with pytest.raises(SettingsError, match="constrain_hydrogens"):
        mace.openmm_system(topology_of(two_pairs), two_pairs.cell.array, constrain_hydrogens=True)


# ---------------------------------------------------------------- committees


def test_force_deviation_is_that_of_the_worst_atom():
    forces = np.zeros((2, 3, 3))
    forces[0, 1], forces[1, 1] = [3.0, 4.0, 0.0], [-3.0, -4.0, 0.0]  # 5 eV/Å either side of the mean
    forces[:, 2] = [100.0, 0.0, 0.0]  # large, but agreed on
    assert force_deviation(forces) == pytest.approx(5.0)
    four = np.zeros((4, 1, 3))
    four[:, 0, 0] = [0.0, 0.0, 0.0, 4.0]
    assert force_deviation(four) == pytest.approx(np.sqrt(3.0))


def test_committee_is_the_mean_of_its_members(members, one_pair):
    committee = Committee(members)
    separate = [member.calculator() for member in members]
    together = committee.calculator()
    forces = np.array([calculator.get_forces(one_pair) for calculator in separate])
    np.testing.assert_allclose(together.get_forces(one_pair), forces.mean(axis=0), atol=1e-12)
    for get in ("get_potential_energy", "get_stress"):
        mean = np.mean([getattr(calculator, get)(one_pair) for calculator in separate], axis=0)
        np.testing.assert_allclose(getattr(together, get)(one_pair), mean, rtol=1e-12)
    assert force_deviation(forces) > 1e-3
    assert committee.force_deviation(one_pair) == pytest.approx(force_deviation(forces), rel=1e-9)
    assert together.results["force_deviation"] == pytest.approx(force_deviation(forces), rel=1e-9)


def test_committee_of_one_model_twice_agrees(members, one_pair):
    assert Committee((members[0], members[0])).force_deviation(one_pair) == 0.0


@pytest.mark.program("lmp")
@pytest.mark.parametrize(
    "folder",
    [
        'a "quoted" $name',
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("it's # one", "plain & simple", "${x} $(1+1)")),
    ],
)
def test_lammps_reads_a_model_whatever_its_folder_is_called(tiny_deepmd_model, tmp_path, folder):
    """And runs nothing that the name says."""
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / "model.pb"
    shutil.copy(tiny_deepmd_model, path)
    script = [
        "units metal", "atom_style atomic", "region box block 0 9 0 9 0 9", "create_box 5 box", "mass * 1.0",
        *Deepmd(path, sha256(path)).lammps_pair(["B", "C", "F", "H", "N"]), "run 0",
    ]  # fmt: skip
    (tmp_path / "in.lammps").write_text("\n".join(script) + "\n")
    programs.run(["lmp", "-in", "in.lammps"], tmp_path, log="lmp.log")


@pytest.mark.parametrize("name", ["a\" 'b", "a\nshell touch trace"])
def test_a_path_that_no_quotes_hold_is_not_given_to_lammps(name):
    with pytest.raises(SettingsError, match="LAMMPS cannot read the path"):
        lammps_word(Path("/") / name)


def test_committee_that_lammps_cannot_run_is_refused():
    with pytest.raises(SettingsError, match="committees of deepmd models only, not of clp, clp"):
        Committee((Clp(4.0), Clp(4.0))).lammps_pair(["H"])


@pytest.mark.program("lmp")
def test_lammps_agrees_on_energy_forces_stress_and_deviation(members, two_pairs, tmp_path):
    elements = ["B", "C", "F", "H", "N"]  # another order than the model's own
    committee = Committee(members)
    write(tmp_path / "box.data", two_pairs, format="lammps-data", specorder=elements, masses=True, units="metal")
    script = [
        "units metal", "atom_style atomic", "atom_modify map yes", "read_data box.data",
        *committee.lammps_pair(elements, deviation_every=1),
        "thermo_style custom pe pxx pyy pzz pyz pxz pxy", "thermo_modify format float %.12g",
        "dump forces all custom 1 forces.dump fx fy fz", "dump_modify forces sort id format float %.12g",
        "run 0",
    ]  # fmt: skip
    (tmp_path / "in.lammps").write_text("\n".join(script) + "\n")
    programs.run(["lmp", "-in", "in.lammps"], tmp_path, log="lmp.log")
    calculator = members[0].calculator()
    row = re.search(r"PotEng.*\n(.*)\n", (tmp_path / "lmp.log").read_text())[1]
    energy, *pressure = map(float, row.split())
    assert energy == pytest.approx(calculator.get_potential_energy(two_pairs), abs=1e-6)
    stress_bar = calculator.get_stress(two_pairs) * 1.602176634e6
    np.testing.assert_allclose(np.array(pressure), -stress_bar, atol=1e-2)
    forces = np.loadtxt(tmp_path / "forces.dump", skiprows=9)
    np.testing.assert_allclose(forces, calculator.get_forces(two_pairs), atol=1e-6)
    row = np.loadtxt(tmp_path / DEVIATION_FILE)
    assert row[4] == pytest.approx(committee.force_deviation(two_pairs), rel=1e-4)

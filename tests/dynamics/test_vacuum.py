"""Ions in a vacuum: each engine's energies are those of the potential without any cutoff, and what is refused."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from ilforge import frames, potentials
from ilforge.dynamics import gromacs, run_md
from ilforge.dynamics.gromacs.vacuum import longest_chain
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.quantum.xtb import Xtb
from ilforge.properties import measure
from ilforge.units import ASE_TIME_IN_FS, KB
from support import md
from support.clp_terms import openmm_terms


def ions(counts: dict[str, int], seed: int = 1):
    """Ions and a structure of them, every atom a little off its place so that no term is zero."""
    found = Liquid.of(counts, vacuum=True)
    atoms = in_vacuum(found, seed)
    atoms.rattle(0.03, seed=seed)
    return found, atoms


@pytest.mark.program("gmx")
@pytest.mark.parametrize("counts", [{"PYR14": 1}, {"TFSI": 1}, {"PYR14": 2, "TFSI": 2}], ids=str)
def test_gromacs_and_openmm_agree_term_by_term(counts):
    liquid, atoms = ions(counts)
    job = Job(Clp(), atoms, liquid.topology, md.short())
    said, expected = gromacs.one_point(job), openmm_terms(job.potential, job.topology, None, atoms.positions)
    names = {"bond": "Bond", "angle": "Angle", "torsion": "Fourier Dih.", "lj_1_4": "LJ-14", "lj": "LJ (SR)"}
    found = {ours: said[theirs] for ours, theirs in names.items()}
    found["coulomb"] = said["Coulomb (SR)"] + said["Coulomb-14"]
    assert set(said) == {*names.values(), "Coulomb (SR)", "Coulomb-14", "Potential"}  # no correction of any kind
    for term, energy in found.items():
        assert energy == pytest.approx(expected[term], rel=1e-5), term


def test_no_molecule_is_longer_than_its_chain_of_bonds():
    liquid = Liquid.of({"PYR14": 1}, vacuum=True)
    widest = max(float(pdist(in_vacuum(liquid, seed).positions).max()) for seed in range(10))
    assert 1.3 * widest < longest_chain(liquid.topology) < 2.5 * widest


@pytest.mark.program("gmx")
def test_ions_that_leave_each_other_are_too_far_apart_for_gromacs_and_not_for_openmm(tmp_path):
    liquid, atoms = ions({"PYR14": 2})  # two cations
    protocol = md.short(minimise_steps=200, length_ps=2.0, interval_ps=0.02, checkpoint_steps=500)
    with pytest.raises(SettingsError, match=r"drifted apart in the vacuum, to .* OpenMM has no such limit"):
        run_md(Clp(), atoms, liquid, protocol, tmp_path / "gromacs", engine="gromacs")
    trajectory = run_md(Clp(), atoms, liquid, protocol, tmp_path / "openmm")
    assert trajectory.fault is None
    assert pdist(frames.read(trajectory.last_file)[0].positions).max() > pdist(atoms.positions).max() + 9.0


@pytest.mark.program("lmp")
def test_lammps_and_the_calculator_agree_on_deepmd(tiny_deepmd_model, tmp_path):
    liquid, atoms = ions({"PYR14": 1, "BF4": 1})
    potential = potentials.create(md.deepmd(tiny_deepmd_model))
    protocol = md.short(equilibration_ps=0.0, length_ps=0.005, interval_ps=0.005)
    trajectory = run_md(potential, atoms, liquid, protocol, tmp_path / "run", engine="lammps")
    last = frames.read(trajectory.last_file)[0]
    last.calc = potential.calculator(liquid.topology)
    recorded = trajectory.thermo()["potential_energy_eV"][-1]
    assert last.get_potential_energy() == pytest.approx(recorded, abs=1e-6)  # eV; positions have eight decimals


def test_a_charged_ion_with_tight_binding(tmp_path):
    liquid, atoms = ions({"BF4": 1})
    trajectory = run_md(Xtb(), atoms, liquid, md.short(equilibration_ps=0.0, length_ps=0.01), tmp_path / "run")
    last = frames.read(trajectory.last_file)[0]
    last.calc = Xtb().calculator(liquid.topology)
    assert last.get_potential_energy() == pytest.approx(trajectory.thermo()["potential_energy_eV"][-1], abs=1e-5)
    assert trajectory.info()["engine"]["name"] == "ase"


def rotational_energy(sample, masses: np.ndarray) -> float:
    """L I^-1 L / 2 about the centre of mass, eV."""
    arm = sample.positions - masses @ sample.positions / masses.sum()
    momentum = np.sum(masses[:, None] * np.cross(arm, sample.velocities), axis=0)
    inertia = np.sum(masses * np.sum(arm**2, axis=1)) * np.eye(3) - (masses[:, None] * arm).T @ arm
    return 0.5 * momentum @ np.linalg.solve(inertia, momentum) * ASE_TIME_IN_FS**2


@pytest.mark.parametrize(
    "engine",
    [
        "openmm",
        pytest.param("ase", marks=pytest.mark.slow),
        pytest.param("gromacs", marks=pytest.mark.program("gmx")),
    ],
)
def test_rotation_is_warmed_like_all_other_motion(engine, tmp_path):
    liquid = Liquid.of({"BF4": 1}, vacuum=True)
    protocol = md.short(timestep_fs=1.0, length_ps=30.0, interval_ps=0.5, equilibration_ps=2.0, start_temperature_K=1.0)
    job = Job(Clp(), in_vacuum(liquid, 1), liquid.topology, protocol, directory=tmp_path)
    module = import_module(f"ilforge.dynamics.{engine}")
    samples = [sample for sample, _ in module.frames(job, None, 0) if sample is not None]
    rotation = np.mean([rotational_energy(sample, liquid.topology.masses) for sample in samples])
    # some 40 independent values of three degrees of freedom, and of twelve: 13 and 7 %; limits are four of these
    assert 2 * rotation / (3 * KB) == pytest.approx(423, rel=0.52)
    assert np.mean([sample.temperature for sample in samples]) == pytest.approx(423, rel=0.28)


def test_what_means_nothing_in_a_vacuum_is_left_out_with_the_reason(tmp_path):
    start = md.lone_ion()
    found = measure(md.run(md.CLP, "openmm", start, md.short(), tmp_path / "run"))
    for name, words in {"density": "no volume", "diffusion": "do not diffuse", "rdf": "mean density"}.items():
        assert not found[name].estimates and not found[name].curves
        assert found[name].notes[0].startswith(f"{name} is not measured for ions in a vacuum") and words in str(found)
    said = [verdict.what for verdict in found["health"].verdicts]
    assert all(verdict.ok for verdict in found["health"].verdicts) and "every ion kept its bonds" in said
    assert not any("cavity" in what or "vacuum" in what for what in said)


def test_a_bond_that_breaks_in_a_vacuum_is_found():
    start = md.lone_ion()
    broken = start.copy()
    carbon = Liquid.of_frame(start).topology.bonds[-1][1]
    broken.positions[carbon] += 3.0
    found = measure([start, broken], ["health"], frame_interval_ps=1.0)["health"]
    assert any("the bonds of the ions changed" in verdict.what for verdict in found.verdicts if not verdict.ok)


def test_what_cannot_run_is_refused_in_words(tmp_path):
    lithium = Liquid.of({"Li": 1}, vacuum=True)
    with pytest.raises(SettingsError, match="single atom in a vacuum feels no force"):
        run_md(Clp(), in_vacuum(lithium, 1), lithium, md.short(), tmp_path / "li")
    liquid, atoms = ions({"PYR14": 1})
    atoms.cell, atoms.pbc = np.eye(3) * 40, True
    with pytest.raises(SettingsError, match=r"net charge of \+1, and a periodic box of them has no finite energy"):
        run_md(Clp(), atoms, liquid, md.short(), tmp_path / "box")
    atoms.pbc = (True, True, False)
    with pytest.raises(SettingsError, match="periodic in all three directions and has right angles"):
        run_md(Clp(), atoms, liquid, md.short(), tmp_path / "slab")

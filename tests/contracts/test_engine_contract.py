"""What every engine must do, whatever moves the atoms: the same files, times and rules, and the same way back."""

from __future__ import annotations

import filecmp

import numpy as np
import pytest

from ilforge import frames
from ilforge.dynamics import ENGINES, Trajectory
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.units import ASE_TIME_IN_FS, KB
from support import exp6, md
from support.patience import until

PROGRAMS = {"lammps": "lmp", "gromacs": "gmx"}
SLOW = ("deepmd", "exp6")
"""Potentials whose cases take a minute each; tests of their own see them run too."""
FILES = {"topology.pdb", "trajectory.dcd", "thermo.csv", "run.json", "last.xyz"}


# an engine, a potential that it can run, and where: neither Drude particles nor multiple time steps nor a vacuum are to
# make a difference to what is promised here
WHERE = ("box", "vacuum")
CASES = [
    *((name, {"lammps": "deepmd", "builtin": "mace"}.get(name, "clp"), where) for name in ENGINES for where in WHERE),
    ("openmm", "clpol", "box"),
    ("openmm", "clpol", "vacuum"),
    ("openmm", "exp6", "box"),
    ("openmm", "mace", "vacuum"),
]


def marks(engine, potential):
    """What a case needs, and whether it is left out of the quick tests."""
    needed = [pytest.mark.program(PROGRAMS[engine])] if engine in PROGRAMS else []
    return [*needed, pytest.mark.slow] if potential in SLOW else needed


@pytest.fixture(scope="module", params=[pytest.param(case, marks=marks(*case[:2])) for case in CASES], ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def engine(case):
    return case[0]


@pytest.fixture(scope="module")
def spec(case, request):
    if case[1] == "deepmd":
        return md.deepmd(request.getfixturevalue("tiny_deepmd_model"))
    if case[1] == "mace":
        return md.mace(request.getfixturevalue("tiny_mace_model"))
    if case[0] == "gromacs":
        return md.WIDE_CLP
    return {"clp": md.CLP, "clpol": md.CLPOL, "exp6": exp6.SPEC}[case[1]]


@pytest.fixture(scope="module")
def density(engine):
    """GROMACS needs a margin around a cutoff that no molecule reaches across, so a wider box."""
    return 0.8 if engine == "gromacs" else 1.03


@pytest.fixture(scope="module")
def vacuum(case):
    return case[2] == "vacuum"


@pytest.fixture(scope="module")
def start(density, vacuum):
    return md.lone_ion() if vacuum else md.warm_box(density)


@pytest.fixture(scope="module")
def topology(start):
    return Liquid.of_frame(start).topology


@pytest.fixture(scope="module")
def trajectory(engine, spec, start, tmp_path_factory):
    return md.run(spec, engine, start, md.short(), tmp_path_factory.mktemp(engine) / "run")


def test_the_same_files_for_every_engine_and_none_half_done(trajectory, topology, vacuum):
    assert {path.name for path in trajectory.directory.iterdir() if path.is_file()} == FILES
    info = trajectory.info()
    assert info["finished"] is True and info["fault"] is None
    assert info["species"] == list(topology.species)
    assert info["periodic"] is not vacuum
    assert info["engine"]["name"] == info["run_by"]


def test_frames_times_and_bonds_as_asked_for(trajectory, topology, vacuum):
    universe = trajectory.universe()
    assert universe.trajectory.n_frames == 20
    assert universe.trajectory.dt == pytest.approx(0.005)
    times = [step.time for step in universe.trajectory]
    thermo = trajectory.thermo()
    np.testing.assert_allclose(times, thermo["time_ps"], atol=1e-6)
    np.testing.assert_allclose(thermo["time_ps"], 0.005 * np.arange(1, 21), atol=1e-9)
    assert all((step.dimensions is None) is vacuum for step in universe.trajectory)
    assert list(universe.residues.resnames) == list(topology.species)
    assert list(universe.atoms.names) == list(topology.names)
    np.testing.assert_allclose(universe.atoms.masses, topology.masses)
    assert {tuple(sorted(bond)) for bond in universe.bonds.indices.tolist()} == {
        tuple(sorted(bond)) for bond in topology.bonds.tolist()
    }


def test_molecules_are_whole_and_never_jump(case, start, trajectory, topology):
    universe = trajectory.universe()
    positions = np.array([step.positions for step in universe.trajectory])
    assert np.abs(positions[0] - start.positions).max() < 3.0
    assert np.abs(np.diff(positions, axis=0)).max() < 1.0
    if case[1] not in ("deepmd", "mace"):  # these, hardly trained, hold no molecule together
        i, j = topology.bonds.T
        assert np.linalg.norm(positions[:, i] - positions[:, j], axis=-1).max() < 2.5
    assert len(np.unique(positions[:, 0, 0])) == 20


def test_the_temperature_is_that_of_the_velocities_and_about_the_set_one(case, engine, trajectory, topology, vacuum):
    thermo = trajectory.thermo()
    # 207 degrees of freedom, or 87: 10 or 15 % in one frame, and the run is short
    assert thermo["temperature_K"].mean() == pytest.approx(423, rel=0.35 if vacuum else 0.25)
    free = 3 * topology.n_atoms - (0 if engine == "ase" else 3)  # ASE's thermostat moves the centre of mass, too
    np.testing.assert_allclose(2 * thermo["kinetic_energy_eV"] / (free * KB), thermo["temperature_K"], rtol=1e-4)
    last = frames.read(trajectory.last_file)[0]
    tolerance = 0.03 if engine == "gromacs" else 2e-3  # its velocities are half a step behind
    assert last.get_kinetic_energy() == pytest.approx(thermo["kinetic_energy_eV"][-1], rel=tolerance)
    assert last.pbc.any() != vacuum
    volume = np.nan if vacuum else last.get_volume()
    assert volume == pytest.approx(thermo["volume_A3"][-1], rel=1e-6, nan_ok=True)


def test_nothing_pushes_the_ions_at_constant_energy(engine, spec, start, topology, vacuum, tmp_path):
    """Momentum is conserved, and so is angular momentum in a vacuum: it is neither made nor taken away."""
    protocol = md.short(ensemble="NVE", equilibration_ps=0.0, length_ps=0.05, checkpoint_steps=10)
    after = frames.read(md.run(spec, engine, start, protocol, tmp_path / "run").last_file)[0]
    before = start.copy()
    before.set_velocities(Job(None, start, topology, protocol).start_velocities * ASE_TIME_IN_FS)
    momenta = after.get_momenta()
    mesh = engine == "gromacs" and not vacuum  # whose forces do not quite add up to zero
    np.testing.assert_allclose(momenta.sum(axis=0), 0, atol=(3e-3 if mesh else 1e-4) * np.abs(momenta).sum())
    if vacuum:
        size = np.linalg.norm(before.get_angular_momentum())
        tolerance = 0.05 if engine == "gromacs" else 2e-3  # its velocities are half a step behind
        np.testing.assert_allclose(after.get_angular_momentum(), before.get_angular_momentum(), atol=tolerance * size)


def test_at_constant_energy_the_temperature_is_that_of_what_moves_within(engine, spec, start, topology, tmp_path):
    """Thermostats of the unrecorded start may push the whole, which then neither moves on nor counts."""
    protocol = md.short(ensemble="NVE", equilibration_ps=0.05, length_ps=0.01)
    trajectory = md.run(spec, engine, start, protocol, tmp_path / "run")
    momenta = frames.read(trajectory.last_file)[0].get_momenta()
    assert np.abs(momenta.sum(axis=0)).max() < 5e-3 * np.abs(momenta).sum()
    thermo = trajectory.thermo()
    free = 3 * topology.n_atoms - 3
    np.testing.assert_allclose(2 * thermo["kinetic_energy_eV"] / (free * KB), thermo["temperature_K"], rtol=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_gives_another(engine, spec, start, trajectory, tmp_path):
    brief = md.short(length_ps=0.05)  # the first ten frames
    again = md.run(spec, engine, start, brief, tmp_path / "again")
    other = md.run(spec, engine, start, md.short(length_ps=0.05, seed=4), tmp_path / "other")
    first = trajectory.thermo()["potential_energy_eV"][:10]
    assert np.array_equal(again.thermo()["potential_energy_eV"], first)
    ends = [frames.read(run.last_file)[0].positions for run in (again, other)]
    assert np.abs(ends[0] - ends[1]).max() > 0.01  # Å; total energies of thousands of eV would agree to five digits


def test_a_killed_run_goes_on_and_ends_the_same(engine, spec, start, trajectory, tmp_path):
    directory = tmp_path / "run"
    md.run_and_be_killed(spec, engine, start, md.short(), directory, at_frame=10)
    assert not (directory / "run.json").exists()
    until(lambda: not md.processes_in(directory), "the end of a program that goes on writing there")
    with open(directory / "trajectory.dcd", "ab") as file:
        file.write(b"half a frame")
    resumed = md.run(spec, engine, start, md.short(), directory)
    for name in ("trajectory.dcd", "thermo.csv", "last.xyz", "topology.pdb"):
        assert filecmp.cmp(directory / name, trajectory.directory / name, shallow=False), name
    assert {path.name for path in directory.iterdir() if path.is_file()} == FILES
    assert resumed.info()["n_frames"] == 20


def test_a_run_that_has_ended_is_not_run_again_and_not_taken_for_another(engine, spec, start, trajectory):
    before = trajectory.run_file.stat().st_mtime_ns
    assert md.run(spec, engine, start, md.short(), trajectory.directory) == Trajectory(trajectory.directory)
    assert trajectory.run_file.stat().st_mtime_ns == before
    with pytest.raises(SettingsError, match="contains a run with another"):
        md.run(spec, engine, start, md.short(temperature_K=300.0), trajectory.directory)


def test_npt_changes_the_volume_and_says_so_everywhere(engine, spec, start, vacuum, tmp_path):
    if vacuum:
        with pytest.raises(SettingsError, match="NPT: ions in a vacuum have neither volume nor pressure"):
            md.run(spec, engine, start, md.short(ensemble="NPT"), tmp_path / "run")
        return
    # strains by finite differences make the ASE engine slow with CL&P
    steps = {"length_ps": 0.02, "equilibration_ps": 0.0, "interval_ps": 0.01} if engine == "ase" else {"length_ps": 0.1}
    trajectory = md.run(spec, engine, start, md.short(ensemble="NPT", **steps), tmp_path / "run")
    volumes = trajectory.thermo()["volume_A3"]
    assert np.ptp([start.get_volume(), *volumes]) > 0
    sides = [step.dimensions[:3].prod() for step in trajectory.universe().trajectory]
    np.testing.assert_allclose(sides, volumes, rtol=1e-5)


def test_an_explosion_ends_the_run_and_is_told_not_raised(engine, spec, density, vacuum, start, tmp_path):
    # atoms that should hardly move, in a structure far from rest
    protocol = md.short(temperature_K=1.0, equilibration_ps=0.0, interval_ps=0.001, length_ps=0.1)
    if vacuum:
        start = start.copy()
        start.rattle(0.2, seed=1)
    trajectory = md.run(spec, engine, start if vacuum else md.packed_box(density), protocol, tmp_path / "run")
    fault, info = trajectory.fault, trajectory.info()
    assert info["finished"] is False
    assert "1 K was set" in fault["message"] and 0 < fault["time_ps"] < 0.1
    assert " of PYR14 #" in " ".join(fault["atoms"]) or " of BF4 #" in " ".join(fault["atoms"])
    assert {path.name for path in trajectory.directory.iterdir() if path.is_file()} == FILES | {"broken.xyz"}
    (broken,) = frames.read(trajectory.broken_file)
    assert np.isfinite(broken.positions).all() and broken.info["fault"] == fault["message"]
    assert broken.pbc.any() != vacuum
    assert 2 * broken.get_kinetic_energy() / (3 * len(broken) * KB) > 2.0 or engine == "lammps"
    assert len(trajectory.thermo()["time_ps"]) == info["n_frames"] < 100
    assert trajectory.universe().trajectory.n_frames == max(1, info["n_frames"])  # without any, the start


def test_what_an_engine_cannot_do_is_refused_in_words(engine, spec, start, tmp_path):
    others = {"builtin": "lammps", "openmm": "lammps", "ase": "lammps", "lammps": "openmm", "gromacs": "lammps"}
    with pytest.raises(SettingsError, match=f"engine = '{others[engine]}' cannot run {spec['kind']}"):
        md.run(spec, others[engine], start, md.short(), tmp_path / "run")
    with pytest.raises(SettingsError, match="does not list the atoms of the liquid"):
        md.run(spec, engine, start[:-1], md.short(), tmp_path / "run")
    carbons = np.flatnonzero(start.symbols == "C")
    order = np.arange(len(start))
    order[carbons] = np.roll(carbons, 2)
    with pytest.raises(SettingsError, match="in the order of the liquid: .* bonds have impossible lengths"):
        md.run(spec, engine, start[order], md.short(), tmp_path / "run")

"""GROMACS as engine: the same energies as OpenMM term by term, held bonds, and what it says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import bar as BAR

from ilforge import frames
from ilforge.devices import CPU, Device
from ilforge.dynamics import choose_engine, gromacs, run_md
from ilforge.dynamics.gromacs.files import gro_text, read_trr, read_xvg
from ilforge.dynamics.gromacs.program import offload
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.classical.clp_parameters import assign
from ilforge.potentials.classical.typed_terms import atom_types
from ilforge.properties.reading.pressure_table import read_pressure
from support import md
from support.boxes import LIQUIDS, large_box
from support.clp_terms import MESH, openmm_terms

ENERGY = """# This file was created
@    title "GROMACS Energies"
@ s0 legend "Potential"
@ s1 legend "Temperature"
    0.000000  -1.25000000  400.5
    0.010000  -1.50000000  401.5
    0.020000  -1.7
"""


@pytest.fixture(scope="module", params=list(LIQUIDS))
def box(request):
    """A job in a box for a cutoff of 10 Å, and its energies by OpenMM."""
    liquid, atoms = large_box(request.param)
    job = Job(Clp(10.0), atoms, liquid.topology, md.short())
    return job, openmm_terms(job.potential, job.topology, atoms.cell.array, job.start_positions)


def gromacs_terms(job: Job, program: str, order: int) -> dict[str, float]:
    mesh = {f"fourier_n{axis}": str(MESH) for axis in "xyz"}
    said = gromacs.one_point(job, program, **mesh, pme_order=str(order))
    names = {"bond": "Bond", "angle": "Angle", "torsion": "Fourier Dih.", "lj_1_4": "LJ-14", "lj": "LJ (SR)"}
    found = {ours: said[theirs] for ours, theirs in names.items()}
    found["coulomb"] = said["Coulomb (SR)"] + said["Coul. recip."] + said["Coulomb-14"]
    found["tail"] = said["Disper. corr."]
    return found


# measured: 2e-6 (Coulomb 6e-6) in mixed precision, 7e-9 (Coulomb 7e-8) in double
@pytest.mark.parametrize(
    ("program", "order", "tolerance", "coulomb"),
    [
        pytest.param("gmx", 4, 1e-5, 2e-5, marks=pytest.mark.program("gmx")),
        pytest.param("gmx_d", 6, 5e-8, 5e-7, marks=pytest.mark.program("gmx_d")),
    ],
)
def test_gromacs_and_openmm_agree_term_by_term(box, program, order, tolerance, coulomb):
    job, expected = box
    found = gromacs_terms(job, program, order)
    for term in ("bond", "angle", "torsion", "lj_1_4", "lj"):
        assert found[term] == pytest.approx(expected[term], rel=tolerance), term
    assert found["coulomb"] == pytest.approx(expected["coulomb"], rel=coulomb)
    # beyond the cutoff GROMACS takes the mean over pairs that interact, OpenMM that over all: 0.5 % apart
    assert found["tail"] == pytest.approx(expected["tail"], rel=0.01)


def test_it_runs_only_what_asks_for_it():
    atoms = md.packed_box()
    assert choose_engine(Clp(4.0), atoms) == "openmm"
    assert choose_engine(Clp(4.0), atoms, "gromacs") == "gromacs"


def hydrogen_bonds(topology) -> np.ndarray:
    return np.array([[i, j] for i, j in topology.bonds.tolist() if "H" in (topology.symbols[i], topology.symbols[j])]).T


@pytest.mark.program("gmx")
def test_a_packed_box_comes_to_rest_and_bonds_to_hydrogen_are_held(tmp_path):
    liquid = Liquid.of({"PYR14": 4, "BF4": 4})
    protocol = md.short(
        ensemble="NPT", timestep_fs=2.0, minimise_steps=200, equilibration_ps=0.3, length_ps=0.2, interval_ps=0.02
    )
    trajectory = run_md(Clp(4.6), pack(liquid, 1.0, 1), liquid, protocol, tmp_path / "run", engine="gromacs")
    engine = trajectory.info()["engine"]
    assert trajectory.fault is None
    assert engine["bonds_to_H"] == "held" and engine["barostat"].startswith("Parrinello-Rahman")
    i, j = hydrogen_bonds(liquid.topology)
    positions = np.array([step.positions for step in trajectory.universe().trajectory])
    np.testing.assert_allclose(np.linalg.norm(positions[:, i] - positions[:, j], axis=-1), 1.09, atol=1e-3)
    assert trajectory.thermo()["temperature_K"].mean() == pytest.approx(423, rel=0.3)


@pytest.mark.program("gmx")
def test_energy_is_conserved(tmp_path):
    protocol = md.short(ensemble="NVE", timestep_fs=0.25, length_ps=0.1, interval_ps=0.005, checkpoint_steps=10**6)
    thermo = md.run(md.WIDE_CLP, "gromacs", md.warm_box(0.8), protocol, tmp_path / "run").thermo()
    total = thermo["potential_energy_eV"] + thermo["kinetic_energy_eV"]
    assert total.std() < 4e-3  # of a kinetic energy of 3.8 eV; measured 0.001


@pytest.mark.program("gmx")
def test_the_pressure_tensor_is_recorded_and_survives_a_stop(tmp_path):
    from ilforge.properties import measure

    protocol = md.short(ensemble="NVT", length_ps=0.04, pressure_interval_ps=0.0025, checkpoint_steps=30)
    atoms = md.warm_box(0.8)
    whole = md.run(md.WIDE_CLP, "gromacs", atoms, protocol, tmp_path / "whole")
    table = read_pressure(whole.pressure_file)
    assert len(table.off_diagonal) == 16 and table.interval_ps == pytest.approx(0.0025)
    assert table.diagonal.std() > 1 and table.off_diagonal.std() > 1
    ((_, _, found),) = measure(whole, ["viscosity"])["viscosity"].estimates
    assert "16 samples of the pressure tensor are too few" in found.note
    job = Job(Clp(4.6), atoms, md.liquid().topology, protocol, directory=tmp_path / "stopped")
    running = gromacs.frames(job, None, 0)
    while True:  # to the second checkpoint of the recorded part
        sample, state = next(running)
        if sample is not None and state is not None:
            break
    next(running)  # the segment behind it has been written
    running.close()
    done = gromacs._State.from_bytes(state).step // protocol.interval_steps
    list(gromacs.frames(job, state, done))
    np.testing.assert_array_equal(read_pressure(tmp_path / "stopped" / "pressure.csv").off_diagonal, table.off_diagonal)


@pytest.mark.program("gmx")
def test_the_pressure_tensor_is_that_of_another_program(tmp_path):
    """Of the last frame: the strain derivative of OpenMM's energy, and the motion of the atoms."""
    protocol = md.short(
        ensemble="NVE", timestep_fs=0.25, equilibration_ps=0.0, length_ps=0.01, interval_ps=0.0025,
        pressure_interval_ps=0.0025,
    )  # fmt: skip
    run = md.run(md.WIDE_CLP, "gromacs", md.warm_box(0.8), protocol, tmp_path / "run")
    table = read_pressure(run.pressure_file)
    (last,) = frames.read(run.last_file)
    last.calc = Clp(4.6).calculator(md.liquid().topology)
    moving = np.einsum("ia,ib->ab", last.get_momenta(), last.get_velocities()) / last.get_volume()
    xx, yy, zz, yz, xz, xy = -last.get_stress() / BAR
    expected = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) + moving / BAR
    scale = np.abs(expected).max()
    assert scale > 1000, "bar"
    np.testing.assert_allclose(table.diagonal[-1], np.diag(expected), atol=0.05 * scale)
    np.testing.assert_allclose(table.off_diagonal[-1], expected[[0, 0, 1], [1, 2, 2]], atol=0.05 * scale)
    assert np.ptp(expected[[0, 0, 1], [1, 2, 2]]) > 0.2 * scale, "so that no two could change places"


def test_a_pressure_interval_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="whole multiple"):
        md.short(pressure_interval_ps=0.003)
    with pytest.raises(SettingsError, match="openmm cannot record the pressure tensor; use engine gromacs"):
        md.run(md.CLP, "openmm", md.packed_box(), md.short(pressure_interval_ps=0.0025), tmp_path / "run")


@pytest.mark.program("gmx")
def test_a_box_or_a_cutoff_too_small_is_told_in_words(tmp_path):
    with pytest.raises(SettingsError, match="twice the sum of the cutoff of the clp potential and the margin"):
        run_md(Clp(4.9), md.warm_box(0.8), md.liquid(), md.short(), tmp_path / "pairs", engine="gromacs")
    with pytest.raises(SettingsError, match=r"use a cutoff of at least 4\.4\d* Å"):
        run_md(Clp(4.0), md.warm_box(), md.liquid(), md.short(), tmp_path / "molecule", engine="gromacs")


@pytest.mark.program("gmx")
def test_the_unrecorded_start_goes_on_from_its_checkpoints(tmp_path):
    protocol = md.short(equilibration_ps=0.03, length_ps=0.01, checkpoint_steps=25)  # 60 steps: three stretches
    start, topology = md.warm_box(0.8), md.liquid().topology
    jobs = [Job(Clp(4.6), start, topology, protocol, directory=tmp_path / name) for name in ("whole", "stopped")]
    whole = [sample for sample, _ in gromacs.frames(jobs[0], None, 0) if sample is not None]
    running = gromacs.frames(jobs[1], None, 0)
    next(running)
    _, state = next(running)
    running.close()
    resumed = [sample for sample, _ in gromacs.frames(jobs[1], state, 0) if sample is not None]
    assert len(whole) == len(resumed) == 2
    np.testing.assert_array_equal(whole[-1].positions, resumed[-1].positions)
    assert not (tmp_path / "stopped" / "ilforge-gromacs" / "segment").exists()


@pytest.mark.program("gmx")
def test_molecules_stay_at_the_image_they_started_at(tmp_path):
    atoms = md.warm_box(0.8)
    far = np.array([0.0, 0.0, 5 * atoms.cell.array[2, 2]])
    atoms.positions += far
    protocol = md.short(equilibration_ps=0.0, length_ps=0.02)
    trajectory = md.run(md.WIDE_CLP, "gromacs", atoms, protocol, tmp_path / "run")
    frames = np.array([step.positions for step in trajectory.universe().trajectory])
    assert np.abs(frames - atoms.positions).max() < 1.0


def test_the_structure_file_keeps_nine_decimals():
    topology, box = md.liquid().topology, md.packed_box()
    lines = gro_text(topology, box.positions, box.cell.array, np.full((70, 3), 0.001)).splitlines()
    assert int(lines[1]) == 70 and len(lines) == 73
    assert lines[2][:20] == "    1PYR14   N1    1"
    fields = [float(lines[71][20 + 14 * k : 34 + 14 * k]) for k in range(6)]
    np.testing.assert_allclose(fields, [*box.positions[69] / 10, 0.1, 0.1, 0.1], atol=1e-9)
    assert float(lines[72].split()[0]) == pytest.approx(box.cell.array[0, 0] / 10, abs=1e-9)


def test_the_topology_lists_each_kind_of_ion_once_and_types_by_their_numbers():
    topology = md.liquid().topology
    text = Clp().gromacs_topology(topology)
    assert text.count("[ moleculetype ]") == 2
    assert text.endswith("[ molecules ]\nPYR14  2\nBF4  2\n")
    terms = assign(topology)
    types = np.array(atom_types(topology, terms))
    for name in set(types):
        assert len(set(zip(terms.sigmas[types == name], terms.epsilons[types == name], strict=True))) == 1


def test_tables_and_trajectories_that_end_early(tmp_path):
    path = tmp_path / "energy.xvg"
    path.write_text(ENERGY)
    table = read_xvg(path)
    assert list(table) == ["time", "Potential", "Temperature"]
    np.testing.assert_allclose(table["Potential"], [-1.25, -1.5])
    assert read_xvg(tmp_path / "none") == {}
    assert list(read_trr(tmp_path / "none.trr")) == []


@pytest.mark.program("gmx")
def test_half_a_frame_of_a_trajectory_does_not_count(tmp_path, monkeypatch):
    kept = {}
    read = gromacs.read_trr

    def keep(path):
        kept["trr"] = path.read_bytes()
        return read(path)

    monkeypatch.setattr(gromacs, "read_trr", keep)
    brief = md.short(equilibration_ps=0.0, length_ps=0.02)
    md.run(md.WIDE_CLP, "gromacs", md.warm_box(0.8), brief, tmp_path / "run")
    whole, torn = tmp_path / "whole.trr", tmp_path / "torn.trr"
    whole.write_bytes(kept["trr"])
    torn.write_bytes(kept["trr"][:-100])
    assert len(list(read_trr(torn))) == len(list(read_trr(whole))) - 1 > 2


@pytest.mark.program("gmx")
def test_a_liquid_at_constant_pressure_stays_one(tmp_path):
    """With a barostat that looks at the pressure every 20 fs, the box doubled within 12 ps."""
    liquid = Liquid.of({"PYR14": 8, "BF4": 8})
    start = {"minimise_steps": 200, "constant_volume_ps": 0.5, "equilibration_ps": 4.0}
    protocol = md.short(
        ensemble="NPT", timestep_fs=2.0, **start, length_ps=12.0, interval_ps=0.2, checkpoint_steps=10**5
    )
    trajectory = run_md(Clp(4.6), pack(liquid, 1.0, 1), liquid, protocol, tmp_path, engine="gromacs")
    volumes = trajectory.thermo()["volume_A3"]
    assert volumes.max() < 1.3 * volumes.mean() and volumes.std() < 0.1 * volumes.mean()


def test_pairs_and_mesh_go_to_a_gpu_only_where_one_was_chosen():
    on_gpu = Device("cuda", 1)
    assert offload(CPU, periodic=True, dynamics=True) == ["-nb", "cpu"]  # a GPU that is there is not taken
    assert offload(on_gpu, periodic=True, dynamics=True) == ["-nb", "gpu", "-pme", "gpu", "-gpu_id", "1"]
    assert offload(Device("opencl"), periodic=True, dynamics=False) == ["-nb", "gpu", "-pme", "cpu"]
    assert offload(on_gpu, periodic=False, dynamics=True) == ["-nb", "cpu"]

"""Unphysical runs are found, sound ones are left in peace."""

import numpy as np
import pytest

from ilforge.liquid.liquid import Liquid
from ilforge.properties import System
from ilforge.properties.kernels.voids import clearance_function, empty_fraction, largest_void
from support import md
from support.motion import atomic_ions, estimate, measured, snapshots

SIDE = 16.0
LIQUID_SIDE = 15.0


def cubic(n, side):
    axes = [np.arange(n) * side / n] * 3
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("shift", [0.0, 0.37])
def test_void_of_a_lattice_is_its_hole(shift):
    positions = cubic(4, SIDE) + shift
    clearance = clearance_function(positions, np.full(64, 1.5), SIDE * np.eye(3))
    radius, centre = largest_void(clearance, SIDE * np.eye(3))
    assert radius == pytest.approx(2 * np.sqrt(3) - 1.5, abs=0.05)
    assert np.allclose((centre - shift) % 4, 2.0, atol=0.2)


def test_void_in_a_skewed_cell_and_around_one_atom():
    cell = np.array([[10.0, 0, 0], [4.0, 9.0, 0], [-3.0, 2.0, 8.0]])
    lattice = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    points = np.random.default_rng(1).random((20_000, 3)) @ cell
    expected = np.min(np.linalg.norm(points[:, None] - lattice[None], axis=2), axis=1).max() - 1.0
    clearance = clearance_function(np.zeros((1, 3)), np.ones(1), cell)
    assert largest_void(clearance, cell)[0] == pytest.approx(expected, abs=0.15)


def test_void_uses_the_radius_of_each_atom():
    positions = np.array([[0.0, 0, 0], [5.0, 5.0, 5.0]])
    clearance = clearance_function(positions, np.array([1.0, 3.0]), 10 * np.eye(3))
    assert clearance(np.array([[2.5, 2.5, 2.5]]))[0] == pytest.approx(2.5 * np.sqrt(3) - 3.0)


def test_empty_fraction_of_a_slab():
    """Atoms fill half the box; beyond 2.5 Å from either face lies (16/2 - 2 x 4) / 16 less, and so on."""
    positions = cubic(16, SIDE)
    positions = positions[positions[:, 2] < 8]
    clearance = clearance_function(positions, np.full(len(positions), 1.0), SIDE * np.eye(3))
    assert empty_fraction(clearance, SIDE * np.eye(3), 2.5) == pytest.approx(2 / 16, abs=0.07)


def liquid_frames(n_frames, rng, change=None, **system_labels):
    """Ions on a lattice, close together; ``change(index, positions)`` spoils them."""
    liquid = Liquid.of({"PYR14": 4, "BF4": 4})
    topology = liquid.topology
    side = LIQUID_SIDE
    sites = cubic(2, side) + 3.0
    shapes = [ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)]
    start = np.concatenate([shape + site for shape, site in zip(shapes, sites[[0, 3, 5, 6, 1, 2, 4, 7]], strict=True)])
    frames = []
    for index in range(n_frames):
        positions = start + 0.02 * rng.normal(size=start.shape)
        if change is not None:
            positions = change(index, positions)
        frames.append(positions - np.floor(positions / side) * side)
    system = System(topology, n_frames, 1.0, **system_labels)
    return system, frames, side * np.eye(3)


def verdicts(system, frames, cell, **thermo):
    return measured("health", system, snapshots(system, frames, cell, **thermo)).verdicts


def test_sound_run():
    rng = np.random.default_rng(1)
    system, frames, cell = liquid_frames(30, rng, temperature_K=400.0, ensemble="NVT", ended=True)
    thermo = {"temperature_K": 400 + 15 * rng.normal(size=30), "potential_energy_eV": rng.normal(size=30)}
    result = measured("health", system, snapshots(system, frames, cell, **thermo))
    assert all(verdict.ok for verdict in result.verdicts), result.verdicts
    assert len(result.verdicts) == 6 and len(result.estimates) == 2
    cavity = estimate(result, "largest_cavity_radius")
    assert 0.5 < cavity.value < 4.0 and np.isnan(cavity.error)  # a maximum has no error of a mean
    assert cavity.value == result.curves["cavity"].y.max() and "the largest of 25 frames" in cavity.note
    assert str(cavity).startswith(f"{cavity.value:.4g} Å (no error: the largest of 25 frames, in frame ")
    assert result.curves["density_profile"].y.mean() == pytest.approx(
        system.topology.masses.sum() * 1.66053906660 / LIQUID_SIDE**3
    )


def bad(found, word):
    (verdict,) = (v for v in found if not v.ok)
    assert word in verdict.what
    return verdict


def test_proton_that_moves_is_seen_at_once():
    """A proton of a ring carbon goes to a fluorine of BF4 in frame 17."""
    system, frames, cell = liquid_frames(4, np.random.default_rng(2))
    topology = system.topology
    proton = topology.names.index("H1")
    fluorine = int(np.flatnonzero(np.array(topology.symbols) == "F")[0])

    def move(index, positions):
        if index >= 17:
            positions[proton] = positions[fluorine] + np.array([0.55, 0.55, 0.55])
        return positions

    system, frames, cell = liquid_frames(40, np.random.default_rng(2), move)
    verdict = bad(verdicts(system, frames, cell), "proton transfer")
    assert verdict.frame == 17 and proton in verdict.atoms
    assert "23 of 40 frames" in verdict.what and "17 ps" in verdict.what


def test_bond_that_breaks_across_the_boundary_only_is_no_break():
    system, frames, cell = liquid_frames(3, np.random.default_rng(3))
    whole = [frame + LIQUID_SIDE * np.random.default_rng(4).integers(-2, 3, size=frame.shape) for frame in frames]
    assert "every ion kept its bonds" in [verdict.what for verdict in verdicts(system, whole, cell)]


def test_cavity_is_found_with_its_frame():
    rng = np.random.default_rng(5)
    topology = atomic_ions(Cs=216)
    system = System(topology, 10, 1.0)
    crystal = cubic(6, 24.0)
    frames = np.repeat(crystal[None], 10, axis=0) + 0.05 * rng.normal(size=(10, 216, 3))
    away = crystal - 12.0
    near = np.linalg.norm(away, axis=1) < 7.5
    frames[7, near] += away[near] / np.maximum(np.linalg.norm(away[near], axis=1), 1)[:, None] * 7.0
    frames[7, np.argmin(np.linalg.norm(away, axis=1))] += 10.0
    verdict = bad(verdicts(system, frames, 24.0 * np.eye(3)), "cavity")
    assert verdict.frame == 7 and len(verdict.atoms) == 4


def test_collapse_into_a_drop_is_found():
    topology = atomic_ions(Cs=64)
    system = System(topology, 4, 1.0)
    frames = np.repeat(cubic(4, 16.0)[None], 4, axis=0)
    found = verdicts(system, frames, 30.0 * np.eye(3))
    wrong = [verdict.what for verdict in found if not verdict.ok]
    assert any("collapsed into an aggregate" in what for what in wrong)
    assert any("cavity" in what for what in wrong)
    assert all(verdict.ok for verdict in verdicts(system, frames, 16.0 * np.eye(3)))


def test_temperature_and_energy_drift():
    rng = np.random.default_rng(6)
    system, frames, cell = liquid_frames(60, rng, temperature_K=400.0, ensemble="NVT")
    hot = {"temperature_K": 480 + 10 * rng.normal(size=60)}
    fault = bad(verdicts(system, frames, cell, **hot), "temperature")
    assert "400 K was set" in fault.what and not fault.grave  # not settled, but not out of physics
    assert fault.frame == int(np.argmax(hot["temperature_K"])) and f"at {fault.frame} ps" in fault.what
    per_atom = np.linspace(0, 0.2, 60) + 0.001 * rng.normal(size=60)
    per_atom[53] += 0.1
    energy = {"potential_energy_eV": per_atom * system.topology.n_atoms}
    fault = bad(verdicts(system, frames, cell, **energy), "potential energy")
    assert "meV per atom" in fault.what and fault.frame == 53 and "at 53 ps" in fault.what


def test_warm_drude_particles():
    rng = np.random.default_rng(8)
    system, frames, cell = liquid_frames(60, rng, temperature_K=400.0, ensemble="NVT")
    warm = 5 + 0.2 * rng.normal(size=60)
    fault = bad(verdicts(system, frames, cell, drude_temperature_K=warm), "Drude particles is 5.0")
    assert fault.frame == int(np.argmax(warm)) and not fault.grave
    assert all(verdict.ok for verdict in verdicts(system, frames, cell, drude_temperature_K=warm / 2))
    unknown = verdicts(system, frames, cell, drude_temperature_K=np.full(60, np.nan))
    assert not any("Drude" in verdict.what for verdict in unknown)


def test_fault_of_the_engine_is_passed_on():
    system, frames, cell = liquid_frames(3, np.random.default_rng(7), fault="At 2 ps: positions exploded.")
    verdict = bad(verdicts(system, frames, cell), "positions exploded")
    assert verdict.frame == 2 and verdict.grave


def of_the_end(found):
    return [(verdict.ok, verdict.grave, verdict.what) for verdict in found if verdict.what.startswith("the run ")]


def test_end_is_said_where_it_is_known():
    """Of a run that goes on nothing else is wrong, and of files from elsewhere nobody knows."""
    for ended, said in (
        (True, [(True, True, "the run reached its end")]),
        (False, [(False, False, "the run has not ended: only the part up to 2 ps was measured")]),
        (None, []),
    ):
        system, frames, cell = liquid_frames(3, np.random.default_rng(9), ended=ended)
        found = verdicts(system, frames, cell)
        assert of_the_end(found) == said and len(found) == 3 + len(said)
        assert all(verdict.frame == 2 for verdict in found if not verdict.ok)


def test_end_of_a_run_on_disk(tmp_path):
    """Of frames up to a checkpoint, of the whole run, and of the same files without its folder."""
    from ilforge.dynamics.motion import Sample
    from ilforge.dynamics.recording import Recorder
    from ilforge.dynamics.simulation import Job
    from ilforge.potentials.classical.clp import Clp
    from ilforge.properties import measure
    from ilforge.properties.reading.reader import open_trajectory

    def end(*paths, interval=None):
        return of_the_end(measure(open_trajectory(paths, interval), ["health"])["health"].verdicts)

    box, protocol = md.packed_box(), md.short()
    about = {"ions": "2 PYR14, 2 BF4", "potential": {"kind": "clp"}, "protocol": protocol.as_dict()}
    recorder = Recorder(Job(Clp(4.0), box, md.liquid().topology, protocol, directory=tmp_path), about)
    for _ in range(2):
        recorder.append(Sample(box.positions, np.zeros((70, 3)), box.cell.array, -1.0, 0.5, 400.0))
    recorder.save(b"state")
    ((ok, grave, what),) = end(tmp_path)
    assert not ok and not grave and what == "the run has not ended: only the part up to 0.005 ps was measured"
    recorder.close(None, {})
    assert end(tmp_path) == [(True, True, "the run reached its end")]
    assert end(tmp_path / "topology.pdb", tmp_path / "trajectory.dcd", interval=0.005) == []

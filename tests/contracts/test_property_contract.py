"""What every property must do: not care how a trajectory is written, leave it alone, and say what it found in JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ilforge.properties import PROPERTIES, Measurement, Property, create, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.shared.holding import KEPT
from ilforge.results import Curve, Estimate
from support.motion import measured, ornstein_uhlenbeck_pressure, snapshots, tumbling_ions

N_FRAMES = 60


@pytest.fixture(scope="module")
def trajectory():
    """Ions of every kind that some property is about."""
    counts = {"PYR14": 3, "Li": 3, "TFSI": 3, "BF4": 3}
    system, positions, cells = tumbling_ions(N_FRAMES, np.random.default_rng(1), counts=counts)
    pressure = ornstein_uhlenbeck_pressure(4000, 0.02, 0.5, 300.0, np.random.default_rng(2))
    return replace(system, pressure=pressure), positions, cells


@pytest.fixture(scope="module", params=PROPERTIES)
def name(request):
    return request.param


def thermo():
    rng = np.random.default_rng(2)
    return {
        "temperature_K": 423 + 20 * rng.normal(size=N_FRAMES),
        "potential_energy_eV": -100 + rng.normal(size=N_FRAMES),
    }


def result_of(name, system, positions, cells):
    return measured(name, system, snapshots(system, positions, cells, **thermo()))


@pytest.fixture(scope="module")
def expected(name, trajectory):
    return result_of(name, *trajectory)


def assert_same(found: Measurement, expected: Measurement) -> None:
    """Equal to rounding; a void is only known to its resolution, and a rounded distance may change bins."""
    assert len(found.estimates) == len(expected.estimates)
    for (quantity, species, a), (other_quantity, other_species, b) in zip(
        found.estimates, expected.estimates, strict=True
    ):
        assert (quantity, species, a.converged, a.unit) == (other_quantity, other_species, b.converged, b.unit)
        tolerance = 0.05 if quantity == "largest_cavity_radius" else 1e-4 * abs(b.value)
        assert a.value == pytest.approx(b.value, abs=tolerance, nan_ok=True)
        assert a.error == pytest.approx(b.error, rel=1e-3, nan_ok=True)
    assert found.curves.keys() == expected.curves.keys()
    for key, curve in expected.curves.items():
        if key in ("cavity", "density_profile"):
            continue  # where a slice or a grid point lies
        assert np.allclose(found.curves[key].x, curve.x)
        assert np.allclose(found.curves[key].y, curve.y, rtol=1e-4, atol=1e-3 * np.abs(curve.y).max()), key
    assert [verdict.ok for verdict in found.verdicts] == [verdict.ok for verdict in expected.verdicts]
    assert found.notes == expected.notes
    assert found.tables.keys() == expected.tables.keys()
    assert found.structures.keys() == expected.structures.keys()


def test_it_measures_something(name, expected):
    assert isinstance(create(name, AnalysisSettings()), Property)
    assert expected.estimates and expected.curves
    for quantity, species, found in expected.estimates:
        assert quantity and isinstance(found, Estimate) and found.unit
        assert found.converged or found.note, (quantity, species)
        stated = found.error > 0 or found.note.startswith("no error: ")  # an error of zero is none
        stated = stated or quantity in KEPT
        assert not found.converged or (np.isfinite(found.value) and stated)
    for curve in expected.curves.values():
        assert isinstance(curve, Curve) and len(curve.x) == len(curve.y) > 0
        assert curve.error is None or len(curve.error) == len(curve.x)


def test_atoms_in_any_periodic_image(name, trajectory, expected):
    system, positions, cells = trajectory
    images = np.random.default_rng(3).integers(-2, 3, size=positions.shape)
    assert_same(result_of(name, system, positions + images @ cells, cells), expected)


def test_atoms_wrapped_into_the_cell(name, trajectory, expected):
    system, positions, cells = trajectory
    fractional = positions @ np.linalg.inv(cells)
    assert_same(result_of(name, system, (fractional - np.floor(fractional)) @ cells, cells), expected)


def test_origin_anywhere(name, trajectory, expected):
    """Moved as a whole; with the cell, so that a barostat that scales about another point is no difference."""
    system, positions, cells = trajectory
    shift = np.array([3.1, -47.0, 8.8]) @ cells / 19.0
    assert_same(result_of(name, system, positions + shift[:, None], cells), expected)


def test_one_file_or_several(name, trajectory, expected, tmp_path):
    """The same frames in one file and in two, through MDAnalysis."""
    import MDAnalysis

    system, positions, cells = trajectory
    parts = {"all.dcd": slice(None), "a.dcd": slice(0, 23), "b.dcd": slice(23, None)}
    blank = universe_of(system.topology)
    for file, part in parts.items():
        with MDAnalysis.Writer(str(tmp_path / file), system.topology.n_atoms, dt=1.0) as writer:
            for frame, cell in zip(positions[part], cells[part], strict=True):
                blank.atoms.positions = frame
                blank.dimensions = [*np.diag(cell), 90, 90, 90]
                writer.write(blank.atoms)
    results = []
    for files in (["all.dcd"], ["a.dcd", "b.dcd"]):
        universe = universe_of(system.topology)
        universe.load_new([str(tmp_path / file) for file in files])
        results.append(measure(universe, [name], temperature_K=423.0)[name])
    assert results[0].to_json() == results[1].to_json()
    assert {(q, s) for q, s, _ in results[0].estimates} == {(q, s) for q, s, _ in expected.estimates}


def universe_of(topology):
    """An empty universe with the atoms, bonds and ions of a topology."""
    import MDAnalysis

    universe = MDAnalysis.Universe.empty(
        topology.n_atoms,
        n_residues=topology.n_molecules,
        atom_resindex=topology.molecules,
        trajectory=True,
    )
    universe.add_TopologyAttr("elements", list(topology.symbols))
    universe.add_TopologyAttr("names", list(topology.names))
    universe.add_TopologyAttr("resnames", list(topology.species))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    return universe


def test_it_changes_no_snapshot_and_writes_nothing_into_it(name, trajectory):
    system, positions, cells = trajectory
    before = positions.copy(), cells.copy()
    frames = list(snapshots(system, positions, cells, **thermo()))
    measured(name, system, frames)
    for frame, position, cell in zip(frames, *before, strict=True):
        assert np.array_equal(frame.positions, position) and np.array_equal(frame.cell, cell)
        for array in (frame.positions, frame.cell, frame.whole, frame.centres):
            assert not array.flags.writeable
    assert np.array_equal(positions, before[0]) and np.array_equal(cells, before[1])


def test_it_can_be_used_twice(name, trajectory, expected):
    system, positions, cells = trajectory
    observer = create(name, AnalysisSettings())
    for _ in range(2):
        observer.begin(system)
        for snapshot in snapshots(system, positions, cells, **thermo()):
            observer.add(observer.look(snapshot))
        again = observer.measurement()
    assert again.to_json() == expected.to_json()


def test_json_keeps_everything(expected):
    text = json.dumps(expected.to_json(), allow_nan=False)
    back = Measurement.from_json(json.loads(text))
    assert json.dumps(back.to_json(), allow_nan=False) == text
    for key, curve in expected.curves.items():
        assert np.array_equal(back.curves[key].y, curve.y, equal_nan=True)
    assert back.verdicts == expected.verdicts and back.notes == expected.notes
    assert back.tables == expected.tables and back.structures == expected.structures


def test_a_single_frame_is_no_crash(name, trajectory):
    system, positions, cells = trajectory
    single = replace(system, n_frames=1, pressure=None)
    result = measured(name, single, snapshots(single, positions[:1], cells[:1]))
    for quantity, _, found in result.estimates:
        assert not found.converged or quantity in KEPT
    json.dumps(result.to_json(), allow_nan=False)


def test_settings_have_its_name():
    assert set(PROPERTIES) <= set(AnalysisSettings.model_fields)

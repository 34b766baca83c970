"""Compiled kernels against mace-torch in double precision, and lists of neighbours against all pairs."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ilforge import frames
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.potentials import create
from ilforge.potentials.force_evaluator import force_deviation
from ilforge.potentials.learned import loaded_models
from ilforge.potentials.learned.fast_mace import neighbours, networks
from ilforge.potentials.learned.fast_mace.evaluation import FastEvaluator
from ilforge.potentials.learned.fast_mace.network import Network, NoFastForm
from ilforge.potentials.learned.fast_mace.repulsion import pair_energy
from ilforge.potentials.learned.fast_mace.variations import spanning, variations
from support import models

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def pair():
    return frames.read(DATA / "one_pair.xyz")[0]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of networks that nothing has been put into yet; kernels stay where they are."""
    monkeypatch.setattr(networks, "path_of", lambda sha256: tmp_path / f"{sha256}.npz")
    monkeypatch.setattr(networks, "_refused", {})
    return tmp_path


def loaded(path):
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def extracted(path):
    from ilforge.potentials.learned.fast_mace.extraction import extract

    return extract(loaded(path))


def by_torch(path, frame):
    """Energy in eV, forces in eV/Å and strain derivative in eV of mace-torch in double precision."""
    from ilforge.potentials.learned.mace.calculator import MaceCalculator

    atoms = frame.copy()
    atoms.calc = MaceCalculator(loaded(path), "float64")
    stress = atoms.get_stress(voigt=False) * atoms.get_volume() if frame.pbc.all() else None
    return atoms.get_potential_energy(), atoms.get_forces(), stress


def potential(path, **more):
    return create({"kind": "mace", "path": str(path), "sha256": digest(path), **more})


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def steep_model(tmp_path_factory):
    """A model file with a repulsion, and the network of the model."""
    path = models.write_mace_model(tmp_path_factory.mktemp("steep") / "some.model", scale=20.0)
    return path, extracted(path)


ARCHITECTURES = {
    "16 channels, the demonstration's": {"channels": 16, "scale": 1.7},
    "more than one block, padded": {"channels": 20, "max_ell": 1},
    "scalars alone between the layers": {"channels": 8, "l_hidden": 0},
    "degree 2 between the layers": {"channels": 4, "l_hidden": 2, "pair_repulsion": False},
    "the study's": {"channels": 16, "max_ell": 3, "correlation": 3, "r_max": 6.0},
}


@pytest.mark.parametrize(
    "wanted",
    [pytest.param(form, id=name, marks=pytest.mark.slow if number else ()) for number, (name, form) in
     enumerate(ARCHITECTURES.items())],
)  # fmt: skip
def test_energy_forces_and_stress_are_those_of_mace_torch(wanted, pair, tmp_path):
    path = models.write_mace_model(tmp_path / "some.model", **wanted)
    evaluator = FastEvaluator([extracted(path)], pair.get_chemical_symbols())
    for frame in (pair, *variations(pair)[3:6]):
        energies, forces, strain = evaluator.compute(frame.positions, frame.cell.array)
        energy, true, stress = by_torch(path, frame)
        assert energies.sum() == pytest.approx(energy, abs=1e-6 * len(frame))
        np.testing.assert_allclose(forces[0], true, atol=max(2e-6, 1e-6 * np.abs(true).max()))
        np.testing.assert_allclose(strain[0], stress, atol=max(2e-5, 2e-6 * np.abs(stress).max()))


def test_ions_in_a_vacuum_and_skewed_cells_too(tiny_mace_model, pair):
    network = extracted(tiny_mace_model)
    skewed = pair.copy()
    skewed.set_cell(pair.cell.array + [[0, 0, 0], [3.1, 0, 0], [-2.2, 1.7, 0]])
    alone = Atoms(pair.numbers, pair.positions)
    for frame in (skewed, alone):
        cell = frame.cell.array if frame.pbc.all() else None
        energies, forces, _ = FastEvaluator([network], frame.get_chemical_symbols()).compute(frame.positions, cell)
        energy, true, _ = by_torch(tiny_mace_model, frame)
        assert energies.sum() == pytest.approx(energy, abs=1e-5)
        np.testing.assert_allclose(forces[0], true, atol=1e-5)


def test_a_list_that_is_kept_gives_what_a_new_one_gives(tiny_mace_model, pair):
    network, rng = extracted(tiny_mace_model), np.random.default_rng(5)
    kept = FastEvaluator([network], pair.get_chemical_symbols(), threads=2)
    positions, cell = pair.positions + 3 * pair.cell.array[0], pair.cell.array.copy()
    for _ in range(60):
        positions = positions + rng.normal(scale=0.03, size=positions.shape)
        factor = rng.uniform(0.99, 1.01)
        positions, cell = positions * factor, cell * factor
        new = FastEvaluator([network], pair.get_chemical_symbols(), skin=0.0)
        mine, its = kept.compute(positions, cell), new.compute(positions, cell)
        np.testing.assert_allclose(mine[1], its[1], atol=2e-6)
        np.testing.assert_allclose(mine[2], its[2], atol=2e-5)
    assert 2 < kept.lists_made < 30


def test_a_committee_is_its_members(tmp_path, pair):
    found = [extracted(models.write_mace_model(tmp_path / f"{seed}.model", seed=seed)) for seed in (1, 2, 3)]
    symbols = pair.get_chemical_symbols()
    energies, forces, strain = FastEvaluator(found, symbols, threads=2).compute(pair.positions, pair.cell.array)
    for number, network in enumerate(found):
        alone = FastEvaluator([network], symbols).compute(pair.positions, pair.cell.array)
        np.testing.assert_allclose(energies[number], alone[0][0], atol=1e-6)
        np.testing.assert_allclose(forces[number], alone[1][0], atol=1e-6)
        np.testing.assert_allclose(strain[number], alone[2][0], atol=1e-5)
    members = [{"kind": "mace", "path": str(p), "sha256": digest(p)} for p in sorted(tmp_path.glob("*.model"))]
    topology = Liquid.from_label(pair.info["ions"]).topology
    evaluator = create({"kind": "committee", "members": members}).force_evaluator(topology)
    evaluated = evaluator.evaluate(pair.positions, pair.cell.array)
    np.testing.assert_allclose(evaluated.forces, forces[0], atol=1e-6)
    deviation = evaluator.force_deviation(pair.positions, pair.cell.array)
    assert deviation == pytest.approx(force_deviation(forces), rel=1e-4)


def test_what_no_number_follows_from_is_refused(tiny_mace_model, pair):
    evaluator = FastEvaluator([extracted(tiny_mace_model)], pair.get_chemical_symbols())
    near = pair.positions.copy()
    near[1] = near[0] + [0.3, 0, 0]
    with pytest.raises(DidNotConverge, match=r"atoms 0 and 1 are 0\.300 Å apart, closer than the 0\.4 Å"):
        evaluator.compute(near, pair.cell.array)
    near[1] = np.nan
    with pytest.raises(DidNotConverge, match="no finite number"):
        evaluator.compute(near, pair.cell.array)
    grid = 0.8 * np.array(list(itertools.product(range(5), repeat=3)), dtype=float)
    crowd = FastEvaluator([extracted(tiny_mace_model)], ["H"] * 125)
    with pytest.raises(DidNotConverge, match="more than 512 neighbours"):
        crowd.compute(grid, 4.0 * np.eye(3))


def test_steep_repulsion_that_nearly_cancels(steep_model):
    """Each pair pushes with tens of eV/Å: distances in single precision would leave errors of 1e-4 in what remains."""
    path, network = steep_model
    grid = 1.0 * np.array(list(itertools.product(range(3), repeat=3)), dtype=float)
    moved = np.random.default_rng(6).normal(scale=0.005, size=grid.shape)
    crystal = Atoms(["C", "F", "B"] * 9, grid + moved, cell=3.0 * np.eye(3), pbc=True)
    _, forces, _ = FastEvaluator([network], crystal.get_chemical_symbols()).compute(
        crystal.positions, crystal.cell.array
    )
    _, true, _ = by_torch(path, crystal)
    np.testing.assert_allclose(forces[0], true, atol=1e-6 * np.abs(true).max())


COMPRESSED = {
    "FF": ([[-0.627, -0.535, 0.124], [1.266, -0.408, 1.373], [-0.849, 0.87, 0.928]], [0.935, -0.401, 0.119]),
    "FH": ([[-0.475, 0.538, -0.95], [-0.603, -0.45, -0.129], [-1.197, 0.813, 1.563]], [0.448, 0.154, -1.276]),
    "HF": ([[-0.177, -0.824, -1.399], [0.517, -0.453, 0.426], [-1.159, -0.38, 0.824]], [-0.519, 0.112, 0.87]),
    "HF again": ([[-1.217, -0.959, 0.067], [0.589, -0.724, -1.098], [0.245, -0.539, 0.629]], [0.877, -0.077, -0.135]),
    "BH": ([[-0.623, 0.412, -0.792], [-0.552, -0.533, 0.092], [-0.689, 0.906, 1.468]], [-0.33, -0.642, -0.735]),
}
"""Elements, cell and position of the second atom of two, Å: boxes of 0.7 to 1 Å3 for an atom."""


@pytest.mark.parametrize("name", COMPRESSED)
def test_repulsion_in_a_compressed_box_of_two_atoms(name, steep_model):
    """Images push with hundreds of eV/Å that nearly cancel: rounding them to single precision leaves 1e-5 to 2e-5 eV/Å
    and as much strain derivative; the network alone is within 1e-6 eV/Å and 4e-6 eV per atom."""
    path, network = steep_model
    cell, second = COMPRESSED[name]
    box = Atoms(name[:2], [[0, 0, 0], second], cell=cell, pbc=True)
    _, forces, strain = FastEvaluator([network], box.get_chemical_symbols()).compute(box.positions, box.cell.array)
    _, true, stress = by_torch(path, box)
    np.testing.assert_allclose(forces[0], true, atol=4e-6)
    np.testing.assert_allclose(strain[0] / 2, stress / 2, atol=6e-6)


def test_repulsion_of_a_pair_ends_smoothly_and_has_the_right_slope():
    table = (72.0, 0.35, 1.42, 6.0)  # eV Å, Å, Å, power
    for r in (0.41, 0.7, 1.0, 1.3, 1.419):
        rise = [pair_energy(r + h, *table)[0] for h in (-1e-5, 1e-5)]
        assert pair_energy(r, *table)[1] == pytest.approx((rise[1] - rise[0]) / 2e-5, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(pair_energy(1.42 - 1e-6, *table), 0.0, atol=1e-8)
    near = pair_energy(1e-3, 72.0, 0.35, 1e3, 6.0)[0]
    assert near == pytest.approx(72.0 / 1e-3, rel=0.01)  # charges without a screen


def test_a_distance_just_below_the_cutoff_adds_nothing(tiny_mace_model):
    """In single precision it can be rounded to the end of the last interval of the splines."""
    evaluator = FastEvaluator([extracted(tiny_mace_model)], ["H", "F"])
    apart = [evaluator.compute(np.array([[0, 0, 0], [0, 0, r]]), None) for r in (4.5 - 1e-9, 4.5 - 1e-7, 4.6)]
    for energies, forces, _ in apart:
        assert np.abs(forces).max() < 1e-6
        assert energies.sum() == pytest.approx(-110.0, abs=1.0)


def test_a_network_with_one_wrong_weight_is_refused(tiny_mace_model, pair):
    from ilforge.potentials.learned.fast_mace import parity

    network = extracted(tiny_mace_model)
    assert parity.require(network, loaded(tiny_mace_model), [pair])["force_eV_A"] < 2e-6
    network.weights[network.places["readout_inner"]] += 0.01
    with pytest.raises(NoFastForm, match="differ from mace-torch by .* in (force|energy)"):
        parity.require(network, loaded(tiny_mace_model), [pair])


def test_a_model_with_unknown_parts_is_left_to_mace_torch_and_says_why(tmp_path, pair, own_cache, caplog):
    path = models.write_mace_model(tmp_path / "other.model", block="RealAgnosticDensityResidualInteractionBlock")
    model = potential(path)
    atoms = pair.copy()
    atoms.calc = model.calculator()
    energy, true, _ = by_torch(path, pair)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), true, atol=1e-4)
    assert "RealAgnosticDensityResidualInteractionBlock" in caplog.text
    assert "RealAgnosticDensityResidualInteractionBlock" in model.evaluated_by


def test_a_network_is_compared_once_and_kept(tmp_path, pair, own_cache):
    path = models.write_mace_model(tmp_path / "some.model", seed=7)
    asked = []

    def load():
        asked.append(path)
        return loaded(path)

    def find(frame):
        return networks.network_of(digest(path), load, lambda: variations(frame))

    first, second = find(pair), find(pair)
    assert asked == [path]
    np.testing.assert_array_equal(first.weights, second.weights)
    kept = own_cache / f"{digest(path)}.npz"
    kept.write_bytes(kept.read_bytes()[:-100])
    networks._read.cache_clear()
    assert Network.load(kept) is None
    find(pair)
    assert len(asked) == 2
    fluorides = Atoms("FF", [[0, 0, 0], [0, 0, 1.4]])
    find(fluorides)  # nothing new in them
    assert len(asked) == 2


@pytest.fixture
def loads(monkeypatch):
    """Grows by one with each model that is loaded."""
    import torch

    seen, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: seen.append(1) or load(*args, **more))
    monkeypatch.setattr(loaded_models, "_unused", {})
    return seen


def test_the_first_use_loads_the_model_once(tmp_path, pair, own_cache, loads):
    path = models.write_mace_model(tmp_path / "some.model", seed=9)
    atoms = pair.copy()
    atoms.calc = potential(path).calculator(Liquid.from_label(pair.info["ions"]).topology)
    atoms.get_forces()
    assert len(loads) == 1
    assert not loaded_models._unused  # the memory is free again
    other = models.write_mace_model(tmp_path / "other.model", block="RealAgnosticDensityResidualInteractionBlock")
    atoms.calc = potential(other).calculator(Liquid.from_label(pair.info["ions"]).topology)
    atoms.get_forces()  # by mace-torch, after the kernels have refused it
    assert len(loads) == 2


def test_a_file_that_was_replaced_after_its_elements_were_read_is_refused(tmp_path, pair, own_cache, loads):
    path = models.write_mace_model(tmp_path / "some.model", seed=10)
    atoms = pair.copy()
    atoms.calc = potential(path).calculator(Liquid.from_label(pair.info["ions"]).topology)
    models.write_mace_model(path, seed=11)
    with pytest.raises(SettingsError, match="is not the one that sha256"):
        atoms.get_forces()
    assert len(loads) == 1


def test_elements_that_were_not_compared_are_compared_when_they_come(tmp_path, pair, own_cache):
    path = models.write_mace_model(tmp_path / "some.model", seed=8)
    asked = []

    def find(frame):
        return networks.network_of(digest(path), lambda: asked.append(1) or loaded(path), lambda: variations(frame))

    find(Atoms("FF", [[0, 0, 0], [0, 0, 1.4]]))
    find(pair)
    assert len(asked) == 2


def test_frames_that_span_a_dataset_are_from_its_lightest_to_its_densest(pair):
    sized = []
    for factor in np.random.default_rng(1).permutation(np.linspace(0.9, 1.3, 25)):
        frame = pair.copy()
        frame.set_cell(pair.cell * factor)
        sized.append(frame)
    volumes = [frame.get_volume() for frame in spanning(sized)]
    assert len(volumes) == 10
    assert volumes == sorted(volumes)
    assert (volumes[0], volumes[-1]) == (min(f.get_volume() for f in sized), max(f.get_volume() for f in sized))


CELLS = {
    "cube": np.diag([9.0, 9.0, 9.0]),
    "skewed": np.array([[8.0, 0, 0], [3.5, 7.0, 0], [-3.0, 2.0, 9.0]]),
    "left-handed": np.array([[0, 8.0, 0], [7.0, 0, 0], [0, 0, 9.0]]),
    "lower than the reach": np.diag([3.1, 11.0, 4.3]),
    "vacuum": None,
}


def all_pairs(positions, cell, reach):
    """Every pair closer than the reach, with its vector, by trying all images."""
    found = []
    shifts = [np.zeros(3)]
    if cell is not None:
        spans = [range(-6, 7)] * 3
        shifts = [np.array(n) @ cell for n in itertools.product(*spans)]
    for shift in shifts:
        apart = positions[:, None] - positions[None] - shift
        close = (np.linalg.norm(apart, axis=2) < reach) & ~(np.eye(len(positions), dtype=bool) & ~shift.any())
        found += [(i, j, *np.round(apart[i, j], 6)) for i, j in zip(*np.nonzero(close), strict=True)]
    return sorted(found)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_neighbours_are_those_of_all_pairs(cell):
    rng = np.random.default_rng(3)
    positions = rng.uniform(-12, 20, size=(30, 3))  # outside the box, too
    if cell is not None:
        positions[::2] = rng.uniform(0, 1, size=(15, 3)) @ cell
    found = neighbours.find(positions, cell, 5.0)
    folded, shifts = found.folded(positions, cell), found.shifts(cell)
    owner = np.repeat(np.arange(30), np.diff(found.starts))
    apart = folded[owner] - folded[found.listed] - shifts[found.image]
    mine = sorted((i, j, *np.round(v, 6)) for i, j, v in zip(owner, found.listed, apart, strict=True))
    expected = all_pairs(folded, cell, 5.0)
    np.testing.assert_allclose(np.array(mine), np.array(expected), atol=2e-6)


@pytest.mark.slow
def test_a_list_holds_as_long_as_no_pair_can_be_missing():
    rng = np.random.default_rng(4)
    cell = np.diag([8.0, 9.0, 7.0])
    start = rng.uniform(0, 1, size=(40, 3)) @ cell
    found, held = neighbours.find(start, cell, 4.0), 0
    for _ in range(300):
        strain = np.eye(3) + rng.normal(scale=rng.uniform(0, 0.03), size=(3, 3))
        now = (start + rng.normal(scale=rng.uniform(0, 0.3), size=start.shape)) @ strain
        if not found.holds(now, cell @ strain, 3.5):
            continue
        held += 1
        folded, shifts = found.folded(now, cell @ strain), found.shifts(cell @ strain)
        owner = np.repeat(np.arange(40), np.diff(found.starts))
        apart = np.linalg.norm(folded[owner] - folded[found.listed] - shifts[found.image], axis=1)
        assert (apart < 3.5).sum() == len(all_pairs(now, cell @ strain, 3.5))
    assert 20 < held < 280

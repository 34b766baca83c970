"""Runs made so that the answer is known beforehand: skewed boxes that breathe, crystals, shells, turned TFSI, slabs."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.properties import System
from ilforge.properties.kernels.displacement import unwrap
from ilforge.properties.kernels.pairs import class_histogram
from ilforge.properties.shared.conformations import shapes_of
from ilforge.properties.shared.local_structure import ClustersSettings
from ilforge.properties.shared.settings import DiffusionSettings
from support.clusters import single_site
from support.motion import atomic_ions, brownian, estimate, measured, scaled_and_wrapped, snapshots

UNIT = 1e-8  # Å^2/ps in m^2/s
SKEWED = np.array([[24.0, 0.0, 0.0], [4.1, 25.7, 0.0], [7.7, 2.9, 23.6]])


def in_the_frame_of_all(diffusion, masses):
    """Diffusion coefficient of each free particle relative to the centre of mass of all, exactly."""
    share = masses / masses.sum()
    return diffusion * (1 - 2 * share) + np.sum(share**2 * diffusion)


def of_ions(liquid, centres):
    """Rigid ions of a liquid about their centres of mass, ``(n_frames, n_atoms, 3)``."""
    topology = liquid.topology
    shapes = []
    for ion, count in liquid.ions:
        masses = topology.masses[topology.atom_species == ion.name][: ion.n_atoms]
        shapes += [ion.positions - masses @ ion.positions / masses.sum()] * count
    return centres[:, topology.molecules] + np.concatenate(shapes)


def test_error_bars_hold_in_a_skewed_box_that_a_barostat_scales():
    """Molecules cut at the boundary of a triclinic cell; both ions inside 95 % of their truth in 27 of 30 runs."""
    liquid = Liquid.of({"Na": 20, "BF4": 20})
    topology = liquid.topology
    free = np.where(np.array(topology.species) == "Na", 0.12, 0.06)
    true = in_the_frame_of_all(free, topology.molecule_masses)
    system = System(topology, 400, 1.0, ensemble="NPT")
    inside, converged, z = np.zeros(2, int), 0, []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        strain = 1 + 0.01 * np.cumsum(rng.normal(size=400)) / 20
        cells = strain[:, None, None] * SKEWED
        whole = scaled_and_wrapped(rng.random((1, 40, 3)) @ SKEWED + brownian(free, 400, 1.0, rng), cells)
        fractional = of_ions(liquid, whole) @ np.linalg.inv(cells)
        result = measured("diffusion", system, snapshots(system, (fractional % 1.0) @ cells, cells))
        for k, name in enumerate(("Na", "BF4")):
            found = estimate(result, "self_diffusion", name)
            converged += found.converged
            if found.converged:
                z.append((found.value / UNIT - true[-k]) / (found.error / UNIT))
                inside[k] += abs(z[-1]) < 1.96
    assert converged >= 54 and inside.min() >= 26
    assert abs(np.mean(z)) < 0.4 and 0.7 < np.std(z) < 1.3


def hopping(n, n_fast, n_frames, exchange, rng):
    """Ions that hop on a lattice of 3 Å, some twenty times as often; ``exchange``: frames until an ion changes kind."""
    fast = np.arange(n) < n_fast
    rates = np.empty((n_frames - 1, n))
    for frame in range(n_frames - 1):
        if exchange is not None:
            fast = np.where(rng.random(n) < 1 / exchange, rng.random(n) < n_fast / n, fast)
        rates[frame] = np.where(fast, 0.4, 0.02)
    hops = rng.poisson(np.repeat(rates[:, :, None] / 3, 3, axis=2))
    steps = 2 * rng.binomial(hops, 0.5) - hops
    paths = 3.0 * np.concatenate([np.zeros((1, n, 3)), np.cumsum(steps, axis=0)])
    return paths + 10.0 * rng.random((n, 3)) + 0.2 * rng.normal(size=paths.shape)


@pytest.mark.parametrize("exchange", [None, 20.0], ids=["for ever", "in turn"])
def test_some_fast_ions_among_slow_ones_diffuse_as_their_mean(exchange):
    """D = <rate> a^2/6, whether the fast ones stay fast or ions take turns."""
    topology = atomic_ions(Na=60)
    system = System(topology, 1000, 1.0, ensemble="NVT")
    true = (0.02 * 57 + 0.4 * 3) / 60 * 9.0 / 6.0 * (1 - 1 / 60)
    inside, good = 0, 0
    for seed in range(12):
        positions = hopping(60, 3, 1000, exchange, np.random.default_rng(seed))
        frames = snapshots(system, positions % 30.0, 30.0 * np.eye(3))
        found = estimate(measured("diffusion", system, frames, DiffusionSettings()), "self_diffusion", "Na")
        good += found.converged
        inside += found.converged and abs(found.value / UNIT - true) < 1.96 * found.error / UNIT
    assert good >= 11 and inside >= good - 2


def rock_salt(n_frames, sigma, rng, repeats=3, side=8.0):
    grid = np.stack(np.meshgrid(*[np.arange(2 * repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    even = grid.sum(axis=1) % 2 == 0
    sites = np.concatenate([grid[even], grid[~even]]) * side / 2
    return sites + sigma * rng.normal(size=(n_frames, len(sites), 3)), repeats * side * np.eye(3)


def test_rock_salt_that_vibrates_has_its_exact_distribution():
    """g(r) of Gaussian displacements: sum over shells of r/r0 N(r - r0; sqrt(2) sigma) n / (4 pi rho r^2)."""
    positions, cell = rock_salt(100, 0.15, np.random.default_rng(1))
    system = System(atomic_ions(Na=108, Cl=108), 100, 1.0)
    result = measured("rdf", system, snapshots(system, positions, cell))
    curve = result.curves["rdf Na-Cl"]
    shells = ((6, 4.0), (8, 4 * 3**0.5), (24, 4 * 5**0.5))
    exact = sum(n * (curve.x / r) * norm.pdf(curve.x - r, 0, 0.15 * 2**0.5) for n, r in shells)
    exact /= 4 * np.pi * curve.x**2 * 108 / 24.0**3
    near = curve.x < 8.5
    assert np.abs(curve.y - exact)[near].max() < 0.03 * exact.max()
    for pair, distance, neighbours in (("Na-Cl", 4.0, 6), ("Na-Na", 32**0.5, 12)):
        peak, shell = (estimate(result, q, pair) for q in ("rdf_first_peak", "coordination_number"))
        assert peak.value == pytest.approx(distance - 0.15**2 / distance * 2, abs=0.03)
        assert shell.converged and shell.value == pytest.approx(neighbours) and "never changed" in shell.note


def test_an_ideal_gas_has_no_first_shell():
    rng = np.random.default_rng(3)
    liquid = Liquid.of({"Na": 30, "BF4": 30})
    system = System(liquid.topology, 100, 1.0)
    frames = snapshots(system, of_ions(liquid, 28 * rng.random((100, 60, 3))) % 28.0, 28.0 * np.eye(3))
    result = measured("rdf", system, frames)
    for pair in ("Na-Na", "Na-BF4", "BF4-BF4"):
        curve = result.curves[f"rdf {pair}"]
        assert np.average(curve.y, weights=curve.x**2) == pytest.approx(1.0, abs=0.02)
        assert not estimate(result, "rdf_first_peak", pair).converged
        known = curve.error > 0
        assert np.mean(np.abs(curve.y - 1)[known] < 2.26 * curve.error[known]) > 0.88


def test_every_shape_of_tfsi_is_what_its_definition_says():
    """Both dihedrals turned all around on real coordinates, held against the definition, whichever S is the first."""
    ion = get_ion("TFSI")
    topology = Liquid.of({"TFSI": 1}, vacuum=True).topology
    (shape,) = (one for one in shapes_of(topology, []) if one.ion == "TFSI")
    c1, s1, n, s2, c2 = (ion.names.index(name) for name in ("C1", "S1", "N1", "S2", "C2"))
    moving = [k for k in range(ion.n_atoms) if k == c2 or sorted((k, s2)) in np.sort(ion.bonds).tolist() and k != n]
    moving += [k for k in range(ion.n_atoms) if sorted((k, c2)) in np.sort(ion.bonds).tolist() and k not in moving]
    moving = [k for k in moving if k != s2]
    axis = ion.positions[s2] - ion.positions[s1]
    start = dihedral(ion.positions, c1, s1, s2, c2), dihedral(ion.positions, c1, s1, s2, n)
    for phi, psi in itertools.product(np.arange(-179.5, 180, 15.0), np.arange(-178.5, 180, 15.0)):
        positions = ion.positions.copy()
        positions[moving] = turned(positions[moving], positions[s1], axis, phi - start[0])
        positions[[n]] = turned(positions[[n]], positions[s1], axis, psi - start[1])
        one = dihedral(positions, c1, s1, s2, c2), dihedral(positions, c1, s1, s2, n)
        other = dihedral(positions, c2, s2, s1, c1), dihedral(positions, c2, s2, s1, n)
        assert one == pytest.approx((phi, psi), abs=1e-6)
        label = shape.labels[shape.classify(shape.values(positions, np.array([0])))[0]]
        assert label == defined(*one) == defined(*other), (phi, psi)


def defined(phi, psi):
    """C-S-S-C below 90 degrees is cis; N on the same side as the second CF3, and nearer, has no prefix."""
    name = "Cis" if abs(phi) < 90 else "Trans"
    return name if phi * psi > 0 and abs(psi) < abs(phi) else f"a{name}"


def dihedral(positions, *atoms):
    p, q, r, s = positions[list(atoms)]
    axis = (r - q) / np.linalg.norm(r - q)
    first, last = p - q - (p - q) @ axis * axis, s - r - (s - r) @ axis * axis
    return np.degrees(np.arctan2(np.cross(axis, -first) @ -last, first @ last))


def turned(points, origin, axis, degrees):
    from scipy.spatial.transform import Rotation

    unit = axis / np.linalg.norm(axis)
    return origin + Rotation.from_rotvec(np.radians(degrees) * unit).apply(points - origin)


@pytest.mark.parametrize(("distance", "inside"), [(2.75, False), (2.7499, True), (2.7501, False)])
def test_a_ligand_at_the_cutoff_is_outside(distance, inside):
    """One Li, three TFSI at 2 Å, and a fourth whose O lies at the cutoff, exactly, just inside or just outside."""
    liquid = Liquid.of({"Li": 1, "PYR14": 3, "TFSI": 4})
    tfsi = liquid.ions[2][0]
    shape = tfsi.positions - tfsi.positions.mean(axis=0)
    site = single_site(0)
    oxygen = min((k for k, s in enumerate(tfsi.symbols) if s == "O"), key=lambda k: np.linalg.norm(shape[k] - site))
    out = (shape[oxygen] - site) / np.linalg.norm(shape[oxygen] - site)
    lithium, ligands = np.array([32.0, 32.0, 32.0]), []
    for k, direction in enumerate(([1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0])):
        turn = rotation_onto(out, np.array(direction, dtype=float))
        away = 2.0 if k < 3 else distance
        ligands.append(lithium + away * np.array(direction) + (shape - shape[oxygen]) @ turn.T)
    others = [liquid.ions[1][0].positions + np.array([10.0 * k, 5.0, 5.0]) for k in range(3)]
    positions = np.concatenate([lithium[None], *others, *ligands])
    system = System(liquid.topology, 30, 1.0)
    frames = snapshots(system, np.repeat(positions[None], 30, axis=0), 64.0 * np.eye(3))
    result = measured("clusters", system, frames, ClustersSettings(cutoff_A=2.75))
    assert estimate(result, "coordinating_ligands", "Li-TFSI").value == (4 if inside else 3)


def rotation_onto(a, b):
    from scipy.spatial.transform import Rotation

    return Rotation.align_vectors([b], [a])[0].as_matrix()


def test_pairs_in_an_extremely_skewed_cell_are_those_of_all_images():
    cell, rng = np.array([[10.0, 0, 0], [4, 10, 0], [-4, 0, 10]]), np.random.default_rng(0)
    points = rng.random((60, 3)) @ cell + rng.integers(-3, 4, (60, 3)) @ cell
    found = class_histogram(points, cell, np.zeros(60, int), np.arange(60), 1, 4.0, 40)[0, 0]
    shifts = np.array(list(itertools.product(range(-9, 10), repeat=3))) @ cell
    expected = np.zeros(40, int)
    for i, j in itertools.combinations(range(60), 2):
        far = np.linalg.norm(points[i] - points[j] + shifts, axis=1)
        expected += np.histogram(far[far < 4], bins=40, range=(0, 4))[0]
    assert np.array_equal(found, expected)


def test_an_atom_at_rest_in_a_box_that_shrinks_and_grows_again_ends_where_it_began():
    """Wrapped, it jumps to the other side and back, as the boundary passes over it."""
    sides = np.array([10, 9.6, 9.2, 9.0, 9.2, 9.6, 10.0])
    positions = np.zeros((7, 1, 3))
    positions[:, 0, 0] = 9.5 % sides
    found, _ = unwrap(positions, sides[:, None, None] * np.eye(3))
    assert abs(found[-1, 0, 0] - found[0, 0, 0]) < 0.05 * 9.5


def test_a_slab_and_an_ion_that_leaves_it_are_said():
    """80 ions that fill a third of a long box; one of them goes into the empty part from frame 50 on."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 3)[:80] * 5.2 + 1.5
    positions = grid + 0.15 * rng.normal(size=(150, 80, 3))
    positions[50:, 0, 2] += np.minimum(0.45 * np.arange(100), 45)
    system = System(atomic_ions(Na=40, Cl=40), 150, 1.0, ensemble="NVT")
    found = measured("health", system, snapshots(system, positions, np.diag([26.0, 26.0, 90.0]))).verdicts
    wrong = [verdict.what for verdict in found if not verdict.ok]
    assert any("cavity" in what for what in wrong) and any("aggregate" in what for what in wrong), wrong

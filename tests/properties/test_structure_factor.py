"""Structure factors of arrangements whose S(q) is known: gas, lattice, molecule, and a plain sum over pairs."""

import numpy as np
import pytest
from periodictable import elements
from periodictable.cromermann import fxrayatq

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.properties import System
from ilforge.properties.kernels.modes import density_modes, lengths, spread_over_bins, wave_vectors
from ilforge.properties.shared.settings import StructureFactorSettings
from support.motion import atomic_ions, estimate, measured, ornstein_uhlenbeck, snapshots


def factors(topology, positions, cell, **settings):
    system = System(topology, len(positions), 1.0, 423.0)
    chosen = StructureFactorSettings(**settings)
    return measured("structure_factor", system, snapshots(system, positions, cell), chosen)


def test_an_ideal_gas_has_one_everywhere():
    rng = np.random.default_rng(1)
    topology = atomic_ions(Cs=40, F=60)
    result = factors(topology, 20 * rng.random((60, 100, 3)), 20 * np.eye(3), q_max_per_A=4.0, bin_per_A=0.2)
    for name in ("structure_factor_xray", "structure_factor_neutron", "structure_factor Cs-F"):
        curve = result.curves[name]
        z = (curve.y - 1.0) / curve.error
        assert len(z) > 12 and np.mean(np.abs(z) < 2.26) >= 0.8, name  # 95 % of Student's t with ten blocks
    assert not estimate(result, "structure_factor_main_peak").converged


def test_a_lattice_has_peaks_at_its_reciprocal_vectors():
    """Simple cubic, 4 Å: S = N at |q| = 2π/4 times 1, √2, √3, and zero between."""
    sites = 4.0 * np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    topology = atomic_ions(Cs=216)
    result = factors(topology, np.repeat(sites[None], 10, axis=0), 24 * np.eye(3), q_max_per_A=2.5, bin_per_A=0.02)
    curve = result.curves["structure_factor_xray"]
    for root in (1.0, 2.0):
        near = np.abs(curve.x - 2 * np.pi / 4 * np.sqrt(root)).argmin()
        assert abs(curve.x[near] - 2 * np.pi / 4 * np.sqrt(root)) < 0.02 and curve.y[near] > 10
    between = (curve.x > 1.7) & (curve.x < 2.1)
    np.testing.assert_allclose(curve.y[between], 0.0, atol=1e-3)


def molecules(n):
    """n molecules CF, bonded."""
    symbols = ("C", "F") * n
    bonds = np.arange(2 * n).reshape(n, 2)
    return Topology(symbols, symbols, bonds, np.repeat(np.arange(n), 2), ("CF",) * n, (0,) * n)


def test_a_gas_of_two_atom_molecules_follows_debye():
    """I(q) = Σ f² + 2 f_a f_b sin(qd)/(qd) a molecule, d = 1.5 Å."""
    rng = np.random.default_rng(2)
    n, d = 60, 1.5
    centres, axes = 22 * rng.random((200, n, 3)), rng.normal(size=(200, n, 3))
    axes *= 0.5 * d / np.linalg.norm(axes, axis=-1, keepdims=True)
    positions = np.stack([centres - axes, centres + axes], axis=2).reshape(200, 2 * n, 3)
    result = factors(molecules(n), positions, 22 * np.eye(3), q_max_per_A=6.0, bin_per_A=0.25)
    x = result.curves["structure_factor_xray"].x
    a, b, debye = fxrayatq("C", x), fxrayatq("F", x), np.sinc(x * d / np.pi)
    known = {
        "structure_factor_xray": 1 + a * b * debye / (0.5 * (a + b)) ** 2,
        "structure_factor C-F": 1 + 0.5 * debye / 0.25,
        "structure_factor C-C": np.ones(len(x)),
    }
    p, q = elements.C.neutron.b_c, elements.F.neutron.b_c
    known["structure_factor_neutron"] = 1 + 2 * p * q * debye / (p * p + q * q)
    for name, expected in known.items():
        curve = result.curves[name]
        assert np.mean(np.abs(curve.y - expected) < 2.26 * curve.error) >= 0.8, name
        assert np.median(curve.error) < 0.05


def test_modes_are_those_of_a_plain_sum_in_a_skew_cell():
    rng = np.random.default_rng(3)
    cell = np.array([[15.0, 0, 0], [3.0, 13.0, 0], [-2.0, 4.0, 17.0]])
    fractional = rng.random((50, 3)) + rng.integers(-2, 3, size=(50, 3))
    vectors = wave_vectors(cell, 3.0)
    q = 2 * np.pi * vectors @ np.linalg.inv(cell).T
    assert np.allclose(np.linalg.norm(q, axis=1), lengths(vectors, cell)) and lengths(vectors, cell).max() <= 3.0
    expected = np.exp(1j * (fractional @ cell) @ q.T)
    found = density_modes(fractional, np.array([0, 20]), vectors)
    np.testing.assert_allclose(found[0], expected[:20].sum(axis=0), atol=1e-3)
    np.testing.assert_allclose(found[1], expected[20:].sum(axis=0), atol=1e-3)


def test_wave_vectors_are_complete_and_counted_once():
    vectors = wave_vectors(10 * np.eye(3), 2.0)
    every = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.count_nonzero(2 * np.pi / 10 * np.linalg.norm(every, axis=1) <= 2.0)
    assert 2 * len(vectors) + 1 == inside
    assert len(np.unique(np.concatenate([vectors, -vectors]), axis=0)) == 2 * len(vectors)


def test_wave_vectors_are_drawn_evenly():
    bins = np.repeat([0, 1, 2], [3, 50, 500])
    chosen = spread_over_bins(bins, 43, np.random.default_rng(1))
    assert np.bincount(bins[chosen]).tolist() == [3, 20, 20]


def test_parts_of_pairs_of_ions_add_up():
    rng = np.random.default_rng(4)
    result = factors(atomic_ions(Cs=10, F=10), 12 * rng.random((10, 20, 3)), 12 * np.eye(3), q_max_per_A=3.0)
    parts = [result.curves[f"structure_factor_xray {pair}"].y for pair in ("Cs-Cs", "Cs-F", "F-F")]
    np.testing.assert_allclose(result.curves["structure_factor_xray"].y, 1 + sum(parts))


def test_no_wave_vector_is_an_error_in_words():
    positions = np.zeros((2, 2, 3))
    with pytest.raises(SettingsError, match=r"must be above 0\.63"):
        factors(atomic_ions(Cs=2), positions, 10 * np.eye(3), q_max_per_A=0.5)


def rattling_lattice(n_frames, decay, rng):
    """Ions about a simple cubic lattice of 4 Å, each coordinate with a memory of ``decay`` frames."""
    sites = 4.0 * np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    noise = ornstein_uhlenbeck(sites.size, n_frames, 1.0, decay, rng).T.reshape(n_frames, -1, 3)
    return sites + 0.3 * noise, 16 * np.eye(3)


def layered(n_frames, stay, rng):
    """Ions in four layers across one of three axes, which changes from frame to frame unless it stays."""
    axis, found = 0, []
    for _ in range(n_frames):
        axis = axis if rng.random() < stay else rng.integers(3)
        positions = 16.0 * rng.random((64, 3))
        positions[:, axis] = 4.0 * rng.integers(4, size=64) + 0.2 * rng.normal(size=64)
        found.append(positions)
    return np.array(found), 16 * np.eye(3)


@pytest.mark.parametrize(("stay", "converged"), [(0.3, True), (0.97, False), (1.0, False)])
def test_main_peak_takes_four_relaxations_of_what_a_wave_vector_scatters(stay, converged):
    """S at the peak is the same whichever way the layers lie; only single wave vectors know that they stay."""
    positions, cell = layered(200, stay, np.random.default_rng(5))
    result = factors(atomic_ions(Cs=64), positions, cell, q_max_per_A=2.5, bin_per_A=0.03)
    found = estimate(result, "structure_factor_main_peak")
    assert found.value == pytest.approx(2 * np.pi / 4, abs=0.03)
    assert found.converged == converged and ("relaxation times of one wave vector" in found.note) != converged


def test_fast_modes_that_do_not_scatter_are_no_samples_of_the_peak():
    """Cs+ and I- scatter alike and change places in every frame, on a lattice that hardly relaxes."""
    rng = np.random.default_rng(5)
    positions, cell = rattling_lattice(200, 500.0, rng)
    shuffled = np.array([frame[rng.permutation(64)] for frame in positions])
    result = factors(atomic_ions(Cs=32, I=32), shuffled, cell, q_max_per_A=2.5, bin_per_A=0.25)
    found = estimate(result, "structure_factor_main_peak")
    assert not found.converged and found.n_eff < 20

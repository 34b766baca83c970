"""The same points measured by GROMACS, freud, MDAnalysis and dynasor: equal to rounding."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.constants import Boltzmann, elementary_charge

from ilforge.properties import System
from ilforge.properties.shared.settings import RdfSettings, StructureFactorSettings
from support.motion import atomic_ions, breathing_cells, brownian, measured, scaled_and_wrapped, snapshots
from support.peers import Gromacs, Points, dynasor_structure_factors, freud_rdf, mdanalysis_rdf, merged_bins

INTERVAL, T, SIDE = 2.0, 423.0, 30.0
SKEWED = np.array([[30.0, 0, 0], [8.0, 28.0, 0], [-5.0, 6.0, 27.0]])


def points_in(cells, n_frames, rng):
    """Thirty ions whose centre of mass rests, wrapped; the system that they are."""
    topology = atomic_ions(Cs=12, F=18)
    topology = replace(topology, charges=(3,) * 12 + (-2,) * 18)
    cells = np.broadcast_to(cells, (n_frames, 3, 3))
    paths = rng.random((30, 3)) @ cells[0] + brownian(np.full(30, 0.1), n_frames, INTERVAL, rng)
    masses = topology.masses
    paths -= np.einsum("tix,i->tx", paths, masses / masses.sum())[:, None]
    points = Points(
        scaled_and_wrapped(paths, cells), cells, topology.species, masses, np.array(topology.charges), INTERVAL
    )
    return System(topology, n_frames, INTERVAL, T), points


def ours(name, system, points, settings=None):
    return measured(name, system, snapshots(system, points.positions, points.cells), settings)


@pytest.mark.program("gmx")
@pytest.mark.parametrize("cell", [SIDE * np.eye(3), SKEWED], ids=["cubic", "skewed"])
def test_gromacs_has_the_same_displacements(cell, tmp_path):
    system, points = points_in(cell, 120, np.random.default_rng(1))
    gromacs = Gromacs(points, tmp_path)
    found = ours("diffusion", system, points).curves
    for name in ("Cs", "F"):
        time, msd = gromacs.msd(name)
        np.testing.assert_allclose(np.interp(found[f"msd {name}"].x, time, msd), found[f"msd {name}"].y, rtol=2e-4)


@pytest.mark.program("gmx")
def test_gromacs_has_the_same_charge_transport(tmp_path):
    system, points = points_in(SKEWED, 120, np.random.default_rng(1))
    time, moved = Gromacs(points, tmp_path).charge_displacement(T)
    curve = ours("conductivity", system, points).curves["charge_msd"]
    scale = np.sum(points.charges**2) * elementary_charge**2 * 1e-20 / (6 * np.linalg.det(SKEWED) * 1e-30)
    np.testing.assert_allclose(np.interp(curve.x, time, moved), 1e12 * scale / (Boltzmann * T) * curve.y, rtol=1e-3)


@pytest.mark.program("gmx")
@pytest.mark.parametrize("cell", [SIDE * np.eye(3), SKEWED], ids=["cubic", "skewed"])
def test_gromacs_has_the_same_distribution(cell, tmp_path):
    """GROMACS centres its bins on multiples of their width; of one species it divides by N², not N (N - 1)."""
    system, points = points_in(cell, 40, np.random.default_rng(2))
    gromacs = Gromacs(points, tmp_path)
    found = ours("rdf", system, points, RdfSettings(bin_A=0.25, r_max_A=11.0)).curves
    for pair, factor in ((("Cs", "F"), 1.0), (("Cs", "Cs"), 11 / 12), (("F", "F"), 17 / 18)):
        r, g = merged_bins(found[f"rdf {pair[0]}-{pair[1]}"].y, 0.5)
        theirs = gromacs.rdf(*pair, 0.5)[1][1 : len(r) + 1]
        np.testing.assert_allclose(theirs, factor * g, atol=2e-3)


@pytest.mark.parametrize("cell", [SIDE * np.eye(3), SKEWED], ids=["cubic", "skewed"])
def test_freud_and_mdanalysis_have_the_same_distribution(cell):
    """freud also under NPT, frame by frame; MDAnalysis takes the mean volume."""
    rng = np.random.default_rng(3)
    cells = breathing_cells(1.0, 40, rng, size=0.01) @ cell
    system, points = points_in(cells, 40, rng)
    found = ours("rdf", system, points, RdfSettings(bin_A=0.5, r_max_A=11.0)).curves
    still_system, still = points_in(cell, 40, rng)
    found_still = ours("rdf", still_system, still, RdfSettings(bin_A=0.5, r_max_A=11.0)).curves
    for pair in (("Cs", "F"), ("Cs", "Cs"), ("F", "F")):
        curve = found[f"rdf {pair[0]}-{pair[1]}"]
        n = len(curve.x)
        np.testing.assert_allclose(freud_rdf(points, *pair, 0.5 * n, n), curve.y, rtol=1e-4, atol=1e-4)
        curve = found_still[f"rdf {pair[0]}-{pair[1]}"]
        np.testing.assert_allclose(mdanalysis_rdf(still, *pair, 0.5 * n, n), curve.y, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("cell", [SIDE * np.eye(3), SKEWED], ids=["cubic", "skewed"])
def test_dynasor_has_the_same_structure_factor(cell, tmp_path):
    """Partial ones, whose norm is Faber and Ziman's here; dynasor finds the wave vectors of the cell itself."""
    system, points = points_in(cell, 10, np.random.default_rng(4))
    settings = StructureFactorSettings(q_max_per_A=2.0, bin_per_A=0.1, max_vectors=100_000)
    curves = ours("structure_factor", system, points, settings).curves
    q, theirs = dynasor_structure_factors(points, tmp_path, 2.0)
    bins = (q[q > 0] / 0.1).astype(int)
    for pair, same, fractions in (("Cs-F", 0.0, 12 / 30 * 18 / 30), ("Cs-Cs", 12 / 30, 0.16), ("F-F", 18 / 30, 0.36)):
        mean = np.bincount(bins, theirs[pair][q > 0]) / np.maximum(np.bincount(bins), 1)
        expected = 1.0 + (mean[np.bincount(bins) > 0] - same) / fractions
        np.testing.assert_allclose(curves[f"structure_factor {pair}"].y, expected, atol=1e-6)

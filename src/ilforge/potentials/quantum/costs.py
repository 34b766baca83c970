"""Measured cost of one label by several methods; these numbers are only here."""

from __future__ import annotations

import math

GFN1, GFN2 = "GFN1-xTB", "GFN2-xTB"
GPAW, CP2K = "GPAW, plane waves to 600 eV, PBE", "CP2K, GAPW of 400 Ry, DZVP, PBE-D3"

MEASURED: dict[str, dict[int, float]] = {
    GFN1: {35: 0.34, 70: 0.9, 350: 25.0},
    GFN2: {35: 2.5, 70: 5.0, 350: 44.0},
    GPAW: {35: 14.4, 70: 51.0, 350: 1200.0},
    CP2K: {35: 45.0, 70: 85.0, 350: 590.0},
}
"""Core seconds of one label by number of atoms, on two cores of AMD Zen 5; xTB by tblite, GPAW with FFTW. No frame
starts from the wavefunctions of another. CP2K: measured on a machine on which xTB takes twice as long, and halved; 350
atoms are extrapolated (power 1.2)."""

LARGEST_GB = {"gpaw": 12.5, "cp2k": 3.5}
"""Memory of one label of 350 atoms by kind of potential, GB, on the same machine; other kinds are expected to need
0.5 GB."""


def core_seconds(method: str, n_atoms: int) -> float:
    """Core seconds of one label by a method in :data:`MEASURED`, by a power law between (and beyond) measured sizes."""
    cost = MEASURED[method]
    sizes = sorted(cost)
    k = min(max(1, next((i for i, size in enumerate(sizes) if size >= n_atoms), len(sizes) - 1)), len(sizes) - 1)
    small, large = sizes[k - 1], sizes[k]
    power = math.log(cost[large] / cost[small]) / math.log(large / small)
    seconds: float = cost[small] * (n_atoms / small) ** power
    return seconds


def plane_wave_seconds(n_atoms: int, cutoff_eV: float) -> float:
    """Core seconds of one label with plane waves up to a cutoff, from those of GPAW."""
    seconds: float = core_seconds(GPAW, n_atoms) * (cutoff_eV / 600) ** 1.5
    return seconds


def memory_GB(kind: str, n_atoms: int) -> float:
    """Expected memory of one label, GB, scaled linearly from 350 atoms; for fewer atoms this is rather too much."""
    return 0.5 + (LARGEST_GB.get(kind, 0.5) - 0.5) * n_atoms / 350

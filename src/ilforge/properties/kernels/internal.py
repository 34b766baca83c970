"""Internal coordinates of molecules, and the difference between two distributions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_RESAMPLES = 400
_SPLITS = 100


def dihedrals(points: np.ndarray) -> np.ndarray:
    """Dihedral angles a-b-c-d about b-c, in degrees from -180 to 180, IUPAC sign; b and c need not be bonded.

    Parameters
    ----------
    points
        ``(..., 4, 3)`` in Å, from whole molecules.
    """
    first, axis, last = (points[..., k + 1, :] - points[..., k, :] for k in range(3))
    left, right = np.cross(first, axis), np.cross(axis, last)
    sine = np.einsum("...x,...x->...", np.cross(left, right), axis) / np.linalg.norm(axis, axis=-1)
    found: np.ndarray = np.degrees(np.arctan2(sine, np.einsum("...x,...x->...", left, right)))
    return found


def distances(points: np.ndarray) -> np.ndarray:
    """Distances in Å between two points, ``(..., 2, 3)``."""
    found: np.ndarray = np.linalg.norm(points[..., 1, :] - points[..., 0, :], axis=-1)
    return found


class Divergence(NamedTuple):
    """Divergence in bits, its error, the subtracted bias, and the probability of this divergence for equal runs."""

    value: float
    error: float
    bias: float
    p_value: float


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms, in bits: 0 if they are equal, 1 if they do not overlap.

        JSD = H((p + q) / 2) - (H(p) + H(q)) / 2,   H(p) = -Σ p log2 p

    J. Lin, IEEE Trans. Inf. Theory 37, 145 (1991).
    """
    p, q = p.ravel() / p.sum(), q.ravel() / q.sum()
    return float(_entropy(0.5 * (p + q)) - 0.5 * (_entropy(p) + _entropy(q)))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-np.sum(p * np.log2(p)))


def divergence_of_blocks(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Divergence:
    """Jensen-Shannon divergence of two runs whose blocks are independent.

    Two finite runs of the same system already differ, by about c (1/n_a + 1/n_b) for n_a and n_b blocks. Halves
    of one run differ by 4 c / n. Therefore (J_a + J_b) / 4 is subtracted, where J is the mean divergence of random
    halves of a run. The error is from a bootstrap over blocks of both runs. The p-value is the share of random
    assignments of all blocks to two runs that differ at least as much as the real runs.

    Parameters
    ----------
    a, b
        ``(n_blocks, ...)`` counts in the same bins, at least four blocks each.
    """
    a, b = a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float)
    used = (a.sum(axis=0) + b.sum(axis=0)) > 0
    a, b = a[:, used], b[:, used]
    raw = jensen_shannon(a.sum(axis=0), b.sum(axis=0))
    bias = 0.25 * (_of_halves(a, rng) + _of_halves(b, rng))
    drawn = [jensen_shannon(_redrawn(a, rng), _redrawn(b, rng)) for _ in range(_RESAMPLES)]
    pooled = np.concatenate([a / a.sum(), b / b.sum()])
    exceeded = 0
    for _ in range(_RESAMPLES):
        order = rng.permutation(len(pooled))
        exceeded += jensen_shannon(pooled[order[: len(a)]].sum(axis=0), pooled[order[len(a) :]].sum(axis=0)) >= raw
    return Divergence(raw - bias, float(np.std(drawn, ddof=1)), bias, (exceeded + 1) / (_RESAMPLES + 1))


def _redrawn(blocks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found: np.ndarray = rng.multinomial(len(blocks), np.full(len(blocks), 1.0 / len(blocks))) @ blocks
    return found


def _of_halves(blocks: np.ndarray, rng: np.random.Generator) -> float:
    half = len(blocks) // 2
    found = []
    for _ in range(_SPLITS):
        order = rng.permutation(len(blocks))
        found.append(jensen_shannon(blocks[order[:half]].sum(axis=0), blocks[order[half : 2 * half]].sum(axis=0)))
    return float(np.mean(found))

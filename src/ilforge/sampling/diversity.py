"""Select the frames that differ most from each other, so that labels are not redundant.

The descriptor of a frame consists of histograms of the surroundings of each element *outside its own molecule*. The
bins are hat functions: a neighbour between two bin centres counts for both in proportion, so that small displacements
change the descriptor continuously. With the switching function :math:`f(r) = \\frac{1}{2}(1 + \\cos(\\pi r / r_c))` and
hats :math:`h_k`:

.. math::

    R^{ab}_k &= \\frac{1}{\\min(N_a, N_b)} \\sum_{i \\in a, j \\in b} h_k(r_{ij}) f(r_{ij}) (r_0 / r_{ij})^2

    A^{a}_k &= \\frac{1}{N_a} \\sum_{i \\in a} \\sum_{j < l} h_k(\\cos\\theta_{jil}) f(r_{ij}) f(r_{il})

after the symmetry functions of Behler and Parrinello, Phys. Rev. Lett. 98 (2007) 146401,
doi:10.1103/PhysRevLett.98.146401. Rotating the frame, moving a molecule to another image or exchanging equal molecules
does not change the descriptor. Frames are then selected one by one, each time the one furthest from all selected so far
(Gonzalez, Theor. Comput. Sci. 38 (1985) 293, doi:10.1016/0304-3975(85)90224-5). The largest distance of any frame to
the nearest selected one is then at most twice as large as for the best possible selection of as many frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import contacts
from ilforge.liquid.topology import Topology

REACH_A = 8.0
"""Cutoff of the radial histograms, Å."""
ANGULAR_REACH_A = 4.5
"""Cutoff of the angular histograms, Å."""
_RADII_A = np.arange(1.5, REACH_A + 0.01, 0.5)  # centres of the bins
_COSINES = np.linspace(-1.0, 1.0, 9)
_UNIT_A = 3.0  # r_0, a typical distance of neighbours


def most_diverse(frames: Sequence[Atoms], topology: Topology, count: int) -> list[Atoms]:
    """The ``count`` most different frames, in the original order; all frames if there are not more than ``count``.

    Parameters
    ----------
    frames
        Periodic frames of one liquid; molecules are whole.
    """
    if count >= len(frames) or count < 1:
        return list(frames[: max(0, count)])
    points = normalised([descriptors(frame, topology) for frame in frames])
    return [frames[i] for i in sorted(furthest_points(points, count))]


def descriptors(frame: Atoms, topology: Topology) -> list[np.ndarray]:
    """The histograms of one frame: one for each pair of elements, then one for each element, as defined above."""
    i, j, distance, vector = contacts(frame, topology, REACH_A)
    elements, kind = np.unique(topology.symbols, return_inverse=True)
    numbers = np.bincount(kind)
    weight = _switched(distance, REACH_A) * (_UNIT_A / np.maximum(distance, _RADII_A[0])) ** 2
    found = []
    for a, b in combinations_with_replacement(range(len(elements)), 2):
        of = (kind[i] == a) & (kind[j] == b)
        found.append(_histogram(distance[of], weight[of], _RADII_A) / min(numbers[a], numbers[b]))
    near = distance < ANGULAR_REACH_A
    centre, cosine, weight = _angles(i[near], distance[near], vector[near])
    for a in range(len(elements)):
        of = kind[centre] == a
        found.append(_histogram(cosine[of], weight[of], _COSINES) / numbers[a])
    return found


def normalised(found: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Descriptors as rows, ``(n_frames, n)``; each histogram is scaled to a total variance of 1 over all frames.

    All pairs of elements then have the same weight, so Li counts as much as H. A histogram that is the same in all
    frames becomes zeros.
    """
    parts = []
    for histogram in zip(*found, strict=True):
        values = np.array(histogram)
        spread = np.sqrt(values.var(axis=0).sum())
        parts.append((values - values.mean(axis=0)) / spread if spread > 0 else np.zeros_like(values))
    return np.hstack(parts)


def furthest_points(points: np.ndarray, count: int) -> list[int]:
    """Indices of points in the order of selection: first the one nearest to the mean, then always the furthest one.

    Parameters
    ----------
    points
        ``(n, d)``; distances are Euclidean. The first of several equally distant points is selected.
    count
        Number of points to select, at most n.
    """
    first = int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))
    taken, nearest = [first], np.full(len(points), np.inf)
    while len(taken) < count:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[taken[-1]], axis=1))
        nearest[taken] = -1.0
        taken.append(int(np.argmax(nearest)))
    return taken


def _switched(distance: np.ndarray, reach: float) -> np.ndarray:
    return 0.5 * (1 + np.cos(np.pi * np.minimum(distance / reach, 1.0)))


def _histogram(values: np.ndarray, weights: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Histogram ``(n_centres,)``; the weight of each value is shared between the two nearest bin centres."""
    place = np.clip((values - centres[0]) / (centres[1] - centres[0]), 0.0, len(centres) - 1.0)
    low = np.minimum(place.astype(int), len(centres) - 2)
    upper = place - low
    n = len(centres)
    return np.bincount(low, weights * (1 - upper), n) + np.bincount(low + 1, weights * upper, n)


def _angles(i: np.ndarray, distance: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every pair of neighbours of an atom: the atom, the cosine of the angle at it, and the weight."""
    if len(i) == 0:
        return np.empty(0, dtype=int), np.empty(0), np.empty(0)
    atoms, cosines, weights = (
        np.concatenate(column) for column in zip(*_angles_at_each(i, distance, vector), strict=True)
    )
    return atoms, cosines, weights


def _angles_at_each(i: np.ndarray, distance: np.ndarray, vector: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    order = np.argsort(i, kind="stable")
    atoms, starts = np.unique(i[order], return_index=True)
    weight = _switched(distance, ANGULAR_REACH_A)
    direction = vector / np.maximum(distance, 1e-9)[:, None]
    for atom, mine in zip(atoms, np.split(order, starts[1:]), strict=True):
        first, second = np.triu_indices(len(mine), k=1)
        cosine = np.einsum("ij,ij->i", direction[mine][first], direction[mine][second])
        yield np.full(len(first), atom), cosine, weight[mine][first] * weight[mine][second]

"""Displacements of ions: unwrapping under any barostat, removal of drift, mean squares and their covariance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_CHUNK_ELEMENTS = 4_000_000  # for FFT work arrays of about 100 MB
_SURE = 0.3  # fraction of the cell: for shorter steps the nearest image is certainly the right one
_STILL_A = 1e-4  # if no ion moves farther between two frames, they are the same frame
_JUMP = 4.0  # times the squared step before and after; a frame that is left out multiplies it by 4 at most
_JUMP_CHANCE = 1e-4  # chance that a run without jumps is refused
_JUMPING = 0.75  # fraction of the ions that jump between frames of different runs
_OF_QUANTILE = 0.5  # its step has at most the scatter of a mean over this fraction of the ions
_COMPARED_LAGS = 6  # number of lags at which the halves of a run are compared
_FEWEST_COMPARED = 8  # smallest number of ions for a meaningful spread


def unwrap(centres: np.ndarray, cells: np.ndarray, images: bool = False) -> tuple[np.ndarray, float]:
    """Follow centres through periodic boundaries and changes of the cell.

    Between two frames a centre moves by the nearest-image step of its fractional coordinates times the mean of
    the two cells,

        u(t+1) = u(t) + Δs · [H(t) + H(t+1)] / 2,   Δs = s(t+1) - s(t) - rint(s(t+1) - s(t)),

    so the sum of steps is the true displacement. Adding whole lattice vectors to wrapped coordinates would instead
    multiply every fluctuation of the cell by the number of crossings, which grows without bound in NPT runs.
    This is the displacement-preserving scheme of S. von Bülow, J. T. Bullerjahn and G. Hummer, J. Chem. Phys.
    153, 021101 (2020), in fractional coordinates: displacements by the barostat are not diffusion and are left out.
    Neither the origin of the cell nor earlier wrapping or unwrapping changes the result.

    Parameters
    ----------
    centres
        ``(n_frames, n, 3)`` in Å, wrapped or not.
    cells
        ``(n_frames, 3, 3)`` in Å, lattice vectors as rows.
    images
        Whether centres are in the images to which they moved (unwrapped). They are then used as they are if the nearest
        image of any step is uncertain. Otherwise nearest images are used, which are also right if the image counts were
        reset in between.

    Returns
    -------
    unwrapped
        ``(n_frames, n, 3)`` in Å.
    longest
        Largest \\|Δs\\| of any component. Close to 0.5, frames are too far apart to identify the image; 0 if images are
        known.
    """
    fractional = centres @ np.linalg.inv(cells)
    given = np.diff(fractional, axis=0)
    steps = given - np.rint(given)
    longest = float(np.max(np.abs(steps), initial=0.0))
    if images and longest > _SURE:
        steps, longest = given, 0.0
    unwrapped = np.empty_like(fractional)
    unwrapped[0] = centres[0]
    np.cumsum(steps @ (0.5 * (cells[:-1] + cells[1:])), axis=0, out=unwrapped[1:])
    unwrapped[1:] += centres[0]
    return unwrapped, longest


def remove_drift(unwrapped: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Positions relative to the centre of mass of the whole system, ``(n_frames, n, 3)``.

    The mean over all ions is weighted by mass. The drift of one species is part of its diffusion and is kept.
    """
    found: np.ndarray = unwrapped - np.einsum("tix,i->tx", unwrapped, masses / masses.sum())[:, None, :]
    return found


def follow(
    centres: np.ndarray, cells: np.ndarray, masses: np.ndarray, images: bool = False
) -> tuple[np.ndarray, float]:
    """Unwrapped positions relative to the centre of mass of all ions, and the longest step as a share of the cell.

    See :func:`unwrap` and :func:`remove_drift` for the arguments.
    """
    unwrapped, longest = unwrap(centres, cells, images)
    return remove_drift(unwrapped, masses), longest


def repeated_frames(positions: np.ndarray) -> np.ndarray:
    """Frames that repeat the frame before: real motion is always larger than rounding.

    Parameters
    ----------
    positions
        ``(n_frames, n, 3)`` in Å, unwrapped.

    Returns
    -------
    Numbers of frames, ascending.
    """
    if positions.shape[1] == 0:
        return np.empty(0, dtype=int)
    still = [np.abs(after - before).max() < _STILL_A for before, after in pairwise(positions)]
    return np.flatnonzero(still) + 1


def jumps(positions: np.ndarray) -> np.ndarray:
    """Frames that do not follow the frame before them: most ions move much farther than just before and after.

    The squared step of each ion is divided by its median over the run. The ratio that three quarters of the ions
    exceed, which ions that hop do not change, is compared with those of the steps before and after. In a run whose
    motion becomes faster the step afterwards is as long, so this is no jump.

    Parameters
    ----------
    positions
        ``(n_frames, n, 3)`` in Å, unwrapped, relative to the centre of mass of all ions.

    Returns
    -------
    Numbers of frames, ascending.
    """
    from scipy.special import fdtri

    n_frames, n = positions.shape[:2]
    if n_frames < 4 or n < 3:
        return np.empty(0, dtype=int)
    squared = np.stack([np.sum((after - before) ** 2, axis=1) for before, after in pairwise(positions)])
    typical = np.median(squared, axis=0)
    moving = typical > _STILL_A**2
    if moving.sum() < 3:
        return np.empty(0, dtype=int)
    step = np.quantile(squared[:, moving] / typical[moving], 1.0 - _JUMPING, axis=1)
    before = np.concatenate([[step[2]], step[:-1]])
    after = np.concatenate([step[1:], [step[-3]]])
    freedom = 3.0 * max(1.0, _OF_QUANTILE * moving.sum())
    limit = max(_JUMP, float(fdtri(freedom, freedom, 1.0 - _JUMP_CHANCE / n_frames)))
    return np.flatnonzero(step > limit * np.maximum(before, after)) + 1


def mean_squared_displacement(positions: np.ndarray, max_lag: int) -> np.ndarray:
    """Squared displacement of each particle over every lag, averaged over all time origins.

        MSD(k) = 1/(n-k) Σ_t |x(t+k) - x(t)|²

    by FFT: G. R. Kneller et al., Comput. Phys. Commun. 91, 191 (1995); P. de Buyl, J. Open Source Softw. 3, 877
    (2018).

    Parameters
    ----------
    positions
        ``(n_frames, n, 3)`` in Å, unwrapped.
    max_lag
        Longest lag in frames, below ``n_frames``.

    Returns
    -------
    ``(n, max_lag + 1)`` in Å^2.
    """
    n_frames, n, _ = positions.shape
    result = np.empty((n, max_lag + 1))
    chunk = max(1, _CHUNK_ELEMENTS // (6 * n_frames))
    for start in range(0, n, chunk):
        part = np.ascontiguousarray(positions[:, start : start + chunk].transpose(1, 2, 0))
        result[start : start + chunk] = _msd_of(part - part.mean(axis=2, keepdims=True), max_lag)
    return result


def squared_displacements(positions: np.ndarray, lag: int, n_parts: int) -> np.ndarray:
    """Squared displacement of each particle over one lag, averaged in at most ``n_parts`` consecutive parts of the run.

    Parameters
    ----------
    positions
        ``(n_frames, n, 3)`` in Å, unwrapped.
    lag
        Frames, below ``n_frames``.

    Returns
    -------
    ``(n_parts, n)`` in Å^2; the last time origins are not used if they do not fill a part.
    """
    n_origins = len(positions) - lag
    width = -(-n_origins // n_parts)
    starts = np.arange(0, n_origins // width * width, width)
    parts = np.empty((len(starts), positions.shape[1]))
    for row, start in enumerate(starts):
        moved = positions[start + lag : start + lag + width] - positions[start : start + width]
        parts[row] = np.einsum("tix,tix->i", moved, moved) / width
    return parts


def excess_variance(paths: Sequence[np.ndarray], msd: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Ratio of the variance of the mean squared displacement to that of equal ions with Gaussian motion.

    The statistical errors of an ion's MSD in the two halves A and B of a run are independent; a permanent difference
    from other ions is the same in both halves. Two ratios are computed, and the larger one is used if it exceeds 1 by
    more than chance (two standard errors of a variance of this number of ions):

    - For ions that hop or are temporarily fast: the variance over ions of B - A divided by that of Gaussian motion,
      2 Var.
    - For ions that differ permanently, with D_i: <D²>/<D>² = <A B>/(<A> <B>). The first ratio shows this too, but if
      only few ions are fast, it depends on these few alone.

    Parameters
    ----------
    paths
        ``(n_frames, n_ions, 3)`` in Å of each independent run, unwrapped.
    msd
        ``(n_known + 1,)``: the mean MSD at lags 0, 1, ..., n_known, Å^2.
    lags
        Ascending integers.

    Returns
    -------
    ``(n_lags,)``: the ratio, at least 1.
    """
    n_ions = sum(path.shape[1] for path in paths)
    half = len(paths[0]) // 2
    some = np.unique(lags[np.linspace(0, len(lags) - 1, _COMPARED_LAGS).round().astype(int)])
    some = some[(some < half) & (msd[some] > 0)]
    if n_ions < _FEWEST_COMPARED or len(some) == 0:
        return np.ones(len(lags))
    longest = int(some[-1])
    first, second = (
        np.concatenate([mean_squared_displacement(path[part], longest)[:, some] for path in paths])
        for part in (slice(None, half), slice(half, 2 * half))
    )
    gaussian = np.diag(msd_covariance(msd[: longest + 1], some, half, 1.0))
    differ = (first * second).mean(axis=0) / (first.mean(axis=0) * second.mean(axis=0))
    ratio = np.maximum((second - first).var(axis=0, ddof=1) / (2.0 * gaussian), differ)
    ratio = np.where(ratio > 1.0 + 2.0 * np.sqrt(2.0 / (n_ions - 1)), ratio, 1.0)
    found: np.ndarray = np.interp(np.log(lags), np.log(some), ratio)
    return found


def cross_displacements(collective: np.ndarray, max_lag: int) -> np.ndarray:
    """Products of collective displacements over every lag, averaged over all time origins.

        X_ij(k) = 1/(n-k) Σ_t ΔR_i(t, k)·ΔR_j(t, k),  ΔR(t, k) = R(t+k) - R(t)

    Parameters
    ----------
    collective
        ``(n_frames, n, 3)``: sums of unwrapped positions over the ions of each kind, Å.

    Returns
    -------
    ``(n, n, max_lag + 1)`` in Å^2.
    """
    n = collective.shape[1]
    first, second = np.triu_indices(n)
    sums = mean_squared_displacement(collective[:, first] + collective[:, second], max_lag)
    squares = np.empty((n, n, max_lag + 1))
    squares[first, second] = squares[second, first] = sums
    own = squares[np.arange(n), np.arange(n)] / 4.0  # |2 ΔR_i|²
    return 0.5 * (squares - own[:, None] - own[None, :])


def _msd_of(paths: np.ndarray, max_lag: int) -> np.ndarray:
    """Mean squared displacement of centred paths ``(n, 3, n_frames)``."""
    from scipy.fft import irfft, next_fast_len, rfft

    n_frames = paths.shape[2]
    length = next_fast_len(n_frames + max_lag, real=True)
    products = irfft(np.abs(rfft(paths, length)) ** 2, length)[:, :, : max_lag + 1].sum(axis=1)
    squares = np.zeros((len(paths), n_frames + 1))
    np.cumsum((paths**2).sum(axis=1), axis=1, out=squares[:, 1:])
    lags = np.arange(max_lag + 1)
    # Σ_t x²(t) + x²(t+k): all squares without the last k, plus all without the first k
    ends = squares[:, n_frames - lags] + squares[:, [n_frames]] - squares[:, lags]
    found: np.ndarray = np.maximum((ends - 2.0 * products) / (n_frames - lags), 0.0)
    return found


def msd_covariance(msd: np.ndarray, lags: np.ndarray, n_frames: int, n_particles: float) -> np.ndarray:
    """Covariance of time-averaged mean squared displacements between lags.

    For n independent particles with Gaussian displacements and stationary increments, it follows exactly from the MSD:

        Cov[M(m), M(n)] = 2 / (3 N N_m N_n) Σ_ab C_ab²,
        C_ab = ½ [ρ(a-b+m) + ρ(a-b-n) - ρ(a-b+m-n) - ρ(a-b)],

    where ρ is the MSD, a and b run over the N_m = n_frames - m and N_n time origins, and C_ab is the covariance
    of the displacement over m from a with that over n from b (Isserlis' theorem; for Brownian motion these are
    the results of H. Qian, M. P. Sheetz and E. L. Elson, Biophys. J. 60, 910 (1991) and X. Michalet, Phys. Rev.
    E 82, 041914 (2010)).

    Parameters
    ----------
    msd
        ``(n_known + 1,)``, the model ρ at lags 0, 1, ..., n_known in Å^2; it is extrapolated as a straight line.
    lags
        ``(n_lags,)`` ascending integers, none above ``n_known``.

    Returns
    -------
    ``(n_lags, n_lags)`` in Å^4.
    """
    return displacement_covariance(msd, msd, lags, n_frames) * 2.0 / (3.0 * n_particles)


def displacement_covariance(first: np.ndarray, second: np.ndarray, lags: np.ndarray, n_frames: int) -> np.ndarray:
    """Average over time origins of the product of two covariances of displacements, 1/(N_m N_n) Σ_ab A_ab B_ab.

    A_ab and B_ab follow from two (cross) mean squared displacements like C_ab in :func:`msd_covariance`. For Gaussian
    collective displacements with stationary increments, and the time average X_ij(m) of ΔR_i·ΔR_j over lag m, this
    gives

        Cov[X_ij(m), X_kl(n)] = 1/(3 N_m N_n) Σ_ab (C^ik_ab C^jl_ab + C^il_ab C^jk_ab).

    Parameters
    ----------
    first, second
        ``(n_known + 1,)`` in Å^2 at lags 0, 1, ..., n_known; they are extrapolated as straight lines.
    lags
        ``(n_lags,)`` ascending integers, none above ``n_known``.

    Returns
    -------
    ``(n_lags, n_lags)`` in Å^4.
    """
    lags = np.asarray(lags, dtype=int)
    longest = int(lags[-1])
    reach = min(n_frames - 1, len(first) - 1 + longest)  # beyond this, both are straight lines and C_ab is zero
    same = first is second
    models = [_even_extension(msd, reach + longest) for msd in ((first,) if same else (first, second))]
    separation = np.arange(-reach, reach + 1)
    size, after = len(separation), np.maximum(separation, 0)
    result = np.empty((len(lags), len(lags)))
    for row, n in enumerate(lags):
        # ρ(x) is at x + reach + longest; differences ρ(x) - ρ(x - n) for x from -reach on
        differences = [rho[longest:] - rho[longest - n : len(rho) - n] for rho in models]
        for column in range(row, len(lags)):
            m = lags[column]  # C_ab = ½ [difference(a-b+m) - difference(a-b)]
            c = [difference[m : m + size] - difference[:size] for difference in differences]
            origins = np.minimum(n_frames - m, n_frames - n + separation) - after
            total = 0.25 * np.dot(c[0] * c[-1], np.maximum(origins, 0))
            result[row, column] = result[column, row] = total / ((n_frames - m) * (n_frames - n))
    return result


def independent_ions(masses: np.ndarray, members: np.ndarray) -> float:
    """Effective number of independent ions of one species after the drift of all ions was removed.

    Removing the motion of the centre of mass correlates all ions: x' = P x with P = 1 - 1 μᵀ, where μ is the mass
    fraction of each ion. Squared displacements of N members then fluctuate like those of (tr G)² / tr G² independent
    ions, where G is the block of P Pᵀ of the members. For a single species this is N - 1.

    Parameters
    ----------
    masses
        Masses of all ions, ``(n,)``.
    members
        Indices of the ions of the species.
    """
    share = masses / masses.sum()
    of_members = share[members]
    block = np.eye(len(members)) - of_members[:, None] - of_members[None, :] + share @ share
    return float(np.trace(block) ** 2 / np.sum(block**2))


def _even_extension(msd: np.ndarray, reach: int) -> np.ndarray:
    """ρ from -reach to reach: even in the lag, and extrapolated as a straight line beyond the known lags."""
    known = len(msd) - 1
    stretch = max(known // 4, 1)
    slope = (msd[known] - msd[known - stretch]) / stretch
    beyond = msd[known] + slope * np.arange(1, max(reach - known, 0) + 1)
    half = np.concatenate([msd, beyond])[: reach + 1]
    return np.concatenate([half[:0:-1], half])

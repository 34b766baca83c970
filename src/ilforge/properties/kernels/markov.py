"""Markov state models of discrete trajectories: counts, reversible estimate, posterior, tests. Based on deeptime.

M. Hoffmann et al., Mach. Learn.: Sci. Technol. 3, 015009 (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BURN_IN = 50
_STEPS = 10  # steps of the sampler between two stored matrices
_LEVEL = 2.0  # time scales within this many standard errors are equal
_MAX_Z = 3.5  # standard errors; with twenty comparisons, one in a hundred correct models exceeds this
_LAGS = 14


@dataclass(frozen=True)
class MarkovModel:
    """A reversible transition matrix and its posterior.

    Attributes
    ----------
    states
        ``(n,)``: the states of the connected set.
    lag
        Lag time in frames.
    counts
        ``(n, n)`` effective counts: sliding windows divided by the lag.
    matrix, stationary
        ``(n, n)`` and ``(n,)``, from maximum likelihood.
    samples, stationary_samples
        ``(n_samples, n, n)`` and ``(n_samples, n)``, from the posterior.
    """

    states: np.ndarray
    lag: int
    counts: np.ndarray
    matrix: np.ndarray
    stationary: np.ndarray
    samples: np.ndarray
    stationary_samples: np.ndarray

    def time_scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Implied time scales -τ / ln λ_k in frames, slowest first, and their standard errors, ``(n - 1,)``."""
        values = implied_time_scales(self.matrix, self.lag)
        sampled = np.array([implied_time_scales(sample, self.lag) for sample in self.samples])
        return values, sampled.std(axis=0, ddof=1)

    def lifetimes(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean lifetime of each state at the resolution of the lag, τ / (1 - T_ii), frames, ``(n,)``."""
        sampled = self.lag / (1.0 - np.diagonal(self.samples, axis1=1, axis2=2))
        return self.lag / (1.0 - np.diag(self.matrix)), sampled.std(axis=0, ddof=1)

    def fluxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Equilibrium fluxes π_i T_ij / τ per frame and trajectory, ``(n, n)``, and their standard errors."""
        sampled = self.stationary_samples[:, :, None] * self.samples / self.lag
        return self.stationary[:, None] * self.matrix / self.lag, sampled.std(axis=0, ddof=1)


def estimate(
    trajectories: Sequence[np.ndarray], lag: int, n_states: int, n_samples: int = 200, seed: int = 1
) -> MarkovModel | None:
    """Reversible Markov model on the largest connected set, with samples of its posterior.

    Counts of sliding windows are divided by the lag, because overlapping windows are correlated. The posterior of
    reversible matrices is sampled by Gibbs moves: B. Trendelkamp-Schroer, H. Wu, F. Paul and F. Noé, J. Chem. Phys.
    143, 174101 (2015).

    Parameters
    ----------
    trajectories
        Integer series of states 0 to ``n_states - 1``, one for each ion.
    lag
        Lag time in frames.

    Returns
    -------
    The model, or None if fewer than two states are connected.
    """
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM
    from deeptime.markov.tools.estimation.dense.tmat_sampling.sampler_rev import SamplerRev

    usable = [np.ascontiguousarray(t, dtype=np.int32) for t in trajectories if len(t) > lag]
    if not usable:
        return None
    counted = TransitionCountEstimator(lag, "sliding-effective", n_states=n_states).fit_fetch(usable)
    connected = counted.submodel_largest(connectivity_threshold=0.0, directed=True)
    if connected.n_states < 2:
        return None
    counts = np.asarray(connected.count_matrix, dtype=float)
    model = MaximumLikelihoodMSM(reversible=True).fit_fetch(connected)
    sampler = SamplerRev(counts, model.transition_matrix, seed=seed)
    sampler.update(_BURN_IN)
    drawn = [sampler.sample(_STEPS, return_statdist=True) for _ in range(n_samples)]
    return MarkovModel(
        np.asarray(connected.state_symbols),
        lag,
        counts,
        np.asarray(model.transition_matrix),
        np.asarray(model.stationary_distribution),
        np.array([matrix for matrix, _ in drawn]),
        np.array([stationary for _, stationary in drawn]),
    )


def implied_time_scales(matrix: np.ndarray, lag: int) -> np.ndarray:
    """-τ / ln \\|λ_k\\| in frames, slowest first, without the stationary one, ``(n - 1,)``."""
    values = np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1][1:]
    found: np.ndarray = -lag / np.log(np.clip(values, 1e-12, 1.0 - 1e-12))
    return found


def lags_to_try(n_frames: int) -> np.ndarray:
    """Lag times in frames, growing geometrically up to a tenth of the run."""
    return np.unique(np.rint(np.geomspace(1, max(n_frames // 10, 1), _LAGS)).astype(int))


def level_lag(models: Sequence[MarkovModel]) -> MarkovModel | None:
    """The model with the shortest lag above which the slowest implied time scale is constant within errors.

    It must agree with the models of all longer lags up to four times its own, and there must be such models. Time
    scales shorter than their lag are not meaningful and are left out.
    """
    slowest: list[tuple[MarkovModel, float, float]] = []
    for model in models:
        values, errors = model.time_scales()
        if values[0] > model.lag:
            slowest.append((model, float(values[0]), float(errors[0])))
    for index, (model, value, error) in enumerate(slowest):
        longer = [entry for entry in slowest[index + 1 :] if entry[0].lag <= 4 * model.lag]
        level = [abs(other - value) <= _LEVEL * np.hypot(error, spread) for _, other, spread in longer]
        if longer and all(level):
            return model
    return None


@dataclass(frozen=True)
class ChapmanKolmogorov:
    """Probabilities to be in the initial state after k lags: predicted by T(τ)^k and estimated by T(kτ).

    Attributes
    ----------
    steps
        ``(n_k,)``: k.
    predicted, predicted_error, estimated, estimated_error
        ``(n_k, n_states)``.
    """

    steps: np.ndarray
    predicted: np.ndarray
    predicted_error: np.ndarray
    estimated: np.ndarray
    estimated_error: np.ndarray

    @property
    def largest(self) -> float:
        """Largest difference in units of its standard error."""
        error = np.hypot(self.predicted_error, self.estimated_error)
        return float(np.max(np.abs(self.predicted - self.estimated) / np.maximum(error, 1e-12), initial=0.0))

    @property
    def passed(self) -> bool:
        return self.largest < _MAX_Z


def chapman_kolmogorov(
    model: MarkovModel, trajectories: Sequence[np.ndarray], n_states: int, steps: Sequence[int] = (2, 3, 4, 5)
) -> ChapmanKolmogorov | None:
    """The Chapman-Kolmogorov test of a model; None if models of longer lags have fewer states.

    J.-H. Prinz et al., J. Chem. Phys. 134, 174105 (2011).
    """
    found, diagonal = [], np.arange(len(model.states))
    for k in steps:
        direct = estimate(trajectories, k * model.lag, n_states, n_samples=100)
        if direct is None or not np.array_equal(direct.states, model.states):
            continue
        powers = np.linalg.matrix_power(model.samples, k)[:, diagonal, diagonal]
        found.append(
            (k, np.linalg.matrix_power(model.matrix, k)[diagonal, diagonal], powers.std(axis=0, ddof=1),
             direct.matrix[diagonal, diagonal], direct.samples[:, diagonal, diagonal].std(axis=0, ddof=1))
        )  # fmt: skip
    return ChapmanKolmogorov(*(np.array(part) for part in zip(*found, strict=True))) if found else None

"""Einstein relations: the regime in which mean squared displacements grow linearly in time, and its slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ilforge.properties.kernels.displacement import (
    excess_variance,
    jumps,
    mean_squared_displacement,
    msd_covariance,
    repeated_frames,
    squared_displacements,
)
from ilforge.properties.shared.steadiness import PARTS, Course, judged
from ilforge.results import Curve, Estimate
from ilforge.statistics import DISAGREEMENT, LinearFit, disagree, error_between, generalised_least_squares
from ilforge.units import A2_PER_PS_IN_M2_S

MIN_LAGS = 8
AMBIGUOUS = 0.45
"""Fraction of a cell edge: after a longer step between two frames, the direction of the motion is ambiguous."""
_UNIT = "m^2/s"
_MIN_WINDOW = 3.0  # smallest ratio of the longest to the shortest time in a fit
_MIN_P_VALUE = 0.01  # of the straight line
_MIN_P_VALUE_ONE = 0.001
_MAX_MSD_ERROR = 0.25
_CAGE_A = 5.0  # an ion that moved by the distance of its neighbours has left its cage
_FEWEST_IONS = 3  # smallest number of ions for which their spread is used
_FEW_IONS = 8  # with fewer ions, the spread is uncertain and Student's t is used
_STILL_A2 = 1e-12  # a smaller MSD is rounding, and its logarithm has no meaning


class EinsteinSettings(Protocol):
    """Settings that decide whether displacements are diffusive; see the study file."""

    min_slope: float
    max_lag_fraction: float
    min_displacement_A: float


class MsdAnalysis:
    """Mean squared displacements of the ions of one species, and the diffusion coefficient from them.

    Parameters
    ----------
    paths
        ``(n_frames, n_ions, 3)`` in Å of each independent run, unwrapped.
    max_lag
        Longest lag, frames.
    interval_ps
        Time of one lag, ps.
    independent
        Effective number of independent ions in one run.
    of_whom
        Name of the ions, for messages.
    """

    def __init__(
        self,
        paths: Sequence[np.ndarray],
        max_lag: int,
        interval_ps: float,
        settings: EinsteinSettings,
        independent: float,
        of_whom: str = "the ions",
    ):
        self._paths, self._n_runs, self._of_whom = paths, len(paths), of_whom
        self._of_ions = np.concatenate([mean_squared_displacement(path, max_lag) for path in paths])
        self._mean = self._of_ions.mean(axis=0)
        self._n_frames, self._interval, self._settings = len(paths[0]), interval_ps, settings
        self._independent = len(paths) * independent
        spacing = np.geomspace(1, max_lag // 2, 3 * int(np.log2(max_lag)) + 1)
        self._starts = np.unique(np.rint(spacing).astype(int))
        self._lags = np.union1d(self._starts, 2 * self._starts)
        model = _smooth(self._mean, self._lags)
        self._widening = np.sqrt(excess_variance(paths, model, self._lags))
        self._covariance = self._covariance_for(model, self._lags)
        self._slopes, self._slope_errors = self._local_slopes()

    def estimate(self) -> Estimate:
        """Diffusion coefficient in m^2/s, or the reason why there is none."""
        moved = np.sqrt(self._mean[self._lags[-1]])
        if moved < self._settings.min_displacement_A:
            return self._refused(
                f"within {self._time(self._lags[-1])} the ions moved only {moved:.2g} Å; ions that leave their cage "
                f"move at least {self._settings.min_displacement_A:g} Å"
            )
        regime = self.diffusive_regime()
        if regime is None:
            return self._refused(self._why_not_diffusive())
        slope, model_error, spread = regime.slope, regime.slope_error, regime.spread_error
        error = max(model_error, spread if np.isfinite(spread) else 0.0)
        if disagree(regime.of_runs, error * np.sqrt(self._n_runs)):
            return Estimate.refused(_UNIT, DISAGREEMENT.format(self._n_runs))
        error = max(error, error_between(regime.of_runs))
        # the standard deviation of a squared displacement is sqrt(2/3) of its mean
        n_eff = 2.0 / 3.0 * (slope / error) ** 2
        scale = A2_PER_PS_IN_M2_S / 6.0
        if slope < 2.0 * error:
            return self._refused(f"D = {slope * scale:.2g} ± {error * scale:.2g} m^2/s is zero within its error")
        note = f"fitted from {self._time(regime.start)} to {self._time(self._lags[-1])}"
        if not np.isfinite(spread):
            note += "; the error assumes Gaussian motion, because there are too few ions to measure their spread"
        found = Estimate(slope * scale, error * scale, n_eff, _UNIT, True, note)
        return judged(found, [self.course(regime.start)])

    def course(self, lag: int) -> Course:
        """Squared displacements of each ion over one lag, along the run."""
        of_ions = np.concatenate([squared_displacements(path, lag, PARTS) for path in self._paths], axis=1)
        what = f"the mean squared displacement of {self._of_whom} in {self._time(lag)}"
        return Course(what, of_ions.T, self._n_frames * self._interval, "Å^2")

    def diffusive_regime(self) -> DiffusiveRegime | None:
        """The longest diffusive range of lags that ends at the longest lag, with its fit."""
        for index in self._candidates():
            found = self.line_from(self._starts[index])
            if found is not None:
                return self._regime(*found)
        return None

    def line_from(self, start: int) -> tuple[np.ndarray, LinearFit] | None:
        """Straight line through all lags from ``start`` on; None if there are too few lags or no line fits."""
        lags = self._lags[self._lags >= start]
        if lags[-1] < _MIN_WINDOW * lags[0]:
            return None
        fit = self._fit(lags)
        return (lags, fit) if _p_value(fit) > _MIN_P_VALUE else None

    def coarse_line_from(self, start: int) -> tuple[np.ndarray, LinearFit] | None:
        """Straight line through lags that double from ``start`` on; None if no line fits.

        This is used for a single collective displacement. It has few independent averages over long lags, which are
        far from Gaussian. Therefore only lags whose MSD has an error below a quarter of its value are used, and
        always the first four.
        """
        doubled = start * 2 ** np.arange(int(np.log2(self._lags[-1] / start)) + 1)
        lags = np.unique(self._lags[np.abs(self._lags[:, None] - doubled).argmin(axis=0)])
        chosen = np.isin(self._lags, lags)
        known = np.sqrt(np.diag(self._covariance))[chosen] < _MAX_MSD_ERROR * self._mean[lags]
        lags = lags[known | (np.arange(len(lags)) < 4)]
        if len(lags) < 3:
            return None
        fit = self._fit(lags)
        return (lags, fit) if _p_value(fit) > _MIN_P_VALUE_ONE else None

    def msd_curve(self) -> Curve:
        """MSD with its standard error."""
        error = np.sqrt(np.diag(self._covariance))
        time, msd = self._lags * self._interval, self._mean[self._lags]
        n_eff = 2.0 / 3.0 * (msd / np.maximum(error, 1e-300)) ** 2  # as for D
        return Curve(time, msd, error, "time", "ps", "mean squared displacement", "Å^2", n_eff)

    def slope_curve(self) -> Curve:
        """d ln MSD / d ln t with its standard error; it is 1 if ions diffuse."""
        time = np.sqrt(2.0) * self._starts * self._interval
        return Curve(time, self._slopes, self._slope_errors, "time", "ps", "d ln MSD / d ln t", "1")

    def _candidates(self) -> np.ndarray:
        """Indices of starts at which the local slope is 1 within its error, and the error is small enough."""
        s, e, least = self._slopes, self._slope_errors, self._settings.min_slope
        return np.flatnonzero((np.abs(s - 1.0) <= 2.0 * e) & (s + e >= least) & (e <= 1.0 - least))

    def _local_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Slopes between k and 2k, and their errors by propagation, for each start k."""
        first = np.searchsorted(self._lags, self._starts)
        second = np.searchsorted(self._lags, 2 * self._starts)
        mean = np.maximum(self._mean[self._lags], _STILL_A2)
        relative = self._covariance / np.outer(mean, mean)
        variance = relative[first, first] + relative[second, second] - 2.0 * relative[first, second]
        return np.log2(mean[second] / mean[first]), np.sqrt(np.maximum(variance, 0.0)) / np.log(2.0)

    def _fit(self, lags: np.ndarray) -> LinearFit:
        """Straight line through the MSD at these lags; the covariance is computed from the line itself."""
        design = np.stack([lags * self._interval, np.ones(len(lags))], axis=1)
        chosen = np.isin(self._lags, lags)
        fit = generalised_least_squares(design, self._mean[lags], self._covariance[np.ix_(chosen, chosen)])
        model = _smooth(self._mean, self._lags)
        tail = np.arange(lags[0], len(model))
        line = np.stack([tail * self._interval, np.ones(len(tail))], axis=1) @ fit.coefficients
        if line[0] > 0 and fit.coefficients[0] > 0:
            model[tail] = line
            covariance = self._covariance_for(model, lags)
            fit = generalised_least_squares(design, self._mean[lags], covariance)
        return fit

    def _regime(self, lags: np.ndarray, fit: LinearFit) -> DiffusiveRegime:
        of_ions = self._of_ions[:, lags] @ fit.weights[0]
        of_runs = of_ions.reshape(self._n_runs, -1).mean(axis=1)
        error = np.sqrt(fit.covariance[0, 0])
        return DiffusiveRegime(int(lags[0]), fit.coefficients[0], error, _error_of_spread(of_ions), of_runs)

    def _covariance_for(self, model: np.ndarray, lags: np.ndarray) -> np.ndarray:
        wider = self._widening[np.searchsorted(self._lags, lags)]
        return msd_covariance(model, lags, self._n_frames, self._independent) * np.outer(wider, wider)

    def _why_not_diffusive(self) -> str:
        known = np.flatnonzero(self._slope_errors <= 1.0 - self._settings.min_slope)
        if len(known) == 0:
            return (
                f"d ln MSD / d ln t is known only to ±{self._slope_errors[0]:.1g}: there are too few ions, or the run "
                "is too short"
            )
        last = known[-1]
        kind = "not diffusive" if len(self._candidates()) == 0 else "not diffusive over a range of times"
        return (
            f"{kind}: d ln MSD / d ln t is {self._slopes[last]:.2f} ± {self._slope_errors[last]:.2f} "
            f"at {self._time(np.sqrt(2.0) * self._starts[last])}"
        )

    def _refused(self, reason: str) -> Estimate:
        n_eff = len(self._of_ions) * self._n_frames / self._lags[-1]
        return Estimate.refused(_UNIT, f"{reason}: run at least about {duration(self._needed_ps())}", n_eff)

    def _needed_ps(self) -> float:
        """Approximate length of a run that shows diffusion: ions leave their cages, and slopes are precise enough."""
        longest = self._lags[-1]
        run = self._n_frames * self._interval
        exponent = np.clip(self._slopes[-1], 0.5, 1.0) if np.isfinite(self._slopes[-1]) else 0.5
        leave = (_CAGE_A**2 / max(self._mean[longest], 1e-6)) ** (1.0 / exponent)
        resolve = (self._slope_errors[0] / (1.0 - self._settings.min_slope)) ** 2
        found: float = run * max(leave, resolve, 3.0)
        return found

    def _time(self, lag: float) -> str:
        return duration(lag * self._interval)


@dataclass(frozen=True)
class DiffusiveRegime:
    """First lag of the regime in frames; slope of the MSD, its errors, and the slope of each run, in Å^2/ps."""

    start: int
    slope: float
    slope_error: float
    spread_error: float
    of_runs: np.ndarray


def _error_of_spread(of_ions: np.ndarray) -> float:
    """Standard error of the mean of ions ``(n,)`` from their spread; NaN if there are too few ions.

    For few ions it is enlarged, so that 1.96 times the error is the 95 % interval of Student's t.
    """
    from scipy.special import stdtrit

    n = len(of_ions)
    if n < _FEWEST_IONS:
        return np.nan
    wider = stdtrit(n - 1, 0.975) / 1.96 if n < _FEW_IONS else 1.0
    return float(wider * of_ions.std(ddof=1) / np.sqrt(n))


def _smooth(mean: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """MSD at every lag, interpolated by power laws between ``lags``, because noise in ρ would add to the covariance."""
    every = np.arange(len(mean))
    inside = np.interp(np.log(every[1:]), np.log(lags), np.log(np.maximum(mean[lags], _STILL_A2)))
    return np.concatenate([[0.0], np.exp(inside)])


def _p_value(fit: LinearFit) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(max(fit.degrees_of_freedom, 1), fit.chi2))


def sparse_frames(longest: float) -> str:
    return (
        f"an ion moved by {longest:.2f} of the cell between two frames, so that its image is ambiguous: "
        "give frames closer in time, or a trajectory from one run"
    )


def jump_between(paths: Sequence[np.ndarray]) -> str:
    """Why runs cannot be measured in which frames do not follow one another; empty if all do.

    Paths as in :class:`MsdAnalysis`, of all ions.
    """
    for number, path in enumerate(paths, 1):
        frames = jumps(path)
        if len(frames):
            where = "" if len(paths) == 1 else f" of run {number}"
            more = f" (and at {len(frames) - 1} more frames)" if len(frames) > 1 else ""
            return (
                f"between frames {frames[0] - 1} and {frames[0]}{where}{more} most ions jump, compared with the steps "
                "before and after: frames are missing, files are not in time order, or belong to independent runs "
                "(--replicas)"
            )
    return ""


def repeated_note(paths: Sequence[np.ndarray]) -> list[str]:
    """A note on repeated frames in a run, if there are any; paths as in :class:`MsdAnalysis`, of all ions."""
    notes = []
    for number, path in enumerate(paths, 1):
        frames = repeated_frames(path)
        if len(frames):
            where = "" if len(paths) == 1 else f" of run {number}"
            more = f", and {len(frames) - 1} more times" if len(frames) > 1 else ""
            notes.append(
                f"Frames {frames[0] - 1} and {frames[0]}{where} are the same{more}: the time between them is missing "
                "from the displacements. Leave out repeated frames."
            )
    return notes


def duration(ps: float) -> str:
    """A time with its unit, to two digits."""
    for limit, unit in ((1e3, "ps"), (1e6, "ns")):
        if ps < limit:
            return f"{float(f'{ps / limit * 1e3:.2g}'):g} {unit}"
    return f"{float(f'{ps / 1e6:.2g}'):g} µs"

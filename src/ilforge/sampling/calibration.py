"""Calibration: from which disagreement of a committee on the error of its forces is too large.

How much members disagree is not how wrong they are. On validation frames both are known. There a monotonic function is
fitted to the largest error of a force against the deviation (isotonic regression: Barlow et al., Statistical Inference
under Order Restrictions, 1972), and the window of candidates begins where it exceeds a target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST = 20
"""Fewest frames for a calibration."""
WEAKEST = 0.3
"""Weakest rank correlation for a calibration."""


@dataclass(frozen=True)
class Calibration:
    """Where the window of candidates begins.

    Attributes
    ----------
    low
        eV/Å.
    note
        Where it comes from, in a sentence.
    n_frames
        Frames with a finite deviation and error.
    rank_correlation
        Spearman's coefficient of deviation and error; None if it was not computed.
    calibrated
        Whether ``low`` comes from the frames, and not from the given value.
    """

    low: float
    note: str
    n_frames: int
    rank_correlation: float | None = None
    calibrated: bool = False


def calibrate(deviations: np.ndarray, errors: np.ndarray, target: float, otherwise: float, high: float) -> Calibration:
    """The deviation from which on the largest error of a force is expected to exceed ``target``.

    Parameters
    ----------
    deviations, errors
        ``(n_frames,)`` largest deviation and largest error of a force, eV/Å.
    target
        Largest acceptable error, eV/Å.
    otherwise
        Used if there are too few frames, if deviation and error are not related, or if nothing is left below ``high``.
    high
        Upper end of the window, eV/Å.
    """
    from scipy.stats import spearmanr  # half a second that planning a study does not need

    finite = np.isfinite(deviations) & np.isfinite(errors)
    deviations, errors = np.asarray(deviations)[finite], np.asarray(errors)[finite]
    n = len(deviations)
    if n < FEWEST:
        return Calibration(
            otherwise,
            f"{otherwise:g} eV/Å was used: a calibration needs {FEWEST} validation frames, and there are {n}",
            n,
        )
    varied = np.ptp(deviations) > 0 and np.ptp(errors) > 0
    related = float(spearmanr(deviations, errors).statistic) if varied else 0.0
    if related < WEAKEST:
        return Calibration(
            otherwise,
            f"{otherwise:g} eV/Å was used: in {n} validation frames, deviation and error are hardly related (rank "
            f"correlation {related:.2f}; a calibration needs {WEAKEST:g})",
            n,
            related,
        )
    low = _crossing(deviations, errors, target)
    based = f"{n} validation frames, rank correlation {related:.2f}"
    if low >= high:
        return Calibration(
            otherwise, f"{otherwise:g} eV/Å was used: the error exceeds {target:g} eV/Å only at deviations above "
            f"{low:.3g} eV/Å, which is above the window ({based})", n, related,
        )  # fmt: skip
    note = f"above a deviation of {low:.3g} eV/Å, the largest error of a force exceeds {target:g} eV/Å ({based})"
    return Calibration(low, note, n, related, True)


def _crossing(deviations: np.ndarray, errors: np.ndarray, target: float) -> float:
    """The smallest deviation at which the fit exceeds the target; the largest of all if it never does."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(deviations, kind="stable")
    fitted = isotonic_regression(errors[order]).x
    above = np.flatnonzero(fitted > target)
    return float(deviations[order][above[0]] if len(above) else deviations.max())

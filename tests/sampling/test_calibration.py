"""Calibration of the deviation against errors that are known functions of it."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.sampling.calibration import calibrate


def made(n=200, noise=0.05, seed=0):
    """Errors three times the deviation, with noise."""
    rng = np.random.default_rng(seed)
    deviations = rng.uniform(0.01, 0.5, n)
    return deviations, np.abs(3 * deviations + noise * rng.normal(size=n))


def test_the_window_begins_where_the_error_exceeds_the_target():
    # the scatter of 100 seeds is 0.006 eV/Å
    found = [calibrate(*made(seed=seed), target=0.6, otherwise=0.05, high=1.5) for seed in range(20)]
    assert all(one.calibrated and one.rank_correlation > 0.9 for one in found)
    assert np.mean([one.low for one in found]) == pytest.approx(0.2, abs=0.01)
    assert "exceeds 0.6 eV/Å" in found[0].note and "200 validation frames" in found[0].note


def test_without_noise_it_is_the_first_frame_above_the_target():
    deviations = np.linspace(0.01, 1.0, 100)
    found = calibrate(deviations, 2 * deviations, target=0.5, otherwise=0.05, high=1.5)
    assert found.low == pytest.approx(0.26) and found.rank_correlation == pytest.approx(1.0)


def test_errors_that_never_reach_the_target_leave_what_was_not_seen():
    deviations, errors = made()
    found = calibrate(deviations, errors, target=9.0, otherwise=0.05, high=1.5)
    assert found.calibrated and found.low == deviations.max()


@pytest.mark.parametrize(
    ("deviations", "errors", "high", "words"),
    [
        (*made(19), 1.5, "a calibration needs 20 validation frames, and there are 19"),
        (np.append(made(19)[0], np.nan), np.append(made(19)[1], 1.0), 1.5, "and there are 19"),
        (made()[0], np.random.default_rng(1).uniform(size=200), 1.5, "hardly related"),
        (made()[0], np.ones(200), 1.5, "hardly related"),
        (*made(), 0.1, "above the window"),
    ],
)
def test_what_cannot_be_calibrated_falls_back_in_words(deviations, errors, high, words):
    found = calibrate(deviations, errors, target=0.6, otherwise=0.05, high=high)
    assert not found.calibrated and found.low == 0.05 and words in found.note

"""Statistics of correlated samples, against what is known of autoregressive noise."""

import numpy as np
import pytest

from ilforge.statistics import (
    autocorrelation,
    block_error,
    bootstrap,
    correlated_mean,
    detect_equilibration,
    generalised_least_squares,
    statistical_inefficiency,
)


def autoregressive(phi, n, rng):
    """Stationary noise with C(t) = phi^t, unit variance, and inefficiency (1 + phi) / (1 - phi)."""
    from scipy.signal import lfilter

    kicks = rng.normal(size=n) * np.sqrt(1 - phi**2)
    kicks[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], kicks)


def test_autocorrelation_of_known_noise():
    correlation = autocorrelation(autoregressive(0.8, 100_000, np.random.default_rng(1)))
    assert np.allclose(correlation[:8], 0.8 ** np.arange(8), atol=0.03)


def test_autocorrelation_equals_the_direct_sum():
    series = np.random.default_rng(2).normal(size=50)
    fluctuation = series - series.mean()
    direct = [np.mean(fluctuation[: 50 - t] * fluctuation[t:]) for t in range(50)]
    assert np.allclose(autocorrelation(series), np.array(direct) / np.var(series))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_inefficiency_of_known_noise(phi):
    rng = np.random.default_rng(3)
    found = np.mean([statistical_inefficiency(autoregressive(phi, 5000, rng)) for _ in range(20)])
    assert found == pytest.approx((1 + phi) / (1 - phi), rel=0.1)


@pytest.mark.parametrize(("phi", "n"), [(0.0, 30), (0.8, 400), (0.9, 2000)])
def test_error_of_the_mean_is_honest(phi, n):
    rng = np.random.default_rng(4)
    means = [correlated_mean(autoregressive(phi, n, rng)) for _ in range(300)]
    assert np.mean([abs(mean.value) < 1.96 * mean.error for mean in means]) >= 0.9
    true_error = np.sqrt((1 + phi) / (1 - phi) / n)
    assert np.median([mean.error for mean in means]) == pytest.approx(true_error, rel=0.15)


def test_looking_for_equilibration_leaves_the_error_honest():
    rng = np.random.default_rng(12)
    inside = 0
    for _ in range(200):
        series = autoregressive(0.8, 600, rng)
        mean = correlated_mean(series[detect_equilibration(series).start :])
        inside += abs(mean.value) < 1.96 * mean.error
    assert inside >= 180


@pytest.mark.parametrize("series", [np.full(30, 0.1), [2.0], [1.0, 2.0]])
def test_inefficiency_of_series_that_say_little(series):
    assert 1.0 <= statistical_inefficiency(np.array(series)) <= len(series)
    assert detect_equilibration(np.array(series)).start == 0


def test_constant_is_one_sample():
    assert statistical_inefficiency(np.full(40, 3.3)) == 40
    assert detect_equilibration(np.full(40, 3.3)).n_eff == 1


def test_equilibration_ends_where_the_transient_does():
    rng = np.random.default_rng(5)
    series = autoregressive(0.5, 3000, rng) + 10 * np.exp(-np.arange(3000) / 100)
    found = detect_equilibration(series)
    assert 200 <= found.start <= 800
    assert found.n_eff == pytest.approx((3000 - found.start) / found.inefficiency)
    assert detect_equilibration(autoregressive(0.5, 3000, rng)).start < 600


def test_block_error_of_independent_samples():
    samples = np.random.default_rng(6).normal(size=(4000, 500))
    errors = block_error(samples, 10)
    assert errors.shape == (500,)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(1 / np.sqrt(4000), rel=0.05)
    assert isinstance(block_error(samples[:, 0]), float)
    assert np.isnan(block_error(np.ones(1)))


def test_block_error_uses_every_sample():
    samples = np.arange(7.0)
    assert block_error(samples, 2) == pytest.approx(np.std([1.5, 5.0], ddof=1) / np.sqrt(2))


def test_bootstrap_over_groups_sees_their_correlation():
    rng = np.random.default_rng(7)
    level = rng.normal(size=200)
    values = np.repeat(level, 50) + 0.1 * rng.normal(size=10_000)
    groups = list(np.arange(10_000).reshape(200, 50))
    by_group = bootstrap(lambda index: values[index].mean(), groups, rng)
    by_sample = bootstrap(lambda index: values[index].mean(), list(np.arange(10_000)[:, None]), rng, n=50)
    assert by_group == pytest.approx(1 / np.sqrt(200), rel=0.2)
    assert by_sample < 0.3 * by_group


def test_bootstrap_is_repeatable_and_takes_arrays():
    values = np.random.default_rng(8).normal(size=(30, 2))
    groups = [np.array([3 * k, 3 * k + 1, 3 * k + 2]) for k in range(10)]
    errors = [bootstrap(lambda i: values[i].mean(axis=0), groups, np.random.default_rng(9), n=20) for _ in range(2)]
    assert errors[0].shape == (2,) and np.array_equal(*errors)
    assert np.isnan(bootstrap(lambda i: values[i].mean(), groups[:1], np.random.default_rng(0)))
    assert np.isnan(bootstrap(lambda i: values[i].mean(), [], np.random.default_rng(0)))


def test_generalised_least_squares_is_ordinary_for_equal_independent_errors():
    rng = np.random.default_rng(10)
    design = np.stack([np.arange(20.0), np.ones(20)], axis=1)
    y = design @ [2.0, -1.0] + rng.normal(size=20)
    fit = generalised_least_squares(design, y, np.eye(20))
    assert np.allclose(fit.coefficients, np.linalg.lstsq(design, y, rcond=None)[0])
    assert np.allclose(fit.weights @ y, fit.coefficients)
    assert fit.chi2 == pytest.approx(np.sum((y - design @ fit.coefficients) ** 2))
    assert fit.degrees_of_freedom == 18


def test_generalised_least_squares_is_honest_for_correlated_errors():
    rng = np.random.default_rng(11)
    steps = np.arange(1, 21.0)
    covariance = np.minimum.outer(steps, steps)  # a random walk
    root = np.linalg.cholesky(covariance)
    design = np.stack([steps, np.ones(20)], axis=1)
    inside = 0
    for _ in range(300):
        fit = generalised_least_squares(design, design @ [2.0, -1.0] + root @ rng.normal(size=20), covariance)
        inside += abs(fit.coefficients[0] - 2.0) < 1.96 * np.sqrt(fit.covariance[0, 0])
    assert 270 <= inside <= 297


def test_end_of_a_run_that_never_settles_is_not_called_equilibrium():
    """Noise that is correlated over the whole run, and steady growth, have few independent samples."""
    rng = np.random.default_rng(13)
    claimed = [detect_equilibration(autoregressive(0.98, 100, rng)).n_eff > 20 for _ in range(100)]
    assert np.mean(claimed) < 0.1
    assert detect_equilibration(np.linspace(0, 1, 500)).n_eff < 5

"""How often runs that change are refused, and runs at rest with them: the table of docs/validation-properties.md.

python benchmarks/steadiness.py [--seeds 200]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.signal import lfilter

from ilforge.properties.density import mean_density
from ilforge.properties.kernels.populations import population, relaxation
from ilforge.properties.shared.einstein import MsdAnalysis
from ilforge.properties.shared.green_kubo import transport_coefficient
from ilforge.properties.shared.settings import DensitySettings, DiffusionSettings
from ilforge.results import Estimate

_PAIRS, _FRAMES = 40, 400  # of the runs whose diffusion is measured


def noise(n: int, correlation: float, rng: np.random.Generator, rows: int = 1) -> np.ndarray:
    """Stationary noise of unit variance whose correlation falls by e in so many samples, ``(rows, n)``."""
    factor = np.exp(-1.0 / correlation)
    kicks = rng.normal(size=(rows, n)) * np.sqrt(1.0 - factor**2)
    kicks[:, 0] = rng.normal(size=rows)
    return lfilter([1.0], [1.0, -factor], kicks, axis=1)


def density(n: int, correlation: float, drift: float) -> Callable[[np.random.Generator], Estimate]:
    """Of a run that drifts by so many standard deviations."""

    def found(rng: np.random.Generator) -> Estimate:
        series = noise(n, correlation, rng)[0] + drift * np.linspace(-0.5, 0.5, n)
        return mean_density(1.2 + 0.01 * series, 1.0, DensitySettings())

    return found


def share(n: int, correlation: float, drift: float, n_ions: int = 40) -> Callable[[np.random.Generator], Estimate]:
    """Population of a state that ions enter and leave; its share drifts by so many deviations of all ions together."""

    def found(rng: np.random.Generator) -> Estimate:
        level = 0.5 * drift * np.linspace(-0.5, 0.5, n) / np.sqrt(n_ions)
        visits = (noise(n, correlation, rng, n_ions) / 2.507 < level).T  # 2.507 = sqrt(2 pi): d share / d level is 1
        return population(visits, relaxation(visits), 20.0, 1.0)

    return found


def diffusion(n_ions: int, factors: np.ndarray, fast: int = 0) -> Callable[[np.random.Generator], Estimate]:
    """Of Brownian ions whose D changes along the run by these factors, some of them twenty times as fast as others."""

    def found(rng: np.random.Generator) -> Estimate:
        own = np.where(np.arange(n_ions) < fast, 20.0, 1.0)
        size = np.sqrt(0.16 * factors[:, None] * own)
        paths = np.cumsum(size[:, :, None] * rng.normal(size=(len(factors), n_ions, 3)), axis=0)
        return MsdAnalysis([paths], len(paths) // 5, 1.0, DiffusionSettings(), float(n_ions)).estimate()

    return found


def green_kubo(n: int, factor: float, components: int = 5) -> Callable[[np.random.Generator], Estimate]:
    """Of currents whose decay takes so many times as long in the second half."""

    def found(rng: np.random.Generator) -> Estimate:
        halves = [noise(n // 2, 10.0, rng, components), noise(n // 2, 10.0 * factor, rng, components)]
        return transport_coefficient(np.concatenate(halves, axis=1), 1.0, 1.0, "Pa s", "the pressure tensor")[0]

    return found


def cases() -> Iterator[tuple[str, str, Callable[[np.random.Generator], Estimate]]]:
    """What is measured, how it changes, and how to make one run of it."""
    for n, correlation in ((1500, 2.0), (600, 5.0), (2000, 20.0)):
        what = f"density, {n / 2 / correlation:.0f} independent samples"
        for drift in (0.0, 0.5, 1.0, 2.0):
            yield what, f"drifts by {drift:g} sd" if drift else "at rest", density(n, correlation, drift)
    for drift in (0.0, 0.5, 1.0, 2.0):
        what = "population, 40 ions, 100 relaxations"
        yield what, f"drifts by {drift:g} sd" if drift else "at rest", share(1000, 5.0, drift)
    half, ramp = np.arange(_FRAMES) >= _FRAMES // 2, np.linspace(0.0, 1.0, _FRAMES)
    for n_ions, fast in ((3, 0), (10, 0), (60, 0), (60, 3)):
        what = f"D of {n_ions} ions" + (f", {fast} of them 20 times as fast" if fast else "")
        yield what, "at rest", diffusion(n_ions, np.ones(_FRAMES), fast)
        for factor in (2.0, 5.0):
            yield what, f"D x {factor:g} in the middle", diffusion(n_ions, 1.0 + (factor - 1.0) * half, fast)
        yield what, "D rises from 1 to 4", diffusion(n_ions, 1.0 + 3.0 * ramp, fast)
    for factor in (1.0, 2.0, 5.0):
        said = f"integral x {factor:g} in the middle" if factor > 1 else "at rest"
        yield "Green-Kubo, 5 components, 400 decays", said, green_kubo(4000, factor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--only", default="", help="what the names of cases begin with")
    wanted = parser.parse_args()
    columns = "quantity", "the run", "converged", "refused as not stationary", "refused for another reason"
    print("| " + " | ".join([*columns, "converged, with a warning"]) + " |")
    print("|---|---|---|---|---|---|")
    for what, change, make in cases():
        if not what.startswith(wanted.only):
            continue
        found = [make(np.random.default_rng(seed)) for seed in range(wanted.seeds)]
        converged = np.array([one.converged for one in found])
        unsteady = np.array([not one.steady for one in found])
        doubt = np.array([one.converged and "may drift" in one.note for one in found])
        shares = (converged, unsteady, ~converged & ~unsteady, doubt)
        print(f"| {what} | {change} | {' | '.join(f'{100 * one.mean():.1f} %' for one in shares)} |", flush=True)


if __name__ == "__main__":
    main()

"""Temperature dependence of a property: Arrhenius and Vogel-Fulcher-Tammann fits, with replicas combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.combining.replicas import combined
from ilforge.results import Estimate, Record

GAS_CONSTANT = 8.31446261815324e-3
"""Gas constant, kJ/(mol K)."""
RISING = (
    "self_diffusion",
    "self_diffusion_infinite",
    "conductivity",
    "conductivity_nernst_einstein",
    "conductivity_green_kubo",
)
"""Quantities that rise with temperature; their activation energy is positive if they rise."""
FALLING = ("viscosity",)
"""Quantities that fall with temperature; their activation energy is positive if they fall."""
_MIN_ARRHENIUS, _MIN_VFT = 3, 4
_SAMPLES = 400
_GRID = 600  # number of values of T0 in the fit
_MIN_P_VALUE = 0.01
_MAX_RELATIVE_ERROR = 0.5
_ABSOLUTE = "temperatures must be above 0 K."


@dataclass(frozen=True)
class TemperatureSeries:
    """One quantity of one liquid at several temperatures.

    Attributes
    ----------
    quantity, liquid, potential, species
        Description of the series.
    temperatures
        ``(n,)`` in K, ascending.
    values, errors
        ``(n,)`` in ``unit``, positive.
    left_out
        Number of temperatures without a converged value.
    iteration
        Iteration of the model; None for potentials that are not trained.
    state
        Ions of the box, ``ensemble`` and ``pressure_bar`` of the runs, as far as their records contain them.
    repeated
        Number of repeated records, which are not counted again.
    """

    quantity: str
    liquid: str
    potential: str
    species: str | None
    unit: str
    temperatures: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    left_out: int = 0
    iteration: int | None = None
    state: dict[str, Any] = field(default_factory=dict)
    repeated: int = 0

    def records(self, rng: np.random.Generator) -> list[Record]:
        """Activation energy and parameters of the VFT equation, or the reasons why there are none."""
        falls = self.quantity in FALLING
        found = [("activation_energy", arrhenius(self.temperatures, self.values, self.errors, falls))]
        found += vft(self.temperatures, self.values, self.errors, rng, falls).items()
        labels = {
            "liquid": self.liquid,
            "potential": self.potential,
            "species": self.species,
            "iteration": self.iteration,
            "provenance": self.state,
        }
        return [
            Record.of(self._with_notes(estimate), quantity=f"{name} {self.quantity}", **labels)
            for name, estimate in found
        ]

    def _with_notes(self, estimate: Estimate) -> Estimate:
        """The estimate with notes on the state of the series and on repeated records."""
        ensemble, pressure = (self.state.get(key) for key in ("ensemble", "pressure_bar"))
        notes = [estimate.note]
        if ensemble is not None:
            notes.append(ensemble if pressure is None else f"{ensemble} at {pressure:g} bar")
        if self.iteration is not None:
            notes.append(f"iteration {self.iteration}")
        if self.repeated:
            records = "a record" if self.repeated == 1 else f"{self.repeated} records"
            notes.append(f"{records} given more than once, counted once")
        return replace(estimate, note="; ".join(note for note in notes if note))


def arrhenius(temperatures: np.ndarray, values: np.ndarray, errors: np.ndarray, falls: bool = False) -> Estimate:
    """Activation energy, ln x = ln x0 - E_a/(R T), by a weighted fit, in kJ/mol.

    The errors of ln x are error/value; the fit propagates them to the error of E_a. If the points do not lie on a
    straight line (χ², p < 0.01), there is no single activation energy.

    Parameters
    ----------
    temperatures, values, errors
        ``(n,)``: temperatures in K, values and errors in one unit; all positive.
    falls
        Whether x falls when the temperature rises, like the viscosity: ln x = ln x0 + E_a/(R T).

    Returns
    -------
    The activation energy; negative, with a note, if x changes in the other direction.

    Raises
    ------
    SettingsError
        When a number is not positive.
    """
    temperatures, values, errors = _checked(temperatures, values, errors)
    n, unit = len(temperatures), "kJ/mol"
    if n < _MIN_ARRHENIUS:
        return Estimate.refused(unit, f"{_count(n)}: an activation energy needs at least {_MIN_ARRHENIUS}", n)
    x = -1.0 / (GAS_CONSTANT * temperatures)
    y, s = np.log(values), errors / values
    slope, variance, chi2 = _weighted_line(x, y, s)
    energy, error = -slope if falls else slope, float(np.sqrt(variance))
    note = f"from {temperatures.min():g} to {temperatures.max():g} K" + _other_way(energy, falls)
    p = _p_value(chi2, n - 2)
    if p < _MIN_P_VALUE:
        return Estimate.refused(unit, f"ln x is not linear in 1/T (p = {p:.1g}): see the VFT fit", n)
    if error > _MAX_RELATIVE_ERROR * abs(energy):
        return Estimate.refused(
            unit,
            f"{energy:.2g} ± {error:.2g} {unit} is too uncertain: give more precise values or a wider range of "
            "temperatures",
            n,
        )
    return Estimate(energy, error, n, unit, True, note)


def vft(
    temperatures: np.ndarray, values: np.ndarray, errors: np.ndarray, rng: np.random.Generator, falls: bool = False
) -> dict[str, Estimate]:
    """Parameters of the Vogel-Fulcher-Tammann equation, ln x = A - B/(T - T0): ``vft_B`` and ``vft_T0``, K.

    A and B follow from a weighted linear fit at each T0 between 0 and the lowest temperature. Errors are from a
    parametric bootstrap: the fit is repeated with values drawn around the fitted curve with their errors. T0 is refused
    if it is within two standard errors of zero, or reaches its bounds in more than one of twenty samples, because the
    curvature of the points is too small. With ``falls``, as for the viscosity, ln x = A + B/(T - T0). B is negative,
    with a note, if x changes in the other direction. A number that is not positive raises SettingsError.

    H. Vogel, Phys. Z. 22, 645 (1921); G. S. Fulcher, J. Am. Ceram. Soc. 8, 339 (1925); G. Tammann and W. Hesse, Z.
    Anorg. Allg. Chem. 156, 245 (1926).
    """
    temperatures, values, errors = _checked(temperatures, values, errors)
    n = len(temperatures)
    if n < _MIN_VFT:
        refused = Estimate.refused("K", f"{_count(n)}: the VFT equation needs at least {_MIN_VFT}", n)
        return {"vft_B": refused, "vft_T0": refused}
    y, s = np.log(values), errors / values
    (start,), (slope,) = _vft_fit(temperatures, y[None], s)
    x, w = 1.0 / (temperatures - start), s**-2 / np.sum(s**-2)
    curve = w @ y + slope * (x - w @ x)
    p = _p_value(float(np.sum(((y - curve) / s) ** 2)), n - 3)
    if p < _MIN_P_VALUE:
        refused = Estimate.refused("K", f"the VFT equation does not describe the points (p = {p:.1g})", n)
        return {"vft_B": refused, "vft_T0": refused}
    starts, slopes = _vft_fit(temperatures, curve + s * rng.normal(size=(_SAMPLES, n)), s)
    low, high = _bounds(temperatures)
    at_bounds = np.mean((starts <= low + 1.0) | (starts >= high - 1.0))
    error_start, error_slope = starts.std(ddof=1), slopes.std(ddof=1)
    if at_bounds > 0.05 or start < 2.0 * error_start:
        note = (
            "the points are too straight to determine T0: give more precise values, lower temperatures or a wider range"
        )
        return {"vft_B": Estimate.refused("K", note, n), "vft_T0": Estimate.refused("K", note, n)}
    b = float(slope if falls else -slope)
    return {
        "vft_B": Estimate(b, float(error_slope), n, "K", True, _other_way(b, falls).removeprefix("; ")),
        "vft_T0": Estimate(float(start), float(error_start), n, "K"),
    }


def temperature_series(records: Sequence[Record]) -> list[TemperatureSeries]:
    """Series of each quantity over temperature from records, with replicas combined.

    Replicas have the same liquid and number of ions, potential and iteration, ensemble and set pressure. Records that
    agree to the last digit are from the same run and count once.

    Raises
    ------
    SettingsError
        When no record has a temperature and a quantity of :data:`RISING` or :data:`FALLING`, or one is not above 0 K.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        if record.quantity in (*RISING, *FALLING) and record.temperature_K is not None:
            if not record.temperature_K > 0:
                raise SettingsError(
                    f"{record.quantity} of {record.liquid} is at {record.temperature_K:g} K: {_ABSOLUTE}"
                )
            labels = (record.quantity, record.liquid, record.potential, record.species, record.unit, record.iteration)
            groups.setdefault((*labels, *_state(record).items()), []).append(record)
    if not groups:
        fitted = ", ".join((*RISING, *FALLING))
        raise SettingsError(
            f"No record has a temperature and one of the quantities {fitted}. Give files written by "
            "`ilforge analyse --json` (with --temperature if the trajectory does not contain it) or `ilforge results "
            "--json`."
        )
    return [_series(found) for found in groups.values()]


def _state(record: Record) -> dict[str, Any]:
    """The state that replicas have in common, if the record contains it (records of `ilforge analyse` do not)."""
    said = record.provenance or {}
    return {key: said[key] for key in ("ions", "ensemble", "pressure_bar") if said.get(key) is not None}


def _series(records: Sequence[Record]) -> TemperatureSeries:
    """The series from records that differ at most in temperature."""
    once = _without_repeated(records)
    found: dict[float, list[Estimate]] = {}
    for one in once:
        assert one.temperature_K is not None  # runs without a temperature were left out
        estimate = Estimate(one.value, one.error, one.n_eff, one.unit, one.converged, one.note)
        found.setdefault(one.temperature_K, []).append(estimate)
    joined = {temperature: combined(runs) for temperature, runs in sorted(found.items())}
    good = {t: e for t, e in joined.items() if e.converged and e.value > 0 and e.error > 0}
    temperatures, values, errors = np.array([(t, e.value, e.error) for t, e in good.items()]).reshape(-1, 3).T
    first = records[0]
    return TemperatureSeries(
        first.quantity,
        first.liquid,
        first.potential,
        first.species,
        first.unit,
        temperatures,
        values,
        errors,
        left_out=len(joined) - len(good),
        iteration=first.iteration,
        state=_state(first),
        repeated=len(records) - len(once),
    )


def _without_repeated(records: Sequence[Record]) -> list[Record]:
    """The records without repeated ones; records without a value are kept, because they are not used anyway."""
    known: set[tuple[float | None, ...]] = set()
    once = []
    for record in records:
        numbers = (record.temperature_K, record.value, record.error, record.n_eff)
        if numbers not in known or np.isnan(record.value):
            once.append(record)
        known.add(numbers)
    return once


def _checked(*arrays: np.ndarray) -> list[np.ndarray]:
    """Temperatures, values and errors as arrays of positive numbers, all of one length."""
    checked = [np.atleast_1d(np.asarray(array, dtype=float)) for array in arrays]
    if len({array.shape for array in checked}) > 1:
        found = ", ".join(str(len(array)) for array in checked)
        raise SettingsError(f"Temperatures, values and errors must have equal numbers; found {found}.")
    for name, array, rule in zip(
        ("temperatures", "values", "errors"),
        checked,
        (_ABSOLUTE, *["values must be above 0, because their logarithm is fitted."] * 2),
        strict=True,
    ):
        bad = array[~(np.isfinite(array) & (array > 0))]
        if len(bad):
            raise SettingsError(f"Among the {name} is {bad[0]:g}: {rule} Leave that point out.")
    return checked


def _other_way(found: float, falls: bool) -> str:
    """A note for a negative coefficient; empty otherwise."""
    return "" if found >= 0 else f"; negative, for the values {'rise' if falls else 'fall'} with temperature"


def _weighted_line(x: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[float, float, float]:
    """Slope of y = a + b x with its variance, and χ²."""
    w = s**-2 / np.sum(s**-2)
    middle, level = w @ x, w @ y
    spread = np.sum(((x - middle) / s) ** 2)
    slope = np.sum((x - middle) * (y - level) / s**2) / spread
    residual = (y - level - slope * (x - middle)) / s
    return float(slope), float(1.0 / spread), float(residual @ residual)


def _bounds(temperatures: np.ndarray) -> tuple[float, float]:
    return 0.0, 0.98 * float(temperatures.min())


def _vft_fit(temperatures: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Most likely T0 and slope against 1/(T - T0) for each row of ``y``, ``(n_rows, n)``."""
    grid = np.linspace(*_bounds(temperatures), _GRID)
    w = s**-2 / np.sum(s**-2)
    x = 1.0 / (temperatures - grid[:, None])
    x -= x @ w[:, None]
    level = y - (y @ w)[:, None]
    spread = np.sum((x / s) ** 2, axis=1)
    slopes = (x / s**2) @ level.T / spread[:, None]
    gain = slopes**2 * spread[:, None]  # reduction of χ² by the line, ``(n_grid, n_rows)``
    top = np.clip(gain.argmax(axis=0), 1, _GRID - 2)
    rows = np.arange(len(y))
    before, at, after = gain[top - 1, rows], gain[top, rows], gain[top + 1, rows]
    bend = before - 2.0 * at + after
    shift = np.clip(0.5 * (before - after) / np.where(bend < 0, bend, -np.inf), -1.0, 1.0)
    start = grid[top] + shift * (grid[1] - grid[0])
    x = 1.0 / (temperatures - start[:, None])
    x -= (x @ w)[:, None]
    return start, np.sum(x * level / s**2, axis=1) / np.sum((x / s) ** 2, axis=1)


def _p_value(chi2: float, degrees_of_freedom: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(max(degrees_of_freedom, 1), chi2))


def _count(n: int) -> str:
    return f"{n} {'temperature' if n == 1 else 'temperatures'} with a converged value"

"""Shear viscosity from fluctuations of the pressure tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, PressureSeries, Snapshot, System
from ilforge.properties.shared.einstein import duration
from ilforge.properties.shared.green_kubo import runs_differ, spectrum_curve, transport_coefficient
from ilforge.properties.shared.settings import ViscositySettings
from ilforge.results import Estimate
from ilforge.statistics import DISAGREEMENT
from ilforge.units import BOLTZMANN_J_K

_UNIT = "Pa s"
_BAR2_A3_PS_PER_J = 1e10 * 1e-30 * 1e-12
"""One bar² Å³ ps in Pa² m³ s."""
_SAME_INTERVAL = 0.01
_NOT_RECORDED = (
    "the pressure tensor was not recorded: give it with --pressure FILE, a LAMMPS log or a CSV table (columns time_ps, "
    "pxy_bar, pxz_bar, pyz_bar and, if known, pxx_bar, pyy_bar, pzz_bar), or run the MD with engine gromacs and "
    "pressure_interval_ps"
)


class Viscosity:
    """Shear viscosity by the Green-Kubo relation, in Pa s.

        η = V/(k T) ∫_0^∞ <P_ab(0) P_ab(t)> dt

    averaged over the independent components of the traceless pressure tensor: xy, xz, yz and, if the diagonal is
    known, (xx - yy)/2 and (xx + yy - 2 zz)/(2√3), which have the same integral in an isotropic liquid. V is the mean
    volume. The integral and its error are determined from the low end of the power spectrum (see
    :func:`~ilforge.properties.kernels.spectrum.integrate`).

    There is no value if its relative standard error exceeds ``max_relative_error``, if the run is shorter than 20 times
    the slowest decay, or all components together shorter than 200 times, or if the tensor fluctuates faster than it was
    recorded. For several runs of one system (:meth:`pooled`), one spectrum is made from all components, and runs that
    disagree (χ², p < 0.001) are refused.

    P. J. Daivis and D. J. Evans, J. Chem. Phys. 100, 541 (1994); Y. Zhang, A. Otani, E. J. Maginn, J. Chem. Theory
    Comput. 11, 3537 (2015).
    """

    needs_cell: ClassVar[str] = "without a box there is no pressure"

    def __init__(self, settings: ViscositySettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._volumes: list[float] = []
        self._temperatures: list[float] = []

    def look(self, snapshot: Snapshot) -> tuple[float, float | None]:
        return snapshot.volume, snapshot.temperature_K

    def add(self, seen: tuple[float, float | None]) -> None:
        volume, temperature = seen
        self._volumes.append(volume)
        if temperature is not None:
            self._temperatures.append(temperature)

    def measurement(self) -> Measurement:
        return self.pooled([self])

    def pooled(self, runs: Sequence[Viscosity]) -> Measurement:
        """The measurement from several independent runs, including this one, over the length of the shortest.

        Every component of every run is an additional independent series for the same spectrum. Averaging the results of
        the runs instead would leave out runs whose decay looks slow, and the mean would be too small.
        """
        recorded = [run for run in runs if run._system.pressure is not None]
        if not recorded:
            return self._refused(_NOT_RECORDED)
        pressures = [run._system.pressure for run in recorded if run._system.pressure is not None]
        interval = pressures[0].interval_ps
        if not np.allclose([pressure.interval_ps for pressure in pressures], interval, rtol=_SAME_INTERVAL):
            return self._refused("the pressure tensors of the runs were not recorded equally often")
        temperature = _temperature(recorded)
        if temperature is None:
            return self._refused("the temperature is not known: give it (--temperature, in K)")
        volume = float(np.mean(np.concatenate([run._volumes for run in recorded])))
        scale = volume / (BOLTZMANN_J_K * temperature) * _BAR2_A3_PS_PER_J
        measured = self._of_components([shear_components(pressure) for pressure in pressures], interval, scale)
        if len(recorded) < len(runs):
            measured.notes.append(f"The pressure tensor was recorded in {len(recorded)} of {len(runs)} runs.")
        return measured

    def _of_components(self, runs: Sequence[np.ndarray], interval_ps: float, scale: float) -> Measurement:
        """The measurement from the components ``(n_components, n)`` of each run, bar."""
        lengths = [run.shape[1] for run in runs]
        components = [run[:, : min(lengths)] for run in runs]
        found, spectrum = transport_coefficient(
            np.concatenate(components), interval_ps, scale, _UNIT, "the pressure tensor"
        )
        if found.converged and found.error > self._settings.max_relative_error * found.value:
            note = f"{found.value:.2g} ± {found.error:.2g} Pa s is not within analysis.viscosity.max_relative_error"
            found = Estimate.refused(_UNIT, note, found.n_eff)
        elif found.converged and runs_differ(components, interval_ps):
            found = Estimate.refused(_UNIT, DISAGREEMENT.format(len(components)), found.n_eff)
        curve = spectrum_curve(spectrum, scale, "power spectrum of the shear stress", _UNIT)
        measured = Measurement([("viscosity", None, found)], {"viscosity_spectrum": curve} if len(curve.x) else {})
        if min(lengths) < max(lengths):
            used = duration(min(lengths) * interval_ps)
            measured.notes.append(f"Of the pressure tensor of each run the first {used} were used.")
        return measured

    @staticmethod
    def _refused(reason: str) -> Measurement:
        return Measurement([("viscosity", None, Estimate.refused(_UNIT, reason))])


def _temperature(runs: Sequence[Viscosity]) -> float | None:
    """The set temperature, or else the mean of the recorded ones, K; None if both are unknown."""
    if runs[0]._system.temperature_K is not None:
        return runs[0]._system.temperature_K
    known = [kelvin for run in runs for kelvin in run._temperatures]
    return float(np.mean(known)) if known else None


def shear_components(pressure: PressureSeries) -> np.ndarray:
    """Independent components of the traceless symmetric tensor, ``(3 or 5, n)`` in bar."""
    components = list(pressure.off_diagonal.T)
    if pressure.diagonal is not None:
        xx, yy, zz = pressure.diagonal.T
        components += [0.5 * (xx - yy), (xx + yy - 2.0 * zz) / (2.0 * np.sqrt(3.0))]
    return np.array(components)


KIND = PropertyKind(
    name="viscosity",
    title="Shear viscosity",
    settings=ViscositySettings,
    observer=Viscosity,
    version=3,
    also_called=("eta", "shear_viscosity"),
)

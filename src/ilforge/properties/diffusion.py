"""Self-diffusion of each ion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ilforge.properties.kernels.displacement import follow, independent_ions
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.einstein import (
    AMBIGUOUS,
    MIN_LAGS,
    MsdAnalysis,
    jump_between,
    repeated_note,
    sparse_frames,
)
from ilforge.properties.shared.settings import DiffusionSettings
from ilforge.properties.shared.steadiness import temperature_note
from ilforge.results import Curve, Estimate, too_few_frames

_UNIT = "m^2/s"
_YEH_HUMMER = 2.837297  # cubic cell


class Diffusion:
    """Self-diffusion coefficient of each ion species, D = (1/6) d<MSD>/dt, in m^2/s.

    MSD(t) = <|r(t0 + t) - r(t0)|²> is averaged over ions of the species and all time origins. r is the unwrapped centre
    of mass of an ion (without displacements by the barostat), relative to the centre of mass of the whole system
    (never of one species).

    1. Error of the MSD, and its covariance between lags, from the MSD itself (see
       :func:`~ilforge.properties.kernels.displacement.msd_covariance`).
    2. Diffusive regime: begins at the first lag t at which the local slope d ln MSD / d ln t between t and 2t is 1
       within two standard errors and at least ``min_slope`` within one, is known to better than 1 - ``min_slope``, and
       a straight line fits all longer lags (χ², p > 0.01). The ions must have moved by ``min_displacement_A``
       within the longest lag.
    3. D from a generalised least-squares line with free intercept through these lags. Its standard error
       follows from the fit or, if larger, from the spread between ions (with Student's t for 3 to 7 ions). The error
       of the fit assumes Gaussian motion, which is wrong for ions that hop. For one or two ions there is no other
       error, and a note says so.

    Without a diffusive regime there is no value; the note gives the reason and the length of run that would be needed.
    For several runs of one system (:meth:`pooled`) the MSD is averaged over all runs, the error includes the spread
    between three runs or more, and runs that disagree (χ², p < 0.001) are refused.

    D depends on the size of the box; with ``viscosity_Pa_s`` of the same model, the value of an infinite system is
    given as ``self_diffusion_infinite`` (see :func:`yeh_hummer`).

    Unwrapping: S. von Bülow, J. T. Bullerjahn, G. Hummer, J. Chem. Phys. 153, 021101 (2020). Covariance-aware
    fit: J. T. Bullerjahn, S. von Bülow, G. Hummer, J. Chem. Phys. 153, 024116 (2020); A. R. McCluskey, S. W.
    Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025).
    """

    needs_cell: ClassVar[str] = "ions do not diffuse without a liquid around them"

    def __init__(self, settings: DiffusionSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._seen = 0
        self._centres = np.empty((system.n_frames, system.topology.n_molecules, 3))
        self._cells = np.empty((system.n_frames, 3, 3))
        self._temperatures: list[float | None] = []

    def look(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray, float | None]:
        return snapshot.centres, snapshot.cell, snapshot.temperature_K

    def add(self, seen: tuple[np.ndarray, np.ndarray, float | None]) -> None:
        self._centres[self._seen], self._cells[self._seen], temperature = seen
        self._temperatures.append(temperature)
        self._seen += 1

    def measurement(self) -> Measurement:
        return self.pooled([self])

    def pooled(self, runs: Sequence[Diffusion]) -> Measurement:
        """The measurement from several independent runs, including this one, over the length of the shortest."""
        n_frames = min(run._seen for run in runs)
        max_lag = int(self._settings.max_lag_fraction * n_frames)
        if max_lag < MIN_LAGS:
            note = too_few_frames(n_frames, "to follow ions: give more frames or a longer run")
            refused = Estimate.refused(_UNIT, note)
            return Measurement([("self_diffusion", name, refused) for name in self._system.ions])
        masses = self._system.topology.molecule_masses
        followed = [follow(run._centres[:n_frames], run._cells[:n_frames], masses, run._system.images) for run in runs]
        longest = max(step for _, step in followed)
        reason = sparse_frames(longest) if longest > AMBIGUOUS else jump_between([path for path, _ in followed])
        estimates: list[tuple[str, str | None, Estimate]] = []
        curves: dict[str, Curve] = {}
        for name, members in self._system.ions.items():
            analysis = MsdAnalysis(
                [positions[:, members] for positions, _ in followed],
                max_lag,
                self._system.frame_interval_ps,
                self._settings,
                independent_ions(masses, members),
                name,
            )
            estimate = Estimate.refused(_UNIT, reason) if reason else analysis.estimate()
            estimates.append(("self_diffusion", name, estimate))
            curves |= {f"msd {name}": analysis.msd_curve(), f"msd_slope {name}": analysis.slope_curve()}
        cells = np.concatenate([run._cells[:n_frames] for run in runs])
        notes = repeated_note([positions for positions, _ in followed])
        length = n_frames * self._system.frame_interval_ps
        notes += [note for run in runs for note in temperature_note(run._temperatures[:n_frames], length)]
        return Measurement(estimates + self._infinite(estimates, cells), curves, notes=notes)

    def _infinite(
        self, estimates: list[tuple[str, str | None, Estimate]], cells: np.ndarray
    ) -> list[tuple[str, str | None, Estimate]]:
        """Estimates corrected for the size of the box, if the settings give the viscosity."""
        if self._settings.viscosity_Pa_s is None:
            return []
        error = self._settings.viscosity_error_Pa_s
        viscosity = Estimate(self._settings.viscosity_Pa_s, error, np.inf, "Pa s")
        quantity, temperature = "self_diffusion_infinite", self._system.temperature_K
        reason = None
        if temperature is None:
            reason = "the temperature is not known: give it (--temperature, in K)"
        elif not _cubic(cells.mean(axis=0)):
            reason = "the correction for the size of the box is known only for cubic boxes"
        if reason or temperature is None:
            reason = str(reason)
            return [(quantity, name, Estimate.refused(_UNIT, reason)) for _, name, _ in estimates]
        side = float(np.mean(np.abs(np.linalg.det(cells)))) ** (1.0 / 3.0)
        return [(quantity, name, infinite_system(found, viscosity, temperature, side)) for _, name, found in estimates]


def yeh_hummer(diffusion: float, temperature_K: float, viscosity_Pa_s: float, box_A: float) -> float:
    """Diffusion coefficient of an infinite system from its value in a cubic box with side ``box_A``, m^2/s.

        D∞ = D + 2.837297 k T / (6 π η L)

    with the viscosity η of the same model, which hardly depends on the size of the box.
    I.-C. Yeh and G. Hummer, J. Phys. Chem. B 108, 15873 (2004).

    Parameters
    ----------
    diffusion
        Diffusion coefficient in the box, m^2/s.
    viscosity_Pa_s
        Viscosity, Pa s.
    """
    from scipy.constants import Boltzmann

    found: float = diffusion + _YEH_HUMMER * Boltzmann * temperature_K / (6 * np.pi * viscosity_Pa_s * box_A * 1e-10)
    return found


def infinite_system(diffusion: Estimate, viscosity: Estimate, temperature_K: float, box_A: float) -> Estimate:
    """:func:`yeh_hummer` for estimates; their errors are treated as independent.

    If the diffusion coefficient or the viscosity has not converged, the result is refused.
    """
    for name, found in (("diffusion coefficient", diffusion), ("viscosity", viscosity)):
        if not found.converged:
            return Estimate.refused(_UNIT, f"the {name} has not converged: {found.note}", found.n_eff)
    value = yeh_hummer(diffusion.value, temperature_K, viscosity.value, box_A)
    shift = value - diffusion.value
    error = float(np.hypot(diffusion.error, shift * viscosity.error / viscosity.value))
    note = f"infinite system: {shift:.2g} {_UNIT} added for a box of {box_A:.1f} Å"
    return Estimate(value, error, min(diffusion.n_eff, viscosity.n_eff), _UNIT, True, note)


def _cubic(cell: np.ndarray) -> bool:
    side = cell[0, 0]
    return bool(np.abs(cell - side * np.eye(3)).max() < 0.01 * side)


KIND = PropertyKind(
    name="diffusion",
    title="Self-diffusion",
    settings=DiffusionSettings,
    observer=Diffusion,
    version=3,
    also_called=("diffusivity", "self_diffusion", "msd"),
)

"""Self-diffusion of each ion."""

from __future__ import annotations

import numpy as np

from ilforge.properties.einstein import AMBIGUOUS, MIN_LAGS, MsdAnalysis, sparse_frames
from ilforge.properties.kernels.displacement import (
    independent_ions,
    mean_squared_displacement,
    remove_drift,
    unwrap,
)
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.results import Estimate
from ilforge.study.settings import DiffusionSettings

_UNIT = "m^2/s"
_YEH_HUMMER = 2.837297  # cubic cell


class Diffusion:
    """Self-diffusion coefficient of each ion species, D = (1/6) d<MSD>/dt, in m^2/s.

    MSD(t) = <|r(t0 + t) - r(t0)|²> over ions of the species and all time origins, where r is the centre of mass
    of the whole ion, followed through the boundaries so that a barostat adds no displacement, relative to the
    centre of mass of the whole system (never of one species).

    1. Error of the MSD, and its covariance between lags, from the MSD itself (see
       :func:`~ilforge.properties.kernels.displacement.msd_covariance`).
    2. Diffusive regime: from the first lag on where the local slope d ln MSD / d ln t, taken between t and 2t, is
       1 within two standard errors and ``min_slope`` within one, is known to better than 1 - ``min_slope``, and
       a straight line fits all longer lags (χ², p > 0.01). The ions must have moved ``min_displacement_A``
       within the longest lag.
    3. D from a generalised least-squares line with free intercept through these lags. Its standard error is
       that of the fit or, if larger, that from the spread between ions.

    Without a diffusive regime there is no number, but the reason and the length of run it would take.
    D belongs to this box; see :func:`yeh_hummer` for its size.

    Unwrapping: S. von Bülow, J. T. Bullerjahn, G. Hummer, J. Chem. Phys. 153, 021101 (2020). Covariance-aware
    fit: J. T. Bullerjahn, S. von Bülow, G. Hummer, J. Chem. Phys. 153, 024116 (2020); A. R. McCluskey, S. W.
    Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025).
    """

    def __init__(self, settings: DiffusionSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._seen = 0
        self._centres = np.empty((system.n_frames, system.topology.n_molecules, 3))
        self._cells = np.empty((system.n_frames, 3, 3))

    def observe(self, snapshot: Snapshot) -> None:
        self._centres[self._seen] = snapshot.centres
        self._cells[self._seen] = snapshot.cell
        self._seen += 1

    def measurement(self) -> Measurement:
        centres, cells = self._centres[: self._seen], self._cells[: self._seen]
        max_lag = int(self._settings.max_lag_fraction * len(centres))
        if max_lag < MIN_LAGS:
            note = f"{len(centres)} frames are too few to follow ions: give more frames or a longer run"
            refused = Estimate.refused(_UNIT, note)
            return Measurement([("self_diffusion", name, refused) for name in self._system.ions])
        unwrapped, longest = unwrap(centres, cells)
        positions = remove_drift(unwrapped, self._system.topology.molecule_masses)
        estimates, curves = [], {}
        for name, members in self._system.ions.items():
            msd = mean_squared_displacement(positions[:, members], max_lag)
            analysis = MsdAnalysis(
                msd,
                len(centres),
                self._system.frame_interval_ps,
                self._settings,
                independent_ions(self._system.topology.molecule_masses, members),
            )
            estimate = analysis.estimate()
            if longest > AMBIGUOUS:
                estimate = Estimate.refused(_UNIT, sparse_frames(longest))
            estimates.append(("self_diffusion", name, estimate))
            curves |= {f"msd {name}": analysis.msd_curve(), f"msd_slope {name}": analysis.slope_curve()}
        return Measurement(estimates, curves)


def yeh_hummer(diffusion: float, temperature_K: float, viscosity_Pa_s: float, box_A: float) -> float:
    """Diffusion coefficient of an infinite system from that of a cubic box with side ``box_A``, m^2/s.

        D∞ = D + 2.837297 k T / (6 π η L)

    with the viscosity of the same model, which hardly depends on the size of the box.
    I.-C. Yeh and G. Hummer, J. Phys. Chem. B 108, 15873 (2004).

    Parameters
    ----------
    diffusion
        m^2/s.
    viscosity_Pa_s
        Pa s.
    """
    from scipy.constants import Boltzmann

    return diffusion + _YEH_HUMMER * Boltzmann * temperature_K / (6 * np.pi * viscosity_Pa_s * box_A * 1e-10)

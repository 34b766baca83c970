"""Ionic conductivity, and the Onsager coefficients that add up to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ilforge.properties.kernels.displacement import (
    cross_displacements,
    displacement_covariance,
    follow,
    independent_ions,
)
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.einstein import (
    AMBIGUOUS,
    MIN_LAGS,
    MsdAnalysis,
    duration,
    jump_between,
    repeated_note,
    sparse_frames,
)
from ilforge.properties.shared.green_kubo import transport_coefficient
from ilforge.properties.shared.settings import ConductivitySettings
from ilforge.properties.shared.steadiness import Course, judged, temperature_note, unsteady
from ilforge.results import Curve, Estimate, too_few_frames
from ilforge.statistics import DISAGREEMENT, LinearFit, disagree, error_between
from ilforge.units import A2_PER_PS_IN_M2_S, AVOGADRO_PER_MOL, BOLTZMANN_J_K, ELEMENTARY_CHARGE_C

_SIGMA, _ONSAGER = "S/m", "mol^2/(J m s)"
_MAX_TRANSFERENCE_ERROR = 0.5
_Row: TypeAlias = tuple[str, str | None, Estimate]


class Conductivity:
    """Ionic conductivity by Einstein relations, its Onsager coefficients, and the correlation between ions.

        L_ij = 1/(6 k T V N_A²) lim d/dt <ΔR_i·ΔR_j>,    R_i = Σ_{a in i} (r_a - r_cm)
        σ = F² Σ_ij z_i z_j L_ij,    σ_NE = e²/(V k T) Σ_i N_i z_i² D_i,    H = σ_NE / σ
        t_i = Σ_j z_i z_j L_ij / Σ_kl z_k z_l L_kl

    r_a is the unwrapped centre of mass of an ion, which carries its whole charge; r_cm is the centre of mass of all
    ions. The frame is therefore barycentric, and Σ_i M_i L_ij = 0 for molar masses M. With two kinds of ions, this
    condition alone determines t_i from the masses.

    1. Self-diffusion of every kind of ion, as the property ``diffusion`` measures it, gives σ_NE and the lag from
       which ions diffuse.
    2. From this lag on, <|Σ_i z_i ΔR_i|²> must be a straight line (χ², p > 0.001). The weights of its generalised
       least-squares fit are used for every L_ij, so that σ is exactly their sum.
    3. Errors of L_ij, and their covariance, are those of time averages of products of Gaussian collective
       displacements (see :func:`~ilforge.properties.kernels.displacement.displacement_covariance`); errors of
       σ and t_i follow from them. The error of H treats those of σ and σ_NE as independent.

    For several runs of one system (:meth:`pooled`) all displacements are averaged over the runs. With three runs or
    more, errors are at least those from the spread of σ; runs that disagree (χ², p < 0.001) are refused.

    σ within two standard errors of zero is refused, with the length of run that would be sufficient. If the trajectory
    contains velocities often enough, σ is also computed by the Green-Kubo relation σ = 1/(3 V k T) ∫<J(0)·J(t)> dt.

    K. D. Fong, H. K. Bergstrom, B. D. McCloskey, K. K. Mandadapu, AIChE J. 66, e17091 (2020); K. D. Fong, J. Self,
    B. D. McCloskey, K. A. Persson, Macromolecules 54, 2575 (2021).
    """

    needs_cell: ClassVar[str] = "without a liquid, no charge is transported"

    def __init__(self, settings: ConductivitySettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        topology = system.topology
        self._system = system
        self._seen = 0
        self._runs: list[Conductivity] = [self]
        self._centres = np.empty((system.n_frames, topology.n_molecules, 3))
        self._cells = np.empty((system.n_frames, 3, 3))
        self._temperatures: list[float] = []
        self._currents: list[np.ndarray] = []
        share = topology.molecule_masses / topology.masses.sum()
        charges = np.asarray(topology.charges, dtype=float)
        # weight of each atom's velocity in the barycentric charge current
        of_ions = charges / topology.molecule_masses - charges.sum() / topology.masses.sum()
        self._current_weights = topology.masses * of_ions[topology.molecules]
        self._charged = bool(np.any(charges)) and len(share) > 1

    def look(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray, float | None, np.ndarray | None]:
        current = None if snapshot.velocities is None else self._current_weights @ snapshot.velocities
        return snapshot.centres, snapshot.cell, snapshot.temperature_K, current

    def add(self, seen: tuple[np.ndarray, np.ndarray, float | None, np.ndarray | None]) -> None:
        self._centres[self._seen], self._cells[self._seen], temperature, current = seen
        self._seen += 1
        if temperature is not None:
            self._temperatures.append(temperature)
        if current is not None:
            self._currents.append(current)

    def measurement(self) -> Measurement:
        return self.pooled([self])

    def pooled(self, runs: Sequence[Conductivity]) -> Measurement:
        """The measurement from several independent runs, including this one, over the length of the shortest."""
        self._runs = list(runs)
        reason = self._unable()
        if reason:
            return self._refused(reason)
        masses, n_frames = self._system.topology.molecule_masses, self._n_frames
        followed = [follow(run._centres[:n_frames], run._cells[:n_frames], masses, run._system.images) for run in runs]
        paths = [positions for positions, _ in followed]
        max_lag = int(self._settings.max_lag_fraction * self._n_frames)
        own = {name: self._self_diffusion(name, paths, max_lag) for name in self._system.ions}
        products = np.array([self._products(positions, max_lag) for positions in paths])
        together = self._charge_motion(paths, max_lag)
        longest = max(step for _, step in followed)
        reason = sparse_frames(longest) if longest > AMBIGUOUS else jump_between(paths)
        estimates = self._estimates(own, products, together)
        result = self._refused(reason) if reason else Measurement(list(estimates))
        result.curves.update(_curves(together))
        result.estimates.extend(self._from_velocities())
        result.notes.extend([*self._notes(), *repeated_note(paths)])
        length = n_frames * self._system.frame_interval_ps
        for run in runs:
            result.notes.extend(temperature_note(run._temperatures[:n_frames], length))
        return result

    def _unable(self) -> str:
        if self._system.unknown_charges:
            return (
                f"the charge of {', '.join(self._system.unknown_charges)} is unknown: neither the topology nor the "
                "catalogue of ions contains it; give a topology with charges (tpr, psf, prmtop, LAMMPS data)"
            )
        if not self._charged:
            return "the box contains no charged ions that could move relative to each other"
        net = self._system.topology.charge
        if net:
            of_ions = ", ".join(f"{name} {z:+g}" for name, z in zip(self._system.ions, self._charges, strict=True))
            return (
                f"the charges of all ions add up to {net:+g} e ({of_ions}): give a topology with charges that add "
                "up to zero (tpr, psf, prmtop, LAMMPS data)"
            )
        if int(self._settings.max_lag_fraction * self._n_frames) < MIN_LAGS:
            return too_few_frames(self._n_frames, "to follow ions: give more frames or a longer run")
        if self._temperature is None:
            return "the temperature is not known: give it (--temperature, in K)"
        return ""

    @property
    def _n_frames(self) -> int:
        """Number of frames used from each run."""
        return min(run._seen for run in self._runs)

    @property
    def _temperature(self) -> float | None:
        if self._system.temperature_K is not None:
            return self._system.temperature_K
        known = [kelvin for run in self._runs for kelvin in run._temperatures]
        return float(np.mean(known)) if known else None

    @property
    def _scale(self) -> float:
        """e²/(V k T) times Å²/ps in S/m."""
        assert self._temperature is not None  # otherwise the setting was refused
        cells = np.concatenate([run._cells[: self._n_frames] for run in self._runs])
        volume = float(np.mean(np.abs(np.linalg.det(cells)))) * 1e-30
        return ELEMENTARY_CHARGE_C**2 * A2_PER_PS_IN_M2_S / (volume * BOLTZMANN_J_K * self._temperature)

    @property
    def _charges(self) -> np.ndarray:
        """Charge of the ions of each species, e."""
        return np.array([self._system.topology.charges[members[0]] for members in self._system.ions.values()], float)

    def _products(self, positions: np.ndarray, max_lag: int) -> np.ndarray:
        collective = np.stack([positions[:, members].sum(axis=1) for members in self._system.ions.values()], axis=1)
        return cross_displacements(collective, max_lag)

    def _self_diffusion(self, name: str, paths: list[np.ndarray], max_lag: int) -> MsdAnalysis:
        members = self._system.ions[name]
        independent = independent_ions(self._system.topology.molecule_masses, members)
        interval, own = self._system.frame_interval_ps, [positions[:, members] for positions in paths]
        return MsdAnalysis(own, max_lag, interval, self._settings, independent, name)

    def _charge_motion(self, paths: list[np.ndarray], max_lag: int) -> MsdAnalysis:
        """MSD of the total charge divided by Σ N_i z_i²; for uncorrelated ions it is the MSD of one ion."""
        charges = np.asarray(self._system.topology.charges, dtype=float) / np.sqrt(self._squared_charges.sum())
        together = [np.einsum("tix,i->tx", positions, charges)[:, None] for positions in paths]
        return MsdAnalysis(together, max_lag, self._system.frame_interval_ps, self._settings, 1.0, "all charge")

    @property
    def _squared_charges(self) -> np.ndarray:
        """N_i z_i² for each species."""
        return self._charges**2 * [len(members) for members in self._system.ions.values()]

    def _estimates(
        self, own: dict[str, MsdAnalysis], products: np.ndarray, together: MsdAnalysis
    ) -> Iterator[tuple[str, str | None, Estimate]]:
        diffusion = {name: analysis.estimate() for name, analysis in own.items()}
        still = [f"{name}: {found.note}" for name, found in diffusion.items() if not found.converged]
        if still:
            yield from self._refused("; ".join(still)).estimates
            return
        free = self._nernst_einstein(list(diffusion.values()))
        regimes = [analysis.diffusive_regime() for analysis in own.values()]
        start = max(regime.start for regime in regimes if regime is not None)  # all have converged
        found = together.coarse_line_from(start)
        if found is None:
            run = self._n_frames * self._system.frame_interval_ps
            reason = (
                "the mean squared displacement of the charge is not yet linear in time beyond "
                f"{duration(start * self._system.frame_interval_ps)}, where the ions diffuse: run at least about "
                f"{duration(3 * run)}"
            )
            yield from self._with_free(self._refused(reason).estimates, free)
            return
        course = together.course(int(found[0][0]))
        changes = unsteady(course)
        if changes:
            yield from self._with_free(self._refused(changes).estimates, free)
            return
        motion = self._motion(products, *found)
        if motion is None:
            yield from self._with_free(self._refused(DISAGREEMENT.format(len(self._runs))).estimates, free)
            return
        yield from self._collective_estimates(motion, free, found[0], course)

    def _motion(self, products: np.ndarray, lags: np.ndarray, fit: LinearFit) -> _Collective | None:
        """Collective motion of all runs, with a covariance that covers the spread of σ; None if runs disagree."""
        whole, n_runs = np.outer(self._charges, self._charges), len(products)
        mean = _collective(products.mean(axis=0), lags, fit, self._n_frames)
        error = mean.combined(whole)[1] / np.sqrt(n_runs)
        of_runs = np.einsum("ij,rijk,k->r", whole, products[..., lags], fit.weights[0])
        if disagree(of_runs, error * np.sqrt(n_runs)):
            return None
        wider = max(1.0, error_between(of_runs) / error)
        return _Collective(mean.slopes, mean.covariance * wider**2 / n_runs)

    def _collective_estimates(
        self, motion: _Collective, free: Estimate, lags: np.ndarray, course: Course
    ) -> Iterator[tuple[str, str | None, Estimate]]:
        names, z = list(self._system.ions), self._charges
        slope, error = motion.combined(np.outer(z, z))
        if slope < 2.0 * error:
            run = self._n_frames * self._system.frame_interval_ps
            needed = max(4.0 * (error / slope) ** 2 if slope > 0 else 10.0, 2.0)
            reason = (
                f"σ = {slope * self._scale / 6:.2g} ± {error * self._scale / 6:.2g} S/m is zero within its error: run "
                f"at least about {duration(needed * run)}"
            )
            yield from self._with_free(self._refused(reason).estimates, free)
            return
        n_eff = 2.0 / 3.0 * (slope / error) ** 2
        step = self._system.frame_interval_ps
        note = f"fitted from {duration(lags[0] * step)} to {duration(lags[-1] * step)}"
        sigma = judged(Estimate(slope * self._scale / 6, error * self._scale / 6, n_eff, _SIGMA, True, note), [course])
        yield "conductivity", None, sigma
        yield "conductivity_nernst_einstein", None, free
        haven = free.value / sigma.value
        relative = np.hypot(free.error / free.value, sigma.error / sigma.value)
        yield "haven_ratio", None, Estimate(haven, haven * relative, n_eff, "1")
        unit = self._scale / 6 / (ELEMENTARY_CHARGE_C * AVOGADRO_PER_MOL) ** 2
        for i, a in enumerate(names):
            for j in range(i, len(names)):
                value, error = motion.combined(_picked(i, j, len(names)))
                found = Estimate(value * unit, error * unit, n_eff, _ONSAGER)
                yield "onsager_coefficient", f"{a}-{names[j]}", found
        for i in np.flatnonzero(z).tolist():
            value, error = motion.share(z, i)
            found = Estimate(value, error, n_eff, "1")
            if len(names) == 2:
                found = Estimate(value, 0.0, n_eff, "1", True, "determined by the masses, not measured")
            elif error > _MAX_TRANSFERENCE_ERROR:
                found = Estimate.refused(
                    "1", f"{value:.2g} ± {error:.2g} is zero within its error: the run is too short", n_eff
                )
            yield "transference_number", names[i], found

    def _nernst_einstein(self, diffusion: list[Estimate]) -> Estimate:
        weights = self._squared_charges * self._scale / A2_PER_PS_IN_M2_S
        value = float(weights @ [found.value for found in diffusion])
        error = float(np.linalg.norm(weights * [found.error for found in diffusion]))
        return judged(Estimate(value, error, 2.0 / 3.0 * (value / error) ** 2, _SIGMA), [])  # each D was judged before

    def _refused(self, reason: str) -> Measurement:
        names = list(self._system.ions)
        kinds: list[tuple[str, str | None, str]] = [("conductivity", None, _SIGMA)]
        kinds += [("conductivity_nernst_einstein", None, _SIGMA), ("haven_ratio", None, "1")]
        pairs = [f"{a}-{b}" for i, a in enumerate(names) for b in names[i:]]
        kinds += [("onsager_coefficient", pair, _ONSAGER) for pair in pairs]
        kinds += [("transference_number", names[i], "1") for i in np.flatnonzero(self._charges)]
        return Measurement([(quantity, species, Estimate.refused(unit, reason)) for quantity, species, unit in kinds])

    @staticmethod
    def _with_free(estimates: list[_Row], free: Estimate) -> list[_Row]:
        """Keep the results for single ions even if the collective ones are refused."""
        quantity = "conductivity_nernst_einstein"
        return [(name, species, free if name == quantity else found) for name, species, found in estimates]

    def _from_velocities(self) -> Iterator[tuple[str, None, Estimate]]:
        if all(run._currents and len(run._currents) == run._seen for run in self._runs):
            series = np.concatenate([np.transpose(run._currents[: self._n_frames]) for run in self._runs])
            interval = self._system.frame_interval_ps
            found, _ = transport_coefficient(series, interval, self._scale, _SIGMA, "the current of charge")
            yield "conductivity_green_kubo", None, found

    def _notes(self) -> Iterator[str]:
        if not self._currents:
            yield f"No Green-Kubo conductivity: {self._system.no_velocities}."
        if len(self._system.ions) == 2:
            yield (
                "With two kinds of ions, the transference numbers relative to the centre of mass follow from the "
                "masses alone. They are not a result of the run."
            )


@dataclass(frozen=True)
class _Collective:
    """Slopes of <ΔR_i·ΔR_j>, ``(n, n)`` in Å^2/ps, and their covariance ``(n, n, n, n)``."""

    slopes: np.ndarray
    covariance: np.ndarray

    def combined(self, weights: np.ndarray) -> tuple[float, float]:
        """Σ_ij w_ij slope_ij and its standard error."""
        variance = np.einsum("ij,ijkl,kl", weights, self.covariance, weights)
        return float(np.sum(weights * self.slopes)), float(np.sqrt(max(variance, 0.0)))

    def share(self, charges: np.ndarray, species: int) -> tuple[float, float]:
        """Share of one species in the current of charge, and its standard error to first order."""
        whole = np.outer(charges, charges)
        part = np.zeros_like(whole)
        part[species] = whole[species]
        part = 0.5 * (part + part.T)
        total = float(np.sum(whole * self.slopes))
        value = float(np.sum(part * self.slopes)) / total
        return value, self.combined((part - value * whole) / total)[1]


def _collective(products: np.ndarray, lags: np.ndarray, fit: LinearFit, n_frames: int) -> _Collective:
    """Slopes of all products of collective displacements with the weights of one fit, and their covariance."""
    n = len(products)
    slopes = products[:, :, lags] @ fit.weights[0]
    starts = products[:, :, lags] @ fit.weights[1]
    models = products.copy()
    tail = np.arange(lags[0], products.shape[2])
    step = 1.0 / (fit.weights[0] @ lags)  # weights have Σ w t = 1, so this is the time of one lag
    models[:, :, tail] = starts[:, :, None] + slopes[:, :, None] * step * tail
    pairs = list(zip(*np.triu_indices(n), strict=True))
    weight = fit.weights[0]
    product: dict[tuple[Any, Any], float] = {}  # keys: pairs of indices, NumPy's or Python's integers
    for p, a in enumerate(pairs):
        for b in pairs[p:]:
            first, second = (models[a], models[a]) if a == b else (models[a], models[b])
            value = float(weight @ displacement_covariance(first, second, lags, n_frames) @ weight)
            product[a, b] = product[b, a] = value
    covariance = np.empty((n, n, n, n))
    for i, j, k, m in np.ndindex(n, n, n, n):
        direct = product[_sorted(i, k), _sorted(j, m)]
        covariance[i, j, k, m] = (direct + product[_sorted(i, m), _sorted(j, k)]) / 3.0
    return _Collective(slopes, covariance)


def _sorted(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i <= j else (j, i)


def _picked(i: int, j: int, n: int) -> np.ndarray:
    weights = np.zeros((n, n))
    weights[i, j] = 1.0
    return weights


def _curves(together: MsdAnalysis) -> dict[str, Curve]:
    msd, slope = together.msd_curve(), together.slope_curve()
    label = "mean squared displacement of all charge, per squared charge"
    return {
        "charge_msd": Curve(msd.x, msd.y, msd.error, msd.x_label, msd.x_unit, label, "Å^2", msd.n_eff),
        "charge_msd_slope": slope,
    }


KIND = PropertyKind(
    name="conductivity",
    title="Ionic conductivity",
    settings=ConductivitySettings,
    observer=Conductivity,
    version=3,
    also_called=("ionic_conductivity", "sigma", "haven_ratio", "transference"),
)

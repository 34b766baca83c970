"""Health of a run: does it still describe a liquid with the ions of its start?"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ilforge.liquid.connectivity import nearest_images
from ilforge.properties.kernels.pairs import heights, wrap
from ilforge.properties.kernels.voids import clearance_function, empty_fraction, largest_void
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System, Verdict
from ilforge.properties.shared.density_course import departure
from ilforge.properties.shared.holding import judge
from ilforge.properties.shared.settings import HealthSettings
from ilforge.results import HOLDS_LIQUID, Curve, Estimate
from ilforge.statistics import correlated_mean
from ilforge.units import AMU_PER_A3_IN_G_CM3

_SAMPLES = 25  # number of frames checked for empty space and new bonds
_EMPTY_A = 2.5
_RESOLUTION_A = 0.05
_PROFILE_BIN_A = 2.0
_SIGNIFICANT = 3.0  # standard errors
_MIN_VALUES = 6


class _Space(NamedTuple):
    """Empty space in one frame: the largest void, the atoms around it, the empty share, and the density profile."""

    frame: int
    time_ps: float
    radius: float
    around: tuple[int, ...]
    empty: float
    profile: Curve


class _Signs(NamedTuple):
    """Results of all checks for one frame."""

    density: float
    temperature_K: float | None
    potential_energy_eV: float | None
    drude_temperature_K: float | None
    broken: bool
    fragments: Verdict | None
    space: _Space | None


class Health:
    """Signs that a run is unphysical, each with the frame to inspect.

    End
        The engine ended early with a fault, or has not ended. Not reported if this is unknown.
    Density
        Density of the last quarter of the run compared with the start: a box that boils or collapses.
    Broken bonds and proton transfer
        In every frame, bonds of the topology longer than ``bond_factor`` times the sum of covalent radii. In 25
        frames, and if a bond broke, all bonds are compared with the topology.
    Cavity
        The largest sphere outside all van der Waals surfaces, in 25 frames, to 0.05 Å. As the largest value of
        several frames it has no error, and grows with their number.
    Collapse
        The share of the box farther than 2.5 Å from every van der Waals surface, in the same frames. It is almost zero
        in a liquid. Ions that gather in a drop or a slab leave a vacuum.
    Drift
        Mean temperature compared with the set one; mean potential energy per atom in the last third of the run
        compared with the first third; mean temperature of Drude particles, which should be near 0 K. A deviation counts
        only beyond three standard errors; the verdict names the frame with the largest deviation.

    All of these decide whether the run holds the liquid: see :func:`~ilforge.properties.shared.holding.judge`.

    Density, cavity and collapse do not apply to ions in a vacuum.

    Radii: covalent of B. Cordero et al., Dalton Trans. 2008, 2832; van der Waals of S. Alvarez, Dalton Trans.
    42, 8617 (2013).
    """

    needs_cell: ClassVar[str] = ""

    def __init__(self, settings: HealthSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        from ase.data import atomic_numbers, covalent_radii
        from ase.data.vdw_alvarez import vdw_radii

        self._system = system
        numbers = np.array([atomic_numbers[symbol] for symbol in system.topology.symbols])
        self._surface_radii = np.nan_to_num(vdw_radii[numbers], nan=2.0)
        i, j = system.topology.bonds.T
        self._longest_bonds = self._settings.bond_factor * (covalent_radii[numbers[i]] + covalent_radii[numbers[j]])
        spread = np.linspace(0, max(system.n_frames - 1, 0), min(_SAMPLES, max(system.n_frames, 1)))
        self._sampled = set(np.rint(spread).astype(int).tolist())
        self._mass = float(system.topology.masses.sum()) * AMU_PER_A3_IN_G_CM3
        self._densities: list[float] = []
        self._times: list[float] = []
        self._voids: list[tuple[float, int, tuple[int, ...]]] = []
        self._empty: list[tuple[float, int]] = []
        self._profile: Curve | None = None
        self._temperatures: list[float | None] = []
        self._energies: list[float | None] = []
        self._drude_temperatures: list[float | None] = []
        self._n_broken = 0
        self._fragments: Verdict | None = None
        self._fell_apart = False

    def look(self, snapshot: Snapshot) -> _Signs:
        broken = self._broken_bonds(snapshot)
        sampled = snapshot.index in self._sampled
        fragments = None
        if (len(broken) or sampled) and not self._fell_apart:  # only the first time is reported; frames come in order
            fragments = self._compare_bonds(snapshot, broken)
            self._fell_apart = fragments is not None
        return _Signs(
            self._mass / snapshot.volume if self._system.periodic else np.nan,
            snapshot.temperature_K,
            snapshot.potential_energy_eV,
            snapshot.drude_temperature_K,
            len(broken) > 0,
            fragments,
            self._space(snapshot) if sampled and self._system.periodic else None,
        )

    def add(self, seen: _Signs) -> None:
        self._densities.append(seen.density)
        self._temperatures.append(seen.temperature_K)
        self._energies.append(seen.potential_energy_eV)
        self._drude_temperatures.append(seen.drude_temperature_K)
        self._n_broken += seen.broken
        self._fragments = self._fragments or seen.fragments
        if seen.space is not None:
            self._add_space(seen.space)

    def measurement(self) -> Measurement:
        if not self._voids:
            verdicts = [*self._engine_verdict(), self._bond_verdict()]
            return Measurement(verdicts=[*verdicts, *self._drift_verdicts()])
        largest, frame, _ = max(self._voids)
        n = len(self._voids)
        note = _largest_of(n, frame)
        cavity = Estimate(largest, np.nan, n, "Å", True, note)
        estimates: list[tuple[str, str | None, Estimate]] = [("largest_cavity_radius", None, cavity)]
        radii = np.array([radius for radius, _, _ in self._voids])
        curves = {"cavity": Curve(np.array(self._times), radii, None, "time", "ps", "largest void radius", "Å")}
        if self._profile is not None:
            curves["density_profile"] = self._profile
        verdicts = [
            *self._engine_verdict(), *self._density_verdict(), self._bond_verdict(), self._cavity_verdict(),
            self._collapse_verdict(), *self._drift_verdicts(),
        ]  # fmt: skip
        liquid = judge(self._system, np.array(self._densities), verdicts, self._settings)
        if liquid is not None:
            estimates.append((HOLDS_LIQUID, None, liquid.estimate))
        return Measurement(estimates, curves, verdicts, liquid=liquid)

    def _broken_bonds(self, snapshot: Snapshot) -> np.ndarray:
        """Bonds of the topology that are too long, ``(n_broken, 2)``."""
        bonds = self._system.topology.bonds
        apart = nearest_images(snapshot.positions[bonds[:, 1]] - snapshot.positions[bonds[:, 0]], snapshot.cell)
        found: np.ndarray = bonds[np.einsum("ij,ij->i", apart, apart) > self._longest_bonds**2]
        return found

    def _compare_bonds(self, snapshot: Snapshot, broken: np.ndarray) -> Verdict | None:
        from ase import Atoms

        from ilforge.liquid.connectivity import fragmentation

        topology = self._system.topology
        atoms = Atoms(topology.symbols, snapshot.positions, cell=snapshot.cell, pbc=self._system.periodic)
        found = fragmentation(atoms, topology, self._settings.bond_factor)
        if found is None:
            return None
        concerned = tuple(int(atom) for atom in np.unique(broken))
        what = f"the bonds of the ions changed at {snapshot.time_ps:.4g} ps: {found}"
        return Verdict(False, what, snapshot.index, concerned)

    def _space(self, snapshot: Snapshot) -> _Space:
        clearance = clearance_function(snapshot.positions, self._surface_radii, snapshot.cell)
        radius, centre = largest_void(clearance, snapshot.cell, _RESOLUTION_A)
        return _Space(
            snapshot.index,
            snapshot.time_ps,
            radius,
            self._around(snapshot, centre),
            empty_fraction(clearance, snapshot.cell, _EMPTY_A),
            density_profile(snapshot.positions, self._system.topology.masses, snapshot.cell),
        )

    def _add_space(self, space: _Space) -> None:
        self._times.append(space.time_ps)
        self._voids.append((space.radius, space.frame, space.around))
        if not self._empty or space.empty > max(self._empty)[0]:
            self._profile = space.profile
        self._empty.append((space.empty, space.frame))

    def _around(self, snapshot: Snapshot, centre: np.ndarray) -> tuple[int, ...]:
        """The four atoms nearest to the void, whose surfaces limit it."""
        apart = nearest_images(snapshot.positions - centre, snapshot.cell)
        clearance = np.linalg.norm(apart, axis=1) - self._surface_radii
        return tuple(int(atom) for atom in np.sort(np.argsort(clearance, kind="stable")[:4]))

    def _engine_verdict(self) -> list[Verdict]:
        last = max(self._system.n_frames - 1, 0)
        if self._system.fault is not None:
            return [Verdict(False, f"the run ended early: {self._system.fault}", last)]
        if self._system.ended is None:
            return []
        if self._system.ended:
            return [Verdict(True, "the run reached its end")]
        what = f"the run has not ended: only the part up to {self._time(last)} was measured"
        return [Verdict(False, what, last, grave=False)]

    def _density_verdict(self) -> list[Verdict]:
        lowest, highest = self._settings.min_density_ratio, self._settings.max_density_ratio
        change = departure(np.array(self._densities), self._system, lowest, highest)
        if change is None:
            return []
        frame = round((change.time_ps - self._system.unrecorded_ps) / self._system.frame_interval_ps)
        return [Verdict(False, str(change), min(max(frame, 0), len(self._densities) - 1))]

    def _bond_verdict(self) -> Verdict:
        if self._fragments is None:
            return Verdict(True, "every ion kept its bonds")
        if not self._n_broken:
            return self._fragments
        share = f"; bonds are broken in {self._n_broken} of {self._system.n_frames} frames"
        return Verdict(False, self._fragments.what + share, self._fragments.frame, self._fragments.atoms)

    def _cavity_verdict(self) -> Verdict:
        radius, frame, atoms = max(self._voids)
        limit = self._settings.max_cavity_radius_A
        if radius <= limit:
            return Verdict(True, f"no cavity: the largest void has a radius of {radius:.1f} Å", frame)
        what = f"a cavity of radius {radius:.1f} Å has opened (limit {limit:g} Å)"
        return Verdict(False, what, frame, atoms)

    def _collapse_verdict(self) -> Verdict:
        fraction, frame = max(self._empty)
        what = f"{100 * fraction:.1f} % of the box is vacuum, farther than {_EMPTY_A} Å from any atom's surface"
        if fraction <= self._settings.max_empty_fraction:
            return Verdict(True, f"the liquid fills the box: {what}", frame)
        return Verdict(False, f"the ions have collapsed into an aggregate: {what}", frame)

    def _drift_verdicts(self) -> list[Verdict]:
        return [*self._temperature_verdict(), *self._drude_verdict(), *self._energy_verdict()]

    def _temperature_verdict(self) -> list[Verdict]:
        target, said = self._system.temperature_K, "was set"
        if self._system.ensemble == "NVE":
            target, said = (
                self._system.start_temperature_K,
                "was set at the start, but a run at constant energy does not keep it",
            )
        frames, values = _known(self._temperatures)
        if target is None or len(values) < _MIN_VALUES:
            return []
        mean, error, _ = correlated_mean(values)
        off = abs(mean - target)
        far = int(np.argmax(np.abs(values - target)))
        frame = int(frames[far])
        what = (
            f"the mean temperature is {mean:.0f} ± {error:.0f} K, and {target:g} K {said}; it deviates most at "
            f"{self._time(frame)}: {values[far]:.0f} K"
        )
        ok = off <= max(self._settings.max_temperature_drift_K, _SIGNIFICANT * error)
        return [Verdict(ok, what, frame, grave=False)]

    def _drude_verdict(self) -> list[Verdict]:
        frames, values = _known(self._drude_temperatures)
        if len(values) < _MIN_VALUES or self._system.ensemble == "NVE":
            return []
        mean, error, _ = correlated_mean(values)
        frame = int(frames[np.argmax(values)])
        most = self._settings.max_drude_temperature_K
        what = (
            f"the mean temperature of the Drude particles is {mean:.1f} ± {error:.1f} K; above {most:g} K, induced "
            f"dipoles do not follow the field; it is highest at {self._time(frame)}: {values.max():.1f} K"
        )
        return [Verdict(mean - _SIGNIFICANT * error <= most, what, frame, grave=False)]

    def _energy_verdict(self) -> list[Verdict]:
        frames, energies = _known(self._energies)
        third = len(energies) // 3
        if third < _MIN_VALUES:
            return []
        per_atom = energies / self._system.topology.n_atoms
        first, last = correlated_mean(per_atom[:third]), correlated_mean(per_atom[-third:])
        drift, error = last.value - first.value, float(np.hypot(first.error, last.error))
        away = per_atom - first.value
        far = int(np.argmax(np.abs(away)))
        frame = int(frames[far])
        what = (
            f"the potential energy changed by {1000 * drift:.1f} ± {1000 * error:.1f} meV per atom from the first to "
            f"the last third of the run; it deviates most from the first third at {self._time(frame)}, by "
            f"{1000 * away[far]:.1f} meV per atom"
        )
        ok = abs(drift) <= max(self._settings.max_energy_drift_eV, _SIGNIFICANT * error)
        return [Verdict(ok, what, frame, grave=False)]

    def _time(self, frame: int) -> str:
        return f"{frame * self._system.frame_interval_ps:.4g} ps"


def _largest_of(n: int, frame: int) -> str:
    """Note on a value that is the largest of ``n`` frames."""
    frames = "frame" if n == 1 else "frames"
    return f"no error: the largest of {n} {frames}, in frame {frame}; accurate to {_RESOLUTION_A} Å"


def _known(series: list[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Frames that have a value, and their values."""
    values = np.array(series, dtype=float)  # None becomes NaN
    frames = np.flatnonzero(np.isfinite(values))
    return frames, values[frames]


def density_profile(positions: np.ndarray, masses: np.ndarray, cell: np.ndarray) -> Curve:
    """Mass density in slices of about 2 Å along the cell vector where it varies most, g/cm^3."""
    fractional = wrap(positions, cell) @ np.linalg.inv(cell)
    sides, profiles = heights(cell), []
    for axis, height in enumerate(sides):
        n = max(1, round(height / _PROFILE_BIN_A))
        slices = np.minimum((fractional[:, axis] * n).astype(int), n - 1)
        slice_volume = abs(np.linalg.det(cell)) / n
        profiles.append(np.bincount(slices, masses, n) / slice_volume * AMU_PER_A3_IN_G_CM3)
    axis = int(np.argmax([profile.std() for profile in profiles]))
    profile = profiles[axis]
    centres = (np.arange(len(profile)) + 0.5) * sides[axis] / len(profile)
    return Curve(centres, profile, None, f"height along {'abc'[axis]}", "Å", "density", "g/cm^3")


KIND = PropertyKind(
    name="health",
    title="Health",
    settings=HealthSettings,
    observer=Health,
    version=5,
    also_called=("stability", "voids"),
)

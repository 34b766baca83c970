"""One description of an MD run, whatever the engine and the potential."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from ilforge.errors import SettingsError

CONSTRAIN_ABOVE_FS = 1.0
"""Largest time step without constraints of bonds to H, which vibrate with a period of 11 fs; fs."""

TIME_STEPS = "Advised: 2 fs with clp, 1.5 fs with clpol, 0.5 fs with learned models."


class _Allowed(NamedTuple):
    """The allowed values of a number: in words, and as a test of a finite number."""

    words: str
    holds: Callable[[float], bool]


_ANY = _Allowed("a finite number", lambda value: True)
_ABOVE_ZERO = _Allowed("a number above 0", lambda value: value > 0)
_FROM_ZERO = _Allowed("a number, 0 or more", lambda value: value >= 0)
_WHOLE_ABOVE_ZERO = _Allowed("a whole number above 0", lambda value: value > 0 and float(value).is_integer())
_WHOLE_FROM_ZERO = _Allowed("a whole number, 0 or more", lambda value: value >= 0 and float(value).is_integer())
_HEAVIER = _Allowed("a number from 1.008 to 4", lambda value: 1.008 <= value <= 4)
_NUMBERS = {
    "temperature_K": ("--temperature", _ABOVE_ZERO, "K"),
    "start_temperature_K": (None, _ABOVE_ZERO, "K"),
    "pressure_bar": ("--pressure", _ANY, "bar"),
    "timestep_fs": ("--timestep", _ABOVE_ZERO, "fs"),
    "length_ps": ("--length", _ABOVE_ZERO, "ps"),
    "interval_ps": ("--interval", _ABOVE_ZERO, "ps"),
    "pressure_interval_ps": ("--pressure-interval", _ABOVE_ZERO, "ps"),
    "equilibration_ps": ("--equilibration", _FROM_ZERO, "ps"),
    "constant_volume_ps": ("--constant-volume", _FROM_ZERO, "ps"),
    "seed": ("--seed", _WHOLE_FROM_ZERO, None),
    "minimise_steps": ("--minimise", _WHOLE_FROM_ZERO, None),
    "checkpoint_steps": (None, _WHOLE_ABOVE_ZERO, None),
    "hydrogen_mass_amu": ("--hydrogen-mass", _HEAVIER, "amu"),
    "inner_steps": ("--inner-steps", _WHOLE_ABOVE_ZERO, None),
}
"""For each number: its option of ``ilforge md``, the allowed values, and the unit."""

_LENGTH_KEPT = 0.05
"""Largest relative change of the length of a run that results from rounding the interval to whole steps."""


CHOICES = {
    "ensemble": ("--ensemble", ("NVE", "NVT", "NPT")),
    "thermostat": ("--thermostat", ("langevin", "nose-hoover")),
    "barostat": ("--barostat", ("monte-carlo", "cell-rescaling")),
}
"""For each choice: its option of ``ilforge md``, and the allowed values."""

_LATER = {
    "pressure_interval_ps": None,
    "keep_velocities": False,
    "thermostat": None,
    "barostat": None,
    "hydrogen_mass_amu": None,
    "inner_steps": 1,
}
"""Settings that earlier versions did not have, and their values if unused."""


class Stage(NamedTuple):
    """A part of a run with one ensemble."""

    ensemble: str
    steps: int


@dataclass(frozen=True)
class MdProtocol:
    """Ensemble, state and times of a run.

    Attributes
    ----------
    temperature_K, pressure_bar
        Set temperature (start temperature for NVE) and, for NPT, pressure.
    timestep_fs
        Time step, fs.
    equilibration_ps, length_ps
        Length of the equilibration, which is not recorded, and of the recorded run, ps. The equilibration of an NVE
        run is NVT.
    constant_volume_ps
        Length of an NVT stage before the equilibration, ps; not recorded. A packed box does not blow up if it is
        minimised and brought to its temperature at constant volume before the barostat acts.
    interval_ps
        Time between recorded frames, ps.
    seed
        Seed of velocities, thermostat and barostat.
    minimise_steps
        Steps of energy minimisation before the dynamics; a run that starts from a liquid structure needs none.
    start_temperature_K
        Temperature of the initial velocities. By default the set temperature, or twice the set temperature after a
        minimisation, because half of the kinetic energy then goes into vibrations within a few hundred fs.
    constrain_hydrogens
        Whether bonds to H are constrained. By default they are constrained if the time step exceeds 1 fs and the
        engine and the potential can do it.
    pressure_interval_ps
        Time between records of the pressure tensor, for the viscosity; ``interval_ps`` must be a whole multiple of
        it. By default none is recorded. Only GROMACS can record it.
    keep_velocities
        Begin with the velocities of the start structure instead of drawing them, to continue another run.
    thermostat, barostat
        ``"langevin"`` or ``"nose-hoover"``, ``"monte-carlo"`` or ``"cell-rescaling"``, if the engine has a choice;
        by default the engine's first.
    hydrogen_mass_amu
        Mass of H atoms, amu, for longer time steps; the added mass is taken from the heavy neighbour. Structure and
        density do not change; transport properties change slightly.
    inner_steps
        Number of short steps with a cheap inner potential within one step of ``timestep_fs``.
    checkpoint_steps
        Steps between checkpoints, from which a killed run continues; rounded up to whole frames.
    """

    ensemble: Literal["NVE", "NVT", "NPT"]
    temperature_K: float
    timestep_fs: float
    length_ps: float
    interval_ps: float
    seed: int
    pressure_bar: float = 1.01325
    equilibration_ps: float = 0.0
    constant_volume_ps: float = 0.0
    minimise_steps: int = 0
    start_temperature_K: float | None = None
    constrain_hydrogens: bool | None = None
    checkpoint_steps: int = 5000
    pressure_interval_ps: float | None = None
    keep_velocities: bool = False
    thermostat: Literal["langevin", "nose-hoover"] | None = None
    barostat: Literal["monte-carlo", "cell-rescaling"] | None = None
    hydrogen_mass_amu: float | None = None
    inner_steps: int = 1

    def __post_init__(self) -> None:
        for name in CHOICES:
            self._check_choice(name)
        for name in _NUMBERS:
            self._check(name)
        if self.keep_velocities and (self.minimise_steps or self.start_temperature_K is not None):
            raise SettingsError(
                "keep_velocities (--keep-velocities) cannot be combined with minimise_steps (--minimise) or "
                "start_temperature_K: the velocities of a frame belong to its positions and its temperature."
            )
        if self.pressure_steps and self.interval_steps % self.pressure_steps:
            raise SettingsError(
                f"pressure_interval_ps is {self.pressure_interval_ps:g} and interval_ps {self.interval_ps:g}: the "
                "second must be a whole multiple of the first."
            )

    def _check_choice(self, name: str) -> None:
        """Refuse an unknown word, and a barostat or thermostat that the ensemble does not use."""
        value, (option, allowed) = getattr(self, name), CHOICES[name]
        if value is None and name != "ensemble":
            return
        if value not in allowed:
            *others, last = allowed
            raise SettingsError(f"{name} ({option}) is {value!r}: it may be {', '.join(others)} or {last}.")
        if name == "barostat" and self.ensemble != "NPT":
            raise SettingsError(f"barostat (--barostat) is {value!r}, but ensemble {self.ensemble} has no pressure.")

    def _check(self, name: str) -> None:
        """Refuse a number that is not allowed."""
        value, (option, allowed, unit) = getattr(self, name), _NUMBERS[name]
        if value is None and name in ("start_temperature_K", "pressure_interval_ps", "hydrogen_mass_amu"):
            return
        if isinstance(value, numbers.Real) and math.isfinite(number := float(value)) and allowed.holds(number):
            return
        called = f"{name} ({option})" if option else name
        raise SettingsError(f"{called} is {value}: expected {allowed.words}{f', in {unit}' if unit else ''}.")

    def as_dict(self) -> dict[str, Any]:
        """The settings of the run. Unused settings of later versions are left out, so that old runs keep their keys."""
        return {key: value for key, value in asdict(self).items() if key not in _LATER or value != _LATER[key]}

    @property
    def pressure_steps(self) -> int | None:
        """Steps between records of the pressure tensor, or None."""
        if self.pressure_interval_ps is None:
            return None
        return max(1, round(self.pressure_interval_ps * 1000 / self.timestep_fs))

    @property
    def inner_timestep_fs(self) -> float:
        """The shortest time step of the run, fs: the step of the inner potential if steps are divided."""
        return self.timestep_fs / self.inner_steps

    @property
    def interval_steps(self) -> int:
        """Steps between recorded frames."""
        return max(1, round(self.interval_ps * 1000 / self.timestep_fs))

    @property
    def frame_interval_ps(self) -> float:
        """Actual time between recorded frames, ps: a whole number of steps."""
        return self.interval_steps * self.timestep_fs / 1000

    @property
    def n_frames(self) -> int:
        """Number of recorded frames, without the start.

        This is the length divided by the interval asked for. The actual interval is a whole number of steps, so the
        run becomes slightly longer or shorter. If the change exceeds 5 %, for example if the interval is shorter than
        a step, the length is divided by the actual interval.
        """
        asked = max(1, round(self.length_ps / self.interval_ps))
        if abs(asked * self.frame_interval_ps - self.length_ps) <= _LENGTH_KEPT * self.length_ps:
            return asked
        return max(1, round(self.length_ps / self.frame_interval_ps))

    @property
    def unrecorded(self) -> tuple[Stage, ...]:
        """Stages before the recorded run, in order; they bring an NVE run to its temperature."""
        then = "NVT" if self.ensemble == "NVE" else self.ensemble
        parts = (("NVT", self.constant_volume_ps), (then, self.equilibration_ps))
        stages = (Stage(ensemble, round(time_ps * 1000 / self.timestep_fs)) for ensemble, time_ps in parts)
        return tuple(stage for stage in stages if stage.steps)

    @property
    def unrecorded_steps(self) -> int:
        """Total number of steps of :attr:`unrecorded`."""
        return sum(stage.steps for stage in self.unrecorded)

    @property
    def checkpoint_frames(self) -> int:
        """Frames between checkpoints."""
        return max(1, math.ceil(self.checkpoint_steps / self.interval_steps))

    @property
    def first_temperature_K(self) -> float:
        """Temperature of the initial velocities, K."""
        if self.start_temperature_K is not None:
            return self.start_temperature_K
        return self.temperature_K * (2 if self.minimise_steps else 1)

    @property
    def hydrogens_held(self) -> bool:
        """Whether bonds to H should be constrained."""
        if self.constrain_hydrogens is None:
            return self.timestep_fs > CONSTRAIN_ABOVE_FS
        return self.constrain_hydrogens

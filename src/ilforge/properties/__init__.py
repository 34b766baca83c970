"""Properties: from any trajectory to numbers with errors, all in one pass over its frames.

A new property is one file here with a class that follows :class:`~ilforge.properties.property.Property`, and one
line in :data:`~ilforge.properties.registry.PROPERTIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ilforge.errors import SettingsError
from ilforge.properties.property import Measurement, PressureSeries, Property, Snapshot, System, Verdict
from ilforge.properties.registry import PROPERTIES
from ilforge.settings import Settings

if TYPE_CHECKING:
    from ase import Atoms
    from MDAnalysis import Universe

    from ilforge.dynamics.trajectory import Trajectory
    from ilforge.liquid.topology import Topology
    from ilforge.properties.analysis import AnalysisSettings
    from ilforge.properties.reading.reader import Source

__all__ = [
    "PROPERTIES",
    "Measurement",
    "PressureSeries",
    "Property",
    "Snapshot",
    "System",
    "Verdict",
    "create",
    "measure",
    "settings_of",
]


def create(name: str, settings: AnalysisSettings) -> Property:
    """A property by name, with its part of the settings."""
    return PROPERTIES.named(name).observer(*settings_of(name, settings).values())


def settings_of(name: str, settings: AnalysisSettings) -> dict[str, Settings]:
    """The parts of the settings on which a property depends, by name, its own first.

    States defined by shapes of ligands also depend on the user's definitions of shapes.
    """
    PROPERTIES.named(name)
    parts: dict[str, Settings] = {name: getattr(settings, name)}
    if name == "transitions" and settings.transitions.states == "shapes":
        parts["shapes"] = settings.shapes
    return parts


def measure(
    trajectory: Trajectory | Universe | Source | Sequence[Atoms],
    names: Sequence[str] | None = None,
    settings: AnalysisSettings | None = None,
    *,
    topology: Topology | None = None,
    frame_interval_ps: float | None = None,
    temperature_K: float | None = None,
    pressure: PressureSeries | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Measurement]:
    """Measure properties of a trajectory in one pass over its frames.

    If ``health`` is measured and the run does not hold the liquid, no other number is converged.

    Parameters
    ----------
    trajectory
        A run of ilforge, an MDAnalysis Universe with bonds, a list of frames, or the result of
        :func:`~ilforge.properties.reading.reader.open_trajectory`.
    names
        Keys of :data:`PROPERTIES`; by default those in the settings.
    settings
        By default the default values of a study file.
    topology
        Needed if the trajectory has no topology or an incomplete one:
        ``Liquid.of({"PYR14": 100, "BF4": 100}).topology``.
    frame_interval_ps, temperature_K
        Needed if the trajectory does not contain them.
    pressure
        The pressure tensor of the run, for the viscosity, if there is no table beside the trajectory: the result of
        :func:`~ilforge.properties.reading.pressure_table.read_pressure`.
    workers
        Number of processes that share the frames. The result does not depend on it; starting them takes some seconds.
    progress
        Called after each frame with the number of frames that have been seen, and of all.

    Raises
    ------
    SettingsError
        When the trajectory lacks necessary data; the message says what to supply.
    """
    from ilforge.properties.analysis import AnalysisSettings
    from ilforge.properties.combining.sharing import observe
    from ilforge.properties.reading.reader import source_of
    from ilforge.properties.shared.holding import as_judged

    if workers < 1:
        raise SettingsError(f"workers is {workers}: use at least one process.")
    settings = settings or AnalysisSettings()
    chosen = {name: create(name, settings) for name in dict.fromkeys(names or settings.properties)}
    source = source_of(trajectory, topology, frame_interval_ps, temperature_K)
    system = source.system if pressure is None else replace(source.system, pressure=pressure)
    asked = {name: one for name, one in chosen.items() if system.periodic or not one.needs_cell}
    for observer in asked.values():
        observer.begin(system)
    seen = None if progress is None else partial(_tell, progress, system.n_frames)
    observe(source, system, asked, settings, workers, seen)
    found = {name: one.measurement() if name in asked else _not_in_vacuum(name, one) for name, one in chosen.items()}
    if source.used:
        for measurement in found.values():
            measurement.notes.append(source.used)
    return as_judged(found)


def _tell(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def _not_in_vacuum(name: str, observer: Property) -> Measurement:
    return Measurement(notes=[f"{name} is not measured for ions in a vacuum: {observer.needs_cell}."])

"""The description of a property: its settings in the study file, and the class that observes a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

from ilforge.properties.property import Property
from ilforge.settings import Settings


@dataclass(frozen=True)
class PropertyKind:
    """One property.

    Attributes
    ----------
    name
        Name in ``analysis.properties`` of a study file; its settings are ``[analysis.NAME]``.
    title
        Name for printing.
    settings
        Class of its settings, all with defaults.
    observer
        Class that observes frames: see :class:`~ilforge.properties.property.Property`. It is created from the settings.
    version
        Increased if the measurement changes, so that stored results are computed again.
    names_ions
        Whether its settings name ions or atoms, which a composition may lack.
    also_called
        Other words for it, so that an error can say the name.
    """

    name: str
    title: str
    settings: type[Settings]
    observer: type[Property]
    version: int = 1
    names_ions: bool = False
    also_called: tuple[str, ...] = ()

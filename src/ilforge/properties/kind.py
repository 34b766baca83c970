"""What a property says of itself: its settings in the study file, and what observes a trajectory for it."""

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
        What ``analysis.properties`` says in a study file; its settings are ``[analysis.NAME]``.
    title
        As it is printed.
    settings
        Its keys, all with defaults.
    observer
        What looks at frames: see :class:`~ilforge.properties.property.Property`. Made with the settings.
    version
        Raised when it measures something else, so that stored measurements are made again.
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

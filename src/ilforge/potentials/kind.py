"""What a kind of potential says of itself: its keys in a study file, its names, what it needs and what to cite."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ilforge.devices import Program
from ilforge.environments import Environment
from ilforge.liquid.settings import IonSettings
from ilforge.settings import Positive, Settings

NEUTRAL = "#7f8791"
"""Colour of reference methods, and of guides in figures: readable on light and on dark ground."""

Cutoff = Annotated[Positive | None, Field(description="Non-bonded cutoff, Å. Without it 10 Å; small boxes need less.")]
Family = Literal["force field", "tight binding", "density functional", "model"]


@dataclass(frozen=True)
class Context:
    """What a potential of a study file may depend on besides its keys.

    Attributes
    ----------
    folder
        The study's: paths in it are relative to it.
    ions
        Names of the ions of the liquid.
    define
        Ions that the study defines itself, by name.
    elements
        Of all compositions of the study, in alphabetical order.
    """

    folder: Path
    ions: Collection[str] = ()
    define: Mapping[str, IonSettings] = field(default_factory=dict)
    elements: tuple[str, ...] = ()


class PotentialSettings(Settings):
    """Keys of a potential in ``[potentials]``; each kind has a class of its own, in the file of its potential."""

    kind: str

    def spec(self, context: Context) -> dict[str, Any]:
        """For :func:`ilforge.potentials.create`: only the keys that say something, paths and files resolved."""
        return self.model_dump(exclude_none=True)

    @property
    def title(self) -> str:
        """The method in a few words: ``"PBE-D3(BJ) with GPAW"``."""
        return self.kind.upper()


class ModelFileSettings(PotentialSettings):
    """A model file that is used as it is."""

    path: str
    """Model file, relative to the study file."""
    sha256: str
    """Digest of the model file. A model file can run code when it is loaded; only a file with this digest is loaded."""

    def spec(self, context: Context) -> dict[str, Any]:
        return {**super().spec(context), "path": str(context.folder / self.path)}

    @property
    def title(self) -> str:
        return f"{self.kind.upper()} model {Path(self.path).name}"


def functional_title(functional: str, dispersion: str, program: str) -> str:
    """``"PBE-D3(BJ) with GPAW"``."""
    return f"{functional}{'' if dispersion == 'none' else '-' + dispersion} with {program}"


@dataclass(frozen=True)
class PotentialKind:
    """One kind of potential.

    Attributes
    ----------
    name
        What ``kind`` says in a study file and in :func:`ilforge.potentials.create`.
    title
        As it is printed: ``"CL&P"``.
    potential
        The class: see :class:`~ilforge.potentials.potential.Potential`.
    settings
        Keys in a study file; None for what no study file names.
    family
        What it is. Force fields are asked about ions and boxes before a study starts; models are trusted files.
    colour
        In figures.
    computes_with
        Program, of those that can use a GPU (:mod:`ilforge.devices`).
    environment
        The environment of its own that it runs in, where its packages cannot be installed beside ilforge's;
        ``computes_with`` is the name of that environment then.
    pretrained
        Models whose weights come with its package, by the name that a study file uses, each with what is to be known
        of it in a sentence: functional, training data, dispersion, elements, licence.
    has_grid
        Whether forces come from a grid or plane waves, so that they do not quite add up to zero.
    needs_box
        Whether it cannot compute ions in a vacuum.
    known_as
        Further names that a study file may use without a table of its own, with the keys that each means. A kind whose
        keys all have defaults is known by its own name.
    words
        Keys that the command line takes after the name: ``clp:6.5`` is ``cutoff_A = 6.5`` where this is
        ``("cutoff_A",)``.
    file_suffix
        Of files that the command line takes as potentials of this kind.
    works
        To cite where it was used, each with the word that must be in the title; ``""`` for always.
    """

    name: str
    title: str
    potential: type
    settings: type[PotentialSettings] | None
    family: Family
    colour: str = NEUTRAL
    computes_with: Program | None = None
    environment: Environment | None = None
    pretrained: Mapping[str, str] = field(default_factory=dict)
    has_grid: bool = False
    needs_box: bool = False
    known_as: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    file_suffix: str | None = None
    works: tuple[tuple[str, str], ...] = ()

    @property
    def is_dft(self) -> bool:
        """Whether it is density functional theory."""
        return self.family == "density functional"

"""The description of a kind of potential: keys in a study file, names, requirements and citations."""

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
"""Colour of reference methods and of guides in figures: visible on light and dark backgrounds."""

Cutoff = Annotated[Positive | None, Field(description="Non-bonded cutoff, Å. Without it 10 Å; small boxes need less.")]
Family = Literal["force field", "tight binding", "density functional", "model"]


@dataclass(frozen=True)
class Context:
    """Properties of a study on which a potential may depend, in addition to its keys.

    Attributes
    ----------
    folder
        Folder of the study; paths in the study file are relative to it.
    ions
        Names of the ions of the liquid.
    define
        Ions defined in the study, by name.
    elements
        Elements of all compositions of the study, in alphabetical order.
    """

    folder: Path
    ions: Collection[str] = ()
    define: Mapping[str, IonSettings] = field(default_factory=dict)
    elements: tuple[str, ...] = ()


class PotentialSettings(Settings):
    """Keys of a potential in ``[potentials]``; each kind has its own class, in the file of its potential."""

    kind: str

    def spec(self, context: Context) -> dict[str, Any]:
        """Specification for :func:`ilforge.potentials.create`: keys that are set, with resolved paths and files."""
        return self.model_dump(exclude_none=True)

    @property
    def title(self) -> str:
        """The method in a few words: ``"PBE-D3(BJ) with GPAW"``."""
        return self.kind.upper()


class ModelFileSettings(PotentialSettings):
    """A model file that is used without further training."""

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
        Value of ``kind`` in a study file and in :func:`ilforge.potentials.create`.
    title
        Name for printing: ``"CL&P"``.
    potential
        Class of the potential: see :class:`~ilforge.potentials.potential.Potential`.
    settings
        Class of its keys in a study file; None if a study file cannot name it.
    family
        Type of potential. Force fields are checked for ions and boxes before a study starts; models are trusted files.
    colour
        Colour in figures.
    computes_with
        Its program, if the program can use a GPU (:mod:`ilforge.devices`).
    environment
        The environment of its own that it runs in, where its packages cannot be installed beside ilforge's;
        ``computes_with`` is the name of that environment then.
    pretrained
        Models whose weights come with its package, by the name that a study file uses, each with what is to be known
        of it in a sentence: functional, training data, dispersion, elements, licence.
    has_grid
        Whether forces are computed with a real-space grid or plane waves, so that their sum is not exactly zero.
    needs_box
        Whether it cannot compute ions in a vacuum.
    needs_table
        Whether it cannot compute without a key that only the user knows, although all keys have defaults.
    known_as
        Further names that a study file may use without a table, with their keys. A kind whose keys all have defaults
        can always be named without a table.
    words
        Keys of the words after the name on the command line: with ``("cutoff_A",)``, ``clp:6.5`` means
        ``cutoff_A = 6.5``.
    file_suffix
        Suffix of files that the command line accepts as potentials of this kind.
    works
        Works to cite, each with a value that one of its settings must have (``"D3(BJ)"``); ``""`` for always.
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
    needs_table: bool = False
    known_as: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    file_suffix: str | None = None
    works: tuple[tuple[str, str], ...] = ()

    @property
    def is_dft(self) -> bool:
        """Whether it is density functional theory."""
        return self.family == "density functional"

"""The description of a sampler: how many frames a study asks of it, what decides them, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ase import Atoms

from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.settings import Settings


@dataclass(frozen=True)
class Drawing:
    """What a sampler makes frames from: a packed box, what moves its atoms, and the keys of the study file.

    Attributes
    ----------
    packed
        Box from PACKMOL, with its name as ``info["parent"]``.
    potential
        Moves the atoms.
    n_frames
        Frames to make from this box.
    seed
        Of all random numbers.
    density_g_cm3
        Of the liquid; the box may have another.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.
    keys
        The keys of ``[sampling]`` that the sampler names.
    prepared
        What its preparation found, if it has one.
    """

    packed: Atoms
    liquid: Liquid
    potential: Potential
    n_frames: int
    seed: int
    temperature_K: float
    density_g_cm3: float
    bond_factor: float
    keys: Mapping[str, Any]
    prepared: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1


@dataclass(frozen=True)
class Preparation:
    """A search that a sampler needs once for each composition, in a box of its own at the density of the liquid.

    Attributes
    ----------
    title
        What is done, for printing.
    search
        Gives JSON values, which reach every box as ``Drawing.prepared``.
    steps
        ``steps(sampling, n_frames)``: expected number of MD steps, for planning.
    version
        Increased if the search changes, so that it is made again.
    """

    title: str
    search: Callable[[Drawing], dict[str, Any]]
    steps: Callable[[Any, int], float]
    version: int = 1


@dataclass(frozen=True)
class SamplerKind:
    """One way to sample frames.

    Attributes
    ----------
    name
        Part of the names of its boxes, from which their seeds follow: a new name means new frames.
    title
        Name for printing.
    frame_kind
        ``"EQ"`` for frames at equilibrium. A teacher may move the atoms of these, and explorations start from them.
    counts
        Its keys in ``sampling.training`` and ``sampling.validation``. Those of a plug-in need defaults that ask for
        nothing. With a single key, this is the number of its frames, each from a box of its own.
    draw
        Makes the frames of one box.
    settings
        Its own keys in ``[sampling]``.
    uses
        Keys of ``[sampling]`` of others that decide its frames too, such as ``timestep_fs``.
    boxes
        ``boxes(counts, sampling)``: number of packed boxes, and of frames made from each.
    number
        ``number(counts)``: frames that a study gets.
    scaled
        ``scaled(counts, number)``: values of its count keys for about another number of frames.
    chosen
        ``chosen(frames, liquid, number)``: those to keep of the frames of all boxes; None to keep all.
    steps
        ``steps(sampling, n_frames)``: MD steps of one box, for planning; None if its time is negligible.
    ratios
        ``ratios(sampling)``: densities of its frames relative to the liquid, if they are not those of the boxes.
    preparation
        What must be found first.
    version
        Increased if other frames follow from the same keys, so that they are made again.
    """

    name: str
    title: str
    frame_kind: Literal["EQ", "nEQ"]
    counts: type[Settings]
    draw: Callable[[Drawing], list[Atoms]]
    settings: type[Settings] = Settings
    uses: frozenset[str] = frozenset()
    boxes: Callable[[Any, Any], tuple[int, int]] | None = None
    number: Callable[[Any], int] | None = None
    scaled: Callable[[Any, int], dict[str, int]] | None = None
    chosen: Callable[[list[Atoms], Liquid, int], list[Atoms]] | None = None
    steps: Callable[[Any, int], float] | None = None
    ratios: Callable[[Any], Sequence[float]] | None = None
    preparation: Preparation | None = None
    version: int = 1

    @property
    def keys(self) -> set[str]:
        """Keys of ``[sampling]`` that decide its frames."""
        return {*self.uses, *self.settings.model_fields}

    def boxes_of(self, counts: Any, sampling: Any) -> tuple[int, int]:
        """Number of packed boxes, and of frames made from each."""
        return (self.frames_of(counts), 1) if self.boxes is None else self.boxes(counts, sampling)

    def frames_of(self, counts: Any) -> int:
        """Number of frames that a study gets from it."""
        return int(getattr(counts, self._key) if self.number is None else self.number(counts))

    def counts_for(self, counts: Any, number: int) -> dict[str, int]:
        """Values of its count keys for about so many frames."""
        return {self._key: number} if self.scaled is None else self.scaled(counts, number)

    def is_asked(self, counts: Any, sampling: Any) -> bool:
        """Whether any box is packed for it."""
        return self.boxes_of(counts, sampling)[0] > 0

    @property
    def _key(self) -> str:
        (key,) = self.counts.model_fields
        return key

"""One colour and one printed name for each potential, the same in every figure and table.

Colours are those of Okabe and Ito (2008), told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NEUTRAL = "#7f8791"
"""Guides, windows and references: readable on light and on dark ground."""

_KINDS = {
    "clpol": ("CL&Pol", "#CC79A7"),
    "clp": ("CL&P", "#009E73"),
    "exp6": ("exp-6, polarizable", "#E69F00"),
    "deepmd": ("DeePMD", "#0072B2"),
    "mace": ("MACE", "#D55E00"),
    "reference": ("Reference", NEUTRAL),
    "xtb": ("xTB", NEUTRAL),
}
_FURTHER = ("#E69F00", "#56B4E9", "#CC79A7", "#8F6B3E", "#4B4FA6", "#009E73", "#0072B2", "#D55E00")


@dataclass(frozen=True)
class Palette:
    """Colours and labels of the potentials of one report, in the order in which they are shown."""

    colours: Mapping[str, str]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, potentials: Iterable[str], labels: Mapping[str, str] | None = None) -> Palette:
        """Known kinds keep their own colour; further ones of a kind take colours that are still free."""
        names = list(dict.fromkeys(potentials))
        colours: dict[str, str] = {}
        printed: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (len(name), names.index(name))):
            label, colour = _known(name)
            if colour is None or (colour in colours.values() and colour != NEUTRAL):
                taken = set(colours.values())
                colour = next((c for c in _FURTHER if c not in taken), _FURTHER[len(colours) % len(_FURTHER)])
            colours[name], printed[name] = colour, label
        return cls({name: colours[name] for name in names}, {**printed, **(labels or {})})

    def __iter__(self):
        return iter(self.colours)

    def colour(self, potential: str) -> str:
        return self.colours.get(potential, NEUTRAL)

    def label(self, potential: str) -> str:
        return self.labels.get(potential, potential)

    def shade(self, potential: str, alpha: float) -> str:
        """The potential's colour with transparency, which works on light and on dark ground."""
        red, green, blue = (int(self.colour(potential)[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{alpha:g})"


def _known(name: str) -> tuple[str, str | None]:
    """Printed name and colour of a potential by its kind; ``mace-EQ`` is a MACE, and printed ``MACE-EQ``."""
    for kind, (label, colour) in _KINDS.items():
        if name.lower() == kind:
            return label, colour
        if name.lower().startswith(kind):
            return label + name[len(kind) :], colour
    return name, None

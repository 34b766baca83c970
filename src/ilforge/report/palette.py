"""One colour and one printed name for each potential, the same in every figure and table.

Colours are those of Okabe and Ito (2008), which can be distinguished with any colour vision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ilforge.potentials import POTENTIALS
from ilforge.potentials.kind import NEUTRAL

_FURTHER = ("#E69F00", "#56B4E9", "#CC79A7", "#8F6B3E", "#4B4FA6", "#009E73", "#0072B2", "#D55E00")


@dataclass(frozen=True)
class Palette:
    """Colours and labels of the potentials of one report, in the order in which they are shown."""

    colours: Mapping[str, str]
    labels: Mapping[str, str]

    @classmethod
    def of(
        cls,
        potentials: Iterable[str],
        labels: Mapping[str, str] | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> Palette:
        """Give the first potential of each kind the colour of the kind, and further ones unused colours.

        Parameters
        ----------
        potentials
            Names, in the order in which they are shown.
        labels
            Printed names of some potentials.
        kinds
            Kind of potential of each name; a name that is not among them may be that of a kind.
        """
        names = list(dict.fromkeys(potentials))
        colours: dict[str, str] = {}
        printed: dict[str, str] = {}
        for name in sorted(names, key=lambda name: (len(name), names.index(name))):
            label, colour = _known(name, kinds or {})
            if colour is None or (colour in colours.values() and colour != NEUTRAL):
                taken = set(colours.values())
                colour = next((c for c in _FURTHER if c not in taken), _FURTHER[len(colours) % len(_FURTHER)])
            colours[name], printed[name] = colour, label
        return cls({name: colours[name] for name in names}, {**printed, **(labels or {})})

    def __iter__(self) -> Iterator[str]:
        return iter(self.colours)

    def colour(self, potential: str) -> str:
        return self.colours.get(potential, NEUTRAL)

    def label(self, potential: str) -> str:
        return self.labels.get(potential, potential)

    def shade(self, potential: str, alpha: float) -> str:
        """The potential's colour with transparency, for light and dark backgrounds."""
        red, green, blue = (int(self.colour(potential)[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{alpha:g})"


def _known(name: str, kinds: Mapping[str, str]) -> tuple[str, str | None]:
    """Printed name and colour of a potential by its kind; a MACE model named ``mace-EQ`` is printed as ``MACE-EQ``."""
    kind = POTENTIALS.get(kinds.get(name, name))
    if kind is None:
        return name, None
    label = kind.title + name[len(kind.name) :] if name.lower().startswith(kind.name) else name
    return label, kind.colour

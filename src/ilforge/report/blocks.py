"""Blocks of which a section of the page consists. The template draws each kind; nothing here depends on HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    ``tone`` is ``"refused"`` for a number that must not be quoted, ``"fault"``, ``"doubt"``, ``"good"``,
    ``"muted"``, ``"code"`` or empty; ``note`` is shown on hover and as a footnote; ``swatch`` is a colour
    before the text; ``unit`` is shown after it, smaller.
    """

    text: str
    tone: str = ""
    note: str = ""
    swatch: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; ``numeric`` contains the right-aligned columns."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Notes of all cells in reading order, each once."""
        return tuple(dict.fromkeys(cell.note for row in (self.columns, *self.rows) for cell in row if cell.note))

    def mark(self, cell: Cell) -> str:
        """Number of the cell's footnote, or an empty text."""
        return str(self.footnotes.index(cell.note) + 1) if cell.note else ""


@dataclass(frozen=True)
class Figure:
    """A plot for plotly: ``data`` (traces) and ``layout`` are plain dicts and lists.

    ``caption`` describes the plot in words and numbers; it is also the text for readers who cannot see the plot.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    square: bool = False


@dataclass(frozen=True)
class FigureRow:
    """Figures side by side, as many as fit into the width; ``title`` and ``swatch`` name the potential.

    If ``columns`` is zero, all figures have the same size, even if there are few.
    """

    kind: ClassVar[str] = "row"
    figures: tuple[Figure, ...]
    title: str = ""
    swatch: str = ""
    columns: int = 2


@dataclass(frozen=True)
class Heading:
    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Viewer:
    """A structure that can be rotated: ``svg`` is the first drawing, ``model`` the data of the 3D view."""

    kind: ClassVar[str] = "viewer"
    title: str
    caption: str
    svg: str
    model: dict[str, Any]
    name: str = ""

    @property
    def anchor(self) -> str:
        """Unique name of the viewer on the page."""
        return self.name or self.title


@dataclass(frozen=True)
class Gallery:
    """Structures side by side; ``title`` and ``swatch`` name the potential."""

    kind: ClassVar[str] = "gallery"
    viewers: tuple[Viewer, ...]
    title: str = ""
    swatch: str = ""


@dataclass(frozen=True)
class Beside:
    """Blocks side by side, if the width allows it."""

    kind: ClassVar[str] = "beside"
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Details:
    """Blocks that are hidden until their title is clicked."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    """One chapter of the page; ``name`` is its anchor."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


Block: TypeAlias = Table | FigureRow | Heading | Paragraph | Items | Code | Viewer | Gallery | Beside | Details
"""Content of a section below its heading."""

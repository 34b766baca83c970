"""What a section of the page is built of. The template draws each kind; nothing here knows HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    ``tone`` is ``"refused"`` for a number that must not be quoted, ``"fault"``, ``"doubt"``, ``"good"``,
    ``"muted"``, ``"code"`` or empty; ``note`` is shown on hover and as a footnote; ``swatch`` is a colour
    before the text; ``unit`` stands after it, smaller.
    """

    text: str
    tone: str = ""
    note: str = ""
    swatch: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; ``numeric`` are the columns set flush right."""

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
        """Number of the cell's footnote, or nothing."""
        return str(self.footnotes.index(cell.note) + 1) if cell.note else ""


@dataclass(frozen=True)
class Figure:
    """A plot as plotly reads it: ``data`` (traces) and ``layout`` are plain dicts and lists.

    ``caption`` says in words and numbers what one sees; it is also the text for those who cannot see it.
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
    """Figures side by side, as many as the width takes; ``title`` and ``swatch`` say whose they are.

    With ``columns`` zero all have the same size, however few there are.
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
    """A structure to turn: ``svg`` is drawn at once, ``model`` feeds the three-dimensional view."""

    kind: ClassVar[str] = "viewer"
    title: str
    caption: str
    svg: str
    model: dict[str, Any]
    name: str = ""

    @property
    def anchor(self) -> str:
        """What tells it from all others of the page."""
        return self.name or self.title


@dataclass(frozen=True)
class Gallery:
    """Structures side by side; ``title`` and ``swatch`` say whose they are."""

    kind: ClassVar[str] = "gallery"
    viewers: tuple[Viewer, ...]
    title: str = ""
    swatch: str = ""


@dataclass(frozen=True)
class Beside:
    """Blocks side by side where the width allows it."""

    kind: ClassVar[str] = "beside"
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Details:
    """Blocks behind a line that opens them."""

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
"""What stands below the heading of a section."""

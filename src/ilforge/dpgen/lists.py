"""The written lists: where each key of DP-GEN went, and which were not taken over, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilforge.dpgen.book import Book, Entry


def lists_text(workdir: Path, books: Sequence[Book], notes: Sequence[str]) -> str:
    """A page in Markdown.

    Parameters
    ----------
    books
        The files that were read, with what became of their keys.
    notes
        What the user must look at.
    """
    lines = [
        "# From DP-GEN",
        "",
        f"`ilforge import-dpgen` read {workdir}. Every key of its files is in one of the lists below; a key that was",
        "taken over in part is in both.",
    ]
    if notes:
        lines += ["", "## Look at", "", *(f"- {note}" for note in notes)]
    for book in books:
        lines += ["", f"## {book.file}: taken over", "", *_table(book.taken(), "now")]
        lines += ["", f"## {book.file}: not taken over", "", *_table(book.left(), "why")]
    return "\n".join(lines) + "\n"


def _table(entries: Sequence[Entry], column: str) -> list[str]:
    if not entries:
        return ["Nothing."]
    rows = [f"| `{_cell(one.key)}` | `{_cell(one.value)}` | {_cell(one.became)} |" for one in entries]
    return [f"| key | value | {column} |", "|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")

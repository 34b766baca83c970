"""Tables of TOML with a comment behind each key that says where its value comes from."""

from __future__ import annotations

from typing import Any

from ilforge.study.document import toml_value

_WIDTH = 40  # column of comments


class Table:
    """Lines of one table.

    Parameters
    ----------
    name
        ``"learning.stop"``; empty for the top of a file.
    """

    def __init__(self, name: str, several: bool = False):
        self.name, self.lines = name, list[str]()
        self._several = several

    def add(self, key: str, value: Any, comment: str) -> None:
        """A key, its value, and a comment."""
        line = f"{key} = {toml_value(value)}"
        self.lines.append(f"{line:{_WIDTH}s} # {' '.join(comment.split())}" if comment else line)

    def note(self, comment: str) -> None:
        """A comment of its own."""
        self.lines.append(f"# {comment}")

    def text(self) -> list[str]:
        """The table with its name and an empty line before it; nothing if it has no lines."""
        if not self.lines:
            return []
        head = f"[[{self.name}]]" if self._several else f"[{self.name}]"
        return ["", head, *self.lines] if self.name else self.lines

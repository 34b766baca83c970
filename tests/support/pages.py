"""Code blocks of the pages in docs/."""

from __future__ import annotations

from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """Every fenced block of one language, in order; ``""`` for blocks that name none."""
    found, opened = [], None
    for line in page.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.startswith("```"):
            if opened is not None:
                opened[1].append(line)
        elif opened is None:
            opened = (line.strip("`\n "), [])
        else:
            if opened[0] == language:
                found.append("".join(opened[1]))
            opened = None
    return found

"""What a method says of itself, also where its program is no longer there: a store remembers it with its labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilforge import potentials
from ilforge.errors import MissingProgram
from ilforge.potentials.potential import Potential

FOLDER = "methods"
"""Of a label store: one file for each method that it has labels of."""


def description(potential: Potential, labels: Path | None = None) -> dict[str, Any]:
    """Everything that determines a potential's numbers, versions included.

    Parameters
    ----------
    labels
        Label store of a study that is only looked at. Where the program is not installed, what the method said when it
        made the labels there is taken; of several versions, that of the file written last.

    Raises
    ------
    MissingProgram
        Where the program is not installed and nothing is remembered.
    """
    try:
        return potential.describe()
    except MissingProgram:
        found = None if labels is None else _remembered(potentials.settings(potential), labels / FOLDER)
        if found is None:
            raise
        return found


def _remembered(settings: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The description that was written last of those that have these settings."""
    asked = json.loads(json.dumps(settings))
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        said = json.loads(path.read_text())
        if "isolated_atom" not in said and asked.items() <= said.items():
            return dict(said)
    return None

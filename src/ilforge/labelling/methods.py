"""Descriptions of methods; if a program is no longer installed, the description stored with its labels is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilforge import potentials
from ilforge.errors import MissingProgram
from ilforge.potentials.potential import Potential

FOLDER = "methods"
"""Folder in a label store with one file for each method of its labels."""


def description(potential: Potential, labels: Path | None = None) -> dict[str, Any]:
    """Everything that determines the results of a potential, versions included.

    Parameters
    ----------
    labels
        Label store of a study that is only read. If the program is not installed, the description stored with the
        labels is used; if there are several versions, the one written last.

    Raises
    ------
    MissingProgram
        When the program is not installed and the store has no description.
    """
    try:
        return potential.describe()
    except MissingProgram:
        found = None if labels is None else _remembered(potentials.settings(potential), labels / FOLDER)
        if found is None:
            raise
        return found


def _remembered(settings: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The latest stored description with these settings."""
    asked = json.loads(json.dumps(settings))
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        said = json.loads(path.read_text())
        if "isolated_atom" not in said and asked.items() <= said.items():
            return dict(said)
    return None

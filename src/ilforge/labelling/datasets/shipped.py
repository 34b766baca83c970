"""Datasets by name: those of a checkout's ``data/``, of an installed ilforge, and of a folder of your own.

Folders are looked through in this order: the one that ``ILFORGE_DATA`` names, ``data/`` of the checkout that this
package is imported from, and ``share/ilforge/data`` of the Python installation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ilforge.errors import SettingsError
from ilforge.labelling.datasets.published import Published, is_published, open_published

VARIABLE = "ILFORGE_DATA"
_CHECKOUT = Path(__file__).parents[4]  # src/ilforge/labelling/datasets/shipped.py
_INSTALLED = Path(sys.prefix) / "share" / "ilforge"


def shipped() -> dict[str, Path]:
    """Folder of every dataset that is known by a name, in alphabetical order of the names."""
    own = [Path(os.environ[VARIABLE])] if os.environ.get(VARIABLE) else []
    found: dict[str, Path] = {}
    for folder in (*own, _CHECKOUT / "data", _INSTALLED / "data"):
        for manifest in folder.glob("*/manifest.json"):
            if is_published(manifest.parent):
                found.setdefault(manifest.parent.name, manifest.parent)
    return dict(sorted(found.items()))


def open_dataset(name: str | Path, base: Path | None = None) -> Published:
    """A dataset by its folder, or by the name of one that comes with ilforge.

    Parameters
    ----------
    base
        What the path of a folder is relative to; without it the working directory.

    Raises
    ------
    SettingsError
        When there is neither, naming those that are known.
    """
    folder = (base or Path()) / name
    if is_published(folder) or folder.exists():
        return open_published(folder)
    known = shipped()
    if str(name) not in known:
        raise SettingsError(
            f"There is no dataset in {folder}, and none of that name; known by name: {', '.join(known) or 'none'}. "
            "To make one: `ilforge export-labels STUDY --format dataset`."
        )
    return open_published(known[str(name)])

"""Datasets by name: in ``data/`` of a checkout, in an installed ilforge, and in a folder of the user.

Folders are searched in this order: the folder named by ``ILFORGE_DATA``, ``data/`` of the checkout from which this
package is imported, and ``share/ilforge/data`` of the Python installation.
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
    """Folder of every dataset with a known name, in alphabetical order of the names."""
    own = [Path(os.environ[VARIABLE])] if os.environ.get(VARIABLE) else []
    found: dict[str, Path] = {}
    for folder in (*own, _CHECKOUT / "data", _INSTALLED / "data"):
        for manifest in folder.glob("*/manifest.json"):
            if is_published(manifest.parent):
                found.setdefault(manifest.parent.name, manifest.parent)
    return dict(sorted(found.items()))


def open_dataset(name: str | Path, base: Path | None = None) -> Published:
    """Open a dataset by its folder, or by its name if it comes with ilforge.

    Parameters
    ----------
    base
        Folder to which the path is relative; by default the working directory.

    Raises
    ------
    SettingsError
        When there is no such dataset; the message lists the known names.
    """
    folder = (base or Path()) / name
    if is_published(folder) or folder.exists():
        return open_published(folder)
    known = shipped()
    if str(name) not in known:
        raise SettingsError(
            f"There is no dataset in {folder}, and ilforge brings none with this name; it brings "
            f"{', '.join(known) or 'none'}. To make one: `ilforge export-labels STUDY --format dataset`."
        )
    return open_published(known[str(name)])

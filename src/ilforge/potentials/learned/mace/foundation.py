"""MACE foundation models by name: the file of each in the cache of mace-torch, and its description.

mace-torch downloads a model when it is first asked for by name, into ``${XDG_CACHE_HOME:-~/.cache}/mace``. ilforge
reads it from there, and downloads nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ilforge.errors import SettingsError


@dataclass(frozen=True)
class Foundation:
    """One model.

    Attributes
    ----------
    file
        In the cache.
    functional
        Of the labels that it was trained on.
    licence
        Of the weights. ASL is the Academic Software License, which excludes commercial use.
    has_dispersion
        Whether those labels had dispersion in them.
    fetch
        Python that lets mace-torch download it.
    """

    file: str
    functional: str
    licence: str
    has_dispersion: bool = False
    fetch: str = "mace_mp"

    @property
    def words(self) -> str:
        """Its description, in a sentence."""
        added = "has dispersion" if self.has_dispersion else "D3(BJ) is added"
        return f"{self.functional}, {added}; licence {self.licence}; from the cache of mace-torch"


MODELS = {
    "small": Foundation("20231210mace128L0_energy_epoch249model", "PBE", "MIT"),
    "medium": Foundation("20231203mace128L1_epoch199model", "PBE", "MIT"),
    "large": Foundation("MACE_MPtrj_20229model", "PBE", "MIT"),
    "medium-0b3": Foundation("macemp0b3mediummodel", "PBE", "MIT"),
    "medium-mpa-0": Foundation("macempa0mediummodel", "PBE", "MIT"),
    "small-omat-0": Foundation("maceomat0smallmodel", "PBE", "ASL"),
    "medium-omat-0": Foundation("maceomat0mediummodel", "PBE", "ASL"),
    "mace-matpes-pbe-0": Foundation("MACEmatpespbeomatftmodel", "PBE", "ASL"),
    "mace-matpes-r2scan-0": Foundation("MACEmatpesr2scanomatftmodel", "r2SCAN", "ASL"),
    "off23-small": Foundation("MACE-OFF23_small.model", "wB97M", "ASL", True, "mace_off"),
    "off23-medium": Foundation("MACE-OFF23_medium.model", "wB97M", "ASL", True, "mace_off"),
    "off23-large": Foundation("MACE-OFF23_large.model", "wB97M", "ASL", True, "mace_off"),
}
"""Names of mace-torch; those of MACE-OFF23 have ``off23-`` in front, since ``small`` is a model of MACE-MP-0 too."""


def path_of(name: str) -> Path:
    """Path of a model in the cache of mace-torch; the file may be missing."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mace" / MODELS[name].file


def require(path: Path) -> None:
    """Raise an error with the download command if a foundation model is missing; other files are not checked.

    Raises
    ------
    SettingsError
        When a file of the cache is missing.
    """
    for name, model in MODELS.items():
        if path == path_of(name) and not path.is_file():
            word = name.removeprefix("off23-")
            raise SettingsError(
                f"The model {name!r} is not in the cache of mace-torch ({path}), and ilforge downloads nothing. Where "
                f"there is a network, fetch it with: python -c 'from mace.calculators import {model.fetch}; "
                f'{model.fetch}("{word}")\'. Or copy the file there.'
            )

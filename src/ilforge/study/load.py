"""Read a study file, and report its faults with the names that the author used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from ilforge.dynamics import ENGINES
from ilforge.errors import SettingsError
from ilforge.potentials import POTENTIALS
from ilforge.properties.registry import PROPERTIES
from ilforge.sampling.registry import SAMPLERS
from ilforge.settings_file import check_settings, read_toml, refuse_absurd
from ilforge.study.settings import StudySettings
from ilforge.training import TRAINERS


@dataclass(frozen=True)
class Study:
    """A study file that was read and checked.

    Attributes
    ----------
    settings
        Every key, checked and filled with defaults.
    path
        The file; paths in it are relative to its folder.
    text
        Text of the file, for the report.
    whole
        The study with all compositions, if this is the part for one composition; otherwise None.
    """

    settings: StudySettings
    path: Path
    text: str
    whole: Study | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def composition(self) -> str:
        """Name of the composition of this study; empty if the study file names none."""
        named = self.settings.liquid.compositions
        return named[0].name if named else ""

    @property
    def parts(self) -> list[Study]:
        """One study for each composition; they differ only in the ions and the density."""
        compositions, liquid = self.settings.liquid.compositions, self.settings.liquid
        liquids = [
            liquid.model_copy(update={"ions": c.ions, "density_g_cm3": c.density_g_cm3, "compositions": [c]})
            for c in compositions
        ]
        whole = self.whole or self
        return [
            replace(self, settings=self.settings.model_copy(update={"liquid": one}), whole=whole) for one in liquids
        ] or [self]

    def part(self, composition: str | None) -> Study:
        """The study for the composition with this name; without a name, for the first."""
        return next(part for part in self.parts if composition in (None, part.composition))

    def seed(self, *purpose: object) -> int:
        """A separate seed for each purpose, derived from the study's seed: below 2^31, never 0."""
        words = "/".join(map(str, (self.settings.seed, *purpose)))
        return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "little") % (2**31 - 1) + 1


def load_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    SettingsError
        With every wrong key: its value, the allowed values, and for a misspelt key the nearest known one. Also if an
        installed plug-in could not be loaded, because a study may need it.
    """
    for registry in (POTENTIALS, TRAINERS, ENGINES, PROPERTIES, SAMPLERS):
        for fault in registry.faults.values():
            raise SettingsError(fault)
    path = Path(path).resolve()
    text, data = read_toml(path)
    refuse_absurd(data, path.name)
    return Study(check_settings(StudySettings, data, path.name), path, text)

"""Which potential, and its keys: in a study file wherever one is named."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.study.base import Positive, Settings
from ilforge.study.dft import Cp2kSettings, GpawSettings, VaspSettings

_PROGRAMS = ("gpaw", "cp2k", "vasp")
_KINDS_OF = {
    "method": ("xtb",),
    "cutoff_A": ("clp", "clpol", "exp6"),
    "ewald_tolerance": ("clp",),
    "parameters": ("exp6",),
    "path": ("mace", "deepmd"),
    "sha256": ("mace", "deepmd"),
}
"""Which kinds of potential have a key."""


class PotentialSettings(Settings):
    """What moves atoms while sampling: a force field, GFN-xTB, or a trained model."""

    kind: Literal["clp", "clpol", "exp6", "xtb", "mace", "deepmd"]
    """Which potential. `exp6` is a polarizable force field whose numbers you bring, in the form of APPLE&P."""
    method: Literal["GFN1-xTB", "GFN2-xTB"] = "GFN1-xTB"
    """Parametrisation, for `kind = "xtb"`."""
    cutoff_A: Positive | None = None
    """Non-bonded cutoff in Å, for `kind = "clp"`, `"clpol"` or `"exp6"`. Without it 10 Å, which small boxes refuse."""
    ewald_tolerance: Annotated[float, Field(ge=1e-7, le=1e-2)] = 1e-5
    """Relative error of electrostatic forces, for `kind = "clp"`. 1e-4 is enough to sample, and faster."""
    parameters: str | None = None
    """Parameter file, for `kind = "exp6"`: docs/polarizable-force-field.md says what is in it."""
    path: str | None = None
    """Model file, for `kind = "mace"` or `"deepmd"`."""
    sha256: str | None = None
    """Digest of the model file. Model files run code when loaded: only a file with this digest is."""

    def spec(self) -> dict[str, Any]:
        """Only the keys that say something, for :func:`ilforge.potentials.create`."""
        include = {key for key, kinds in _KINDS_OF.items() if self.kind in kinds}
        return {"kind": self.kind, **self.model_dump(include=include, exclude_none=True)}

    @model_validator(mode="after")
    def _no_keys_of_another_kind(self) -> PotentialSettings:
        # a default says nothing: the template that `init` writes has all of them
        given = [key for key in _KINDS_OF if getattr(self, key) != type(self).model_fields[key].default]
        for key in given:
            if self.kind not in _KINDS_OF[key]:
                kinds = " or ".join(f'"{kind}"' for kind in _KINDS_OF[key])
                table = f"; its own keys are in [reference.{self.kind}]" if self.kind in _PROGRAMS else ""
                raise ValueError(f'{key} is a key of kind = {kinds}, but kind is "{self.kind}"{table}: leave it out')
        return self


class ReferenceSettings(PotentialSettings):
    """The potential that labels frames: tight binding, a density functional, or any other."""

    kind: Literal["xtb", "gpaw", "cp2k", "vasp", "clp", "clpol", "exp6", "mace", "deepmd"] = "xtb"
    """Which potential. `gpaw`, `cp2k` and `vasp` are density functional theory by programs that you install."""
    gpaw: GpawSettings = GpawSettings()
    """Keys of GPAW."""
    cp2k: Cp2kSettings = Cp2kSettings()
    """Keys of CP2K."""
    vasp: VaspSettings = VaspSettings()
    """Keys of VASP."""

    def spec(self) -> dict[str, Any]:
        """Only the keys that say something, for :func:`ilforge.potentials.create`."""
        if self.is_dft:
            return {"kind": self.kind, **getattr(self, self.kind).model_dump(exclude_none=True)}
        return super().spec()

    @property
    def is_dft(self) -> bool:
        """Whether it is density functional theory."""
        return self.kind in _PROGRAMS

    @property
    def title(self) -> str:
        """The method in a few words: ``"PBE-D3(BJ) with GPAW"``."""
        if not self.is_dft:
            return self.method if self.kind == "xtb" else self.kind.upper()
        program = getattr(self, self.kind)
        functional = getattr(program, "functional", "PBE")
        dispersion = "" if program.dispersion == "none" else f"-{program.dispersion}"
        return f"{functional}{dispersion} with {self.kind.upper()}"

    @model_validator(mode="after")
    def _only_its_own_keys(self) -> ReferenceSettings:
        for program in _PROGRAMS:
            given = getattr(self, program)
            if program != self.kind and given != type(given)():
                raise ValueError(f'[reference.{program}] says how {program} calculates, but kind is "{self.kind}"')
        return self

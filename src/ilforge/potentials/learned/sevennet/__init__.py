"""SevenNet: pretrained equivariant models for 89 elements, and models fine-tuned from them.

Park, Kim, Hwang, Han, J. Chem. Theory Comput. 20 (2024) 4857, doi:10.1021/acs.jctc.4c00190. Its package ``sevenn``
needs a version of e3nn that MACE cannot use, so it is installed in a separate environment
(``ilforge env create sevennet``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilforge.environments import Environment
from ilforge.errors import SettingsError
from ilforge.potentials.kind import Context, PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.learned import model_file
from ilforge.potentials.learned.dispersed import functional_to_add
from ilforge.potentials.learned.outside.potential import Pretrained, RunsOutside, environment_of
from ilforge.potentials.learned.sevennet.models import DEFAULT, MODELS
from ilforge.potentials.quantum.works import WORKS_ON_DISPERSION

_HOME = Path(__file__).parent
_LOADER = str(_HOME / "load.py")


class SevennetSettings(PotentialSettings):
    """SevenNet: a pretrained model, or a checkpoint that was fine-tuned. Needs `ilforge env create sevennet`."""

    kind: Literal["sevennet"] = "sevennet"
    """SevenNet."""
    model: Literal["7net-0", "7net-l3i5", "7net-mf-0"] | None = None
    """Pretrained model. Without this key and `path`: 7net-0."""
    modality: str | None = None
    """Level of theory, for a model that was trained on several; 7net-mf-0 has PBE and R2SCAN."""
    path: str | None = None
    """Checkpoint of a model of your own, relative to the study file, in place of `model`."""
    sha256: str | None = None
    """Digest of that checkpoint. A model file can run code when it is loaded; only a file with this digest is
    loaded."""
    dispersion: Literal["D3(BJ)", "none"] | None = None
    """Dispersion correction. Without this key D3(BJ) is added to pretrained models, because their labels have no
    dispersion, and nothing is added to a checkpoint."""
    functional: str | None = None
    """Functional of the labels of a checkpoint; needed only where D3(BJ) is to be added to it."""

    def spec(self, context: Context) -> dict[str, Any]:
        given = super().spec(context)
        return {**given, "path": str(context.folder / self.path)} if self.path is not None else given

    @property
    def title(self) -> str:
        made = Sevennet.of_settings(self)
        functional = made.added_dispersion or made.functional_of_labels
        added = "D3(BJ)" if made.added_dispersion else "none"
        return made.title if functional is None else functional_title(functional, added, made.title)


@dataclass(frozen=True)
class Sevennet(RunsOutside):
    """A SevenNet model, evaluated by ``sevenn`` in its own environment, in single precision.

    Parameters
    ----------
    model
        One of :data:`~ilforge.potentials.learned.sevennet.models.MODELS`; without it and without ``path`` ``"7net-0"``.
    modality
        Level of theory of a model that was trained on several.
    path, sha256
        A checkpoint of the user instead of ``model``, and its digest.
    dispersion
        ``"D3(BJ)"`` or ``"none"``; without it D3(BJ) for pretrained models and none for a checkpoint.
    functional
        Of the labels of a checkpoint.
    """

    model: str = ""
    modality: str | None = None
    path: Path | None = None
    sha256: str = ""
    dispersion: Literal["D3(BJ)", "none", ""] = ""
    functional: str | None = None

    kind: ClassVar[str] = "sevennet"
    environment: ClassVar[Environment]

    def __post_init__(self) -> None:
        if self.path is not None and self.model:
            raise SettingsError("model and path: a SevenNet potential has one of them, a pretrained model or a file.")
        if self.path is not None:
            object.__setattr__(self, "path", model_file.absolute(self.path))
            model_file.require_digest(self.path, self.sha256)
        elif self.sha256 or self.functional is not None:
            raise SettingsError("sha256 and functional are keys of a checkpoint: give its path, too.")
        else:
            object.__setattr__(self, "model", self.model or DEFAULT)
            if self.model not in MODELS:
                raise SettingsError(f"model is {self.model!r}; it may be {', '.join(MODELS)}.")
            MODELS[self.model].functional_of(self.modality)
        if not self.dispersion:
            object.__setattr__(self, "dispersion", "D3(BJ)" if self.path is None else "none")
        functional_to_add(self.dispersion, self.functional_of_labels)

    @classmethod
    def of_settings(cls, settings: SevennetSettings) -> Sevennet:
        """The potential from the keys of a study file; its checkpoint may be missing."""
        keys = settings.model_dump(exclude={"kind"}, exclude_none=True)
        return cls(**{**({"sha256": "0" * 64} if settings.path else {}), **keys})

    @property
    def _pretrained(self) -> Pretrained | None:
        return None if self.path is not None else MODELS[self.model]

    @property
    def title(self) -> str:
        """The model in a few words."""
        if self.path is not None:
            return f"SevenNet model {self.path.name}"
        return MODELS[self.model].title + (f" ({self.modality})" if self.modality else "")

    @property
    def functional_of_labels(self) -> str | None:
        """Functional that the model was trained on, as far as it is known."""
        return self._pretrained.functional_of(self.modality) if self._pretrained else self.functional

    @property
    def added_dispersion(self) -> str | None:
        return functional_to_add(self.dispersion, self.functional_of_labels)

    @property
    def known_elements(self) -> tuple[str, ...] | None:
        return self._pretrained.elements if self._pretrained else None

    def describe(self) -> dict[str, Any]:
        """The weights by their digest, and what is added to them."""
        weights = self._pretrained.sha256 if self._pretrained else self.sha256.lower()
        which = {"modality": self.modality} if self.modality else {}
        return {"kind": self.kind, "sha256": weights, **which, **self.described_dispersion}

    def worker_settings(self) -> dict[str, Any]:
        """The settings that are sent to the worker."""
        if self.path is not None:
            model_file.verified(self.path, self.sha256)
            return {"loader": _LOADER, "modality": self.modality, "path": str(self.path), "sha256": self.sha256}
        return {"loader": _LOADER, "modality": self.modality, **MODELS[self.model].weights}

    def seconds_per_frame(self, n_atoms: int) -> float:
        return (self._pretrained or MODELS[DEFAULT]).core_seconds * n_atoms / 350


ENVIRONMENT = environment_of(
    "sevennet",
    "SevenNet 0.13.0 and PyTorch 2.13.0",
    _HOME,
    packages=("torch==2.13.0", "sevenn==0.13.0"),
    shown=("sevenn", "torch", "e3nn"),
    tried=MODELS[DEFAULT],
    disk_GB=2.5,
)
Sevennet.environment = ENVIRONMENT

KIND = PotentialKind(
    name="sevennet",
    title="SevenNet",
    potential=Sevennet,
    settings=SevennetSettings,
    family="model",
    colour="#56B4E9",
    computes_with=ENVIRONMENT.name,
    environment=ENVIRONMENT,
    pretrained={name: model.words for name, model in MODELS.items()},
    words=("model",),
    file_suffix=".pth",
    works=(
        (
            "",
            "SevenNet: Park, Kim, Hwang and Han, Scalable Parallel Algorithm for Graph Neural Network Interatomic "
            "Potentials in Molecular Dynamics Simulations, J. Chem. Theory Comput. 20, 4857 (2024).",
        ),
        *WORKS_ON_DISPERSION,
    ),
)

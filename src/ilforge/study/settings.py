"""The study file, key by key: type, unit, default, allowed range. Unknown keys are refused.

Units are part of the names: ``temperature_K``, ``timestep_fs``, ``density_g_cm3``, ``cutoff_A``.
The reference in ``docs/study-file.md`` and the JSON Schema for editors are generated from this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model, model_validator

from ilforge.labelling.gate_settings import GateSettings
from ilforge.liquid.settings import LiquidSettings
from ilforge.potentials import POTENTIALS, known_names, names_without_keys
from ilforge.potentials.kind import PotentialKind, PotentialSettings
from ilforge.properties.analysis import AnalysisSettings
from ilforge.sampling.exploration import Conditions
from ilforge.sampling.registry import keys_of_all
from ilforge.settings import (
    Count,
    DensityRatios,
    Name,
    Positive,
    Pressure,
    Settings,
    Temperature,
    Timestep,
)
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.lineage import check_lineage
from ilforge.study.md_settings import MdSettings
from ilforge.study.names import DEFAULT_MODELS, Models, PotentialName, Potentials, potential_named
from ilforge.training import TRAINERS


class _Sampling(Settings):
    """Sampling of frames. Training and validation frames share no box."""

    potential: PotentialName = "clp"
    """Name of the potential that moves the atoms during sampling. Its cutoff of 10 Å is too long for small boxes: set
    `cutoff_A` in `[potentials.clp]`."""
    density_ratios: DensityRatios = [0.77, 0.88, 1.0, 1.13, 1.26]
    """Box densities relative to `liquid.density_g_cm3`."""
    timestep_fs: Timestep = 1.0
    """Time step of EQ runs, fs."""
    equilibration_ps: Positive = 5.0
    """Length of the start of each EQ run that is discarded, ps."""
    interval_ps: Positive = 1.0
    """Time between EQ frames, ps."""


class _MoreSampling(Settings):
    """What follows the keys of the samplers."""

    aimd_timestep_fs: Timestep = 1.0
    """Time step of AIMD, fs: every step is a labelled frame."""
    training: FrameCounts = FrameCounts(eq_boxes=10, eq_frames_per_box=9, packed=30, hot_boxes=5, hot_frames_per_box=6)
    """Frames to train on."""
    validation: FrameCounts = FrameCounts(eq_boxes=5, eq_frames_per_box=4, packed=10, hot_boxes=5, hot_frames_per_box=2)
    """Frames for validation, from boxes that training does not use."""

    @model_validator(mode="after")
    def _validation_is_single_points(self) -> _MoreSampling:
        if self.validation.aimd:
            raise ValueError("validation frames are single points: leave its eq_aimd_runs and neq_aimd_runs out")
        return self


if TYPE_CHECKING:

    class SamplingSettings(_MoreSampling, _Sampling):
        """For type checkers only: the keys of samplers are known at run time."""

else:
    SamplingSettings = create_model(
        "SamplingSettings",
        __base__=(_MoreSampling, *keys_of_all("settings", _Sampling, _MoreSampling), _Sampling),
        __module__=__name__,
        __doc__=_Sampling.__doc__,
    )
    """``[sampling]``: common keys, and those of all samplers."""


class TrainingSettings(Settings):
    """The split of the frames on which `[models]` are trained; all models use the same frozen split."""

    early_stopping_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the training structures that monitor the training (not the validation set)."""

    moved_keys = {
        "models": "each model has a table, such as [models.mace]",
        "mace": "[training.mace] is [models.mace] now",
        "deepmd": "[training.deepmd] is [models.deepmd] now",
    }


class StopSettings(Settings):
    """Rules that stop concurrent learning before its last iteration; the first rule that is met stops it."""

    candidates: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Stop if no more than this share of explored frames is inside the window of deviations or above it."""
    force_rmse_gain: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Stop if an iteration reduced the explorer's force RMSE on validation frames by less than this share."""
    labels: Annotated[int, Field(ge=1)] | None = None
    """Stop if this many explored frames have been labelled, or are being labelled."""
    holds_liquid_ps: Positive | None = None
    """Stop if the models of two iterations in a row hold the liquid in NPT runs of this length, ps, with densities that
    differ by no more than 2 %. They are the explorer's, at the temperature and pressure of the liquid."""

    @property
    def rules(self) -> dict[str, float]:
        """The rules that are set."""
        return self.model_dump(exclude_none=True)


CALIBRATION_FALLBACK_EV_A = 0.05
"""Lower end of the window of deviations if it cannot be calibrated, eV/Å; that of the study this package follows."""


class LearningSettings(Settings):
    """Concurrent learning: explore with a committee, label the frames on which it disagrees, train again."""

    explorer: str | None = None
    """Name of the model whose committee explores. Without it, the first model with a committee of two or more."""
    iterations: Annotated[int, Field(ge=0, le=100)] = 1
    """Largest number of rounds of exploration and retraining; 0 for none."""
    starts: Annotated[int, Field(ge=1)] = 4
    """Independent exploration runs in each round."""
    ensembles: Annotated[list[Literal["NPT", "NVT"]], Field(min_length=1)] = ["NPT"]
    """Ensembles of exploration. Runs take all combinations of ensembles, temperatures and pressures in turn."""
    temperatures_K: Annotated[list[Temperature], Field(min_length=1)] = [450.0]
    """Temperatures of exploration, K."""
    pressures_bar: Annotated[list[Pressure], Field(min_length=1)] | None = None
    """Pressures of exploration in NPT, bar. Without it, the pressure of the liquid."""
    timestep_fs: Timestep = 0.5
    """Time step of exploration, fs."""
    length_ps: Positive = 1.0
    """Length of each exploration run, ps."""
    interval_ps: Positive = 0.02
    """Time between the frames that are judged, ps."""
    restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """A run ends at the first frame above `deviation_high_eV_A`, with broken or new bonds, or beyond `density_margin`.
    It then begins again from another start, at most this many times, until its length is spent."""
    density_margin: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """A run ends if its density is this share below the lowest or above the highest density of the sampled training
    frames."""
    deviation_low_eV_A: Annotated[float, Field(ge=0)] | Literal["calibrated"] = 0.05
    """If the largest deviation of forces is below this, the committee agrees and the frame is not labelled, eV/Å.
    `"calibrated"` takes the deviation from which on, on validation frames, the largest error of a force exceeds
    `force_error_eV_A`; with fewer than 20 frames, or if deviation and error are hardly related, it is 0.05."""
    force_error_eV_A: Positive = 0.3
    """Largest acceptable error of the force on an atom, eV/Å, for `deviation_low_eV_A = "calibrated"`."""
    deviation_high_eV_A: Positive = 1.5
    """If the largest deviation of forces is above this, the frame is unphysical and is not labelled, eV/Å."""
    pressure_deviation_GPa: Positive | None = None
    """If the standard deviation of the members' pressures exceeds this, the frame is a candidate too, GPa. Needs an
    explorer with a stress."""
    max_candidates: Count = 40
    """Largest number of candidates of each composition that are labelled in a round: those that differ most. Candidates
    by deviation, by pressure, and by a density outside the range of the training frames get equal shares."""
    retrain_after: Annotated[int, Field(ge=1)] | None = None
    """Train again as soon as this many new labels are accepted, those of all compositions together. The runs and labels
    that are left go on, and count for the next training; the last one uses all labels. Without this key, every training
    waits for all labels of its round. Needs 2 or more `iterations`. If a rule of `stop` ends it, one more training uses
    the labels that were not finished by then."""

    stop: StopSettings = StopSettings()
    """Rules that stop it before the last iteration."""

    moved_keys = {"temperature_K": "write temperatures_K = [450.0]"}

    @model_validator(mode="after")
    def _consistent(self) -> LearningSettings:
        low = CALIBRATION_FALLBACK_EV_A if self.deviation_low_eV_A == "calibrated" else self.deviation_low_eV_A
        if low >= self.deviation_high_eV_A:
            raise ValueError("deviation_low_eV_A must be below deviation_high_eV_A")
        for key in ("ensembles", "temperatures_K", "pressures_bar"):
            given = getattr(self, key) or []
            if len(set(given)) != len(given):
                raise ValueError(f"{key} contains a value twice, found {given[:9]}")
        if self.pressures_bar is not None and "NPT" not in self.ensembles:
            raise ValueError('pressures_bar needs ensembles with "NPT": leave it out')
        if self.starts < len(self.conditions(1.0)):
            raise ValueError(
                f"starts is {self.starts}, but ensembles, temperatures_K and pressures_bar have "
                f"{len(self.conditions(1.0))} combinations: give at least as many starts"
            )
        self._check_retraining()
        return self

    def _check_retraining(self) -> None:
        if self.retrain_after is None:
            return
        if self.iterations < 2:
            raise ValueError(
                f"retrain_after needs iterations of 2 or more, found {self.iterations}: the last iteration learns from "
                "all labels. Leave retrain_after out, or set iterations = 2"
            )

    def conditions(self, pressure_bar: float) -> list[Conditions]:
        """Every combination of ensemble, temperature and pressure; ``pressure_bar`` is that of the liquid."""
        given: list[float | None] = [*(self.pressures_bar or [pressure_bar])]
        pressures: dict[str, list[float | None]] = {"NPT": given, "NVT": [None]}
        return [
            Conditions(ensemble, kelvin, bar)
            for ensemble in self.ensembles
            for kelvin in self.temperatures_K
            for bar in pressures[ensemble]
        ]


class ReferenceSettings(Settings):
    """The reference: the potential that labels frames. Models learn its energies and forces."""

    potential: PotentialName = "gfn1"
    """Name of the potential: `gfn1`, `gfn2`, or one of `[potentials]`, such as DFT by GPAW, CP2K or VASP, which you
    install."""

    moved_keys = {
        "kind": 'write [potentials.NAME] with this kind and its keys, and [reference] with potential = "NAME"',
        "method": 'write potential = "gfn1" or "gfn2"',
        "gpaw": 'write [potentials.gpaw] with these keys, and [reference] with potential = "gpaw"',
        "cp2k": 'write [potentials.cp2k] with these keys, and [reference] with potential = "cp2k"',
        "vasp": 'write [potentials.vasp] with these keys, and [reference] with potential = "vasp"',
    }


class StudySettings(Settings):
    """A whole study: from the ions of a liquid to trained models, their trajectories and properties."""

    name: Name
    """Name of the study: letters, digits, `_`, `.`, `-`; it does not begin with `.` or `-`. Results go to a folder with
    this name."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Seed from which all random numbers of the study are derived."""
    dataset: str | None = None
    """Folder of labelled frames, relative to the study file (`ilforge export-labels --format dataset` writes such
    folders). It replaces sampling and labelling. Its method must be that of `[reference]`; the program of this method
    is then not needed."""
    liquid: LiquidSettings
    """The liquid."""
    potentials: Annotated[
        Potentials,
        Field(
            description="Potentials that need no training, by a name that you choose. `kind` may be left out if the "
            "name is that of the kind. These names need no table if you use the defaults of all keys: "
            f"{', '.join(f'`{name}`' for name in names_without_keys())}."
        ),
    ] = {}
    models: Models = DEFAULT_MODELS
    """Models to train on the labels, by a name that you choose. `kind` may be left out if the name is that of the kind.
    Without any, `mace` and `deepmd` are trained with their presets `quick`."""
    sampling: SamplingSettings = SamplingSettings()
    """Structures."""
    reference: ReferenceSettings = ReferenceSettings()
    """The potential that labels frames."""
    gate: GateSettings = GateSettings()
    """Acceptance of labels."""
    training: TrainingSettings = TrainingSettings()
    """How models are trained."""
    learning: LearningSettings = LearningSettings()
    """Concurrent learning."""
    md: list[MdSettings] = []
    """MD protocols, as `[[md]]` tables."""
    analysis: AnalysisSettings = AnalysisSettings()
    """Properties."""

    @model_validator(mode="after")
    def _consistent(self) -> StudySettings:
        both = sorted(set(self.potentials) & set(self.models))
        if both:
            raise ValueError(f"{both[0]} is a name in [potentials] and in [models]: rename one of them")
        self.potential(self.sampling.potential, "sampling.potential")
        self.potential(self.reference.potential, "reference.potential")
        check_lineage(self)
        self._check_learning()
        self._check_md()
        if self.dataset is not None:
            given = [key for key in ("training", "validation") if key in self.sampling.model_fields_set]
            if given:
                raise ValueError(
                    f"sampling.{given[0]} and dataset = {self.dataset!r} exclude each other, because the dataset "
                    "contains the frames: leave one of the two out"
                )
        return self

    def potential(self, name: str, asked_by: str = "potential") -> PotentialSettings:
        """Settings of a potential by its name: one of ``[potentials]``, or one that needs no table.

        Raises
        ------
        ValueError
            When there is no potential with this name.
        """
        found = potential_named(name, self.potentials)
        if found is None:
            if name in self.models:
                raise ValueError(f"{asked_by} is {name!r}, a model that is trained only later: name a potential")
            raise ValueError(f"{asked_by} is {name!r}: {self._known(models=False)}")
        return found

    @property
    def explorer(self) -> str:
        """Name of the model whose committee explores; empty if no model has a committee."""
        able = [name for name, model in self.models.items() if model.committee >= 2 and model.teacher is None]
        return self.learning.explorer or (able[0] if able else "")

    @property
    def protocols(self) -> list[MdSettings]:
        """All MD runs: each table of ``[[md]]`` for each of its compositions and temperatures."""
        return [run for protocol in self.md for run in protocol.runs]

    def _known(self, models: bool = True) -> str:
        own = [*self.potentials, *(self.models if models else [])]
        known = ", ".join(dict.fromkeys([*own, *known_names()]))
        return f"there is no {'model or ' if models else ''}potential with this name. Known: {known}"

    def _check_learning(self) -> None:
        if self.learning.explorer is not None and self.learning.explorer not in self.models:
            raise ValueError(
                f"learning.explorer is {self.learning.explorer!r}, which is not one of [models]: "
                f"{', '.join(self.models)}"
            )
        if self.learning.iterations == 0:
            return
        if not self.explorer:
            raise ValueError(
                "learning.iterations > 0 needs a committee that explores: set committee = 4 in one of [models]"
            )
        if self.models[self.explorer].committee < 2:
            raise ValueError(
                f"learning.iterations > 0 needs models.{self.explorer}.committee of 2 or more, because this model "
                "explores"
            )
        most, asked = self.learning.max_candidates * max(1, len(self.liquid.compositions)), self.learning.retrain_after
        if asked is not None and asked > most:
            raise ValueError(
                f"learning.retrain_after is {asked}, but an iteration labels at most {most} frames "
                f"(learning.max_candidates of each composition): give at most {most}"
            )

    def _check_md(self) -> None:
        names = [run.name for run in self.protocols]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"md: every run needs its own name, but {twice[0]} occurs twice")
        compositions = [composition.name for composition in self.liquid.compositions]
        for protocol in self.protocols:
            if protocol.composition is not None and protocol.composition not in compositions:
                known = ", ".join(compositions) or "none (name them in [[liquid.compositions]])"
                raise ValueError(
                    f"md {protocol.name!r}: compositions contains {protocol.composition!r}, which does not exist. "
                    f"Known: {known}"
                )
            for name in protocol.potentials:
                kind = self._kind_in(protocol.name, "potentials", name)
                if protocol.vacuum and kind.needs_box:
                    raise ValueError(
                        f"md {protocol.name!r} runs {name} in a vacuum, but {kind.title} needs a box: leave one of the "
                        "two out"
                    )
                try:
                    protocol.refuse_engine(name, kind.potential)
                except ValueError as error:
                    raise ValueError(f"md {protocol.name!r}: {error}") from None
            if protocol.inner_potential is not None:
                self._kind_in(protocol.name, "inner_potential", protocol.inner_potential)

    def _kind_in(self, protocol: str, key: str, name: str) -> PotentialKind:
        """The kind of the potential with this name in a protocol."""
        if name in self.models:
            return POTENTIALS[TRAINERS[self.models[name].kind].potential]
        found = potential_named(name, self.potentials)
        if found is None:
            hint = f" The reference is {self.reference.potential!r}." if name == "reference" else ""
            raise ValueError(f"md {protocol!r}: {key} names {name!r}: {self._known()}.{hint}")
        return POTENTIALS[found.kind]

"""The study file, key by key: type, unit, default, allowed range. Unknown keys are refused.

Units are part of the names: ``temperature_K``, ``timestep_fs``, ``density_g_cm3``, ``cutoff_A``.
The reference in ``docs/study-file.md`` and the JSON Schema for editors are generated from this module.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.study.analysis_settings import AnalysisSettings
from ilforge.study.base import (
    Count,
    DensityRatio,
    DensityRatios,
    Name,
    Positive,
    Pressure,
    Settings,
    Temperature,
    Timestep,
    Widths,
)
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.liquid_settings import LiquidSettings
from ilforge.study.potential_settings import PotentialSettings, ReferenceSettings
from ilforge.study.presets import DEEPMD_PRESETS, MACE_PRESETS


class SamplingSettings(Settings):
    """How frames are sampled. Training and validation frames share no box."""

    potential: PotentialSettings = PotentialSettings(kind="clp", cutoff_A=4.0)
    """The potential that moves the atoms while sampling."""
    density_ratios: DensityRatios = [0.77, 0.88, 1.0, 1.13, 1.26]
    """Box densities relative to `liquid.density_g_cm3`."""
    timestep_fs: Timestep = 1.0
    """Time step of EQ runs, fs."""
    equilibration_ps: Positive = 5.0
    """Discarded start of each EQ run, ps."""
    interval_ps: Positive = 1.0
    """Time between EQ frames, ps."""
    packed_steps: Count = 20
    """Minimisation steps that take the worst contacts out of a packed nEQ structure."""
    hot_temperature_K: Temperature = 1500.0
    """Temperature that the search for the hottest bearable run begins at, K."""
    hot_timestep_fs: Timestep = 1.5
    """Time step that this search begins with, fs."""
    hot_interval_ps: Positive = 0.1
    """Time between hot frames, ps."""
    distorted_bond_strain: Annotated[float, Field(gt=0, le=0.3)] = 0.08
    """Largest relative change of a bond length in distorted frames."""
    distorted_angle_deg: Annotated[float, Field(gt=0, le=40)] = 25.0
    """Largest change of a bond angle in distorted frames, degrees."""
    distorted_torsion_deg: Annotated[float, Field(ge=0, le=180)] = 60.0
    """Largest turn about a bond outside rings in distorted frames, degrees."""
    intermolecular_density_ratios: tuple[DensityRatio, DensityRatio] = (0.5, 1.3)
    """Lowest and highest density of intermolecular frames, relative to `liquid.density_g_cm3`."""
    intermolecular_candidates: Annotated[float, Field(ge=1, le=1000)] = 10.0
    """So many intermolecular frames are made for each one that is taken."""
    aimd_timestep_fs: Timestep = 1.0
    """Time step of AIMD, fs: every step is a labelled frame."""
    training: FrameCounts = FrameCounts(eq_boxes=10, eq_frames_per_box=9, packed=30, hot_boxes=5, hot_frames_per_box=6)
    """Frames to train on."""
    validation: FrameCounts = FrameCounts(eq_boxes=5, eq_frames_per_box=4, packed=10, hot_boxes=5, hot_frames_per_box=2)
    """Frames to validate on, from boxes of their own."""

    @model_validator(mode="after")
    def _validation_is_single_points(self) -> SamplingSettings:
        if self.validation.aimd:
            raise ValueError("validation frames are single points: leave its eq_aimd_runs and neq_aimd_runs out")
        return self

    @model_validator(mode="after")
    def _lowest_density_first(self) -> SamplingSettings:
        low, high = self.intermolecular_density_ratios
        if low >= high:
            raise ValueError(
                f"intermolecular_density_ratios is [{low:g}, {high:g}]: give the lowest ratio, then the highest"
            )
        return self


class GateSettings(Settings):
    """What a label must satisfy to be trained on. Rejected labels are kept with the reason."""

    max_net_force_eV_A: Positive = 0.05
    """Largest component of the sum of forces, eV/Å, of frames of up to 70 atoms. Of larger ones it grows with the
    square root of their number, where the method has a grid of points or plane waves."""
    max_force_eV_A: Positive = 30.0
    """Largest force on any atom, eV/Å."""
    max_energy_jump_eV_atom: Positive = 0.1
    """Largest distance of an energy from the median of the frames of its recipe, eV per atom, where that is more than
    ten standard deviations: beyond it the method ended in a false state."""
    bond_factor: Annotated[float, Field(ge=1.0, le=1.6)] = 1.25
    """Two atoms count as bonded below this factor times the sum of their covalent radii."""


def _with_preset(data: Any, presets: dict[str, dict[str, Any]]) -> Any:
    if not isinstance(data, dict):
        return data
    return {**presets.get(data.get("preset", "quick"), {}), **data}


class MaceSettings(Settings):
    """Hyperparameters of MACE. `preset` fills every key that is not given."""

    preset: Literal["quick", "liquid", "park2025"] = "quick"
    """`quick` for trying out a study: it matches forces, and with its short radius a liquid boils at constant
    pressure. `liquid`, with a longer one, for small studies whose MD is to be judged: a liquid lasts longer, and its
    density is still too low; `park2025` for the published study's own."""
    hidden_irreps: Annotated[str, Field(pattern=r"^\d{1,4}x\d[eo]( ?\+ ?\d{1,4}x\d[eo])*$", max_length=200)]
    """One multiplicity for all irreps, natural parity: MACE accepts no other (so not `16x0e + 4x1e`)."""
    r_max_A: Positive
    """Cutoff of the graph, Å."""
    max_ell: Annotated[int, Field(ge=1, le=4)]
    """Highest order of the spherical harmonics of edges."""
    correlation: Annotated[int, Field(ge=1, le=4)]
    """Body order of the product in each layer, less one."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per optimiser step."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training frames."""
    second_stage_epoch: Annotated[int, Field(ge=1)]
    """Epoch from which the second-stage weights hold; at or beyond `epochs`, never."""
    learning_rate: Positive
    """Adam's learning rate in the first stage."""
    second_stage_learning_rate: Positive
    """Adam's learning rate in the second stage."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the moving average of the weights, which is what is kept."""
    energy_weight: Annotated[float, Field(ge=0)]
    """Weight of energies in the loss."""
    forces_weight: Annotated[float, Field(ge=0)]
    """Weight of forces in the loss."""
    second_stage_energy_weight: Annotated[float, Field(ge=0)]
    """Weight of energies in the second stage."""
    second_stage_forces_weight: Annotated[float, Field(ge=0)]
    """Weight of forces in the second stage."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `epochs` that is made when training goes on from the last round of concurrent learning."""
    retrain_learning_rate: Positive
    """Adam's learning rate in the first stage of such a training."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training and of MD with the model."""
    atom_energies: Literal["fit", "isolated atoms"] = "fit"
    """What energies are counted from: a least-squares `fit` to the labels, or the energies of `isolated atoms` by the
    reference method (`gpaw`, or a dataset that has them)."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        return _with_preset(data, MACE_PRESETS)


class DeepmdSettings(Settings):
    """Hyperparameters of DeePMD (se_e2_a). `preset` fills every key that is not given."""

    preset: Literal["quick", "park2025"] = "quick"
    """`quick` for the small studies, `park2025` for the published study's own."""
    committee: Annotated[int, Field(ge=1, le=20)] = 4
    """Number of models that differ only in their seed. Concurrent learning needs at least two."""
    r_cut_A: Positive
    """Cutoff, Å."""
    r_smooth_A: Positive
    """Where smoothing begins, Å."""
    embedding: Widths
    """Widths of the embedding net."""
    axis_neurons: Annotated[int, Field(ge=1)]
    """Size of the sub-matrix of the embedding."""
    fitting: Widths
    """Widths of the fitting net."""
    one_side_embedding: bool
    """One embedding net for each element of the neighbour, not for each pair of elements: about twice as fast."""
    dtype: Literal["float32", "float64"]
    """Precision of the networks; geometry and energies are always in double precision."""
    steps: Annotated[int, Field(ge=1)]
    """Training steps."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per step."""
    learning_rate_start: Positive
    """Learning rate at the first step; it decays exponentially."""
    learning_rate_stop: Positive
    """Learning rate at the last step."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `steps` that is made when training goes on from the last round of concurrent learning."""
    retrain_learning_rate_start: Positive
    """Learning rate at the first step of such a training."""
    energy_prefactor: tuple[float, float]
    """Weight of energies in the loss, at the first and the last step."""
    force_prefactor: tuple[float, float]
    """Weight of forces in the loss, at the first and the last step."""
    virial_prefactor: tuple[float, float]
    """Weight of virials in the loss, at the first and the last step. Without stresses in the labels there are none."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        return _with_preset(data, DEEPMD_PRESETS)


class TrainingSettings(Settings):
    """Which models are trained, on which share of the frames."""

    models: Annotated[list[Literal["mace", "deepmd"]], Field(min_length=1)] = ["mace", "deepmd"]
    """Kinds of model to train; all see the same frozen split."""
    early_stopping_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the training structures set aside to watch the training (not the validation set)."""
    mace: MaceSettings = MaceSettings()  # type: ignore[call-arg]  # the preset fills the rest
    """MACE hyperparameters."""
    deepmd: DeepmdSettings = DeepmdSettings()  # type: ignore[call-arg]
    """DeePMD hyperparameters."""


class LearningSettings(Settings):
    """Concurrent learning: explore with the committee, label where it disagrees, train again."""

    iterations: Annotated[int, Field(ge=0, le=100)] = 1
    """Rounds of exploration and retraining; 0 for none."""
    starts: Annotated[int, Field(ge=1)] = 4
    """Independent exploration runs in each round."""
    temperature_K: Temperature = 450.0
    """Temperature of exploration, K."""
    timestep_fs: Timestep = 0.5
    """Time step of exploration, fs."""
    length_ps: Positive = 1.0
    """Length of each exploration run, ps."""
    interval_ps: Positive = 0.02
    """Time between the frames that are judged, ps."""
    deviation_low_eV_A: Annotated[float, Field(ge=0)] = 0.05
    """Below this largest deviation of forces the committee agrees: nothing to learn, eV/Å."""
    deviation_high_eV_A: Positive = 1.5
    """Above it the frame is nonsense and is not labelled, eV/Å."""
    max_candidates: Count = 40
    """At most this many candidates of each composition are labelled in a round, spread evenly over time and runs."""

    @model_validator(mode="after")
    def _window(self) -> LearningSettings:
        if self.deviation_low_eV_A >= self.deviation_high_eV_A:
            raise ValueError("deviation_low_eV_A must be below deviation_high_eV_A")
        return self


class MdSettings(Settings):
    """One MD protocol, run with each of the named potentials from the same start."""

    name: Name
    """Name of the protocol: letters, digits, `_`, and after the first `.`, `-`."""
    ensemble: Literal["NVE", "NVT", "NPT"]
    """Which ensemble."""
    composition: str | None = None
    """Which of `[[liquid.compositions]]` it is run for; without it the first."""
    vacuum: dict[str, Annotated[int, Field(ge=1)]] | None = None
    """Ions without a box that it is run for instead of the liquid, charged or not: `{ TFSI = 1 }`. What is measured on
    them is `shapes` and `health`, where `analysis.properties` names these. NVT or NVE."""
    potentials: Annotated[list[Literal["clp", "clpol", "exp6", "deepmd", "mace", "reference"]], Field(min_length=1)]
    """Which potentials run it: a force field, the trained `deepmd` and `mace`, or the `reference` method itself."""
    parameters: str | None = None
    """Parameter file of `exp6`; without it that of the sampling potential."""
    box_multiple: Annotated[int, Field(ge=1)] = 1
    """How many times the ions of the liquid the box of this run holds. Labels are of small boxes; densities, transport
    and clusters want 40 pairs and more."""
    cutoff_A: Positive | None = None
    """Cutoff of `clp`, `clpol` and `exp6` in this run, Å; without it that of `[sampling.potential]`, which a small box
    keeps too short for properties. They want 10 Å, in a box of twice that. With it, `clp` has its default
    `ewald_tolerance`."""
    timestep_fs: Timestep = 0.5
    """Time step, fs."""
    length_ps: Positive
    """Length of the recorded run, ps."""
    equilibration_ps: Annotated[float, Field(ge=0)] = 0.5
    """Unrecorded start, ps."""
    interval_ps: Positive = 0.02
    """Time between recorded frames, ps."""
    pressure_interval_ps: Positive | None = None
    """Time between records of the pressure tensor for the viscosity, ps, a whole fraction of `interval_ps`: 0.005 to
    0.01 where bonds to H are held (`timestep_fs` above 1), else 0.002. Without it none is recorded. Only with engine
    `gromacs`."""
    temperature_K: Temperature | None = None
    """Temperature in K; without it that of the liquid."""
    pressure_bar: Pressure | None = None
    """Pressure in bar, for NPT; without it that of the liquid."""
    engine: Literal["builtin", "openmm", "lammps", "ase", "gromacs"] | None = None
    """Which program moves the atoms; without it the one that suits the potential. `gromacs` (not installed with
    ilforge) runs `clp` with a Nosé-Hoover thermostat and a Parrinello-Rahman barostat."""
    thermostat: Literal["langevin", "nose-hoover"] | None = None
    """Thermostat of the `builtin` engine, which runs `mace`; without it `langevin`. `nose-hoover` is a chain of three
    with a period of 0.1 ps, which leaves the dynamics of the liquid alone. Other engines have one each."""
    barostat: Literal["monte-carlo", "cell-rescaling"] | None = None
    """Barostat of the `builtin` engine; without it `monte-carlo`. `cell-rescaling` follows the pressure, which the
    potential has to give, and costs no extra evaluation. Other engines have one each."""
    hydrogen_mass_amu: Annotated[float, Field(ge=1.008, le=4)] | None = None
    """Mass of H in amu, for time steps about half as long again; what it gains, the heavy neighbour loses. 3 is usual.
    Structure and density stay, and diffusion changes somewhat. Engines `builtin`, `openmm` and `ase`."""
    inner_potential: Literal["clp", "deepmd"] | None = None
    """Cheap potential that moves the atoms `inner_steps` times within a step of `timestep_fs`; the potential of the run
    adds what it differs by once a step. Engine `builtin`. Check what it does to the energy at constant energy first."""
    inner_steps: Annotated[int, Field(ge=1)] = 1
    """Short steps within one of `timestep_fs`, with `inner_potential`."""

    @model_validator(mode="after")
    def _engine_can(self) -> MdSettings:
        able = {
            "builtin": {"mace"},
            "openmm": {"clp", "clpol", "exp6", "mace"},
            "lammps": {"deepmd"},
            "gromacs": {"clp"},
        }.get(self.engine or "ase")
        unable = [name for name in self.potentials if able is not None and name not in able]
        if unable:
            raise ValueError(f"engine {self.engine} cannot run {unable[0]}: give it a protocol of its own")
        if self.vacuum is not None and (not self.vacuum or self.ensemble == "NPT" or self.composition is not None):
            raise ValueError(
                "vacuum names ions without a box, such as { TFSI = 1 }: ensemble is NVT or NVE, composition left out"
            )
        if self.vacuum is not None and (self.box_multiple != 1 or self.cutoff_A is not None):
            raise ValueError("box_multiple and cutoff_A are of a box, and vacuum has none: leave them out")
        if self.cutoff_A is not None and not {"clp", "clpol", "exp6"} & {*self.potentials, self.inner_potential}:
            raise ValueError("cutoff_A is that of clp, clpol and exp6, which potentials does not name: leave it out")
        self._refuse_choices()
        if self.parameters and "exp6" not in self.potentials:
            raise ValueError("parameters is the file of exp6, which potentials does not name")
        if self.pressure_interval_ps is not None:
            if self.engine != "gromacs":
                raise ValueError('pressure_interval_ps needs engine = "gromacs": no other records the pressure tensor')
            multiple = self.interval_ps / self.pressure_interval_ps
            if multiple < 1 or abs(multiple - round(multiple)) > 1e-6:
                raise ValueError("interval_ps must be a whole multiple of pressure_interval_ps")
        return self

    def _refuse_choices(self) -> None:
        """Refuse what only the builtin engine has a choice of where another one runs."""
        if (self.inner_potential is None) != (self.inner_steps == 1):
            raise ValueError("inner_potential and inner_steps of 2 or more go together: give both, or neither")
        if self.barostat and self.ensemble != "NPT":
            raise ValueError(f"barostat = {self.barostat!r} needs ensemble = 'NPT': {self.ensemble} has no pressure")
        chosen = [name for name in ("thermostat", "barostat", "inner_potential") if getattr(self, name)]
        if chosen and (self.engine not in (None, "builtin") or set(self.potentials) != {"mace"}):
            raise ValueError(f"{chosen[0]} is a choice of the builtin engine, which runs mace alone: leave it out")
        lacks = self.engine in ("lammps", "gromacs") or (self.engine is None and "deepmd" in self.potentials)
        if self.hydrogen_mass_amu and lacks:
            raise ValueError("hydrogen_mass_amu is kept by builtin, openmm and ase, not by lammps and gromacs")


class StudySettings(Settings):
    """A whole study: from the ions of a liquid to trained models, their trajectories and properties."""

    name: Name
    """Name of the study: letters, digits, `_`, and after the first `.`, `-`. Results go to a folder of this name."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """All random numbers of the study descend from this one."""
    liquid: LiquidSettings
    """The liquid."""
    sampling: SamplingSettings = SamplingSettings()
    """Structures."""
    dataset: str | None = None
    """Folder of frames that are labelled already, relative to the study file (`ilforge export-labels --format dataset`
    writes such folders). It takes the place of sampling and labelling; its method must be that of `[reference]`, whose
    program is not needed then."""
    reference: ReferenceSettings = ReferenceSettings()
    """The potential that labels frames: the truth the models learn."""
    gate: GateSettings = GateSettings()
    """Acceptance of labels."""
    training: TrainingSettings = TrainingSettings()
    """Models."""
    learning: LearningSettings = LearningSettings()
    """Concurrent learning."""
    md: list[MdSettings] = []
    """MD protocols, as `[[md]]` tables."""
    analysis: AnalysisSettings = AnalysisSettings()
    """Properties."""

    @model_validator(mode="after")
    def _consistent(self) -> StudySettings:
        names = [protocol.name for protocol in self.md]
        if len(set(names)) != len(names):
            raise ValueError(f"md: every protocol needs a name of its own, found {names}")
        for protocol in self.md:
            if len(set(protocol.potentials)) != len(protocol.potentials):
                raise ValueError(f"md {protocol.name!r}: potentials names one twice, found {protocol.potentials[:9]}")
            if protocol.vacuum and "reference" in protocol.potentials and self.reference.is_dft:
                raise ValueError(
                    f"md {protocol.name!r} runs the reference in a vacuum, but {self.reference.kind} needs a box"
                )
        compositions = [composition.name for composition in self.liquid.compositions]
        for protocol in self.md:
            if protocol.composition is not None and protocol.composition not in compositions:
                known = ", ".join(compositions) or "none: name them in [[liquid.compositions]]"
                raise ValueError(f"md {protocol.name!r} is for composition {protocol.composition!r}; there is {known}")
            for potential in (*protocol.potentials, protocol.inner_potential):
                if potential in ("mace", "deepmd") and potential not in self.training.models:
                    raise ValueError(
                        f"md {protocol.name!r} runs {potential}, but training.models is {self.training.models}"
                    )
        if self.dataset is not None:
            given = [key for key in ("training", "validation") if key in self.sampling.model_fields_set]
            if given:
                raise ValueError(
                    f"sampling.{given[0]} says what to sample, but dataset = {self.dataset!r} brings its own frames: "
                    "leave one of the two out"
                )
        if self.learning.iterations > 0:
            if "deepmd" not in self.training.models:
                raise ValueError("learning.iterations > 0 needs deepmd in training.models: its committee explores")
            if self.training.deepmd.committee < 2:
                raise ValueError("learning.iterations > 0 needs training.deepmd.committee of at least 2")
        return self

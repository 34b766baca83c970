"""A plug-in of ilforge: a potential, a model trained to be one, an engine, a property, a sampler and an executor."""

import json
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pydantic import Field

from ilforge.dynamics import builtin
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.simulation import record
from ilforge.files import file_digest
from ilforge.potentials.kind import PotentialKind, PotentialSettings
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement
from ilforge.results import Estimate
from ilforge.sampling.frame import make_frame
from ilforge.sampling.kind import SamplerKind
from ilforge.settings import Count, Settings
from ilforge.training import curve
from ilforge.training.kind import ModelSettings, TrainerKind
from ilforge.workflow.executors import ExecutorKind


class SpringSettings(PotentialSettings):
    """Springs between bonded atoms."""

    kind: Literal["springs"] = "springs"
    stiffness_eV_A2: Annotated[float, Field(gt=0)] = 5.0
    """Of every bond, eV/Å²."""


@dataclass(frozen=True)
class Springs:
    """E = k/2 sum (r - 1.3 Å)² over bonds; k given, or from the file of a trained model."""

    stiffness_eV_A2: float = 5.0
    path: str | None = None
    sha256: str | None = None

    kind: ClassVar[str] = "springs"
    has_stress: ClassVar[bool] = False

    def describe(self):
        return {"kind": self.kind, "sha256": self.sha256 or "", "stiffness_eV_A2": self.stiffness_eV_A2}

    def calculator(self, topology=None, threads=1):
        if self.path is not None and file_digest(self.path) != self.sha256:
            raise ValueError(f"{self.path} is another file")
        k = self.stiffness_eV_A2 if self.path is None else json.loads(Path(self.path).read_text())["k"]
        return SpringCalculator(k, topology)

    def seconds_per_frame(self, n_atoms):
        return 1e-4


class SpringCalculator(Calculator):
    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, k, topology):
        super().__init__()
        self.k, self.bonds = k, topology.bonds

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = springs(self.atoms, self.bonds)
        self.results = {"energy": self.k * energy, "forces": self.k * forces}


def springs(atoms, bonds):
    """Energy and forces for a stiffness of 1."""
    i, j = bonds.T
    apart = atoms.positions[j] - atoms.positions[i]
    if atoms.pbc.all():
        apart -= np.rint(apart @ np.linalg.inv(atoms.cell.array)) @ atoms.cell.array
    r = np.linalg.norm(apart, axis=1)
    pull = ((r - 1.3) / r)[:, None] * apart
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, pull)
    np.add.at(forces, j, -pull)
    return 0.5 * float(((r - 1.3) ** 2).sum()), forces


class FitSettings(ModelSettings):
    """A stiffness that is fitted to forces."""

    kind: Literal["fitted-springs"] = "fitted-springs"


def fit(dataset, settings, seed, directory, threads=1, start_from=None):
    from ilforge.liquid.liquid import Liquid

    ones = [springs(frame, Liquid.of_frame(frame).topology.bonds)[1] for frame in dataset.train]
    true = [frame.arrays["REF_forces"] for frame in dataset.train]
    k = sum((a * b).sum() for a, b in zip(ones, true, strict=True)) / sum((a * a).sum() for a in ones)
    (directory / "springs.json").write_text(json.dumps({"k": float(k)}))
    curve.write(directory, [curve.Point(1, 0.0, 0.0, 0.0, 0.0)])
    return directory / "springs.json"


class Backwards(builtin.Simulation):
    """Moves atoms as the builtin engine does; only its name is its own."""


def frames(job, state, done):
    resume = None if state is None else builtin.State.from_bytes(state)
    for sample, now in record(Backwards, job, resume):
        yield sample, (None if now is None else now.to_bytes())


class GyrationSettings(Settings):
    """Mean size of ions."""

    of: str | None = None
    """One ion by name; without it all together."""


class Gyration:
    needs_cell: ClassVar[str] = ""

    def __init__(self, settings):
        self._of, self._radii = settings.of, []

    def begin(self, system):
        self._topology = system.topology

    def look(self, snapshot):
        parts = [snapshot.positions[self._topology.molecules == m] for m in range(self._topology.n_molecules)]
        return float(np.mean([np.sqrt(((part - part.mean(axis=0)) ** 2).sum(axis=1).mean()) for part in parts]))

    def add(self, seen):
        self._radii.append(seen)

    def measurement(self):
        error = float(np.std(self._radii)) / len(self._radii) ** 0.5
        return Measurement([("gyration", self._of, Estimate(float(np.mean(self._radii)), error, 2.0, "A"))])


class RattledCounts(Settings):
    rattled: Count = 0
    """Frames of packed ions with noise on every atom."""


class RattledSettings(Settings):
    rattled_A: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of this noise, Å."""


def rattle(drawing):
    box, noise = drawing.packed, np.random.default_rng(drawing.seed).normal(size=(len(drawing.packed), 3))
    moved = box.positions + drawing.keys["rattled_A"] * noise
    return [make_frame(moved, box.cell.array, box, drawing.liquid, "nEQ", "rattled", drawing.seed)]


class HereSettings(Settings):
    """Tasks run where the study is read, one after the other."""

    kind: Literal["here"] = "here"
    """Here."""


class Here:
    """An executor without processes; its tasks leave a line in a file, so that one sees who ran them."""

    slots = threads = 1

    def __init__(self, name):
        self.log = f"ran-{name}.txt"

    def submit(self, function, *arguments, resources=None, urgency=0.0, on_start=None):
        future: Future = Future()
        if on_start is not None:
            on_start()
        with open(self.log, "a") as file:
            file.write(f"{function.__name__}\n")
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self):
        pass


POTENTIAL = PotentialKind("springs", "Springs", Springs, SpringSettings, "force field", colour="#123456",
                          works=(("", "Hooke, Lectures de potentia restitutiva (1678)."),))  # fmt: skip
TRAINER = TrainerKind("fitted-springs", "fitted springs", FitSettings, fit, "springs.json", "springs",
                      seconds=lambda settings, size: 1.0, seconds_per_step=lambda settings, n: 1e-4)  # fmt: skip
ENGINE = EngineKind("backwards", "backwards", lambda potential, cell: hasattr(potential, "calculator"), frames,
                    lambda job: {"name": "backwards"}, lambda job: False, lambda job, option, value: False,
                    on_request=True)  # fmt: skip
SAMPLER = SamplerKind("rattled", "rattled", "nEQ", RattledCounts, rattle, RattledSettings)
EXECUTOR = ExecutorKind("here", HereSettings, lambda machine, settings, name: Here(name))
PROPERTY = PropertyKind("gyration", "Radius of gyration", GyrationSettings, Gyration)

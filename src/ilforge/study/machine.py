"""``machine.toml``: where and how a study runs. Nothing in it changes a result, so it is never hashed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, field_validator, model_validator

from ilforge import hardware
from ilforge.devices import Devices
from ilforge.errors import SettingsError
from ilforge.machine_programs import MachinePrograms
from ilforge.settings import Name, Positive, Settings
from ilforge.settings_file import check_settings, read_toml

USER_FILE = Path("~/.config/ilforge/machine.toml")
LOCAL = "local"
"""The executor that is there without being named, and its kind."""
_ALONE = ("gpaw", "gmx", "gmx_d")  # programs that are started without a launcher


class Commands(Settings):
    """How programs are started here: a launcher with its options where there is one, and the program as the last word.

    A program that is not named is the one of that name on ``PATH``."""

    cp2k: str | None = None
    """CP2K, such as ``"mpirun -np 8 cp2k.psmp"``; it comes before ``command`` in the study file."""
    vasp: str | None = None
    """VASP, such as ``"mpirun -np 16 vasp_std"``; it comes before ``command`` in the study file."""
    gpaw: str | None = None
    """GPAW's program ``gpaw``, such as ``"/opt/gpaw/bin/gpaw"``; without ``mpirun``: it is asked frame by frame."""
    gmx: str | None = None
    """GROMACS, such as ``"/opt/gromacs/bin/gmx"``; without ``mpirun``, since it uses the threads of its task."""
    gmx_d: str | None = None
    """GROMACS in double precision, likewise."""
    lmp: str | None = None
    """LAMMPS, such as ``"mpirun -np 4 /opt/lammps/bin/lmp"``; started just like this, whatever ``threads`` is."""

    @field_validator("*")
    @classmethod
    def _is_a_command(cls, text: str | None, info: Any) -> str | None:
        if text is None:
            return None
        words = shlex.split(text)  # ValueError, in words, for a quote without end
        if not words:
            raise ValueError("it is empty; it should be a command line, such as the program's path")
        if info.field_name in _ALONE and len(words) > 1:
            raise ValueError(f"{text!r} has {len(words)} words; it should be one program, without a launcher")
        return text


class Run(Settings):
    """Which executor each kind of work goes to, by name: ``local``, or one of ``[executors]``."""

    label: str = LOCAL
    """Reference calculations: single frames, AIMD and isolated atoms."""
    train: str = LOCAL
    """Training of models."""
    md: str = LOCAL
    """Molecular dynamics: of ``[[md]]``, and that which frames are taken from."""
    explore: str = LOCAL
    """MD of concurrent learning, which looks for frames that models disagree on."""
    analyse: str = LOCAL
    """Everything else: datasets, validation, properties, the report."""


class Machine(Settings):
    """This machine: how many tasks at once, with how many threads, and where results are kept."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Tasks that run at the same time; without it, as many as ``cores`` and ``threads`` allow. Where ``cores`` is given
    as well, it is not exceeded."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of each task. One thread a task is the fastest where there are many tasks, and reproducible."""
    cores: Annotated[int, Field(ge=1)] | None = None
    """Processor cores that tasks may use; without it, those that this process may use."""
    memory_GB: Positive | None = None
    """Memory that all tasks together may be expected to take, GB: one that would exceed it waits, unless it is the only
    one. Without it, nine tenths of what the machine, or its container, has."""
    gpus: Annotated[int, Field(ge=1)] | None = None
    """Tasks that compute on a GPU at the same time; without it, they share the GPUs."""
    device: str | dict[str, str] = "cpu"
    """Where PyTorch (MACE), OpenMM, DeePMD-kit and GROMACS compute: cpu, cuda, cuda:1, opencl, or auto (cuda where it
    is found); or one for each, such as ``device = { torch = "cuda", openmm = "opencl" }``, the others on the CPU."""
    store: str = "ilforge-store"
    """Folder of results and labels, shared by all studies that name it; relative to where ilforge is run."""
    output: str = "ilforge-results"
    """Folder that reports are put in, one folder a study; relative to where ilforge is run."""
    commands: Commands = Commands()
    """How programs are started here: ``cp2k = "mpirun -np 8 cp2k.psmp"``."""
    environments: dict[Name, str] = {}
    """Python interpreters of other environments, for potentials whose packages cannot be installed beside ilforge's:
    ``sevennet = "/home/me/sevennet/bin/python"``."""
    executors: dict[Name, dict[str, Any]] = {}
    """More executors: a name, its ``kind``, and keys of that kind. ``local``, the processes of this machine, is there
    without being named."""
    run: Run = Run()
    """Which executor each kind of work goes to: ``run = { label = "many", train = "local" }``."""

    _from_user: bool = PrivateAttr(default=True)

    @model_validator(mode="after")
    def _check_device(self) -> Machine:
        try:
            Devices.parse(self.device)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _check_executors(self) -> Machine:
        known = sorted({LOCAL, *self.executors})
        for work, name in self.run.model_dump().items():
            if name not in known:
                raise ValueError(f"run.{work} is {name!r}, but there are the executors {', '.join(known)}")
        for name, table in self.executors.items():
            if not isinstance(table.get("kind"), str):
                raise ValueError(f'executors.{name}.kind is missing: say what it is, such as kind = "{LOCAL}"')
        return self

    @property
    def devices(self) -> Devices:
        """The device of each program, as it was asked for."""
        return Devices.parse(self.device)

    @property
    def programs(self) -> MachinePrograms:
        """How programs are started here."""
        return MachinePrograms(self.commands.model_dump(exclude_none=True), self.environments, self._from_user)

    @property
    def usable_cores(self) -> int:
        """Cores that tasks may use."""
        return self.cores or hardware.usable_cores()

    @property
    def usable_memory_GB(self) -> float:
        """Memory that tasks may take, GB."""
        return self.memory_GB or hardware.usable_memory_GB()

    @property
    def worker_count(self) -> int:
        """Tasks that run at the same time."""
        fitting = max(1, self.usable_cores // self.threads)
        if self.workers is None:
            return fitting
        return self.workers if self.cores is None else min(self.workers, fitting)


def load_machine(path: str | Path | None = None, study_folder: Path | None = None) -> Machine:
    """The given file; else ``machine.toml`` beside the study; else the user's own; else the defaults."""
    beside = study_folder / "machine.toml" if study_folder else None
    if path is not None:
        candidates = [Path(path)]
        if not candidates[0].is_file():
            raise SettingsError(f"There is no machine file {path}.")
    else:
        candidates = [*([beside] if beside else []), USER_FILE.expanduser()]
    for candidate in candidates:
        if candidate.is_file():
            machine = check_settings(Machine, read_toml(candidate)[1], str(candidate))
            machine._from_user = path is not None or candidate != beside
            return machine
    return Machine()

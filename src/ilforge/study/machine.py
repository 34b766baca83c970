"""``machine.toml``: where and how a study runs. It does not change results, so it is not part of any key."""

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
"""Name and kind of the executor that always exists."""
_ALONE = ("gpaw", "gmx", "gmx_d")  # programs that are started without a launcher


class Commands(Settings):
    """Commands that start programs on this machine: an optional launcher with its options, then the program as the last
    word.

    A program that is not named here is looked up on ``PATH``."""

    cp2k: str | None = None
    """CP2K, such as ``"mpirun -np 8 cp2k.psmp"``; it has priority over ``command`` in the study file."""
    vasp: str | None = None
    """VASP, such as ``"mpirun -np 16 vasp_std"``; it has priority over ``command`` in the study file."""
    gpaw: str | None = None
    """GPAW's program ``gpaw``, such as ``"/opt/gpaw/bin/gpaw"``, without ``mpirun``; one process computes frames."""
    gmx: str | None = None
    """GROMACS, such as ``"/opt/gromacs/bin/gmx"``, without ``mpirun``, because it uses the threads of its task."""
    gmx_d: str | None = None
    """GROMACS in double precision, also without ``mpirun``."""
    lmp: str | None = None
    """LAMMPS, such as ``"mpirun -np 4 /opt/lammps/bin/lmp"``; ``threads`` does not change this command."""

    @field_validator("*")
    @classmethod
    def _is_a_command(cls, text: str | None, info: Any) -> str | None:
        if text is None:
            return None
        words = shlex.split(text)  # raises ValueError for an unclosed quote
        if not words:
            raise ValueError("it is empty; write a command, such as the path of the program")
        if info.field_name in _ALONE and len(words) > 1:
            raise ValueError(
                f"{text!r} has {len(words)} words; write the path of the program only, without mpirun or another "
                "launcher"
            )
        return text


class Run(Settings):
    """The executor for each kind of work, by name: ``local``, or one of ``[executors]``."""

    label: str = LOCAL
    """Reference calculations: single frames, AIMD and isolated atoms."""
    train: str = LOCAL
    """Training of models."""
    md: str = LOCAL
    """Molecular dynamics of ``[[md]]``, and of sampling."""
    explore: str = LOCAL
    """MD of concurrent learning, which searches for frames on which the models disagree."""
    analyse: str = LOCAL
    """Everything else: datasets, validation, properties, the report."""


class Machine(Settings):
    """This machine: the number of tasks at the same time, the threads of each, and the folder of results."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Tasks that run at the same time. Without it, as many as ``cores`` and ``threads`` allow. If ``cores`` is given
    too, it is never exceeded."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of each task. One thread is fastest if there are many tasks, and reproducible."""
    cores: Annotated[int, Field(ge=1)] | None = None
    """Processor cores that tasks may use. Without it, all cores that this process may use."""
    memory_GB: Positive | None = None
    """Upper limit for the expected memory of all tasks together, GB. A task that would exceed it waits, unless it is
    the only one. Without it, nine tenths of the memory of the machine, or of its container."""
    gpus: Annotated[int, Field(ge=1)] | None = None
    """Tasks that compute on a GPU at the same time. Without it, all tasks share the GPUs."""
    device: str | dict[str, str] = "cpu"
    """Device of all programs: cpu, cuda, cuda:1, opencl, or auto (cuda if it is found). Or one for each program, such
    as ``device = { torch = "cuda", openmm = "opencl" }`` (:data:`ilforge.devices.PROGRAMS`); the others use the CPU."""
    store: str = "ilforge-store"
    """Folder of results and labels, shared by all studies that name it, relative to the current folder."""
    output: str = "ilforge-results"
    """Folder of reports, with one folder for each study, relative to the current folder."""
    commands: Commands = Commands()
    """Commands that start programs: ``cp2k = "mpirun -np 8 cp2k.psmp"``."""
    environments: dict[Name, str] = {}
    """Python interpreters of other environments, for potentials whose packages cannot be installed beside ilforge's:
    ``sevennet = "/home/me/sevennet/bin/python"``."""
    executors: dict[Name, dict[str, Any]] = {}
    """Further executors: a name, its ``kind``, and keys of that kind. ``local``, the processes of this machine, always
    exists."""
    run: Run = Run()
    """The executor for each kind of work: ``run = { label = "many", train = "local" }``."""

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
                raise ValueError(f"run.{work} is {name!r}, which is not one of the executors: {', '.join(known)}")
        for name, table in self.executors.items():
            if not isinstance(table.get("kind"), str):
                raise ValueError(f'executors.{name}.kind is missing: write it, such as kind = "{LOCAL}"')
        return self

    @property
    def devices(self) -> Devices:
        """The device of each program, as written in the file."""
        return Devices.parse(self.device)

    @property
    def programs(self) -> MachinePrograms:
        """How programs are started on this machine."""
        return MachinePrograms(self.commands.model_dump(exclude_none=True), self.environments, self._from_user)

    @property
    def usable_cores(self) -> int:
        """Number of cores that tasks may use."""
        return self.cores or hardware.usable_cores()

    @property
    def usable_memory_GB(self) -> float:
        """Memory that tasks may use, GB."""
        return self.memory_GB or hardware.usable_memory_GB()

    @property
    def worker_count(self) -> int:
        """Number of tasks that run at the same time."""
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

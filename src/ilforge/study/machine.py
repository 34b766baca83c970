"""``machine.toml``: where and how a study runs. Nothing in it changes a result, so it is never hashed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ilforge.devices import Devices
from ilforge.errors import SettingsError
from ilforge.settings import Settings
from ilforge.settings_file import check_settings, read_toml

USER_FILE = Path("~/.config/ilforge/machine.toml")


class Machine(Settings):
    """This machine: how many tasks at once, with how many threads, and where results are kept."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Tasks that run at the same time; without it, the number of processor cores this process may use."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Threads of each task. One thread a task is the fastest where there are many tasks, and reproducible."""
    device: str | dict[str, str] = "cpu"
    """Where PyTorch (MACE), OpenMM, DeePMD-kit and GROMACS compute: cpu, cuda, cuda:1, opencl, or auto (cuda where it
    is found); or one for each, such as ``device = { torch = "cuda", openmm = "opencl" }``, the others on the CPU."""
    store: str = "ilforge-store"
    """Folder of results and labels, shared by all studies that name it; relative to where ilforge is run."""
    output: str = "ilforge-results"
    """Folder that reports are put in, one folder a study; relative to where ilforge is run."""

    @model_validator(mode="after")
    def _check_device(self) -> Machine:
        try:
            Devices.parse(self.device)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def devices(self) -> Devices:
        """The device of each program, as it was asked for."""
        return Devices.parse(self.device)

    @property
    def worker_count(self) -> int:
        return self.workers or usable_cores()


def load_machine(path: str | Path | None = None, study_folder: Path | None = None) -> Machine:
    """The given file; else ``machine.toml`` beside the study; else the user's own; else the defaults."""
    if path is not None:
        candidates = [Path(path)]
        if not candidates[0].is_file():
            raise SettingsError(f"There is no machine file {path}.")
    else:
        candidates = [*([study_folder / "machine.toml"] if study_folder else []), USER_FILE.expanduser()]
    for candidate in candidates:
        if candidate.is_file():
            return check_settings(Machine, read_toml(candidate)[1], str(candidate))
    return Machine()


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

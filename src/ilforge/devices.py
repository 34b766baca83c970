"""Devices: whether PyTorch, OpenMM, DeePMD-kit and GROMACS compute on the processor or on a GPU.

A device belongs to the machine, like the number of threads: it changes results only by rounding, and it is not part of
any key. Each process has one choice (:func:`use`), which is set at its start. Adapters call :func:`resolved` for the
device of a program. If a GPU was asked for but is missing, this raises an error before anything is computed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from ilforge import environments, programs
from ilforge.errors import DidNotFinish, MissingProgram, SettingsError

Kind = Literal["cpu", "cuda", "opencl", "auto"]
Own = Literal["torch", "openmm", "deepmd", "gromacs"]
Program = str
"""One of :data:`PROGRAMS`, or the name of an environment (:mod:`ilforge.environments`), in which PyTorch computes."""

PROGRAMS: tuple[Own, ...] = get_args(Own)
TITLES: dict[str, str] = {
    "torch": "PyTorch",
    "openmm": "OpenMM",
    "deepmd": "DeePMD-kit with TensorFlow",
    "gromacs": "GROMACS",
}
KINDS: dict[str, tuple[Kind, ...]] = {
    "torch": ("cpu", "cuda"),
    "openmm": ("cpu", "cuda", "opencl"),
    "deepmd": ("cpu", "cuda"),
    "gromacs": ("cpu", "cuda", "opencl"),
}
"""Kinds of device that each program supports, in addition to ``auto``."""

ALLOWED = "cpu, cuda, cuda:0 (the first GPU, cuda:1 the second), opencl, opencl:0 or auto (cuda if it is found)"

_LIST_GPUS = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]

_TORCH_PROBE = """
import json
import torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print("FOUND " + json.dumps([torch.__version__, torch.version.cuda, count]))
"""

_DEEPMD_PROBE = """
import json
import tensorflow
from deepmd.env import GLOBAL_CONFIG
print("FOUND " + json.dumps([
    tensorflow.__version__, bool(tensorflow.test.is_built_with_cuda()), GLOBAL_CONFIG.get("dp_variant", "cpu"),
    len(tensorflow.config.list_physical_devices("GPU")),
]))
"""


@dataclass(frozen=True)
class Device:
    """The device of one program.

    Attributes
    ----------
    kind
        ``cpu``, ``cuda``, ``opencl``, or ``auto``: CUDA if the program finds it, otherwise the processor.
    index
        Number of the GPU, from 0, among those visible to the process; None for the program's own choice.
    """

    kind: Kind = "cpu"
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Device:
        """A device from its text form: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"opencl"``, ``"auto"``.

        Raises
        ------
        SettingsError
            For any other text.
        """
        found = re.fullmatch(r"(cpu|auto)|(cuda|opencl)(?::(\d+))?", text.strip().lower())
        if found is None:
            raise SettingsError(f"device is {text!r}; it may be {ALLOWED}.")
        kind = cast(Kind, found[1] or found[2])  # the pattern requires one of them
        return cls(kind, None if found[3] is None else int(found[3]))

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @property
    def is_gpu(self) -> bool:
        return self.kind in ("cuda", "opencl")


CPU = Device()


@dataclass(frozen=True)
class Devices:
    """The device of each program, from ``device`` in ``machine.toml`` and ``--device``."""

    torch: Device = CPU
    openmm: Device = CPU
    deepmd: Device = CPU
    gromacs: Device = CPU

    @classmethod
    def parse(cls, value: str | Mapping[str, str]) -> Devices:
        """Read one device for all programs, or a table by program; programs that are not named use the CPU.

        Raises
        ------
        SettingsError
            For an unknown device, or a program without a choice of device.
        """
        if isinstance(value, str):
            return cls(*[Device.parse(value)] * len(PROGRAMS))
        unknown = sorted(set(value) - set(PROGRAMS))
        if unknown:
            raise SettingsError(f"device.{unknown[0]} is not a known key. Known in [device]: {', '.join(PROGRAMS)}.")
        return cls(**{program: Device.parse(text) for program, text in value.items()})

    def of(self, program: Program) -> Device:
        """The device that was asked for; it may be missing. Environments have the device of PyTorch."""
        found: Device = getattr(self, program if program in PROGRAMS else "torch")
        return found

    def resolved(self, program: Program) -> Device:
        """The device on which a program must compute: ``cpu``, or a GPU that it can use.

        Raises
        ------
        SettingsError
            When a GPU was asked for that the program does not support or does not find.
        MissingProgram
            When a GPU was asked for, but the program is not installed.
        """
        wanted = self.of(program)
        if wanted.kind == "cpu":
            return CPU
        if wanted.kind == "auto":
            cuda = Device("cuda")
            return cuda if _fault(program, cuda) is None else CPU
        if wanted.kind not in KINDS.get(program, KINDS["torch"]):
            others = " or ".join(KINDS.get(program, KINDS["torch"]))
            raise SettingsError(
                f'device = "{wanted}": {title(program)} can compute on {others}. In machine.toml each program may '
                f'have its own device: device = {{ openmm = "{wanted}" }}.'
            )
        fault = _fault(program, wanted)
        if fault is not None:
            raise SettingsError(
                f'device = "{wanted}" (machine.toml, or --device): {title(program)} cannot use it here. {fault} '
                'Or choose device = "cpu", or "auto", which uses a GPU only if one is found.'
            )
        return wanted


def title(program: Program) -> str:
    """A program as it is printed."""
    return TITLES.get(program, f"PyTorch in the environment {program}")


_chosen = Devices()


def use(devices: Devices | str) -> None:
    """Choose the devices of this process, such as ``"cuda"``; programs set up before keep their device."""
    global _chosen
    _chosen = Devices.parse(devices) if isinstance(devices, str) else devices


def chosen() -> Devices:
    """The devices chosen for this process; a GPU may be missing."""
    return _chosen


def gpu_wanted() -> bool:
    """Whether a GPU was named for any program of this process."""
    return any(_chosen.of(program).is_gpu for program in PROGRAMS)


def resolved(program: Program) -> Device:
    """The device of a program in this process: see :meth:`Devices.resolved`."""
    return _chosen.resolved(program)


def visible(device: Device) -> dict[str, str]:
    """Environment in which a child process sees only this CUDA device, or no GPU for ``cpu``.

    The index refers to the GPUs visible to this process, which a queueing system may have restricted.
    """
    if device.kind != "cuda":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if device.index is None:
        return {}
    own = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    chosen = own[device.index] if device.index < len(own) else str(device.index)
    return {"CUDA_VISIBLE_DEVICES": chosen}


def inventory() -> dict[str, str]:
    """The devices that each of :data:`PROGRAMS` finds on this machine, in words; programs that are missing are not
    listed."""
    found: dict[str, str] = {}
    for program in PROGRAMS:
        try:
            kinds = [kind for kind in KINDS[program] if kind == "cpu" or _fault(program, Device(kind)) is None]
        except MissingProgram:
            continue
        found[program] = ", ".join(kinds)
    return found


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs visible to this process, from the driver; empty without a driver.

    ``CUDA_VISIBLE_DEVICES`` applies, as for other programs.
    """
    with tempfile.TemporaryDirectory(prefix="ilforge-gpus-") as folder:
        try:
            programs.run(_LIST_GPUS, Path(folder), log="list", timeout_s=300)
        except (MissingProgram, DidNotFinish):
            return []
        said = (Path(folder) / "list").read_text(errors="replace").splitlines()
    rows = [[word.strip() for word in line.split(",", 2)] for line in said if line.count(",") >= 2]
    visible_ones = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible_ones is None:
        return [name for _, _, name in rows]
    wanted = [word.strip() for word in visible_ones.split(",") if word.strip()]
    return [name for one in wanted for index, uuid, name in rows if one in (index, uuid)]


@functools.cache
def _fault(program: Program, device: Device) -> str | None:
    """Why a program cannot use a GPU, with a remedy, in sentences; None if it can.

    Raises
    ------
    MissingProgram
        When the program is not installed.
    """
    return _PROBES[program](device) if program in _PROBES else _environment_fault(program, device)


def _torch_fault(device: Device) -> str | None:
    programs.require("torch")
    import torch

    if not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        return (
            f"torch.cuda.is_available() is False: PyTorch {torch.__version__} {built}. Install a build for the CUDA "
            "of this machine's driver (pytorch.org), and see that nvidia-smi lists the GPU."
        )
    return _beyond(device, torch.cuda.device_count(), "torch.cuda.device_count()")


def _environment_fault(name: str, device: Device) -> str | None:
    """The same as :func:`_torch_fault`, for PyTorch in another environment."""
    python = environments.interpreter(name)
    with tempfile.TemporaryDirectory(prefix="ilforge-torch-") as folder:
        try:
            programs.run([str(python), "-I", "-c", _TORCH_PROBE], Path(folder), log="log", timeout_s=600)
        except DidNotFinish as error:
            return f"PyTorch does not start in the environment {name}: {error.last_lines}"
        said = (Path(folder) / "log").read_text(errors="replace")
    answer = re.search(r"^FOUND (.*)$", said, re.MULTILINE)
    if answer is None:
        return f"PyTorch of the environment {name} gave no answer: {said[-300:]}"
    version, built, count = json.loads(answer[1])
    if not count:
        return (
            f"PyTorch {version} of the environment {name} is built {f'for CUDA {built}' if built else 'without CUDA'} "
            "and finds no GPU. Install a build for the CUDA of this machine's driver there (pytorch.org), and see that "
            "nvidia-smi lists the GPU."
        )
    return _beyond(device, count, "torch.cuda.device_count()")


def _openmm_fault(device: Device) -> str | None:
    programs.require("openmm")
    import openmm

    name = {"cuda": "CUDA", "opencl": "OpenCL"}[device.kind]
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        cure = "pip install 'openmm[cuda12]'" if name == "CUDA" else "install the OpenCL driver of the GPU"
        failures = "".join(f" {line}" for line in openmm.Platform.getPluginLoadFailures())
        return (
            f"OpenMM {openmm.version.full_version} has the platforms {', '.join(names)}, but not {name}.{failures} "
            f"For {name}: {cure}."
        )
    system = openmm.System()
    system.addParticle(1.0)
    properties = {} if device.index is None else {"DeviceIndex": str(device.index)}
    platform = openmm.Platform.getPlatformByName(name)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
    except Exception as error:  # OpenMM raises the same class for all errors
        return f"OpenMM's platform {name} does not start: {error}. Check the driver and the number of the GPU."
    return None


def _deepmd_fault(device: Device) -> str | None:
    programs.find("dp")
    with tempfile.TemporaryDirectory(prefix="ilforge-dp-") as folder:
        try:
            programs.run(["python3", "-c", _DEEPMD_PROBE], Path(folder), log="log")
        except DidNotFinish as error:
            return f"TensorFlow does not start: {error.last_lines}"
        said = (Path(folder) / "log").read_text(errors="replace")
    answer = re.search(r"^FOUND (.*)$", said, re.MULTILINE)
    assert answer is not None  # otherwise the probe would have failed
    version, built, variant, count = json.loads(answer[1])
    install = "pip install 'deepmd-kit[gpu,cu12,lmp]==3.2.0'"
    if not built or variant == "cpu":
        lacking = f"TensorFlow {version}" if not built else "DeePMD-kit"
        return f"{lacking} is built without CUDA. Install a build with it: {install}."
    if not count:
        return (
            f"TensorFlow {version} is built with CUDA, but lists no GPU. See that nvidia-smi lists one, and that "
            f"TensorFlow's CUDA libraries are installed: {install}."
        )
    return _beyond(device, count, "TensorFlow's list of GPUs")


def _gromacs_fault(device: Device) -> str | None:
    with tempfile.TemporaryDirectory(prefix="ilforge-gmx-") as folder:
        programs.run(["gmx", "--version"], Path(folder), log="version")
        said = (Path(folder) / "version").read_text(errors="replace")
    line = re.search(r"^GPU support:\s*(.*?)\s*$", said, re.MULTILINE)
    support = line[1] if line else "not mentioned"
    if support.lower() != device.kind:
        name = {"cuda": "CUDA", "opencl": "OpenCL"}[device.kind]
        return f"`gmx --version` says GPU support: {support}. Install a build of GROMACS with -DGMX_GPU={name}."
    return None


def _beyond(device: Device, count: int, listed_by: str) -> str | None:
    """The fault of the number of a GPU, counted from 0, if there are ``count`` GPUs; None if it is valid."""
    if device.index is None or device.index < count:
        return None
    last = "cuda:0 is the only one" if count == 1 else f"the last is cuda:{count - 1}"
    return f"There are {count} according to {listed_by}: {last}."


_PROBES: dict[str, Callable[[Device], str | None]] = {
    "torch": _torch_fault,
    "openmm": _openmm_fault,
    "deepmd": _deepmd_fault,
    "gromacs": _gromacs_fault,
}

"""The platform that OpenMM computes on: the processor, or the GPU that this process was given."""

from __future__ import annotations

from typing import Any

from ilforge import devices
from ilforge.devices import Device

_NAMES = {"cpu": "CPU", "cuda": "CUDA", "opencl": "OpenCL"}


def platform_and_properties(threads: int, device: Device | None = None) -> tuple[str, dict[str, str]]:
    """Name of a platform and its properties, with forces that do not depend on the threads.

    A GPU adds forces up in single and integrates in double precision (``mixed``). On CUDA forces are the same in each
    run, as on the CPU, so that a run that was stopped and continued is the same as one that was not; OpenMM offers
    no such property for OpenCL.

    Parameters
    ----------
    device
        Without it what was chosen for OpenMM in this process.

    Raises
    ------
    SettingsError
        When a GPU was chosen that OpenMM does not find.
    """
    device = devices.resolved("openmm") if device is None else device
    name = _NAMES[device.kind]
    if not device.is_gpu:
        return name, {"Threads": str(threads), "DeterministicForces": "true"}
    properties = {"Precision": "mixed"}
    if device.index is not None:
        properties["DeviceIndex"] = str(device.index)
    if device.kind == "cuda":
        properties["DeterministicForces"] = "true"
    return name, properties


def platform_for_dynamics(system: Any, threads: int) -> tuple[str, dict[str, str]]:
    """Platform that moves the atoms of an ``openmm.System``.

    Where Python gives the forces, as for learned models, it is the processor: OpenMM only integrates, and a GPU would
    copy positions and forces at every step.
    """
    import openmm

    of_python = any(isinstance(force, openmm.PythonForce) for force in system.getForces())
    return platform_and_properties(threads, devices.CPU if of_python else None)

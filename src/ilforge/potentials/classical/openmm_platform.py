"""The platform of OpenMM: the processor, or the GPU chosen for this process."""

from __future__ import annotations

from typing import Any

from ilforge import devices
from ilforge.devices import Device

_NAMES = {"cpu": "CPU", "cuda": "CUDA", "opencl": "OpenCL"}


def platform_and_properties(threads: int, device: Device | None = None) -> tuple[str, dict[str, str]]:
    """Name of a platform and its properties; forces do not depend on the number of threads.

    A GPU computes forces in single precision and integrates in double precision (``mixed``). With CUDA, as on the CPU,
    forces are reproducible, so that a stopped and continued run is the same as an uninterrupted one. OpenMM has no such
    property for OpenCL.

    Parameters
    ----------
    device
        By default the device chosen for OpenMM in this process.

    Raises
    ------
    SettingsError
        When a GPU was chosen, but OpenMM does not find it.
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
    """Platform for the dynamics of an ``openmm.System``.

    If Python computes the forces, as for learned models, it is the processor: OpenMM only integrates, and a GPU would
    have to copy positions and forces at every step.
    """
    import openmm

    of_python = any(isinstance(force, openmm.PythonForce) for force in system.getForces())
    return platform_and_properties(threads, devices.CPU if of_python else None)

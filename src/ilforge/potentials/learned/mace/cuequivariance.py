"""cuEquivariance: NVIDIA's kernels for equivariant models, which MACE uses on a GPU where they are installed."""

from __future__ import annotations

from importlib.util import find_spec

from ilforge.devices import Device


def has_cuequivariance(device: Device) -> bool:
    """Whether MACE can use cuEquivariance's kernels on this device: on a CUDA device, with both packages installed.

    ``pip install cuequivariance-torch cuequivariance-ops-torch-cu12`` brings them. They change the order of sums, and
    therefore results within rounding.
    """
    packages = ("cuequivariance_torch", "cuequivariance_ops_torch")
    return device.kind == "cuda" and all(find_spec(package) is not None for package in packages)

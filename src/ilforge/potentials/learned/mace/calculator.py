"""MACE's ASE calculator with energies that do not lose digits in single precision. Loads PyTorch and mace."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import all_changes

from ilforge.devices import CPU, Device
from ilforge.potentials.learned.mace.cuequivariance import has_cuequivariance

with contextlib.redirect_stdout(io.StringIO()):  # it prints which accelerators are not installed
    from mace.calculators import MACECalculator


class MaceCalculator(MACECalculator):
    """A MACE model whose energies are added up in double precision.

    The energies of isolated atoms are thousands of eV in a box. Included in a sum in single precision, they would limit
    the resolution of the part that depends on positions to 1e-4 to 1e-2 eV. They are therefore removed from the model
    and added afterwards.

    Parameters
    ----------
    model
        A loaded MACE model; it is changed.
    dtype
        Precision in which it is evaluated.
    device
        ``cpu``, or a CUDA device; there the model runs with cuEquivariance's kernels where they are installed.
    """

    def __init__(self, model: Any, dtype: Literal["float32", "float64"], device: Device = CPU):
        table = model.atomic_energies_fn.atomic_energies
        isolated = np.atleast_2d(table.detach().double().cpu().numpy()).copy()
        table.data.zero_()
        super().__init__(
            models=[model.to(device=str(device), dtype=getattr(torch, dtype))],
            device=str(device),
            default_dtype=dtype,
            enable_cueq=has_cuequivariance(device),
        )
        numbers = [int(number) for number in self.z_table.zs]
        self._isolated = dict(zip(numbers, isolated[self.available_heads.index(self.head)], strict=True))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]  # MACE's has no types
        assert self.atoms is not None
        isolated = np.array([self._isolated[number] for number in self.atoms.numbers.tolist()])
        energies = self.results["node_energy"].astype(float) + isolated
        energy = float(energies.sum())
        self.results.update(energy=energy, free_energy=energy, energies=energies)

"""Models of the MACE family, trained here or elsewhere (Batatia et al., NeurIPS 2022, arXiv:2206.07697)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials import model_file
from ilforge.potentials.calculator_system import system_of
from ilforge.potentials.force_evaluator import CalculatorEvaluator, ForceEvaluator


@dataclass(frozen=True)
class Mace:
    """A MACE model file.

    Parameters
    ----------
    path
        The ``.model`` file.
    sha256
        Its digest. Model files are pickles, which run code when loaded: only the file with this digest is.
    dtype
        Precision in which it is evaluated.
    """

    path: Path
    sha256: str | None = None
    dtype: Literal["float32", "float64"] = "float32"

    kind: ClassVar[str] = "mace"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", model_file.absolute(self.path))
        model_file.require_digest(self.path, self.sha256)
        if self.dtype not in ("float32", "float64"):
            raise SettingsError(f"dtype is {self.dtype!r}; it may be 'float32' or 'float64'.")

    def describe(self) -> dict[str, Any]:
        """The model by its digest, wherever its file lies."""
        return {"kind": self.kind, "sha256": self.sha256.lower(), "dtype": self.dtype}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator; ``threads`` holds for all of PyTorch in this process."""
        contents = model_file.verified(self.path, self.sha256)
        import torch

        from ilforge.potentials.mace_calculator import MaceCalculator

        torch.set_num_threads(threads)
        try:
            model = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=False)
            calculator = MaceCalculator(model, self.dtype)
        except Exception as error:  # a pickle of anything else can fail in any way
            raise SettingsError(f"{self.path} could not be loaded as a MACE model: {error}") from error
        if topology is not None:
            from ase.data import chemical_symbols

            known = [chemical_symbols[number] for number in calculator.z_table.zs]
            model_file.refuse_unknown(self.path, topology.symbols, known)
        return calculator

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """Energy and forces for the engine of the package, by mace-torch."""
        return CalculatorEvaluator(self.calculator(topology, threads), topology.symbols)

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System`` that asks this model; the energy is the whole one, of the isolated atoms too."""
        return system_of(self.calculator(topology, threads), topology, cell, constrain_hydrogens)

    def seconds_per_frame(self, n_atoms: int) -> float:
        # 350 atoms, 6 Å, 16x0e + 16x1o, two threads: 0.5 s in float32, twice that in float64
        return (1.0 if self.dtype == "float32" else 2.0) * 2 * 0.5 * n_atoms / 350

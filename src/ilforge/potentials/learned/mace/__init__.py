"""Models of the MACE family, trained here or elsewhere (Batatia et al., NeurIPS 2022, arXiv:2206.07697)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from ilforge import devices, programs
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.force_evaluator import CalculatorEvaluator, ForceEvaluator
from ilforge.potentials.kind import ModelFileSettings, PotentialKind
from ilforge.potentials.learned import model_file
from ilforge.potentials.learned.calculator_system import system_of
from ilforge.potentials.learned.fast_mace.variations import variations

if TYPE_CHECKING:
    from ilforge.potentials.learned.fast_mace.network import Network
    from ilforge.potentials.learned.mace.calculator import MaceCalculator


class MaceFileSettings(ModelFileSettings):
    """A trained MACE model."""

    kind: Literal["mace"] = "mace"
    """MACE."""


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
    sha256: str = ""
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
        """An ASE calculator: by compiled kernels in single precision where the model has a form for them.

        In double precision, on a GPU, and for other models, by mace-torch, whose ``threads`` hold for all of PyTorch in
        this process.
        """
        model_file.verified(self.path, self.sha256)
        self._refuse_unknown(() if topology is None else topology.symbols)
        if self._by_torch():
            return self._torch_calculator(threads)
        from ilforge.potentials.learned.fast_mace.calculator import FastMaceCalculator

        return FastMaceCalculator(self.fast_network, lambda: self._torch_calculator(threads), threads)

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """Energy and forces for the engine of the package."""
        model_file.verified(self.path, self.sha256)
        self._refuse_unknown(topology.symbols)

        def slow() -> ForceEvaluator:
            return CalculatorEvaluator(self._torch_calculator(threads), topology.symbols)

        if self._by_torch():
            return slow()
        from ilforge.potentials.learned.fast_mace.calculator import FastMaceEvaluator

        return FastMaceEvaluator([self.fast_network], slow, topology.symbols, threads)

    def fast_network(self, frame: Atoms) -> Network:
        """The model as numbers that compiled kernels take, compared with mace-torch on frames like the given one.

        Raises
        ------
        NoFastForm
            When it has none; says why.
        """
        from ilforge.potentials.learned.fast_mace.network import NoFastForm
        from ilforge.potentials.learned.fast_mace.networks import network_of

        why = self._by_torch()
        if why:
            raise NoFastForm(f"it is to be computed {why}")
        return network_of(self.sha256, lambda: model_file.verified(self.path, self.sha256), lambda: variations(frame))

    def prepare(self, tested: Sequence[Atoms]) -> None:
        """Compare compiled kernels with mace-torch on these frames now, and not when the model is first used."""
        from ilforge.potentials.learned.fast_mace.network import NoFastForm
        from ilforge.potentials.learned.fast_mace.networks import network_of

        with contextlib.suppress(NoFastForm):  # said where it was found
            network_of(self.sha256, lambda: model_file.verified(self.path, self.sha256), lambda: tested)

    @property
    def evaluated_by(self) -> str:
        """By what it is evaluated, in words, once it has been."""
        from ilforge.potentials.learned.fast_mace.networks import how

        why = self._by_torch()
        return f"mace-torch {why}" if why else how(self.sha256)

    def _by_torch(self) -> str:
        """Why mace-torch computes and not the compiled kernels, in words; nothing where these may."""
        device = devices.resolved("torch")
        reasons = ["in double precision"] * (self.dtype == "float64") + [f"on {device}"] * device.is_gpu
        return ", ".join(reasons)

    def _torch_calculator(self, threads: int) -> MaceCalculator:
        contents = model_file.verified(self.path, self.sha256)
        device = devices.resolved("torch")
        programs.require("mace")
        import torch

        from ilforge.potentials.learned.mace.calculator import MaceCalculator

        torch.set_num_threads(threads)
        try:
            model = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=False)
            return MaceCalculator(model, self.dtype, device)
        except Exception as error:  # a pickle of anything else can fail in any way
            raise SettingsError(f"{self.path} could not be loaded as a MACE model: {error}") from error

    def _refuse_unknown(self, symbols: tuple[str, ...]) -> None:
        model_file.refuse_unknown(self.path, symbols, [chemical_symbols[z] for z in self._elements()])

    def _elements(self) -> list[int]:
        """Atomic numbers that the model knows."""
        from ilforge.potentials.learned.fast_mace.networks import elements_of

        known = elements_of(self.sha256)
        return list(self._torch_calculator(1).z_table.zs) if known is None else known

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
        # 350 atoms, 6 Å, 16x0e + 16x1o, one core: compiled kernels 7 ms, mace-torch in float64 1 s
        return (7e-3 if self.dtype == "float32" else 1.0) * n_atoms / 350


KIND = PotentialKind(
    name="mace",
    title="MACE",
    potential=Mace,
    settings=MaceFileSettings,
    family="model",
    colour="#D55E00",
    computes_with="torch",
    file_suffix=".model",
    works=(
        (
            "",
            "MACE: Batatia, Kovács, Simm, Ortner and Csányi, MACE: Higher Order Equivariant Message Passing Neural "
            "Networks for Fast and Accurate Force Fields, NeurIPS 35 (2022).",
        ),
    ),
)

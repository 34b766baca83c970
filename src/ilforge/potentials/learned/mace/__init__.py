"""Models of the MACE family, trained here or elsewhere (Batatia et al., NeurIPS 2022, arXiv:2206.07697)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from pydantic import model_validator

from ilforge import devices, programs
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.force_evaluator import CalculatorEvaluator, ForceEvaluator
from ilforge.potentials.kind import Context, PotentialKind, PotentialSettings
from ilforge.potentials.learned import loaded_models, model_file
from ilforge.potentials.learned.calculator_system import system_of
from ilforge.potentials.learned.dispersed import DispersedCalculator, functional_to_add
from ilforge.potentials.learned.fast_mace.variations import variations
from ilforge.potentials.learned.mace import foundation
from ilforge.potentials.quantum.works import WORKS_ON_DISPERSION
from ilforge.settings import require_choice

if TYPE_CHECKING:
    from ilforge.potentials.learned.fast_mace.network import Network
    from ilforge.potentials.learned.mace.calculator import MaceCalculator


class MaceFileSettings(PotentialSettings):
    """A MACE model that is used as it is: a file, or a foundation model from the cache of mace-torch."""

    kind: Literal["mace"] = "mace"
    """MACE."""
    path: str | None = None
    """Model file, relative to the study file."""
    model: Literal[tuple(foundation.MODELS)] | None = None  # type: ignore[valid-type]
    """Foundation model that mace-torch has put into its cache (`~/.cache/mace`), in place of `path`."""
    sha256: str
    """Digest of the model file (`sha256sum FILE`). A model file can run code when it is loaded; only a file with this
    digest is loaded."""
    dispersion: Literal["D3(BJ)", "none"] | None = None
    """Dispersion correction. Without this key D3(BJ) is added to foundation models whose labels have no dispersion,
    and nothing is added to a file."""
    functional: str | None = None
    """Functional of the labels of a file; needed only where D3(BJ) is to be added to it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> MaceFileSettings:
        if (self.path is None) == (self.model is None):
            raise ValueError("give path, a model file, or model, a foundation model: one of them")
        if self.model is not None and self.functional is not None:
            raise ValueError(f"functional is that of {self.model}, {self._known.functional}: leave it out")
        if self.model is not None and self._known.has_dispersion and self.dispersion == "D3(BJ)":
            raise ValueError(f"dispersion: the labels of {self.model} have dispersion in them, which would count twice")
        try:
            self._added  # noqa: B018  # refused here, where the keys are known by their names
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def _known(self) -> foundation.Foundation:
        return foundation.MODELS[str(self.model)]

    @property
    def _added(self) -> str | None:
        """Functional whose D3(BJ) is added."""
        if self.model is None:
            return functional_to_add(self.dispersion or "none", self.functional)
        return functional_to_add(
            self.dispersion or ("none" if self._known.has_dispersion else "D3(BJ)"), self._known.functional
        )

    def spec(self, context: Context) -> dict[str, Any]:
        path = foundation.path_of(str(self.model)) if self.path is None else context.folder / self.path
        added = {} if self._added is None else {"dispersion": "D3(BJ)", "functional": self._added}
        return {"kind": self.kind, "path": str(path), "sha256": self.sha256, **added}

    @property
    def title(self) -> str:
        name = f"MACE model {Path(self.path).name}" if self.path is not None else f"MACE {self.model}"
        return name if self._added is None else f"{self._added}-D3(BJ) with {name}"


@dataclass(frozen=True)
class Mace:
    """A MACE model file.

    Parameters
    ----------
    path
        The ``.model`` file.
    sha256
        Its digest. Model files are pickles, which can run code when loaded, so only the file with this digest is
        loaded.
    dtype
        Precision in which it is evaluated.
    dispersion
        ``"D3(BJ)"`` to add it, for a model of labels without dispersion.
    functional
        Of those labels; sets the damping.
    """

    path: Path
    sha256: str = ""
    dtype: Literal["float32", "float64"] = "float32"
    dispersion: Literal["D3(BJ)", "none"] = "none"
    functional: str | None = None

    kind: ClassVar[str] = "mace"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", model_file.absolute(self.path))
        model_file.require_digest(self.path, self.sha256)
        require_choice("dtype", self.dtype, ("float32", "float64"))
        functional_to_add(self.dispersion, self.functional)

    def describe(self) -> dict[str, Any]:
        """The model, identified by its digest and not by the path of its file."""
        added = {"dispersion": self.dispersion, "of": self.functional} if self._added else {}
        return {"kind": self.kind, "sha256": self.sha256.lower(), "dtype": self.dtype, **added}

    @property
    def _added(self) -> str | None:
        return functional_to_add(self.dispersion, self.functional)

    def _contents(self) -> bytes:
        foundation.require(self.path)
        return model_file.verified(self.path, self.sha256)

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator: with compiled kernels in single precision, if they support the model.

        In double precision, on a GPU, and for other models, it uses mace-torch; ``threads`` then applies to all of
        PyTorch in this process.
        """
        self._contents()
        self._refuse_unknown(() if topology is None else topology.symbols)
        bare = self._bare_calculator(threads)
        return bare if self._added is None else DispersedCalculator(bare, self._added)

    def _bare_calculator(self, threads: int) -> Calculator:
        """The model without dispersion."""
        if self._by_torch():
            return self._torch_calculator(threads)
        from ilforge.potentials.learned.fast_mace.calculator import FastMaceCalculator

        return FastMaceCalculator(self._network, lambda: self._torch_calculator(threads), threads)

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """Energy and forces for the engine of the package."""
        if self._added is not None:
            return CalculatorEvaluator(self.calculator(topology, threads), topology.symbols)
        self._contents()
        self._refuse_unknown(topology.symbols)

        def slow() -> ForceEvaluator:
            return CalculatorEvaluator(self._torch_calculator(threads), topology.symbols)

        if self._by_torch():
            return slow()
        from ilforge.potentials.learned.fast_mace.calculator import FastMaceEvaluator

        return FastMaceEvaluator([self.fast_network], slow, topology.symbols, threads)

    def fast_network(self, frame: Atoms) -> Network:
        """The model in the form for compiled kernels, after a comparison with mace-torch on variations of the given
        frame.

        Raises
        ------
        NoFastForm
            When the kernels cannot evaluate the model; the message says why.
        """
        from ilforge.potentials.learned.fast_mace.network import NoFastForm

        if self._added is not None:
            raise NoFastForm("dispersion is added to it")
        return self._network(frame)

    def _network(self, frame: Atoms) -> Network:
        """See :meth:`fast_network`, without dispersion."""
        from ilforge.potentials.learned.fast_mace.network import NoFastForm
        from ilforge.potentials.learned.fast_mace.networks import network_of

        why = self._by_torch()
        if why:
            raise NoFastForm(f"it must be computed {why}")
        return network_of(self.sha256, self.torch_model, lambda: variations(frame))

    def prepare(self, tested: Sequence[Atoms]) -> None:
        """Compare compiled kernels with mace-torch on these frames now, and not when the model is first used."""
        from ilforge.potentials.learned.fast_mace.network import NoFastForm
        from ilforge.potentials.learned.fast_mace.networks import network_of

        with contextlib.suppress(NoFastForm):  # said where it was found
            network_of(self.sha256, self.torch_model, lambda: tested)

    @property
    def evaluated_by(self) -> str:
        """A description of what evaluates the model; known after its first evaluation."""
        from ilforge.potentials.learned.fast_mace.networks import how

        why = self._by_torch()
        added = "" if self._added is None else ", and D3(BJ) by s-dftd3"
        return (f"mace-torch {why}" if why else how(self.sha256)) + added

    def _by_torch(self) -> str:
        """The reason why mace-torch is used instead of the compiled kernels; empty if the kernels may be used."""
        device = devices.resolved("torch")
        reasons = ["in double precision"] * (self.dtype == "float64") + [f"on {device}"] * device.is_gpu
        return ", ".join(reasons)

    def torch_model(self) -> Any:
        """The model as PyTorch module on the processor, for the caller alone; PyTorch gives the parts of a module no
        types.

        A model that was loaded from a file of the same digest, and only asked for its elements, is not loaded again.

        Raises
        ------
        SettingsError
            If the file is not the one that the digest names, or contains no model.
        """
        contents = self._contents()
        programs.require("mace")
        import mace  # noqa: F401  # e3nn does not load before mace has changed torch's defaults
        import torch

        kept = loaded_models.take(self.sha256)
        if kept is not None:
            return kept
        with self._loading():
            return torch.load(io.BytesIO(contents), map_location="cpu", weights_only=False)

    def _torch_calculator(self, threads: int) -> MaceCalculator:
        model = self.torch_model()
        device = devices.resolved("torch")
        import torch

        from ilforge.potentials.learned.mace.calculator import MaceCalculator

        torch.set_num_threads(threads)
        with self._loading():
            return MaceCalculator(model, self.dtype, device)

    @contextlib.contextmanager
    def _loading(self) -> Iterator[None]:
        """Turn every error into one that names the file."""
        try:
            yield
        except Exception as error:  # a pickle that is not a MACE model can fail with any exception
            raise SettingsError(f"{self.path} could not be loaded as a MACE model: {error}") from error

    def _refuse_unknown(self, symbols: tuple[str, ...]) -> None:
        model_file.refuse_unknown(self.path, symbols, [chemical_symbols[z] for z in self._elements()])

    def _elements(self) -> list[int]:
        """Atomic numbers that the model knows."""
        from ilforge.potentials.learned.fast_mace.networks import elements_of

        known = elements_of(self.sha256)
        if known is not None:
            return known
        model = self.torch_model()
        with self._loading():
            known = [int(z) for z in model.atomic_numbers]
        loaded_models.keep(self.sha256, model)
        return known

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System`` with the energy of this model, including the energies of isolated atoms."""
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
    pretrained={name: model.words for name, model in foundation.MODELS.items()},
    file_suffix=".model",
    works=(
        (
            "",
            "MACE: Batatia, Kovács, Simm, Ortner and Csányi, MACE: Higher Order Equivariant Message Passing Neural "
            "Networks for Fast and Accurate Force Fields, NeurIPS 35 (2022).",
        ),
        *WORKS_ON_DISPERSION,
    ),
)

"""DeePMD models with the TensorFlow backend (Zeng et al., J. Chem. Phys. 159 (2023) 054801)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import Calculator

from ilforge import devices, programs
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.kind import ModelFileSettings, PotentialKind
from ilforge.potentials.learned import model_file
from ilforge.potentials.learned.deepmd.room import Room, room_of


class DeepmdFileSettings(ModelFileSettings):
    """A frozen DeePMD model."""

    kind: Literal["deepmd"] = "deepmd"
    """DeePMD."""


@dataclass(frozen=True)
class Deepmd:
    """A frozen (and perhaps compressed) DeePMD model, a ``.pb`` file.

    Parameters
    ----------
    path
        The ``.pb`` file.
    sha256
        Its digest. The graph in the file can read and write files when it runs, so only the file with this digest is
        loaded.
    """

    path: Path
    sha256: str = ""

    kind: ClassVar[str] = "deepmd"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", model_file.absolute(self.path))
        model_file.require_digest(self.path, self.sha256)

    def describe(self) -> dict[str, Any]:
        """The model, identified by its digest and not by the path of its file."""
        return {"kind": self.kind, "sha256": self.sha256.lower()}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator; the first one in a process sets the number of threads of TensorFlow for all."""
        model_file.verified(self.path, self.sha256)
        device = devices.resolved("deepmd")
        programs.require("deepmd")
        os.environ.update(programs.thread_variables(threads))
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # otherwise TensorFlow prints many lines at its start
        os.environ.setdefault("DP_INFER_BATCH_SIZE", "1024")  # the default; without it a warning is printed
        from deepmd.calculator import DP
        from deepmd.tf.env import default_tf_session_config

        if device.is_gpu and device.index is not None:
            default_tf_session_config.gpu_options.visible_device_list = str(device.index)
        elif not device.is_gpu:
            default_tf_session_config.device_count["GPU"] = 0  # otherwise TensorFlow would use any GPU that it finds
        try:
            calculator: Any = DP(model=self.path)
        except Exception as error:
            raise SettingsError(f"{self.path} could not be loaded as a DeePMD model: {error}") from error
        if topology is not None:
            model_file.refuse_unknown(self.path, topology.symbols, list(calculator.type_dict))
        found: Calculator = calculator
        return found

    def overflow(self, frame: Atoms) -> str | None:
        """A sentence if atoms of a frame have more neighbours than the model has room for, otherwise None."""
        return None if self._room is None else self._room.overflow([frame])

    @cached_property
    def _room(self) -> Room | None:
        return room_of(self.path)

    def lammps_pair(self, elements: Sequence[str]) -> list[str]:
        """Pair style for atom types in the order of ``elements``."""
        model_file.verified(self.path, self.sha256)
        return [f"pair_style deepmd {model_file.lammps_word(self.path)}", f"pair_coeff * * {' '.join(elements)}"]

    def seconds_per_frame(self, n_atoms: int) -> float:
        # 350 atoms at 10 Å, compressed, two threads: 0.22 s
        return 2 * 0.22 * n_atoms / 350


KIND = PotentialKind(
    name="deepmd",
    title="DeePMD",
    potential=Deepmd,
    settings=DeepmdFileSettings,
    family="model",
    colour="#0072B2",
    computes_with="deepmd",
    file_suffix=".pb",
    works=(("", "DeePMD-kit: Zeng et al., J. Chem. Phys. 159, 054801 (2023)."),),
)

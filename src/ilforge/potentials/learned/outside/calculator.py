"""The ASE calculator of a model in another environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from ilforge import devices, environments
from ilforge.errors import DidNotConverge, LacksMemory, MissingEnvironment, SettingsError
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.frame_process import UsesProcess
from ilforge.potentials.quantum.dispersion import d3bj, with_dispersion

WORKER = Path(__file__).with_name("worker.py")
START_S = 600.0
"""Time limit for loading a model, s: the first import of PyTorch from a slow disk takes minutes."""


class OutsideCalculator(UsesProcess, TypedCalculator):
    """An ASE calculator whose results come from a process in another environment; the process lives as long as the
    calculator.

    Parameters
    ----------
    environment
        Its name.
    title
        Name of the model in errors.
    settings
        Settings for the worker: ``loader`` and the keys of that loader.
    charge
        Total charge of the atoms, e.
    threads
        Of the worker.
    dispersion
        Functional whose D3(BJ) is added; None for none.
    uses_gpu
        Whether PyTorch computes it, on the device that was chosen; others compute on the processor.
    patience_s
        Time limit for a frame, s.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        environment: str,
        title: str,
        settings: Mapping[str, Any],
        charge: float = 0.0,
        threads: int = 1,
        dispersion: str | None = None,
        uses_gpu: bool = True,
        patience_s: float = START_S,
    ):
        super().__init__()
        self._environment, self._title, self._settings = environment, title, dict(settings)
        self._charge, self._threads, self._dispersion = charge, threads, dispersion
        self._uses_gpu, self._patience_s = uses_gpu, patience_s
        self._elements: list[str] = []

    @property
    def elements(self) -> list[str]:
        """Elements that the model knows; this loads the model."""
        if self._process is None:
            self._start()
        return self._elements

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        energy, forces, stress = self._ask(self.atoms)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if stress is not None:
            self.results["stress"] = stress

    def _ask(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray | None]:
        self._send(atoms, self._charge)
        with self._closed_on_error():  # dispersion is computed here while the model computes there
            added = None if self._dispersion is None else d3bj(atoms, self._dispersion)
        answer = self._receive(self._patience_s)
        if "error" in answer:
            raise self._error(answer)
        return with_dispersion(answer, added)

    def _start(self) -> None:
        python = environments.interpreter(self._environment)
        device = devices.resolved(self._environment) if self._uses_gpu else devices.CPU
        answer = self._begin(
            # -I: environment variables and files in the folder of a study cannot change what the other
            # interpreter imports
            [str(python), "-I", str(WORKER)],
            {**self._settings, "threads": self._threads, "device": str(device)},
            prefix=f"ilforge-{self._environment}-",
            log="worker.log",
            threads=self._threads,
            name=f"{self._title} (environment {self._environment})",
            timeout_s=START_S,
        )
        if "error" in answer:
            error = self._error(answer)
            self.close()
            raise (
                error
                if answer["of"] != "frame"
                else SettingsError(f"{self._title} cannot be loaded: {answer['error']}")
            )
        self._elements = answer["elements"]

    def _error(self, answer: Mapping[str, str]) -> Exception:
        said = answer["error"]
        if answer["of"] == "memory":
            self.close()
            return LacksMemory(f"{self._title} ran out of memory ({said})")
        if answer["of"] == "environment":
            fault = f"cannot run {self._title} ({said})"
            again = environments.create_command(self._environment, renew=True)
            return MissingEnvironment(self._environment, fault, again)
        if answer["of"] == "device":
            return SettingsError(
                f'{said}. Install a build of PyTorch with CUDA there, or choose device = "cpu" (machine.toml, or '
                "--device)."
            )
        if answer["of"] == "file":
            return SettingsError(f"The model file was changed while it was read: {said}.")
        return DidNotConverge(f"{self._title}: {said}")

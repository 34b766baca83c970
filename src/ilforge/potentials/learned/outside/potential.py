"""The common part of all potentials in other environments: calculator, elements and dispersion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ilforge import environments, programs
from ilforge.environments import Environment
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.force_evaluator import CalculatorEvaluator, ForceEvaluator
from ilforge.potentials.learned.outside.calculator import WORKER, OutsideCalculator

_PATIENCE, _SHORTEST_S = 200.0, 600.0
"""Time limit of a frame: this factor times the expected time, and at least this time in s, because the machine may be
busy."""


@dataclass(frozen=True)
class Pretrained:
    """A model whose weights come with its package.

    Attributes
    ----------
    title
        ``"SevenNet-0"``.
    package, file
        Its weights, and the package in whose folder they are.
    sha256
        Digest of that file; two installations with the same digest give the same numbers.
    functional
        Functional of the labels that it was trained on, by modality; the modality is ``""`` if there is only one.
    trained_on
        In words.
    licence
        Of the weights.
    elements
        That it knows.
    has_dispersion
        Whether its labels include dispersion; then none is added.
    core_seconds
        Of 350 atoms on one core, s, with D3(BJ) where it is added: five times the processor time that
        ``benchmarks/pretrained_speed.py`` measured for 70 atoms. The time grows as the number of atoms: 360 atoms took
        SO3LR 3.6 times as long as 90.
    """

    title: str
    package: str
    file: str
    sha256: str
    functional: Mapping[str, str]
    trained_on: str
    licence: str
    elements: tuple[str, ...]
    has_dispersion: bool = False
    core_seconds: float = 5.0

    @property
    def weights(self) -> dict[str, str]:
        """Settings with which the worker finds the weights."""
        return {"package": self.package, "file": self.file, "sha256": self.sha256}

    @property
    def words(self) -> str:
        """Its description, in a sentence."""
        functionals = " or ".join(dict.fromkeys(self.functional.values()))
        added = "has dispersion" if self.has_dispersion else "D3(BJ) is added"
        return f"{functionals} of {self.trained_on}, {added}; {len(self.elements)} elements; licence {self.licence}"

    def functional_of(self, modality: str | None) -> str:
        """Functional of a modality.

        Raises
        ------
        SettingsError
            For a modality that the model does not have, or if it has several and none is given.
        """
        if (modality or "") in self.functional:
            return self.functional[modality or ""]
        allowed = " or ".join(repr(name) for name in self.functional if name) or "left out"
        raise SettingsError(f"modality is {modality!r}; with {self.title} it may be {allowed}.")


class ComputedOutside:
    """A potential that is computed by a process in another environment.

    A subclass has an ``environment``, and defines everything that raises NotImplementedError here.
    """

    has_stress: ClassVar[bool] = True
    uses_gpu: ClassVar[bool] = True
    environment: ClassVar[Environment]

    @property
    def title(self) -> str:
        """The model in a few words."""
        raise NotImplementedError

    @property
    def known_elements(self) -> tuple[str, ...] | None:
        """Elements that it knows; None if only the model file contains them."""
        raise NotImplementedError

    @property
    def added_dispersion(self) -> str | None:
        """Functional whose D3(BJ) is added; None if nothing is added."""
        raise NotImplementedError

    @property
    def described_dispersion(self) -> dict[str, str]:
        """The part of a description about the added dispersion; empty if none is added."""
        return {} if self.added_dispersion is None else {"dispersion": "D3(BJ)", "of": self.added_dispersion}

    def worker_settings(self) -> dict[str, Any]:
        """Settings for the loader of the worker."""
        raise NotImplementedError

    def seconds_per_frame(self, n_atoms: int) -> float:
        """See :class:`~ilforge.potentials.potential.Potential`."""
        raise NotImplementedError

    def refuse_elements(self, symbols: Sequence[str]) -> None:
        """Raise SettingsError for elements that the model does not know, if that is known without loading it."""
        if self.known_elements is not None:
            _refuse(self.title, symbols, self.known_elements)

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> OutsideCalculator:
        """An ASE calculator; its process starts with the first frame.

        Raises
        ------
        SettingsError
            For elements that the model does not know.
        MissingProgram
            When the environment or the library for D3 is missing.
        """
        symbols = () if topology is None else topology.symbols
        self.refuse_elements(symbols)
        environments.interpreter(self.environment.name)
        if self.added_dispersion is not None:
            programs.require("dftd3")
        calculator = OutsideCalculator(
            self.environment.name,
            self.title,
            self.worker_settings(),
            charge=0.0 if topology is None else float(topology.charge),
            threads=threads,
            dispersion=self.added_dispersion,
            uses_gpu=self.uses_gpu,
            patience_s=max(_SHORTEST_S, _PATIENCE * self.seconds_per_frame(max(1, len(symbols)))),
        )
        if self.known_elements is None and symbols:
            _refuse(self.title, symbols, calculator.elements)
        return calculator

    @property
    def evaluated_by(self) -> str:
        """A description of the program that evaluates it."""
        state = environments.look(self.environment.name)
        versions = ", ".join(f"{name} {version}" for name, version in state.versions.items())
        return f"{versions or self.environment.title}, in {state.python}"


class RunsOutside(ComputedOutside):
    """A potential in another environment that runs in the engine of the package, too."""

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """Energy and forces for the engine of the package."""
        return CalculatorEvaluator(self.calculator(topology, threads), topology.symbols)


class RunsPretrained(RunsOutside):
    """A potential in another environment whose weights all come with its package.

    A subclass has the path of its ``load.py`` and says which model it is, and what is added to it.
    """

    kind: ClassVar[str]
    loader: ClassVar[str]

    @property
    def pretrained(self) -> Pretrained:
        """The model."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        return self.pretrained.title

    @property
    def known_elements(self) -> tuple[str, ...]:
        return self.pretrained.elements

    def describe(self) -> dict[str, Any]:
        """The weights by their digest, and what is added to them."""
        return {"kind": self.kind, "sha256": self.pretrained.sha256, **self.described_dispersion}

    def worker_settings(self) -> dict[str, Any]:
        return {"loader": self.loader, **self.pretrained.weights}

    def seconds_per_frame(self, n_atoms: int) -> float:
        return self.pretrained.core_seconds * n_atoms / 350


def _refuse(title: str, symbols: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(symbols) - set(known))
    if unknown:
        raise SettingsError(f"{title} does not know {', '.join(unknown)}: it knows {', '.join(known)}.")


def environment_of(
    name: str,
    title: str,
    home: Path,
    packages: Sequence[str],
    shown: Sequence[str],
    tried: Pretrained | Mapping[str, Any],
    disk_GB: float,
) -> Environment:
    """The environment of a kind in whose folder are ``constraints.txt`` and ``load.py``.

    Parameters
    ----------
    home
        The folder.
    tried
        The model that is tested after the environment is made, or settings for ``load.py`` where the package brings
        no weights.
    """
    given = {"elements": tried.elements, **tried.weights} if isinstance(tried, Pretrained) else tried
    settings = json.dumps({"loader": str(home / "load.py"), **given})
    return Environment(
        name=name,
        title=title,
        packages=tuple(packages),
        constraints=home / "constraints.txt",
        shown=tuple(shown),
        proof=(str(WORKER), "prove", settings),
        disk_GB=disk_GB,
    )

"""Fast networks as an ASE calculator, and as an evaluator of forces for MD.

The network of a model is made at the first frame, because the comparison with mace-torch needs a frame. mace-torch
evaluates models without a fast form, and frames that are periodic along only one or two directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.force_evaluator import Evaluation, ForceEvaluator, force_deviation
from ilforge.potentials.learned.fast_mace.evaluation import FastEvaluator
from ilforge.potentials.learned.fast_mace.network import Network, NoFastForm

Find = Callable[[Atoms], Network]
"""Returns the network of a model after a comparison on variations of a frame; raises NoFastForm if there is none."""


class FastMaceCalculator(TypedCalculator):
    """Energy, forces, stress and energies of atoms of one model.

    The list of neighbours is made again for each frame, so that a result does not depend on earlier frames.

    Parameters
    ----------
    find
        The model's network.
    slow
        Makes the calculator of mace-torch, for models and frames without a fast form.
    threads
        That share the work on a frame.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # ASE's own way

    def __init__(self, find: Find, slow: Callable[[], Calculator], threads: int = 1):
        super().__init__()
        self._find, self._slow, self._threads = find, slow, threads
        self._fast: FastEvaluator | None = None
        self._symbols: list[str] = []  # that the evaluator is for
        self._fallback: Calculator | None = None
        self._refused = False

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        evaluator = self._evaluator() if self._uniform() and not self._refused else None
        if evaluator is None:
            self._by_torch(properties or ["energy"])
            return
        cell = self.atoms.cell.array if self.atoms.pbc.all() else None
        energies, forces, strain = evaluator.compute(self.atoms.positions, cell)
        energy = float(energies[0].sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies[0].copy(),
            "forces": forces[0],
        }
        if cell is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(strain[0]) / self.atoms.get_volume()

    def _uniform(self) -> bool:
        return bool(self.atoms.pbc.all() or not self.atoms.pbc.any())

    def _evaluator(self) -> FastEvaluator | None:
        symbols = self.atoms.get_chemical_symbols()
        if self._fast is None or symbols != self._symbols:
            try:
                network = self._find(self.atoms)
            except NoFastForm:
                self._refused = True
                return None
            self._fast, self._symbols = FastEvaluator([network], symbols, self._threads, skin=0.0), symbols
        return self._fast

    def _by_torch(self, properties: list[str]) -> None:
        if self._fallback is None:
            self._fallback = self._slow()
        atoms = self.atoms.copy()
        self._fallback.calculate(atoms, properties, all_changes)
        self.results = dict(self._fallback.results)


class FastMaceEvaluator:
    """Forces for MD by one network, or by a committee of them: its mean, with the deviation of forces.

    Parameters
    ----------
    find
        The network of each model.
    slow
        Makes the evaluator to use where there is no fast form.
    symbols
        Elements of the atoms.
    threads
        That share the work.
    """

    def __init__(
        self,
        find: Sequence[Find],
        slow: Callable[[], ForceEvaluator],
        symbols: Sequence[str],
        threads: int = 1,
    ):
        self._find, self._slow, self._symbols, self._threads = list(find), slow, list(symbols), threads
        self._fast: FastEvaluator | None = None
        self._fallback: ForceEvaluator | None = None

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        """See :class:`~ilforge.potentials.force_evaluator.ForceEvaluator`."""
        if self._fast is None and self._fallback is None:
            self._choose(Atoms(self._symbols, positions, cell=cell, pbc=cell is not None))
        if self._fallback is not None:
            return self._fallback.evaluate(positions, cell)
        assert self._fast is not None
        energies, forces, strain = self._fast.compute(positions, cell)
        return Evaluation(
            energy=float(energies.sum() / len(energies)),
            forces=forces.mean(axis=0) if len(forces) > 1 else forces[0],
            strain_derivative=None if cell is None else strain.mean(axis=0),
            force_deviation=force_deviation(forces) if len(forces) > 1 else None,
        )

    def _choose(self, frame: Atoms) -> None:
        try:
            networks = [find(frame) for find in self._find]
            self._fast = FastEvaluator(networks, self._symbols, self._threads)
        except NoFastForm:
            self._fallback = self._slow()

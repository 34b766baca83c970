"""Density functional theory of single ions and clusters in vacuum, with Gaussians, by PySCF."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree
from pydantic import Field

from ilforge import programs
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.kind import PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.quantum.dispersion import CORRECTIONS, d3bj
from ilforge.settings import Iterations, Positive, require_choice

FUNCTIONALS = ("B3LYP", "PBE")


class PyscfSettings(PotentialSettings):
    """PySCF: density functional theory of ions in a vacuum, without a box."""

    kind: Literal["pyscf"] = "pyscf"
    """PySCF."""
    functional: Literal["B3LYP", "PBE"] = "B3LYP"
    """Density functional."""
    basis: str = "def2-SVP"
    """Name of the basis set in PySCF."""
    dispersion: Literal["D3(BJ)", "none"] = "none"
    """Dispersion correction."""
    energy_tolerance_Eh: Positive = 1e-9
    """Convergence of the energy, Hartree."""
    max_iterations: Iterations = 100
    """A frame has not converged after this number of iterations."""
    grid_level: Annotated[int, Field(ge=0, le=9)] = 3
    """Fineness of the grid, from 0 to 9."""

    @property
    def title(self) -> str:
        return functional_title(self.functional, self.dispersion, "PySCF")


@dataclass(frozen=True)
class Pyscf:
    """Kohn-Sham DFT in vacuum with density fitting.

    PySCF: Sun et al., J. Chem. Phys. 153 (2020) 024109, doi:10.1063/5.0006074. B3LYP (with VWN3 of the RPA, as in
    Gaussian): Stephens et al., J. Phys. Chem. 98 (1994) 11623, doi:10.1021/j100096a001.

    Parameters
    ----------
    functional
        ``"B3LYP"`` or ``"PBE"``.
    basis
        Name of a basis set in PySCF.
    dispersion
        ``"D3(BJ)"`` or ``"none"``.
    charge
        Total charge, e; None for the sum over the ions of the calculator.
    energy_tolerance_Eh
        Largest change of the energy in the last iteration, Hartree.
    max_iterations
        Iterations of self-consistency before a frame counts as not converged.
    grid_level
        PySCF's grid of the exchange-correlation energy, 0 (coarse) to 9.
    """

    functional: Literal["B3LYP", "PBE"] = "B3LYP"
    basis: str = "def2-SVP"
    dispersion: Literal["D3(BJ)", "none"] = "none"
    charge: int | None = None
    energy_tolerance_Eh: float = 1e-9
    max_iterations: int = 100
    grid_level: int = 3

    kind: ClassVar[str] = "pyscf"
    has_stress: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_choice("functional", self.functional, FUNCTIONALS)
        require_choice("dispersion", self.dispersion, CORRECTIONS)

    def describe(self) -> dict[str, Any]:
        """Settings, and the part of PySCF's version on which results may depend."""
        programs.require("pyscf")
        settings = asdict(self) | {"energy_tolerance_Eh": float(self.energy_tolerance_Eh)}
        return {"kind": self.kind, **settings, "pyscf": ".".join(version("pyscf").split(".")[:2])}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator. The charge is that of the potential, else of the topology, else zero."""
        programs.require("pyscf")
        charge = self.charge
        if charge is None:
            charge = 0 if topology is None else topology.charge
        return PyscfCalculator(self, charge, threads)

    def atom_energy(self, element: str) -> float:
        """Energy of one spin-polarised atom in vacuum with the spin of Hund's rules, eV."""
        from ase.data import atomic_numbers, ground_state_magnetic_moments

        spin = int(ground_state_magnetic_moments[atomic_numbers[element]])
        calculator = PyscfCalculator(self, 0, 1, spin=spin)
        calculator.calculate(Atoms(element), ["energy"])
        found: float = calculator.results["energy"]
        return found

    def seconds_per_frame(self, n_atoms: int) -> float:
        # B3LYP/def2-SVP, energy and forces: 55 s for the 30 atoms of PYR14+ on two cores
        found: float = 2 * 55.0 * (n_atoms / 30) ** 2.5
        return found


class PyscfCalculator(TypedCalculator):
    """Calculator in which every frame starts from the density of the last frame with the same atoms."""

    implemented_properties = ["energy", "free_energy", "forces"]  # ASE declares it as a class attribute

    def __init__(self, potential: Pyscf, charge: int, threads: int, spin: int | None = None):
        super().__init__()
        self._potential, self._charge, self._threads, self._spin = potential, charge, threads, spin
        self._last: tuple[list[int], np.ndarray] | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        if any(self.atoms.pbc):
            raise SettingsError(
                'kind = "pyscf" calculates ions in a vacuum, but this frame is periodic: use a '
                "method for boxes, such as gpaw or cp2k."
            )
        from pyscf import lib

        with lib.with_omp_threads(self._threads):
            energy, forces = self._solve(self.atoms, properties or ["energy"])
        if self._potential.dispersion != "none":
            added = d3bj(self.atoms, self._potential.functional)
            energy, forces = energy + added[0], None if forces is None else forces + added[1]
        self.results = {"energy": energy, "free_energy": energy, "converged": True}
        if forces is not None:
            self.results["forces"] = forces

    def _solve(self, atoms: Atoms, properties: list[str]) -> tuple[float, np.ndarray | None]:
        from pyscf import dft, gto

        electrons = int(atoms.numbers.sum()) - self._charge
        spin = electrons % 2 if self._spin is None else self._spin
        molecule = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
            basis=self._potential.basis,
            charge=self._charge,
            spin=spin,
            verbose=0,
        )
        method = (dft.UKS if spin else dft.RKS)(molecule, xc=self._potential.functional).density_fit()
        method.conv_tol, method.max_cycle = self._potential.energy_tolerance_Eh, self._potential.max_iterations
        method.grids.level = self._potential.grid_level
        numbers = atoms.numbers.tolist()
        start = self._last[1] if self._last is not None and self._last[0] == numbers else None
        energy = method.kernel(dm0=start)
        if not method.converged:
            self._last = None
            raise DidNotConverge(f"PySCF: no self-consistency after {self._potential.max_iterations} iterations")
        self._last = (numbers, method.make_rdm1())
        if "forces" not in properties:
            return float(energy) * Hartree, None
        gradient = method.nuc_grad_method()
        gradient.grid_response = True  # without this, forces on light atoms have errors of some meV/Å
        return float(energy) * Hartree, -np.array(gradient.kernel()) * Hartree / Bohr


KIND = PotentialKind(
    name="pyscf",
    title="PySCF",
    potential=Pyscf,
    settings=PyscfSettings,
    family="density functional",
    has_grid=True,
    works=(("", "PySCF: Sun et al., J. Chem. Phys. 153, 024109 (2020)."),),
)

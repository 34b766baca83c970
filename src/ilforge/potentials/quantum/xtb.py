"""Semi-empirical tight binding, GFN1-xTB and GFN2-xTB, with and without periodicity, by the tblite library."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Literal

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, InputError, all_changes

from ilforge import programs
from ilforge.errors import DidNotConverge
from ilforge.liquid.topology import Topology
from ilforge.potentials.kind import PotentialKind, PotentialSettings
from ilforge.potentials.quantum import costs
from ilforge.settings import require_choice

METHODS = ("GFN1-xTB", "GFN2-xTB")


class XtbSettings(PotentialSettings):
    """GFN-xTB: tight binding by tblite. It is fast, and is not density functional theory."""

    kind: Literal["xtb"] = "xtb"
    """GFN-xTB."""
    method: Literal["GFN1-xTB", "GFN2-xTB"] = "GFN1-xTB"
    """Parametrisation."""

    @property
    def title(self) -> str:
        return self.method


@dataclass(frozen=True)
class Xtb:
    """Tight binding with the published GFN parameters.

    Parameters
    ----------
    method
        ``"GFN1-xTB"`` (Grimme, Bannwarth, Shushkov, J. Chem. Theory Comput. 13 (2017) 1989,
        doi:10.1021/acs.jctc.7b00118) or ``"GFN2-xTB"`` (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15
        (2019) 1652, doi:10.1021/acs.jctc.8b01176).
    accuracy
        tblite's accuracy: 1 converges the energy to 1e-6 Hartree; smaller is tighter.
    electronic_temperature_K
        Temperature of the Fermi smearing, K.
    max_iterations
        Iterations of self-consistency before a frame counts as not converged.
    """

    method: Literal["GFN1-xTB", "GFN2-xTB"] = "GFN1-xTB"
    accuracy: float = 1.0
    electronic_temperature_K: float = 300.0
    max_iterations: int = 250

    kind: ClassVar[str] = "xtb"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_choice("method", self.method, METHODS)

    def settings(self) -> dict[str, Any]:
        """Method and convergence."""
        return {
            "kind": self.kind,
            "method": self.method,
            "accuracy": float(self.accuracy),
            "electronic_temperature_K": float(self.electronic_temperature_K),
            "max_iterations": self.max_iterations,
        }

    def describe(self) -> dict[str, Any]:
        """Method and convergence, and the part of tblite's version on which results may depend."""
        programs.require("tblite")
        return {**self.settings(), "tblite": ".".join(version("tblite").split(".")[:2])}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator. The topology gives only the total charge; without one it is zero."""
        programs.require("tblite")
        from tblite.ase import TBLite
        from threadpoolctl import threadpool_limits

        method = self.method

        class XtbCalculator(TBLite):
            """tblite's calculator with limited threads, without memory of earlier frames, and with ilforge's errors."""

            def calculate(
                self,
                atoms: Atoms | None = None,
                properties: list[str] | None = None,
                system_changes: list[str] = all_changes,
            ) -> None:
                self._res = None  # otherwise the charges of the last frame would affect the label
                with threadpool_limits(threads):
                    try:
                        super().calculate(atoms, properties, system_changes)
                    except (CalculationFailed, InputError) as error:
                        self.results = {}
                        raise DidNotConverge(f"{method}: {_plain(error)}") from error

        return XtbCalculator(
            method=self.method,
            accuracy=self.accuracy,
            electronic_temperature=self.electronic_temperature_K,
            max_iterations=self.max_iterations,
            charge=0.0 if topology is None else float(topology.charge),
            multiplicity=1,
            verbosity=0,
        )

    def seconds_per_frame(self, n_atoms: int) -> float:
        return costs.core_seconds(self.method, n_atoms)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()) or "the calculation failed"


KIND = PotentialKind(
    name="xtb",
    title="xTB",
    potential=Xtb,
    settings=XtbSettings,
    family="tight binding",
    known_as={name: {"method": method} for method in ("GFN1-xTB", "GFN2-xTB") for name in (method, method[:4].lower())},
    works=(
        ("GFN1-xTB", "GFN1-xTB: Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017)."),
        ("GFN2-xTB", "GFN2-xTB: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019)."),
    ),
)

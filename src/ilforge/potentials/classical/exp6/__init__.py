"""A polarizable force field with the user's own parameters, in the functional form of APPLE&P.

.. math:: U = U_{bonds} + U_{bends} + U_{torsions} + U_{out\\ of\\ plane}
          + \\sum_{i<j} \\left[ A_{ij} e^{-B_{ij} r} - \\frac{C_{ij}}{r^6} + D \\left(\\frac{12}{B_{ij} r}\\right)^{12}
          \\right] + \\sum_{i<j} \\frac{q_i q_j}{4\\pi\\varepsilon_0 r} - \\frac12 \\sum_i \\mu_i \\cdot E^0_i

with charges on atoms and lone pairs, and an isotropic induced dipole on every polarizable atom
(:mod:`.induced_dipoles`): O. Borodin, J. Phys. Chem. B 2009, 113, 11463. APPLE&P's own parameters are not public; users
who have them can write the file described in ``docs/polarizable-force-field.md``.

Dynamics use multiple time steps: at most 0.5 fs for bonds and bends, 1.5 fs for torsions and interactions within 6.5 Å,
and the time step of the run for the rest (:mod:`.forces`). Dipoles are computed with NumPy inside OpenMM's step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator

from ilforge import programs
from ilforge.canonical import spaced_digest
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.exp6 import file as exp6_file
from ilforge.potentials.classical.exp6.forces import BONDED, REST, SHORT, SHORT_A, add_forces
from ilforge.potentials.classical.exp6.terms import Exp6Terms, assign
from ilforge.potentials.classical.force_field import EWALD_TOLERANCE, SWITCH, EndsAtCutoff, box_vectors
from ilforge.potentials.classical.openmm_calculator import OpenMMCalculator
from ilforge.potentials.kind import Context, Cutoff, PotentialKind, PotentialSettings
from ilforge.units import ANGSTROM_PER_NM

BONDED_STEP_FS, SHORT_STEP_FS = 0.5, 1.5
"""Longest steps of bonded and of short-range forces."""

FRICTION_PER_PS = 1.0

LABEL_TOLERANCE = 1e-6
"""Tolerance of the dipoles in single frames, whose forces are used as labels."""


class Exp6Settings(PotentialSettings):
    """A polarizable force field of exp-6 form, in the form of APPLE&P, with parameters that you bring."""

    kind: Literal["exp6"] = "exp6"
    """exp-6 and induced dipoles."""
    parameters: str
    """Parameter file, relative to the study file; docs/polarizable-force-field.md describes it."""
    cutoff_A: Cutoff = None

    def spec(self, context: Context) -> dict[str, Any]:
        """Specification with the parameters in the user's file, because the file may change while a study runs."""
        return {**super().spec(context), "parameters": exp6_file.read(context.folder / self.parameters)}

    @property
    def title(self) -> str:
        return "exp-6, polarizable"


@dataclass(frozen=True)
class Exp6(EndsAtCutoff):
    """An exp-6 polarizable force field.

    Parameters
    ----------
    parameters
        A parameter file, or the result of :func:`ilforge.potentials.classical.exp6.file.read`.
    cutoff_A
        Cutoff of exp-6 terms and of the direct part of Ewald's sum, Å.
    """

    parameters: str | Path | Mapping[str, Any] = field(hash=False)
    cutoff_A: float = 10.0

    kind: ClassVar[str] = "exp6"
    named: ClassVar[str] = "The exp-6 force field"
    has_stress: ClassVar[bool] = True
    openmm_thermostat: ClassVar[str] = f"Langevin (BAOAB-RESPA), {FRICTION_PER_PS:g}/ps"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.parameters
        read = dict(given) if isinstance(given, Mapping) else exp6_file.read(given)
        object.__setattr__(self, "parameters", exp6_file.checked(read).model_dump(mode="json"))

    @property
    def _content(self) -> Mapping[str, Any]:
        """The parameters as read from the file."""
        assert isinstance(self.parameters, Mapping)
        return self.parameters

    def describe(self) -> dict[str, Any]:
        """Cutoffs and tolerances, and the digest of the parameters (not of the file's title and comments)."""
        numbers = {key: value for key, value in self._content.items() if key != "title"}
        return {
            "kind": self.kind,
            "cutoff_A": float(self.cutoff_A),
            "switch": SWITCH,
            "short_A": SHORT_A,
            "ewald_tolerance": EWALD_TOLERANCE,
            "label_tolerance": LABEL_TOLERANCE,
            "parameters": spaced_digest(numbers),
        }

    def terms(self, topology: Topology) -> Exp6Terms:
        """All terms of a topology."""
        return assign(topology, exp6_file.checked(self._content))

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for this topology; frames without periodicity are treated as in a vacuum.

        Dipoles are converged to 1e-6, even if dynamics use a larger tolerance, so that forces are the gradient of the
        energy. It raises DidNotConverge for a structure whose dipoles diverge.
        """
        topology = self.require_topology(topology)
        terms = self.terms(topology)
        sites = replace(terms.sites, tolerance=min(terms.sites.tolerance, LABEL_TOLERANCE))
        terms = replace(terms, sites=sites)
        return _Calculator(
            build=lambda cell: self._system(topology, terms, cell, threads),
            symbols=topology.symbols,
            platform="Reference",
            properties={},
        )

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System`` with every term, in the force groups of :mod:`.forces`.

        Bonds to H are not constrained, because they have a separate time step. ``threads`` is the number of threads of
        linear algebra and of the neighbour search (:class:`~ilforge.potentials.potential.Potential`).
        """
        if constrain_hydrogens:
            raise SettingsError(
                "An exp-6 force field cannot constrain bonds to H: it moves bonds with a step of 0.5 fs or less."
            )
        cell = None if cell is None else box_vectors(cell)
        return self._system(topology, self.terms(topology), cell, threads)

    def openmm_integrator(self, system: Any, temperature_K: float | None, timestep_fs: float, seed: int) -> Any:
        """Integrator with multiple time steps and Langevin friction of 1/ps; without a temperature, no friction.

        Integrators: Tuckerman, Berne, Martyna, J. Chem. Phys. 1992, 97, 1990, and for constant temperature Lagardère
        et al., J. Phys. Chem. Lett. 2019, 10, 2593.
        """
        from openmm import unit
        from openmm.mtsintegrator import MTSIntegrator, MTSLangevinIntegrator

        groups, step = time_steps(timestep_fs), timestep_fs * unit.femtosecond
        if temperature_K is None:
            return MTSIntegrator(step, groups)
        friction = FRICTION_PER_PS / unit.picosecond
        integrator = MTSLangevinIntegrator(temperature_K * unit.kelvin, friction, step, groups)
        integrator.setRandomNumberSeed(seed)
        return integrator

    def seconds_per_frame(self, n_atoms: int) -> float:
        return 2e-4 * n_atoms

    def _system(self, topology: Topology, terms: Exp6Terms, cell: np.ndarray | None, threads: int) -> Any:
        programs.require("openmm")
        import openmm

        system = openmm.System()
        for mass in topology.masses:
            system.addParticle(mass)
        if cell is not None:
            self.refuse_box(cell)
            system.setDefaultPeriodicBoxVectors(*(cell / ANGSTROM_PER_NM))
        add_forces(system, terms, self.cutoff_A, cell, threads)
        return system


class _Calculator(OpenMMCalculator):
    """Calculator that raises DidNotConverge for a frame whose dipoles diverge, instead of OpenMM's error."""

    def calculate(self, *arguments: Any, **others: Any) -> None:
        with dipoles_as_ours():
            super().calculate(*arguments, **others)


@contextmanager
def dipoles_as_ours() -> Iterator[None]:
    """Convert OpenMM's error back to the DidNotConverge that was raised within its step."""
    try:
        yield
    except Exception as error:
        if "induced dipoles" in str(error) and not isinstance(error, DidNotConverge):
            raise DidNotConverge(str(error)) from error
        raise


def time_steps(timestep_fs: float) -> list[tuple[int, int]]:
    """Force groups, and the number of evaluations of each in a time step: 1, 2 and 6 for 3 fs."""
    short = math.ceil(timestep_fs / SHORT_STEP_FS - 1e-9)
    bonded = short * math.ceil(timestep_fs / short / BONDED_STEP_FS - 1e-9)
    return [(BONDED, bonded), (SHORT, short), (REST, 1)]


KIND = PotentialKind(
    name="exp6",
    title="exp-6, polarizable",
    potential=Exp6,
    settings=Exp6Settings,
    family="force field",
    colour="#E69F00",
    computes_with="openmm",
    words=("parameters", "cutoff_A"),
    works=(("", "Form of the exp-6 polarizable force field: Borodin, J. Phys. Chem. B 113, 11463 (2009)."),),
)

"""Density functional theory with plane waves and the projector augmented-wave method, by GPAW.

GPAW is under the GPL, so it is never imported here. The user installs it, and it runs as a separate process
(:mod:`ilforge.potentials.quantum.gpaw.worker`) that computes frame after frame.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from ilforge import machine_programs, programs, trust
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.frame_process import UsesProcess
from ilforge.potentials.kind import PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.quantum import costs
from ilforge.potentials.quantum.calculator import DftCalculator
from ilforge.potentials.quantum.dispersion import CORRECTIONS, d3bj, with_dispersion
from ilforge.potentials.quantum.works import WORKS_ON_DFT
from ilforge.settings import Iterations, Positive, require_choice

FUNCTIONALS = ("PBE", "revPBE")
MIN_CUTOFF_EV = 600.0
MIN_STRESS_CUTOFF_EV = 1200.0
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_TOP_PAD_": str(2**28)}
"""Settings of glibc: by default it returns every large array to the system and requests it again, which takes a tenth
of the time of a frame with 70 atoms."""

_WORKER = Path(__file__).with_name("worker.py")
_VERSIONS = """
import json
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("gpaw", "gpaw-data"):
    try: found[name] = version(name)
    except PackageNotFoundError: found[name] = None
print("versions", json.dumps(found))
"""


class GpawSettings(PotentialSettings):
    """GPAW: plane waves and PAW at the gamma point. ilforge looks for `gpaw` on PATH."""

    kind: Literal["gpaw"] = "gpaw"
    """GPAW."""
    functional: Literal["PBE", "revPBE"] = "PBE"
    """Density functional."""
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    """Dispersion correction."""
    cutoff_eV: Annotated[float, Field(ge=600)] = 600.0
    """Cutoff of the plane waves, eV."""
    smearing_eV: Positive = 0.05
    """Width of the Fermi smearing, eV."""
    energy_tolerance_eV: Positive = 1e-5
    """Convergence of the energy, eV per valence electron."""
    density_tolerance: Positive = 1e-4
    """Convergence of the density, per valence electron."""
    max_iterations: Iterations = 150
    """A frame has not converged after this number of iterations."""
    stress: bool = False
    """Also label stress; needs `cutoff_eV` of at least 1200."""

    @property
    def title(self) -> str:
        return functional_title(self.functional, self.dispersion, "GPAW")


@dataclass(frozen=True)
class Gpaw:
    """Kohn-Sham DFT of a periodic frame at the gamma point, PAW and plane waves, no symmetry.

    GPAW: Mortensen et al., J. Chem. Phys. 160 (2024) 092503, doi:10.1063/5.0182685. PBE: Perdew, Burke, Ernzerhof,
    Phys. Rev. Lett. 77 (1996) 3865, doi:10.1103/PhysRevLett.77.3865.

    Parameters
    ----------
    functional
        ``"PBE"`` or ``"revPBE"``.
    dispersion
        ``"D3(BJ)"``, see :mod:`ilforge.potentials.quantum.dispersion`, or ``"none"``.
    cutoff_eV
        Kinetic-energy cutoff of the plane waves, eV.
    smearing_eV
        Width of the Fermi smearing, eV. Energies are free energies, which are consistent with the forces.
    energy_tolerance_eV
        Largest change of the energy per valence electron over the last three iterations, eV.
    density_tolerance
        Largest integrated change of the density per valence electron.
    max_iterations
        Iterations of self-consistency before a frame counts as not converged.
    stress
        Whether labels have a stress. It needs at least 1200 eV, because the number of plane waves changes with the box:
        for LiBF4 it differs from the derivative of the energy by 0.37 GPa at 900 eV, 0.27 at 1000, 0.09 at 1200.
    """

    functional: Literal["PBE", "revPBE"] = "PBE"
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    cutoff_eV: float = 600.0
    smearing_eV: float = 0.05
    energy_tolerance_eV: float = 1e-5
    density_tolerance: float = 1e-4
    max_iterations: int = 150
    stress: bool = False

    kind: ClassVar[str] = "gpaw"

    def __post_init__(self) -> None:
        if self.functional not in FUNCTIONALS:
            raise SettingsError(
                f"functional is {self.functional!r}; with GPAW it may be {' or '.join(map(repr, FUNCTIONALS))} "
                '(SCAN does not converge in GPAW for ionic liquids; kind = "vasp" has it).'
            )
        require_choice("dispersion", self.dispersion, CORRECTIONS)
        if self.cutoff_eV < MIN_CUTOFF_EV:
            raise SettingsError(
                f"cutoff_eV is {self.cutoff_eV:g}: forces with GPAW need plane waves of {MIN_CUTOFF_EV:g} eV or more."
            )
        if self.stress and self.cutoff_eV < MIN_STRESS_CUTOFF_EV:
            raise SettingsError(
                f"stress = true needs cutoff_eV of at least {MIN_STRESS_CUTOFF_EV:g}, found {self.cutoff_eV:g}: below "
                "it the error of the stress is thousands of bar, although forces are converged. Raise cutoff_eV, or "
                "label without stress."
            )

    @property
    def has_stress(self) -> bool:
        return self.stress

    def settings(self) -> dict[str, Any]:
        """The settings in the study file."""
        settings = {key: float(value) if key.endswith("_eV") else value for key, value in asdict(self).items()}
        return {"kind": self.kind, **settings}

    def describe(self) -> dict[str, Any]:
        """Settings, and the part of GPAW's version on which results may depend.

        Raises
        ------
        MissingProgram
            When GPAW is not installed.
        """
        found = _versions_here()
        return {**self.settings(), "gpaw": _minor(found["gpaw"]), "setups": found["gpaw-data"]}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator. The topology gives only the total charge; without one it is zero.

        Raises
        ------
        MissingProgram
            When GPAW is not installed.
        """
        programs.find("gpaw")
        return GpawCalculator(self, 0 if topology is None else topology.charge, threads)

    def atom_energy(self, element: str, box_A: float = 9.0) -> float:
        """Free energy of one spin-polarised atom in its ground state by Hund's rules, eV.

        The atom is in a box of about ``box_A`` Å with different sides, so that symmetry cannot stabilise a wrong state.
        """
        atom = Atoms(element, cell=[box_A, box_A + 0.5, box_A + 1.0], pbc=True)
        atom.center()
        calculator = GpawCalculator(self, 0, 1, magnetic=True)
        try:
            calculator.calculate(atom, ["energy"])
            found: float = calculator.results["free_energy"]
            return found
        finally:
            calculator.close()

    def seconds_per_frame(self, n_atoms: int) -> float:
        return costs.plane_wave_seconds(n_atoms, self.cutoff_eV)


class GpawCalculator(UsesProcess, DftCalculator):
    """Sends frames to a GPAW process, which keeps its wavefunctions for the next step of a trajectory."""

    def __init__(self, potential: Gpaw, charge: int, threads: int, magnetic: bool = False):
        super().__init__(potential.has_stress, f"stress = true and cutoff_eV of at least {MIN_STRESS_CUTOFF_EV:g}")
        self._potential, self._charge, self._threads, self._magnetic = potential, charge, threads, magnetic

    def _solve(self, wants_stress: bool, is_next_step: bool) -> tuple[float, np.ndarray, np.ndarray | None]:
        self._send(self.atoms, self._charge, magnetic=self._magnetic, stress=wants_stress, step=is_next_step)
        answer = self._receive()
        if "error" in answer:
            raise self._error(answer)
        added = None if self._potential.dispersion == "none" else d3bj(self.atoms, self._potential.functional)
        return with_dispersion(answer, added)

    def _error(self, answer: Mapping[str, Any]) -> Exception:
        if answer["setup"]:
            self.close()
            return SettingsError(f"GPAW cannot calculate: {answer['error']}. Install its data: gpaw-data.")
        return DidNotConverge(f"GPAW: {answer['error']}")

    def _start(self) -> None:
        self._begin(
            ["gpaw", "python", str(_WORKER)],
            asdict(self._potential),
            prefix="ilforge-gpaw-",
            log="gpaw.log",
            threads=self._threads,
            environment=_KEEP_MEMORY,
        )


def _versions_here() -> dict[str, str | None]:
    """Versions of GPAW and its data; if GPAW must not be started, those of the user's last run."""
    program = programs.find("gpaw")
    if not programs.may_start("gpaw"):
        known = trust.kept_version(program)
        result: dict[str, str | None] = json.loads(known) if known else installed(programs.command_line("gpaw")[0])
        return result
    found: dict[str, str | None] = installed(str(program))
    if machine_programs.command("gpaw"):
        trust.keep_version(program, json.dumps(found))
    return found


@functools.cache
def installed(gpaw: str) -> dict[str, str | None]:
    """Versions of GPAW and its data in the Python environment of this ``gpaw``."""
    with tempfile.TemporaryDirectory(prefix="ilforge-gpaw-") as folder:
        Path(folder, "versions.py").write_text(_VERSIONS)
        programs.run([gpaw, "python", "versions.py"], Path(folder), log="versions.log", timeout_s=600)
        said = Path(folder, "versions.log").read_text().splitlines()
    found: dict[str, str | None] = json.loads(
        next(line for line in said if line.startswith("versions ")).removeprefix("versions ")
    )
    return found


def _minor(version: str | None) -> str | None:
    return None if version is None else ".".join(version.split(".")[:2])


KIND = PotentialKind(
    name="gpaw",
    title="GPAW",
    potential=Gpaw,
    settings=GpawSettings,
    family="density functional",
    has_grid=True,
    needs_box=True,
    works=(("", "GPAW: Mortensen et al., J. Chem. Phys. 160, 092503 (2024)."), *WORKS_ON_DFT),
)

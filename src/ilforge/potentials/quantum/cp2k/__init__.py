"""Density functional theory with Gaussians and augmented plane waves by CP2K's Quickstep."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field

from ilforge import machine_programs, programs, trust
from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.kind import PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.quantum import costs
from ilforge.potentials.quantum.calculator import FileCalculator
from ilforge.potentials.quantum.cp2k.input import BASES, QUICKSTEP, WAVEFUNCTION, basis_set, input_text
from ilforge.potentials.quantum.cp2k.output import read_cp2k
from ilforge.potentials.quantum.dispersion import CORRECTIONS
from ilforge.potentials.quantum.works import WORKS_ON_DFT
from ilforge.settings import Iterations, Positive, require_choice

MIN_CUTOFF_RY = 300.0
_OUTPUT = "frame.out"
_DATA_FILES = ("BASIS_MOLOPT", "GTH_POTENTIALS", "dftd3.dat")


class Cp2kSettings(PotentialSettings):
    """CP2K: PBE, augmented plane waves (GAPW), GTH pseudopotentials, orbital transformation."""

    kind: Literal["cp2k"] = "cp2k"
    """CP2K."""
    basis: Literal["DZVP", "TZV2P"] = "DZVP"
    """MOLOPT basis set; TZV2P has no B and no Li."""
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    """Dispersion correction."""
    cutoff_Ry: Annotated[float, Field(ge=300)] = 400.0
    """Cutoff of the grid, Ry."""
    scf_tolerance: Positive = 1e-7
    """Convergence of the wavefunctions (EPS_SCF)."""
    max_iterations: Iterations = 12
    """Iterations between two restarts of self-consistency."""
    max_restarts: Iterations = 20
    """A frame has not converged after this number of restarts."""
    stress: bool = True
    """Also label stress."""
    command: str = "cp2k.psmp"
    """Command that runs CP2K, such as `mpirun -np 16 cp2k.psmp`. It is not part of the method."""

    @property
    def title(self) -> str:
        return functional_title("PBE", self.dispersion, "CP2K")


@dataclass(frozen=True)
class Cp2k:
    """PBE with D3(BJ), Goedecker pseudopotentials, MOLOPT basis sets and orbital transformation, at the gamma point.

    CP2K: Kühne et al., J. Chem. Phys. 152 (2020) 194103, doi:10.1063/5.0007045. MOLOPT: VandeVondele, Hutter, J. Chem.
    Phys. 127 (2007) 114105, doi:10.1063/1.2770708. Augmented plane waves (GAPW): Lippert, Hutter, Parrinello, Theor.
    Chem. Acc. 103 (1999) 124, doi:10.1007/s002140050523.

    Densities near F, O, N and Li are too sharp for a plain grid (GPW): at 400 Ry, forces depend on the positions of
    atoms relative to the grid, as their sum shows, which should be zero. Smoothing the density hides this, but makes
    the forces on all other elements wrong (on C and H by 0.04 eV/Å, root mean square, with ``XC_SMOOTH_RHO NN10``).
    GAPW represents sharp densities on atomic grids, here for all elements except H and C: forces agree with GPW at
    1200 Ry to 0.004 eV/Å at less than a third of the cost, and the stress is right at the same cutoff.

    Parameters
    ----------
    basis
        ``"DZVP"`` or, without B and Li, ``"TZV2P"``.
    dispersion
        ``"D3(BJ)"`` or ``"none"``.
    cutoff_Ry
        Cutoff of the finest grid, Ry: 300 or more.
    scf_tolerance
        ``EPS_SCF``.
    max_iterations, max_restarts
        Iterations of self-consistency between two restarts, and largest number of restarts. Each restart makes a new
        preconditioner from the present orbitals, which saves time after 12 iterations.
    stress
        Whether labels have a stress.
    command
        Command that runs CP2K, such as ``"mpirun -np 16 cp2k.psmp"``. It is not part of the method.
    """

    basis: Literal["DZVP", "TZV2P"] = "DZVP"
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    cutoff_Ry: float = 400.0
    scf_tolerance: float = 1e-7
    max_iterations: int = 12
    max_restarts: int = 20
    stress: bool = True
    command: str = "cp2k.psmp"

    kind: ClassVar[str] = "cp2k"

    def __post_init__(self) -> None:
        require_choice("basis", self.basis, BASES)
        require_choice("dispersion", self.dispersion, CORRECTIONS)
        if self.cutoff_Ry < MIN_CUTOFF_RY:
            raise SettingsError(f"cutoff_Ry is {self.cutoff_Ry:g}; it must be at least {MIN_CUTOFF_RY:g}.")

    @property
    def has_stress(self) -> bool:
        return self.stress

    @property
    def command_here(self) -> str:
        """The command that runs CP2K on this machine."""
        return machine_programs.command_text(self.kind, self.command)

    def settings(self) -> dict[str, Any]:
        """The settings in the study file."""
        settings = {key: value for key, value in asdict(self).items() if key != "command"}
        settings |= {"cutoff_Ry": float(self.cutoff_Ry), "scf_tolerance": float(self.scf_tolerance)}
        return {"kind": self.kind, "functional": "PBE", "quickstep": QUICKSTEP, **settings}

    def describe(self) -> dict[str, Any]:
        """Settings, CP2K's version, and the digests of its files of basis sets and pseudopotentials.

        Raises
        ------
        MissingProgram
            When CP2K is not installed.
        """
        program = shlex.split(self.command_here)[-1]
        return {**self.settings(), "cp2k": _version_of(program), "data": _data()}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator. The topology gives only the total charge; without one it is zero.

        Raises
        ------
        SettingsError
            When the basis set lacks an element of the topology.
        MissingProgram
            When CP2K is not installed.
        """
        if topology is not None:
            basis_set(self, set(topology.symbols))
        programs.of_user(self.command_here)
        programs.find_outside(shlex.split(self.command_here)[-1])
        return Cp2kCalculator(self, 0 if topology is None else topology.charge, threads)

    def seconds_per_frame(self, n_atoms: int) -> float:
        return costs.core_seconds(costs.CP2K, n_atoms) * (self.cutoff_Ry / 400)


class Cp2kCalculator(FileCalculator):
    """Runs CP2K."""

    def __init__(self, potential: Cp2k, charge: int, threads: int):
        super().__init__("CP2K", potential.has_stress, "stress = true")
        self._potential, self._charge, self._threads = potential, charge, threads

    def _solve(self, wants_stress: bool, is_next_step: bool) -> tuple[float, np.ndarray, np.ndarray | None]:
        if not all(self.atoms.pbc):
            raise DidNotConverge("CP2K: plane waves need a periodic frame")
        directory = self._work_folder()
        (directory / _OUTPUT).unlink(missing_ok=True)
        restart = is_next_step and (directory / WAVEFUNCTION).is_file()
        text = input_text(self._potential, self.atoms, self._charge, stress=wants_stress, restart=restart)
        (directory / "frame.inp").write_text(text)
        self._run(directory)
        output = read_cp2k(directory / _OUTPUT)
        results = self._results_of(output, wants_stress)
        if output.readings[0].atoms.get_chemical_symbols() != self.atoms.get_chemical_symbols():
            raise DidNotFinish("CP2K: its output contains other atoms")
        return results

    def _run(self, directory: Path) -> None:
        command = [*programs.of_user(self._potential.command_here), "-i", "frame.inp", "-o", _OUTPUT]
        try:
            programs.run(command, directory, log="cp2k.log", threads=self._threads)
        except DidNotFinish as error:
            said = programs.last_lines(directory / _OUTPUT, 12)
            if "SCF run NOT converged" in said or "not converged" in said.lower():
                raise DidNotConverge("CP2K: self-consistency was not reached") from error
            raise DidNotFinish(error.what, None, said or error.last_lines) from error


def _version_of(name: str) -> str:
    """CP2K's version. When a study is only inspected, a program that only the study names is not started."""
    program = programs.find_outside(name)
    if trust.only_looking() and name not in programs.PACKAGES:
        known = trust.kept_version(program)
        if known is None:
            raise SettingsError(
                f"The study file names {program} as CP2K. Commands that only look at a study start no program that it "
                "names, and results depend on the version of this program, which is not known yet. `ilforge run` "
                "starts the program and finds its version."
            )
        return known
    version: str = installed(str(program))
    trust.keep_version(program, version)
    return version


@functools.cache
def installed(program: str) -> str:
    """Version of CP2K."""
    with tempfile.TemporaryDirectory(prefix="ilforge-cp2k-") as folder:
        programs.run([program, "--version"], Path(folder), log="version.log", timeout_s=600)
        said = Path(folder, "version.log").read_text(errors="replace")
    found = re.search(r"CP2K version (\S+)", said)
    return found[1] if found else "unknown"


@functools.cache
def _data() -> dict[str, str]:
    """Digests of CP2K's data files that are found."""
    for folder in (os.environ.get("CP2K_DATA_DIR"), "/usr/share/cp2k"):
        if folder and all(Path(folder, name).is_file() for name in _DATA_FILES):
            return {name: hashlib.sha256(Path(folder, name).read_bytes()).hexdigest()[:16] for name in _DATA_FILES}
    return {}


KIND = PotentialKind(
    name="cp2k",
    title="CP2K",
    potential=Cp2k,
    settings=Cp2kSettings,
    family="density functional",
    has_grid=True,
    needs_box=True,
    works=(("", "CP2K: Kühne et al., J. Chem. Phys. 152, 194103 (2020)."), *WORKS_ON_DFT),
)

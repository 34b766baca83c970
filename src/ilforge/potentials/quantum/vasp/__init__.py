"""Density functional theory with plane waves and PAW by VASP; the user needs a licence and an installation.

Inputs can be written without VASP, except ``POTCAR``, which is assembled from the user's own files. Outputs are read by
:mod:`ilforge.potentials.quantum.vasp.output`.
"""

from __future__ import annotations

import functools
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ilforge import machine_programs, programs
from ilforge.errors import DidNotFinish, MissingProgram, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.kind import Context, PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.quantum import costs
from ilforge.potentials.quantum.calculator import FileCalculator
from ilforge.potentials.quantum.vasp.outcar import MIN_STRESS_CUTOFF_EV
from ilforge.potentials.quantum.vasp.output import read_vasprun
from ilforge.potentials.quantum.works import WORKS_ON_DFT
from ilforge.settings import Iterations, Positive, require_choice

FUNCTIONALS = {"PBE": {"GGA": "PE"}, "SCAN": {"METAGGA": "SCAN", "LASPH": ".TRUE.", "ALGO": "All"}}
# SCAN's own damping: Brandenburg et al., Phys. Rev. B 94 (2016) 115144; VASP has only PBE's and a few others
DISPERSION: dict[str, dict[str, dict[str, float]]] = {
    "D3(BJ)": {"PBE": {"IVDW": 12}, "SCAN": {"IVDW": 12, "VDW_A1": 0.538, "VDW_S8": 0.0, "VDW_A2": 5.42}},
    "D3(0)": {"PBE": {"IVDW": 11}},
    "none": {"PBE": {}, "SCAN": {}},
}
STANDARD_POTENTIALS = {"Li": "Li_sv", "Na": "Na_pv", "K": "K_sv"}


class VaspSettings(PotentialSettings):
    """VASP: plane waves and PAW at the gamma point, with the settings of the published study."""

    kind: Literal["vasp"] = "vasp"
    """VASP."""
    potentials_dir: str | None = None
    """Folder of your PAW potentials, with a folder and a POTCAR for each, relative to the study file. Required."""
    functional: Literal["PBE", "SCAN"] = "PBE"
    """Density functional."""
    dispersion: Literal["D3(BJ)", "D3(0)", "none"] = "D3(BJ)"
    """Dispersion correction; `D3(0)` with PBE only."""
    cutoff_eV: Positive = 450.0
    """ENCUT, eV."""
    energy_tolerance_eV: Positive = 1e-6
    """EDIFF, eV."""
    smearing_eV: Positive = 0.05
    """SIGMA, eV."""
    max_iterations: Iterations = 120
    """NELM."""
    command: str = "vasp_std"
    """Command that runs VASP in the current folder, such as `mpirun -np 16 vasp_gam`. It is not part of the method."""
    potential_names: dict[str, str] = {}
    """PAW potentials whose name is not that of the element, such as `{ Li = "Li_sv" }`, which is the default for Li."""
    stress: bool = False
    """Also label stress; needs `cutoff_eV` of at least 700."""

    def spec(self, context: Context) -> dict[str, Any]:
        """Specification with the folder of the potentials and the elements of all compositions (with one method)."""
        spec = super().spec(context)
        if self.potentials_dir is not None:
            folder = str(context.folder / Path(self.potentials_dir).expanduser())
            spec |= {"potentials_dir": folder, "elements": list(context.elements)}
        return spec

    @property
    def title(self) -> str:
        return functional_title(self.functional, self.dispersion, "VASP")


@dataclass(frozen=True)
class Vasp:
    """Kohn-Sham DFT of a periodic frame at the gamma point, with the settings of the study.

    VASP: Kresse, Furthmüller, Phys. Rev. B 54 (1996) 11169, doi:10.1103/PhysRevB.54.11169; PAW: Kresse, Joubert,
    Phys. Rev. B 59 (1999) 1758, doi:10.1103/PhysRevB.59.1758.

    Parameters
    ----------
    potentials_dir
        Folder with one folder for each PAW potential, ``H/POTCAR`` and so on (``potpaw_PBE.54``).
    functional, dispersion
        ``"PBE"`` or ``"SCAN"``; ``"D3(BJ)"``, ``"D3(0)"`` (PBE only) or ``"none"``.
    cutoff_eV, energy_tolerance_eV, smearing_eV
        ``ENCUT``, ``EDIFF``, ``SIGMA`` (Gaussian).
    max_iterations
        ``NELM``.
    command
        Command that runs VASP in the current folder, such as ``"mpirun -np 16 vasp_gam"``; not part of the method.
    potential_names
        Names of PAW potentials that differ from the names of elements, or from ``Li_sv``, ``Na_pv``, ``K_sv``.
    stress
        Whether labels have a stress, which needs at least 700 eV.
    elements
        Elements of the frames; only their PAW potentials are part of the method. None for the elements of common ions.
        VASP's version is not part of the method, because it is known only after a run.
    """

    potentials_dir: str | None = None
    functional: Literal["PBE", "SCAN"] = "PBE"
    dispersion: Literal["D3(BJ)", "D3(0)", "none"] = "D3(BJ)"
    cutoff_eV: float = 450.0
    energy_tolerance_eV: float = 1e-6
    smearing_eV: float = 0.05
    max_iterations: int = 120
    command: str = "vasp_std"
    potential_names: Mapping[str, str] = field(default_factory=dict)
    stress: bool = False
    elements: tuple[str, ...] | None = None

    kind: ClassVar[str] = "vasp"

    def __post_init__(self) -> None:
        require_choice("functional", self.functional, FUNCTIONALS)
        if self.functional not in DISPERSION.get(self.dispersion, {}):
            allowed = [name for name, functionals in DISPERSION.items() if self.functional in functionals]
            names = " or ".join(map(repr, allowed))
            raise SettingsError(f"dispersion is {self.dispersion!r}; with {self.functional} it may be {names}.")
        if self.stress and self.cutoff_eV < MIN_STRESS_CUTOFF_EV:
            raise SettingsError(
                f"stress = true needs cutoff_eV of at least {MIN_STRESS_CUTOFF_EV:g}, found {self.cutoff_eV:g}: with "
                "plane waves, stress needs a higher cutoff than forces. Raise cutoff_eV, or label without stress."
            )

    @property
    def has_stress(self) -> bool:
        return self.stress

    def settings(self) -> dict[str, Any]:
        """The settings in the study file."""
        settings = {key: value for key, value in asdict(self).items() if key not in _NO_SETTINGS}
        settings = {key: float(value) if key.endswith("_eV") else value for key, value in settings.items()}
        return {"kind": self.kind, **settings}

    def describe(self) -> dict[str, Any]:
        """Settings, and title and digest of the PAW potential of each element in the user's folder."""
        elements = {*_ELEMENTS, *self.potential_names} if self.elements is None else self.elements
        names = {element: self.potential_name(element) for element in sorted(set(elements))}
        if self.potentials_dir:
            found = _library(self.potentials_dir, tuple(names.items()))
        else:
            found = {element: name for element, name in names.items() if element in self.potential_names}
        return {**self.settings(), "paw": found}

    def incar(self) -> dict[str, Any]:
        """The keys of INCAR."""
        return {
            "ENCUT": f"{self.cutoff_eV:g}",
            "PREC": "Accurate",
            "EDIFF": f"{self.energy_tolerance_eV:g}",
            "NELM": self.max_iterations,
            "ISMEAR": 0,
            "SIGMA": f"{self.smearing_eV:g}",
            "ALGO": "Normal",
            "LREAL": "Auto",
            "ISYM": 0,
            "IBRION": -1,
            "NSW": 0,
            "ISIF": 2,
            "LWAVE": ".TRUE.",  # the next step starts from these wavefunctions
            "LCHARG": ".FALSE.",
            **FUNCTIONALS[self.functional],
            **DISPERSION[self.dispersion][self.functional],
        }

    def write_inputs(self, atoms: Atoms, directory: Path) -> np.ndarray:
        """Write INCAR, KPOINTS, POSCAR and, with ``potentials_dir``, POTCAR.

        Returns
        -------
        order
            ``(n_atoms,)``: index in the frame for each atom of POSCAR, because VASP needs atoms grouped by element.

        Raises
        ------
        SettingsError
            When ``potentials_dir`` lacks the potential of an element.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        order = np.argsort(atoms.get_chemical_symbols(), kind="stable")
        (directory / "INCAR").write_text("".join(f"{key} = {value}\n" for key, value in self.incar().items()))
        (directory / "KPOINTS").write_text("gamma point\n1\nGamma\n1 1 1\n0 0 0\n")
        (directory / "POSCAR").write_text(_poscar(atoms[order]))
        if self.potentials_dir:
            elements = sorted(set(atoms.get_chemical_symbols()))
            texts = [_potcar(self.potentials_dir, self.potential_name(element)) for element in elements]
            (directory / "POTCAR").write_text("".join(texts))
        return order

    def potential_name(self, element: str) -> str:
        """Name of the PAW potential of an element."""
        return self.potential_names.get(element, STANDARD_POTENTIALS.get(element, element))

    @property
    def command_here(self) -> str:
        """The command that runs VASP on this machine."""
        return machine_programs.command_text(self.kind, self.command)

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for neutral boxes.

        Raises
        ------
        MissingProgram
            When VASP is not installed.
        SettingsError
            Without ``potentials_dir``, or when it lacks an element of the topology.
        """
        program = shlex.split(self.command_here)[0]
        try:
            programs.of_user(self.command_here)
        except MissingProgram:
            raise MissingProgram(program, f"{programs.PACKAGES['vasp_std']}; name it in `command`") from None
        if not self.potentials_dir:
            raise SettingsError(
                "potentials_dir is missing: name the folder of your PAW potentials (one folder with a POTCAR for each)."
            )
        for element in sorted(set(topology.symbols)) if topology is not None else ():
            _potcar(self.potentials_dir, self.potential_name(element))
        if topology is not None and topology.charge != 0:
            raise SettingsError(f'kind = "vasp" calculates neutral boxes; this one has {topology.charge:+d} e.')
        return VaspCalculator(self, threads)

    def seconds_per_frame(self, n_atoms: int) -> float:
        # not measured (no licence): estimated from GPAW with plane waves
        return costs.plane_wave_seconds(n_atoms, self.cutoff_eV)


class VaspCalculator(FileCalculator):
    """Runs VASP."""

    def __init__(self, potential: Vasp, threads: int):
        super().__init__(
            "VASP", potential.has_stress, f"stress = true and cutoff_eV of at least {MIN_STRESS_CUTOFF_EV:g}"
        )
        self._potential, self._threads = potential, threads

    def _solve(self, wants_stress: bool, is_next_step: bool) -> tuple[float, np.ndarray, np.ndarray | None]:
        directory = self._work_folder()
        for stale in ("vasprun.xml", "OUTCAR", *(() if is_next_step else ("WAVECAR",))):
            (directory / stale).unlink(missing_ok=True)
        order = self._potential.write_inputs(self.atoms, directory)
        programs.run(programs.of_user(self._potential.command_here), directory, log="vasp.log", threads=self._threads)
        if not (directory / "vasprun.xml").is_file():
            raise DidNotFinish("VASP wrote no vasprun.xml", None, programs.last_lines(directory / "vasp.log"))
        energy, ordered, stress = self._results_of(read_vasprun(directory / "vasprun.xml"), wants_stress)
        forces = np.empty_like(ordered)
        forces[order] = ordered
        return energy, forces, stress


def _poscar(atoms: Atoms) -> str:
    symbols = atoms.get_chemical_symbols()
    elements = sorted(set(symbols))
    rows = [" ".join(f"{value:20.12f}" for value in row) for row in (*atoms.cell.array, *atoms.positions)]
    counts = " ".join(str(symbols.count(element)) for element in elements)
    head = [" ".join(elements), "1.0", *rows[:3], " ".join(elements), counts, "Cartesian"]
    return "\n".join([*head, *rows[3:]]) + "\n"


def _potcar(directory: str, name: str) -> str:
    path = Path(directory).expanduser() / name / "POTCAR"
    if not path.is_file():
        raise SettingsError(
            f"There is no PAW potential {path}. Name the folder of your potentials in potentials_dir, and a potential "
            f'with another name in potential_names, such as {{ {name.split("_")[0]} = "{name}" }}.'
        )
    return path.read_text(errors="replace")


@functools.cache
def _library(directory: str, names: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """First line and digest of the potential of each element in the folder, by its name."""
    found = {}
    for element, name in names:
        path = Path(directory).expanduser() / name / "POTCAR"
        if path.is_file():
            text = path.read_bytes()
            title = " ".join(text.split(b"\n", 1)[0].decode(errors="replace").split())
            found[element] = f"{title} {hashlib.sha256(text).hexdigest()[:16]}"
    return found


_NO_SETTINGS = ("command", "potentials_dir", "potential_names", "elements")
_ELEMENTS = ("H", "Li", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl", "K", "Br", "I")


KIND = PotentialKind(
    name="vasp",
    title="VASP",
    potential=Vasp,
    settings=VaspSettings,
    family="density functional",
    has_grid=True,
    needs_box=True,
    needs_table=True,
    works=(("", "VASP: Kresse and Furthmüller, Phys. Rev. B 54, 11169 (1996)."), *WORKS_ON_DFT),
)

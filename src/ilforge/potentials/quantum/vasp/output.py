"""Read VASP's ``vasprun.xml``.

Energies are the free energies that are consistent with the forces ("free energy TOTEN", ``e_fr_energy``), with
dispersion, without the :math:`pV` that ``PSTRESS`` adds. Convergence is judged separately for every ionic step.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.outputs import Output, Reading, named, number, opened
from ilforge.potentials.quantum.vasp.outcar import (
    KBAR,
    OWN_FORCE_FIELD,
    SAYS_CONVERGED,
    read_outcar,
    vasp_method,
    with_trusted_stress,
)

_SAME_ENERGY_EV = 1e-4
_AT_LIMIT = "at_step_limit"
_RESPONSE = (5, 6, 7, 8)  # IBRION of force constants: displaced frames that share one <calculation>


def read_vasprun(path: Path) -> Output:
    """Every ionic step of a ``vasprun.xml``, which may be incomplete.

    Raises
    ------
    SettingsError
        When the file does not exist or is not from VASP.
    """
    path = Path(path)
    run: dict[str, Any] = {"parameters": {}, "incar": {}, "potentials": [], "symbols": []}
    readings: list[Reading] = []
    ending = None
    try:
        with opened(path) as content:
            for _, element in ElementTree.iterparse(content):
                if element.tag == "generator":
                    run.update({i.get("name", ""): _text(i) for i in element})
                elif element.tag in ("incar", "parameters"):
                    run[element.tag] = _settings(element)
                elif element.tag == "atominfo":
                    run["symbols"], run["potentials"] = _atominfo(element)
                elif element.tag == "calculation":
                    readings.append(_calculation(element, run))
                    element.clear()
    except ElementTree.ParseError:
        ending = f"truncated: the file ends in the middle of frame {len(readings)} or before the run was finished"
    if run.get("program") != "vasp":
        raise SettingsError(f"{path} is not a vasprun.xml of VASP: it does not name VASP.")
    settings = {**run["parameters"], **run["incar"]}
    method = vasp_method(run["version"], settings, run["potentials"])
    return with_trusted_stress(Output(method, _asked(path, readings), ending), settings)


def _asked(path: Path, readings: list[Reading]) -> tuple[Reading, ...]:
    """Determine the convergence of frames that used all electronic steps from the ``OUTCAR`` beside the file.

    The XML does not contain the reason why VASP left the loop. At the last allowed step, the change of the energy may
    be below EDIFF by chance, although EDIFF was not reached. Without VASP's statement, such frames count as not
    converged.
    """
    if not any(_AT_LIMIT in reading.notes for reading in readings):
        return tuple(readings)
    beside = named(path.parent, "OUTCAR")
    try:
        said = read_outcar(beside).readings if beside is not None else ()
    except SettingsError:  # the OUTCAR belongs to another run, or is incomplete
        said = ()
    return tuple(
        replace(reading, converged=_says_converged(reading, said[index : index + 1]))
        if _AT_LIMIT in reading.notes
        else reading
        for index, reading in enumerate(readings)
    )


def _says_converged(reading: Reading, said: tuple[Reading, ...]) -> bool:
    """Whether VASP's statement says that this frame has converged."""
    energy = np.nan if reading.energy is None else reading.energy
    same = [each for each in said if each.energy is not None and abs(each.energy - energy) < _SAME_ENERGY_EV]
    return any(each.notes.get(SAYS_CONVERGED, False) for each in same)


def _settings(element: ElementTree.Element) -> dict[str, str]:
    """Settings by name, without those of linear response, which reuse names (NELM = 1) and do not apply to frames."""
    found: dict[str, str] = {}
    for child in element:
        if child.tag == "separator" and child.get("name") != "response functions":
            for name, value in _settings(child).items():
                found.setdefault(name, value)
        elif child.tag == "i":
            found.setdefault(child.get("name", ""), _text(child))
    return found


def _atominfo(element: ElementTree.Element) -> tuple[list[str], list[str]]:
    arrays = {array.get("name"): array for array in element.iter("array")}
    if "atoms" not in arrays or "atomtypes" not in arrays:
        return [], []  # the frames then have more atoms than are named
    symbols = [_text(row[0]) for row in arrays["atoms"].iter("rc")]
    return symbols, [" ".join(_text(row[4]).split()) for row in arrays["atomtypes"].iter("rc")]


def _calculation(element: ElementTree.Element, run: Mapping[str, Any]) -> Reading:
    settings, symbols = {**run["parameters"], **run["incar"]}, run["symbols"]
    cell = _rows(element.find("structure/crystal/varray[@name='basis']"))
    fractional = _rows(element.find("structure/varray[@name='positions']"))
    if cell is None or fractional is None:
        return Reading(Atoms(symbols), fault="truncated: the frame has no structure")
    if len(fractional) != len(symbols):
        return Reading(
            Atoms(["X"] * len(fractional), scaled_positions=fractional, cell=cell, pbc=True),
            fault=f"wrong number of atoms: {len(symbols)} are named, {len(fractional)} have positions",
        )
    atoms = Atoms(symbols, scaled_positions=fractional, cell=cell, pbc=True)
    forces = _rows(element.find("varray[@name='forces']"))
    energy = element.find("energy/i[@name='e_fr_energy']")
    if forces is None or energy is None or len(forces) != len(atoms):
        return Reading(atoms, fault="truncated: the frame has no energy or not all forces")
    if int(settings.get("IBRION", -1)) in _RESPONSE:
        return Reading(atoms, fault="force constants: IBRION is 5 to 8, whose energies do not belong to single frames")
    pressure = float(settings.get("PSTRESS") or 0.0)
    converged, at_limit = _scf_converged(element, settings)
    if converged is False and not element.findall("scstep"):
        return Reading(atoms, fault=OWN_FORCE_FIELD)
    return Reading(
        atoms,
        energy=number(_text(energy)) - pressure * KBAR * atoms.get_volume(),
        forces=forces,
        # VASP includes PSTRESS in the printed stress in ways that depend on the version
        stress=None if pressure else _stress(_rows(element.find("varray[@name='stress']"))),
        converged=converged,
        notes={_AT_LIMIT: True} if at_limit else {},
    )


def _scf_converged(element: ElementTree.Element, settings: Mapping[str, str]) -> tuple[bool | None, bool]:
    """Whether the frame converged (fewer electronic steps than allowed), and whether this remains unknown.

    If all allowed steps were used, a last change of the energy above EDIFF still shows that it did not converge.
    """
    ours = takewhile(lambda child: child.tag != "structure", element)  # steps of linear response come after it
    energies = [number(_text(i)) for step in ours for i in step.findall("energy/i[@name='e_fr_energy']")]
    if not energies:  # a step of VASP's own machine-learned force field
        return False, False
    if "NELM" not in settings:
        return None, False
    if len(energies) < int(settings["NELM"]):
        return True, False
    return False, len(energies) > 1 and abs(energies[-1] - energies[-2]) < float(settings["EDIFF"])


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()


def _rows(varray: ElementTree.Element | None) -> np.ndarray | None:
    if varray is None:
        return None
    return np.array([[number(value) for value in _text(v).split()] for v in varray.iter("v")])


def _stress(kbar: np.ndarray | None) -> np.ndarray | None:
    return None if kbar is None or kbar.shape != (3, 3) else full_3x3_to_voigt_6_stress(-KBAR * kbar)

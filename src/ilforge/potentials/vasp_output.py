"""VASP's ``vasprun.xml`` and ``OUTCAR``, as pure functions of the files.

Energies are the free energies that the forces belong to ("free energy TOTEN", ``e_fr_energy``), with dispersion,
without the :math:`pV` that ``PSTRESS`` adds. Convergence is judged for every ionic step by itself.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from ilforge.errors import SettingsError
from ilforge.potentials.outputs import Output, Reading, named, opened

MIN_STRESS_CUTOFF_EV = 700.0
"""Below it the stress of plane waves is not to be trusted, though forces are converged."""

_KBAR = 0.1 * GPa
_SAME_ENERGY_EV = 1e-4
_METHOD_KEYS = (
    "ENCUT", "ENMAX", "PREC", "GGA", "METAGGA", "IVDW", "LASPH", "ISPIN", "ISMEAR", "SIGMA", "LREAL", "ADDGRID",
    "LHFCALC", "HFSCREEN", "AEXX", "LDAU", "LUSE_VDW",
)  # fmt: skip
_OUTCAR_KEY = re.compile(r"\s+(ENCUT|EDIFF|ISPIN|ISMEAR|IVDW|GGA|METAGGA|LREAL|LASPH|PREC|NELM|PSTRESS)\s*=\s*(\S+)")
_AT_LIMIT = "at_step_limit"
_RESPONSE = (5, 6, 7, 8)  # IBRION of force constants: displaced frames that share one <calculation>


def read_vasprun(path: Path) -> Output:
    """Every ionic step of a ``vasprun.xml``, also of one that was cut off.

    Raises
    ------
    SettingsError
        When the file is not there or not VASP's.
    """
    path = Path(path)
    run: dict[str, Any] = {"parameters": {}, "incar": {}, "potentials": [], "symbols": []}
    readings: list[Reading] = []
    ending = None
    try:
        with opened(path) as content:
            for _, element in ElementTree.iterparse(content):
                if element.tag == "generator":
                    run.update({i.get("name"): (i.text or "").strip() for i in element})
                elif element.tag in ("incar", "parameters"):
                    run[element.tag] = {i.get("name"): (i.text or "").strip() for i in element.iter("i")}
                elif element.tag == "atominfo":
                    run["symbols"], run["potentials"] = _atominfo(element)
                elif element.tag == "calculation":
                    readings.append(_calculation(element, run))
                    element.clear()
    except ElementTree.ParseError:
        ending = f"truncated: the file ends in the middle of frame {len(readings)} or before the run was finished"
    if run.get("program") != "vasp":
        raise SettingsError(f"{path} is no vasprun.xml: it does not say that VASP wrote it.")
    settings = {**run["parameters"], **run["incar"]}
    method = _method(run["version"], settings, run["potentials"])
    return _trusted_stress(Output(method, _asked(path, readings), ending), settings)


def read_outcar(path: Path) -> Output:
    """Every ionic step of an ``OUTCAR``, also of one that was cut off; positions have five decimals there.

    Raises
    ------
    SettingsError
        When the file is not there or not VASP's.
    """
    with opened(path) as content, io.TextIOWrapper(content, errors="replace") as lines:
        first = next(lines, "")
        if not first.lstrip().startswith("vasp."):
            raise SettingsError(f"{path} is no OUTCAR: its first line does not name VASP.")
        header, readings, ending = _outcar_steps(lines)
    version = first.split()[0].removeprefix("vasp.")
    output = Output(_method(version, header["settings"], header["titles"]), readings, ending)
    return _trusted_stress(output, header["settings"])


def electronic_convergence(lines: list[str]) -> bool | None:
    """Whether the electronic steps of one frame in an OUTCAR converged; None when they say nothing.

    VASP says why it left the loop. Where it does not (version 5 at its last step), both changes of the
    energy must be below EDIFF, VASP's own criterion.
    """
    threshold, changes = None, None
    for line in lines:
        if "aborting loop" in line:
            return "because EDIFF is reached" in line
        if found := re.match(r"\s+EDIFF\s*=\s*(\S+)", line):
            threshold = float(found[1])
        elif "total energy-change" in line and "MIXING" not in line:
            changes = [_number(part) for part in line.split(":")[1].replace(")", "").split("(")]
    if threshold is None or changes is None:
        return None
    return all(abs(change) < threshold for change in changes)


def _asked(path: Path, readings: list[Reading]) -> tuple[Reading, ...]:
    """Frames that used up all electronic steps, with what the ``OUTCAR`` beside the file says of each.

    The XML does not hold VASP's reason to leave the loop: at the last step allowed, the change of the energy can be
    below EDIFF by chance, where VASP says that EDIFF was not reached. Without that word they did not converge.
    """
    if not any(_AT_LIMIT in reading.notes for reading in readings):
        return tuple(readings)
    beside = named(path.parent, "OUTCAR")
    try:
        said = read_outcar(beside).readings if beside is not None else ()
    except SettingsError:  # it is another's, or torn
        said = ()
    return tuple(
        replace(reading, converged=_says_converged(reading, said[number : number + 1]))
        if _AT_LIMIT in reading.notes
        else reading
        for number, reading in enumerate(readings)
    )


def _says_converged(reading: Reading, said: tuple[Reading, ...]) -> bool:
    """Whether VASP's own sentence calls this very frame converged."""
    same = [each for each in said if each.energy is not None and abs(each.energy - reading.energy) < _SAME_ENERGY_EV]
    return any(each.notes.get("vasp_says_converged", False) for each in same)


def _trusted_stress(output: Output, settings: Mapping[str, str]) -> Output:
    """The output without its stress where plane waves are too few for it, which a remark then says."""
    cutoff = _number(settings.get("ENCUT") or settings.get("ENMAX") or "")
    has = sum(reading.stress is not None for reading in output.readings)
    if not has or cutoff >= MIN_STRESS_CUTOFF_EV:
        return output
    found = f"ENCUT is {cutoff:g} eV" if np.isfinite(cutoff) else "the file does not say its ENCUT"
    needs = f"the stress of plane waves needs {MIN_STRESS_CUTOFF_EV:g} eV or more"
    remark = f"the stress of {has} frames is left out: {found}, and {needs}"
    readings = tuple(replace(reading, stress=None) for reading in output.readings)
    return replace(output, readings=readings, remarks=(*output.remarks, remark))


def _atominfo(element: ElementTree.Element) -> tuple[list[str], list[str]]:
    arrays = {array.get("name"): array for array in element.iter("array")}
    symbols = [row[0].text.strip() for row in arrays["atoms"].iter("rc")]
    return symbols, [" ".join(row[4].text.split()) for row in arrays["atomtypes"].iter("rc")]


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
        return Reading(atoms, fault="force constants: IBRION is 5 to 8, whose energies are no frame's")
    pressure = float(settings.get("PSTRESS") or 0.0)
    converged, at_limit = _scf_converged(element, settings)
    return Reading(
        atoms,
        energy=_number(energy.text) - pressure * _KBAR * atoms.get_volume(),
        forces=forces,
        # VASP mixes PSTRESS into what it prints in ways that differ between versions
        stress=None if pressure else _stress(_rows(element.find("varray[@name='stress']"))),
        converged=converged,
        notes={_AT_LIMIT: True} if at_limit else {},
    )


def _scf_converged(element: ElementTree.Element, settings: Mapping[str, str]) -> tuple[bool | None, bool]:
    """Whether there were fewer electronic steps than allowed, and whether there were as many and so it cannot be told.

    A last change of the energy above EDIFF tells it all the same.
    """
    ours = takewhile(lambda child: child.tag != "structure", element)  # after it come those of linear response
    energies = [_number(i.text) for step in ours for i in step.findall("energy/i[@name='e_fr_energy']")]
    if not energies:  # a step of VASP's own machine-learned force field
        return False, False
    if "NELM" not in settings:
        return None, False
    if len(energies) < int(settings["NELM"]):
        return True, False
    return False, len(energies) > 1 and abs(energies[-1] - energies[-2]) < float(settings["EDIFF"])


def _outcar_steps(lines: Iterator[str]) -> tuple[dict[str, Any], tuple[Reading, ...], str | None]:
    header: dict[str, Any] = {"settings": {}, "titles": []}
    species: list[str] = []
    counts: list[int] = []
    readings: list[Reading] = []
    step: dict[str, Any] = {"electronic": []}
    threshold: list[str] = []
    finished = False
    for line in lines:
        finished = finished or "General timing and accounting" in line
        if found := _OUTCAR_KEY.match(line):
            header["settings"].setdefault(found[1], found[2].rstrip(";"))
            threshold = [line] if found[1] == "EDIFF" else threshold
        if found := re.search(r"SIGMA\s*=\s*(\S+)", line):
            header["settings"].setdefault("SIGMA", found[1])
        if found := re.match(r"\s+TITEL\s*=\s*(.+)", line):
            header["titles"].append(" ".join(found[1].split()))
        if found := re.match(r"\s+(?:PAW|US|NC)\S*\s+([A-Z][a-z]?)\S*\s+\S+\s*:", line):
            species.append(found[1])
        elif found := re.match(r"\s+VRHFIN\s*=\s*([A-Z][a-z]?)\s*:", line):
            step.setdefault("named", []).append(found[1])
        elif "ions per type =" in line:
            counts = [int(n) for n in line.split("=")[1].split()]
        elif "aborting loop" in line or "total energy-change" in line:
            step["electronic"].append(line)
        elif "direct lattice vectors" in line:
            step["cell"] = [_numbers(next(lines, ""))[:3] for _ in range(3)]
        elif line.lstrip().startswith("in kB"):
            step["stress"] = _numbers(line.split("in kB")[1])
        elif "POSITION" in line and "TOTAL-FORCE" in line:
            next(lines, "")
            step["rows"] = [_numbers(next(lines, "")) for _ in range(sum(counts))]
        elif "total drift" in line:
            step["drift"] = _numbers(line.split(":")[1])
        elif "free  energy   TOTEN" in line and "rows" in step:
            named = step.pop("named", None) or species
            header["named"] = header.get("named") or named
            step["electronic"] = threshold + step["electronic"]
            readings.append(_outcar_reading(step, header, counts, line))
            step = {"electronic": [], "cell": step.get("cell")}
    ending = None
    if not finished:
        where = f"in the middle of frame {len(readings)}" if step["electronic"] or "rows" in step else "before its end"
        ending = f"truncated: the run was stopped {where}"
    return header, tuple(readings), ending


def _outcar_reading(step: Mapping[str, Any], header: Mapping[str, Any], counts: list[int], total: str) -> Reading:
    named = header["named"][: len(counts)]
    symbols = [symbol for symbol, count in zip(named, counts, strict=False) for _ in range(count)]
    rows = step["rows"]
    if any(len(row) != 6 for row in rows) or len(symbols) != len(rows) or not step.get("cell"):
        return Reading(Atoms(symbols), fault="truncated: the frame has not all positions and forces")
    rows = np.array(rows)
    atoms = Atoms(symbols, positions=rows[:, :3], cell=np.array(step["cell"]), pbc=True)
    kbar = step.get("stress")
    said = [line for line in step["electronic"] if "aborting loop" in line]
    stress = None
    if kbar is not None and len(kbar) == 6 and not float(header["settings"].get("PSTRESS", 0.0)):
        xx, yy, zz, xy, yz, zx = kbar
        stress = -_KBAR * np.array([xx, yy, zz, yz, zx, xy])
    return Reading(
        atoms,
        energy=_number(total.split("=")[1].split()[0]),
        forces=rows[:, 3:],
        stress=stress,
        converged=electronic_convergence(step["electronic"]),
        notes={
            **({"drift_eV_A": step["drift"]} if step.get("drift") else {}),
            **({"vasp_says_converged": "because EDIFF is reached" in said[-1]} if said else {}),
        },
    )


def _method(version: str, settings: Mapping[str, str], potentials: list[str]) -> dict[str, Any]:
    kept = {key: settings[key] for key in _METHOD_KEYS if settings.get(key) not in (None, "", "--")}
    return {"program": "VASP", "version": version, "settings": kept, "potentials": sorted(set(potentials))}


def _rows(varray: ElementTree.Element | None) -> np.ndarray | None:
    if varray is None:
        return None
    return np.array([[_number(value) for value in v.text.split()] for v in varray.iter("v")])


def _stress(kbar: np.ndarray | None) -> np.ndarray | None:
    return None if kbar is None or kbar.shape != (3, 3) else full_3x3_to_voigt_6_stress(-_KBAR * kbar)


def _numbers(line: str) -> list[float]:
    """The numbers of a line; negative ones may touch the number before."""
    return [_number(text) for text in re.sub(r"(?<=\d)-(?=\d)", " -", line).split()]


def _number(text: str) -> float:
    """A Fortran number; stars, where it did not fit its column, and exponents without a letter included."""
    text = text.strip()
    try:
        return float(text)
    except ValueError:
        repaired = re.sub(r"(?<=\d)([+-]\d+)$", r"e\1", text)
        try:
            return float(repaired)
        except ValueError:
            return float("nan")

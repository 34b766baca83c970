"""Read VASP's ``OUTCAR``, with functions that are also used for ``vasprun.xml``.

Energies are the free energies that are consistent with the forces ("free  energy   TOTEN"), with dispersion, without
the :math:`pV` that ``PSTRESS`` adds. Convergence is judged separately for every ionic step.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.outputs import Output, Reading, number, opened

MIN_STRESS_CUTOFF_EV = 700.0
"""At lower cutoffs, the stress with plane waves is unreliable although forces are converged."""

KBAR = 0.1 * GPa
"""One kbar in eV/Å^3."""

SAYS_CONVERGED = "vasp_says_converged"
"""Key in the notes of a reading: VASP's statement on the convergence of this frame, if its last changes agree."""

OWN_FORCE_FIELD = "force field: a step of VASP's machine-learned force field, no label of the reference method"

_METHOD_KEYS = (
    "ENCUT", "ENMAX", "PREC", "GGA", "METAGGA", "IVDW", "LASPH", "ISPIN", "ISMEAR", "SIGMA", "LREAL", "ADDGRID",
    "LHFCALC", "HFSCREEN", "AEXX", "LDAU", "LUSE_VDW",
)  # fmt: skip
_KEY = re.compile(r"\s+(ENCUT|ISPIN|ISMEAR|IVDW|GGA|METAGGA|LREAL|LASPH|PREC|PSTRESS)\s*=\s*(\S+)")
_COUNTED_KEY = re.compile(r"\s+(EDIFF|NELM|NWRITE)\s*=\s*([^\s;]+)")
_POTENTIAL = re.compile(r"\s*((?:PAW|US|NC)\S*\s+([A-Z][a-z]?)\S*(?:\s+\S+)?)\s*:")
_NO_FORCES = (
    "missing: the OUTCAR has no forces of this frame (NWRITE = {nwrite}; with 0 or 1 VASP prints forces of some "
    "steps only): import its vasprun.xml, which has all forces"
)


def read_outcar(path: Path) -> Output:
    """Every ionic step of an ``OUTCAR``, which may be incomplete; its positions have five decimals.

    Raises
    ------
    SettingsError
        When the file does not exist or is not from VASP.
    """
    with opened(path) as content, io.TextIOWrapper(content, errors="replace") as lines:
        first = next(lines, "")
        if not first.lstrip().startswith("vasp."):
            raise SettingsError(f"{path} is not an OUTCAR: its first line does not name VASP.")
        reader = _Outcar()
        reader.read(lines)
    version = first.split()[0].removeprefix("vasp.")
    output = Output(vasp_method(version, reader.settings, reader.titles), tuple(reader.readings), reader.ending())
    return with_trusted_stress(output, reader.settings)


def electronic_convergence(
    lines: Sequence[str], threshold: float | None = None, allowed: int | None = None
) -> bool | None:
    """Whether the electronic steps of one frame in an OUTCAR converged; None if unknown.

    VASP prints why it left the loop. At the last allowed step, some versions (5.4.4) print "EDIFF is reached" for any
    changes, and others print nothing. Then both changes of the energy must be below EDIFF, which is VASP's own
    criterion.

    Parameters
    ----------
    lines
        Lines of its electronic steps.
    threshold
        EDIFF, eV; it may also be in ``lines``.
    allowed
        NELM, the largest number of electronic steps.
    """
    said, changes, n_steps = None, None, 0
    for line in lines:
        if "aborting loop" in line:
            said = "because EDIFF is reached" in line
        elif found := _COUNTED_KEY.match(line):
            threshold = number(found[2]) if found[1] == "EDIFF" else threshold
        elif found := re.search(r"Iteration\s+\d+\(\s*(\d+)\)", line):
            n_steps = int(found[1])
        elif "total energy-change" in line and "MIXING" not in line:
            changes = [number(part) for part in line.split(":")[1].replace(")", "").split("(")]
    settled = None
    if threshold is not None and changes is not None:
        settled = all(abs(change) < threshold for change in changes)
    if said is None:
        return settled
    if said and allowed is not None and n_steps >= allowed:
        return bool(settled)
    return said


class _Outcar:
    """Reads an OUTCAR line by line; data of an ionic step are collected in ``step`` until its energy ends it."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.titles: list[str] = []
        self.readings: list[Reading] = []
        self.step: dict[str, Any] = {"electronic": []}
        self._named: list[str] = []  # elements by type, from VRHFIN
        self._listed: list[tuple[str, str]] = []  # potential and element by type, if there is no TITEL
        self._counts: list[int] = []
        self._n_atoms: int | None = None
        self._own: Reading | None = None  # from VASP's force field: a separate step unless DFT of the same step follows
        self._finished = False

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            for marker, take in self._MARKERS:
                if marker in line:
                    take(self, line, lines)
                    break
            else:
                self._header(line)
        self._end_own_step()
        if not self.titles:
            self.titles = list(dict.fromkeys(" ".join(title.split()) for title, _ in self._listed))

    def ending(self) -> str | None:
        """The fault at the end of the file."""
        if self._finished:
            return None
        begun = self.step["electronic"] or "rows" in self.step
        where = f"in the middle of frame {len(self.readings)}" if begun else "before its end"
        return f"truncated: the run was stopped {where}"

    def _header(self, line: str) -> None:
        if found := _KEY.match(line):
            self.settings.setdefault(found[1], found[2].rstrip(";"))
        if found := _COUNTED_KEY.match(line):
            self.settings[found[1]] = found[2]
        if found := re.search(r"SIGMA\s*=\s*(\S+)", line):
            self.settings.setdefault("SIGMA", found[1])
        if found := re.match(r"\s+TITEL\s*=\s*(.+)", line):
            self.titles.append(" ".join(found[1].split()))
        elif found := re.match(r"\s+VRHFIN\s*=\s*([A-Z][a-z]?)\s*:", line):
            self._named.append(found[1])
        elif found := _POTENTIAL.match(line):
            self._listed.append((found[1], found[2]))
        elif found := re.search(r"NIONS\s*=\s*(\d+)", line):
            self._n_atoms = int(found[1])

    def _finish(self, _: str, __: Iterator[str]) -> None:
        self._finished = True

    def _count(self, line: str, lines: Iterator[str]) -> None:
        """Number of atoms of each type. Some versions print at most ten types, or continue in the next line."""
        rows = [line.split("=")[1].rstrip()]
        for more in lines:
            if not re.fullmatch(r"[\s\d]+", more) or not more.strip():
                self._header(more)
                break
            rows.append(more.rstrip())
        self._counts = [int(n) for row in rows for n in row.split()]
        if (
            self._n_atoms is not None and sum(self._counts) > self._n_atoms
        ):  # columns of four characters without spaces between them
            columns = [row[max(0, end - 4) : end] for row in rows for end in range(len(row) % 4 or 4, len(row) + 1, 4)]
            self._counts = [int(column) for column in columns if column.strip()]

    def _types(self) -> list[str] | None:
        """The element of each atom; None if the file lacks the number of atoms of a type."""
        counts, named = list(self._counts), self._named or [element for _, element in self._listed]
        lacking = (self._n_atoms or sum(counts)) - sum(counts)
        if lacking > 0 and len(named) == len(counts) + 1:
            counts.append(lacking)
        if sum(counts) != (self._n_atoms or sum(counts)) or len(named) < len(counts):
            return None
        return [symbol for symbol, count in zip(named, counts, strict=False) for _ in range(count)]

    def _electronic(self, line: str, _: Iterator[str]) -> None:
        self.step["electronic"].append(line)

    def _cell(self, _: str, lines: Iterator[str]) -> None:
        self.step["cell"] = [numbers(next(lines, ""))[:3] for _ in range(3)]

    def _own_stress(self, _: str, lines: Iterator[str]) -> None:
        """Skip the stress of VASP's force field, which must not be confused with that of DFT."""
        for line in lines:
            if "in kB" in line:
                return

    def _pressure(self, line: str, _: Iterator[str]) -> None:
        if line.lstrip().startswith("in kB"):
            self.step["stress"] = numbers(line.split("in kB")[1])

    def _forces(self, line: str, lines: Iterator[str]) -> None:
        next(lines, "")
        n_atoms = self._n_atoms or sum(self._counts)
        key = "own_rows" if "(ML)" in line else "rows"
        self.step[key] = [numbers(next(lines, "")) for _ in range(n_atoms)]

    def _drift(self, line: str, _: Iterator[str]) -> None:
        self.step["drift"] = numbers(line.split(":")[1])

    def _energy(self, line: str, _: Iterator[str]) -> None:
        if "rows" not in self.step and not self.step["electronic"]:
            return  # the same energy is printed again
        self._own = None
        self.readings.append(self._reading(line))
        self.step = {"electronic": [], "cell": self.step.get("cell")}

    def _own_energy(self, _: str, __: Iterator[str]) -> None:
        self._end_own_step()
        rows, symbols = self.step.pop("own_rows", None), self._types()
        self._own = Reading(self._atoms(rows, symbols), fault=OWN_FORCE_FIELD)

    def _end_own_step(self) -> None:
        own, self._own = self._own, None
        if own is None:
            return
        last = self.readings[-1].atoms if self.readings else None
        if last is None or len(last) != len(own.atoms) or np.abs(last.positions - own.atoms.positions).max() > 1e-6:
            self.readings.append(own)

    def _atoms(self, rows: list[list[float]] | None, symbols: list[str] | None) -> Atoms:
        """The structure, as far as it is known."""
        placed = [row[:3] for row in rows] if rows is not None and all(len(row) >= 6 for row in rows) else None
        cell = self.step.get("cell")
        names = symbols or ["X"] * (self._n_atoms or 0 if placed is None else len(placed))
        return Atoms(
            names,
            positions=placed if placed is not None and len(names) == len(placed) else None,
            cell=np.array(cell) if cell and all(len(row) == 3 for row in cell) else None,
            pbc=True,
        )

    def _reading(self, total: str) -> Reading:
        rows, symbols, kbar = self.step.get("rows"), self._types(), self.step.get("stress")
        atoms = self._atoms(rows, symbols)
        if symbols is None:
            return Reading(atoms, fault=f"wrong number of atoms: {self._n_atoms} atoms, {self._counts} by type")
        if rows is None:
            return Reading(atoms, fault=_NO_FORCES.format(nwrite=self.settings.get("NWRITE", "unknown")))
        # if dispersion is printed separately, rows have three more columns with the forces without dispersion
        if any(len(row) not in (6, 9) for row in rows) or len(symbols) != len(rows) or not self.step.get("cell"):
            return Reading(atoms, fault="truncated: the frame has not all positions and forces")
        stress = None
        if kbar is not None and len(kbar) == 6 and not float(self.settings.get("PSTRESS", 0.0)):
            xx, yy, zz, xy, yz, zx = kbar
            stress = -KBAR * np.array([xx, yy, zz, yz, zx, xy])
        steps, drift = self.step["electronic"], self.step.get("drift")
        threshold, allowed = self.settings.get("EDIFF"), self.settings.get("NELM", "")
        converged = electronic_convergence(
            steps,
            None if threshold is None else number(threshold),
            int(allowed) if allowed.isdigit() else None,
        )
        said = any("aborting loop" in line for line in steps)
        return Reading(
            atoms,
            energy=number(total.split("=")[1].split()[0]),
            forces=np.array(rows)[:, 3:6],
            stress=stress,
            converged=converged,
            notes={**({"drift_eV_A": drift} if drift else {}), **({SAYS_CONVERGED: converged} if said else {})},
        )

    _MARKERS: tuple[tuple[str, Callable[..., None]], ...] = (
        ("General timing and accounting", _finish),
        ("ions per type =", _count),
        ("aborting loop", _electronic),
        ("total energy-change", _electronic),
        (" Iteration ", _electronic),
        ("direct lattice vectors", _cell),
        ("ML FORCE on cell", _own_stress),
        ("in kB", _pressure),
        ("TOTAL-FORCE", _forces),
        ("total drift", _drift),
        ("free  energy ML TOTEN", _own_energy),
        ("free  energy   TOTEN", _energy),
    )


def vasp_method(version: str, settings: Mapping[str, str], potentials: Sequence[str]) -> dict[str, Any]:
    """Description of the method of a VASP output."""
    kept = {key: settings[key] for key in _METHOD_KEYS if settings.get(key) not in (None, "", "--")}
    return {"program": "VASP", "version": version, "settings": kept, "potentials": sorted(set(potentials))}


def with_trusted_stress(output: Output, settings: Mapping[str, str]) -> Output:
    """The output; if the plane-wave cutoff is too low for stress, without the stress and with a remark."""
    cutoff = number(settings.get("ENCUT") or settings.get("ENMAX") or "")
    has = sum(reading.stress is not None for reading in output.readings)
    if not has or cutoff >= MIN_STRESS_CUTOFF_EV:
        return output
    found = f"ENCUT is {cutoff:g} eV" if np.isfinite(cutoff) else "the file does not contain ENCUT"
    needs = f"the stress of plane waves needs {MIN_STRESS_CUTOFF_EV:g} eV or more"
    remark = f"the stress of {has} frames is left out: {found}, and {needs}"
    readings = tuple(replace(reading, stress=None) for reading in output.readings)
    return replace(output, readings=readings, remarks=(*output.remarks, remark))


def numbers(line: str) -> list[float]:
    """The numbers of a line; negative ones may touch the number before."""
    return [number(text) for text in re.sub(r"(?<=\d)-(?=\d)", " -", line).split()]

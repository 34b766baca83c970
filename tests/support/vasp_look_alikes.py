"""Small texts laid out as VASP lays out its OUTCAR and vasprun.xml, with invented numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

EDIFF = 1e-6
LINE = " " + "-" * 83


@dataclass
class Step:
    """One ionic step: changes of its last electronic step, how many there were, and what it prints."""

    n_electronic: int = 8
    changes: tuple[float, float] = (-4e-7, 2e-8)
    says: str | None = "aborting loop because EDIFF is reached"
    forces: bool = True
    own: str | None = None  # of VASP's force field: "only", or "too" before DFT's


@dataclass
class Outcar:
    types: Sequence[tuple[str, int]] = (("O", 1), ("H", 2))
    steps: Sequence[Step] = field(default_factory=lambda: [Step()])
    nelm: int = 15
    nwrite: int = 2
    counts_in_a_line: int | None = None
    counts_go_on: bool = False
    titles: bool = True
    columns: int = 6

    @property
    def symbols(self) -> list[str]:
        return [symbol for symbol, count in self.types for _ in range(count)]

    def positions(self, number: int) -> np.ndarray:
        places = np.random.default_rng(7).uniform(0, 9, (len(self.symbols), 3)) + 0.01 * number
        return np.round(places, 5)

    def forces(self, number: int) -> np.ndarray:
        values = np.random.default_rng(100 + number).normal(0, 0.3, (len(self.symbols), 3))
        return np.round(values - values.mean(axis=0), 5)

    def energy(self, number: int) -> float:
        return -14.2 - 0.01 * number

    def text(self) -> str:
        lines = [" vasp.5.4.4.18Apr17-6-g9f103f2a35 (build Nov 11 2026) complex", *self._head()]
        for number, step in enumerate(self.steps):
            if step.own:
                lines += self._force_block(number, 0.9, own=True)
                lines += ["", f"  free  energy ML TOTEN  = {self.energy(number) + 0.3:18.8f} eV", ""]
            if step.own != "only":
                lines += self._dft(number, step)
        return "\n".join([*lines, " General timing and accounting informations for this job:", ""])

    def _head(self) -> list[str]:
        lines = []
        for symbol, _ in self.types:
            if self.titles:
                lines += [f"   VRHFIN ={symbol}: s2p4", f"   TITEL  = PAW_PBE {symbol} 08Apr2002"]
            else:  # as VASP 6.3 lists them; the last begins in the first column
                lines += [f"{'' if symbol == self.types[-1][0] else '  '}PAW_PBE {symbol} 08Apr2002           :"]
        counts = [f"{count:4d}" for _, count in self.types]
        shown = self.counts_in_a_line or len(counts)
        lines += [
            f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(self.symbols):6d}",
            f"   ions per type =            {''.join(counts[:shown])}",
        ]
        if self.counts_go_on:
            lines += ["                              " + "".join(counts[shown:])]
        return [
            *lines,
            " NGX,Y,Z   is equivalent  to a cutoff of  24.32, 24.32, 24.32 a.u.",
            f"   NWRITE =      {self.nwrite}    write-flag & timer",
            "   ENCUT  =  800.0 eV  58.80 Ry    7.67 a.u.",
            f"   NELM   =    {self.nelm:3d};   NELMIN=  2; NELMDL= -5     # of ELM steps",
            "   EDIFF  = 0.1E-05   stopping-criterion for ELM",
        ]

    def _dft(self, number: int, step: Step) -> list[str]:
        lines = []
        for i in range(step.n_electronic):
            last = i == step.n_electronic - 1
            energy, bands = step.changes if last else (0.5**i, 0.3**i)
            lines += [
                f"----------------------------- Iteration {number + 1:6d}({i + 1:4d})  -----------------------------",
                f" total energy-change (2. order) :{energy:14.7E}  ({bands:.7E})",
                f"  free energy    TOTEN  = {self.energy(number) + (0 if last else 0.5**i):18.8f} eV",
            ]
        if step.says:
            lines += [f"----------------------- {step.says} -----------------------"]
        lines += ["  FORCE on cell =-STRESS in cart. coord.  units (eV):"]
        lines += ["  in kB       1.00000     2.00000     3.00000     4.00000     5.00000     6.00000"]
        lines += self._cell()
        if step.forces:
            lines += self._force_block(number, 1.0)
        return [*lines, f"  free  energy   TOTEN  = {self.energy(number):18.8f} eV", ""]

    def _cell(self) -> list[str]:
        rows = [" ".join(f"{10.0 * (i == j):13.9f}" for j in range(3)) for i in range(3)]
        return [
            "      direct lattice vectors                 reciprocal lattice vectors",
            *[f"  {r}  {r}" for r in rows],
        ]

    def _force_block(self, number: int, factor: float, own: bool = False) -> list[str]:
        lines = []
        if own:
            lines = ["  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)"]
            lines += [
                "  in kB      70.00000    70.00000    70.00000     0.00000     0.00000     0.00000",
                *self._cell(),
            ]
        title = f" POSITION{'':39s}TOTAL-FORCE (eV/Angst){' (ML)' if own else ''}"
        if self.columns == 9:
            title += ",               FORCE-w/o vdW (eV/Angst)"
        lines += [title, LINE]
        for place, force in zip(self.positions(number), factor * self.forces(number), strict=True):
            row = [*place, *force, *(force + 0.1 if self.columns == 9 else [])]
            lines.append(" ".join(f"{value:12.5f}" for value in row))
        return [*lines, LINE, "    total drift:                0.001000     -0.002000      0.000000"]


def vasprun(electronic: Sequence[int], nelm: int = 60, in_incar: bool = False, response: bool = True) -> str:
    """A run of water whose steps took so many electronic steps; none where VASP's own force field made it."""

    def entry(name, value):
        return f'<i name="{name}"> {value} </i>'

    def array(name, rows):
        return f'<varray name="{name}">{"".join("<v>" + " ".join(map(str, row)) + "</v>" for row in rows)}</varray>'

    def calculation(number, n_electronic):
        changes = [-14.2 - 0.01 * 0.3**k for k in range(n_electronic)]
        steps = "".join(f"<scstep><energy>{entry('e_fr_energy', change)}</energy></scstep>" for change in changes)
        shift = 0.001 * number
        places = [[0.5, 0.5, 0.5], [0.596 + shift, 0.5, 0.5], [0.476, 0.5927, 0.5]]
        forces = [[0.3, -0.2, 0.1], [-0.1, 0.1, -0.05], [-0.2, 0.1, -0.05]]
        return (
            f"<calculation>{steps}<structure><crystal>{array('basis', 10.0 * np.eye(3))}</crystal>"
            f"{array('positions', places)}</structure>{array('forces', forces)}{array('stress', 3.0 * np.eye(3))}"
            f"<energy>{entry('e_fr_energy', -14.2 + shift)}</energy></calculation>"
        )

    linear = f'<separator name="response functions">{entry("NELM", 1)}{entry("NELMHF", 1)}</separator>'
    return (
        f"<modeling><generator>{entry('program', 'vasp')}{entry('version', '5.4.4')}</generator>"
        f"<incar>{entry('ENCUT', 800.0)}{entry('EDIFF', EDIFF)}{entry('NELM', nelm) if in_incar else ''}</incar>"
        f'<parameters><separator name="electronic">{entry("ENMAX", 800.0)}{entry("EDIFF", EDIFF)}'
        f'<separator name="electronic convergence">{entry("NELM", nelm)}</separator></separator>'
        f'<separator name="ionic">{entry("IBRION", 0)}</separator>{linear if response else ""}</parameters>'
        '<atominfo><array name="atoms"><set>'
        + "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in "OHH")
        + '</set></array><array name="atomtypes"><set/></array></atominfo>'
        + "".join(calculation(number, n) for number, n in enumerate(electronic))
        + "</modeling>"
    )

"""Runs as VASP 6.4 writes them, OUTCAR and vasprun.xml, from labels that are known: atoms by element, wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa

from ilforge.frames import ENERGY, FORCES, STRESS

VERSION = "vasp.6.4.2 20Jul23 (build Oct 15 2023 10:00:00) complex"
ELECTRONIC, EDIFF = 14, 1e-6
RULE = " " + "-" * 83


def by_element(frame: Atoms) -> np.ndarray:
    """The order of POTCAR, and so of all atoms."""
    return np.argsort(np.array(frame.get_chemical_symbols()), kind="stable")


def kbar(frame: Atoms) -> np.ndarray:
    """Stress as VASP prints it: kbar, compression positive."""
    return -10.0 * voigt_6_to_full_3x3_stress(np.array(frame.info[STRESS], dtype=float)) / GPa


def outcar(labelled: Sequence[Atoms]) -> str:
    """The OUTCAR of an AIMD with these frames."""
    symbols = np.array(labelled[0].get_chemical_symbols())[by_element(labelled[0])]
    types = [(symbol, len(list(members))) for symbol, members in groupby(symbols)]
    lines = [f" {VERSION}", "", " running   32 mpi-ranks, with    1 threads/rank, on    1 nodes"]
    for symbol, _ in types:
        lines += [f"   VRHFIN ={symbol}: s2p2", "   LEXCH  = PE", f"   TITEL  = PAW_PBE {symbol} 08Apr2002"]
    lines += [
        f"   number of dos      NEDOS =    301   number of ions     NIONS ={len(symbols):7d}",
        "   ions per type =             " + "".join(f"{count:4d}" for _, count in types),
        "   NWRITE =      2    write-flag & timer",
        "   ENCUT  =   850.0 eV  62.48 Ry    7.90 a.u.  26.1 26.1 26.1*2*pi/ulx,y,z",
        "   NELM   =    100;   NELMIN=  4; NELMDL=-12     # of ELM steps",
        f"   EDIFF  = {EDIFF:.1E}   stopping-criterion for ELM",
        "   IBRION =      0    ionic relax: 0-MD 1-quasi-New 2-CG",
    ]
    for number, frame in enumerate(labelled, 1):
        lines += _electronic(number, frame.info[ENERGY]) + _stress(frame) + _box(frame) + _ions(frame)
    return "\n".join([*lines, "", " General timing and accounting informations for this job:", ""])


def _electronic(number: int, energy: float) -> list[str]:
    lines = []
    for step in range(1, ELECTRONIC + 1):
        change = -2.1e-7 if step == ELECTRONIC else -(0.25**step)
        lines += [
            f"{'-' * 39} Iteration{number:7d}({step:4d})  {'-' * 39}",
            f" total energy-change (2. order) :{change:14.7E}  ({change / 7:14.7E})",
            f"  free energy    TOTEN  = {energy - 10 * change:18.8f} eV",
            f"  energy without entropy = {energy + 0.003:16.8f}  energy(sigma->0) = {energy + 0.0015:16.8f}",
        ]
    return [*lines, f"{'-' * 24} aborting loop because EDIFF is reached {'-' * 40}"]


def _stress(frame: Atoms) -> list[str]:
    tensor = kbar(frame)
    row = [tensor[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))]
    return ["  FORCE on cell =-STRESS in cart. coord.  units (eV):", "  in kB  " + "".join(f"{x:12.5f}" for x in row)]


def _box(frame: Atoms) -> list[str]:
    cell, reciprocal = frame.cell.array, np.linalg.inv(frame.cell.array).T
    rows = ["  " + "".join(f"{x:13.9f}" for x in (*cell[i], *reciprocal[i])) for i in range(3)]
    return ["      direct lattice vectors                 reciprocal lattice vectors", *rows]


def _ions(frame: Atoms) -> list[str]:
    order = by_element(frame)
    places, forces = frame.get_positions(wrap=True)[order], frame.arrays[FORCES][order]
    rows = [
        "".join(f"{x:13.5f}" for x in place) + "   " + "".join(f"{x:14.6f}" for x in force)
        for place, force in zip(places, forces, strict=True)
    ]
    energy = frame.info[ENERGY]
    return [
        f" POSITION{'':39s}TOTAL-FORCE (eV/Angst)",
        RULE,
        *rows,
        RULE,
        f"    total drift:{'':30s}-0.000021      0.000033     -0.000012",
        f"  free  energy   TOTEN  = {energy:18.8f} eV",
        f"  energy  without entropy={energy + 0.003:18.8f}  energy(sigma->0) ={energy + 0.0015:18.8f}",
    ]


def vasprun(labelled: Sequence[Atoms]) -> str:
    """The vasprun.xml of the same."""
    first = labelled[0]
    symbols = np.array(first.get_chemical_symbols())[by_element(first)]
    numbers = {symbol: number for number, symbol in enumerate(dict.fromkeys(symbols), 1)}
    atoms = "\n".join(f"    <rc><c>{symbol:2s}</c><c>{numbers[symbol]:4d}</c></rc>" for symbol in symbols)
    steps = "\n".join(_calculation(frame) for frame in labelled)
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2  </i></generator>
 <incar><i name="ENCUT">    850.00000000</i><i name="EDIFF">      0.00000100</i></incar>
 <parameters>
  <separator name="electronic" ><i name="ENMAX">    850.00000000</i><i name="EDIFF">      0.00000100</i>
   <separator name="electronic convergence" ><i type="int" name="NELM">   100</i></separator></separator>
  <separator name="ionic" ><i type="int" name="IBRION">     0</i></separator>
  <separator name="response functions" ><i type="int" name="NELM">     1</i></separator>
 </parameters>
 <atominfo><array name="atoms" ><set>
{atoms}
 </set></array><array name="atomtypes" ><set/></array></atominfo>
{steps}
</modeling>
"""


def _calculation(frame: Atoms) -> str:
    order, energy = by_element(frame), frame.info[ENERGY]
    electronic = "".join(
        f'  <scstep><energy><i name="e_fr_energy"> {energy + 0.25**step:.8f} </i></energy></scstep>\n'
        for step in range(1, ELECTRONIC + 1)
    )
    return (
        f" <calculation>\n{electronic}  <structure><crystal>\n{_array('basis', frame.cell.array)}  </crystal>\n"
        + _array("positions", frame.get_scaled_positions(wrap=True)[order])
        + f"  </structure>\n{_array('forces', frame.arrays[FORCES][order])}{_array('stress', kbar(frame))}"
        + f'  <energy><i name="e_fr_energy"> {energy:.8f} </i>'
        + f'<i name="e_0_energy"> {energy + 0.0015:.8f} </i></energy>\n </calculation>'
    )


def _array(name: str, rows: np.ndarray) -> str:
    lines = "".join("   <v>" + "".join(f" {x:16.8f}" for x in row) + " </v>\n" for row in rows)
    return f'  <varray name="{name}" >\n{lines}  </varray>\n'

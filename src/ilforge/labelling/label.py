"""What a worker does: one frame in, one label out, the calculator kept warm in between."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ilforge import potentials
from ilforge.errors import MissingProgram, SettingsError
from ilforge.frames import charge_of
from ilforge.labelling.labels import Label, checked, in_words
from ilforge.labelling.storing.inbox import deliver
from ilforge.labelling.storing.state import with_state
from ilforge.liquid.ions import atom_names
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.potentials.potential import Potential

_KEPT_WARM = 4  # calculators kept per process; each can hold some hundred MB
_warm: OrderedDict[tuple[str, str, int], tuple[Potential, Calculator]] = OrderedDict()


def evaluate(
    frame: Atoms,
    spec: Mapping[str, Any],
    threads: int = 1,
    inbox: Path | None = None,
    liquid: Liquid | None = None,
) -> Label:
    """Label one frame, and hand the label over through the inbox before returning it.

    The failure of a frame (no convergence, an error inside the calculator, a result that is no result) is a
    label that says so, never an exception. Failures that are no frame's fault are exceptions.

    Parameters
    ----------
    frame
        Structure to label; not changed.
    spec
        The reference potential, for :func:`ilforge.potentials.create`.
    threads
        Threads of the calculation.
    inbox
        Folder that the finished label is written to; None returns it only.
    liquid
        What the frame is made of. Without it ``frame.info["ions"]`` says so, from the ion catalogue.

    Raises
    ------
    SettingsError, MissingProgram
        When no frame could be labelled this way, and as :func:`.state.with_state` says.
    """
    bare = _bare(frame)
    if liquid is None and bare.info.get("ions"):
        liquid = Liquid.of_frame(bare)
    bare = with_state(bare, liquid, spec.get("charge"))
    if spec.get("charge") not in (None, charge_of(bare) or 0):
        raise SettingsError(f"charge = {spec['charge']} of the method, but the frame has {charge_of(bare) or 0:+d} e.")
    composition = liquid.label if liquid is not None else f"charge {charge_of(bare) or 0}"
    potential, calculator = _calculator(spec, composition, _topology(bare, liquid), threads)
    started = time.perf_counter()
    try:
        result = _ask(calculator, bare, potential.has_stress)
    except (SettingsError, MissingProgram):
        raise
    except Exception as error:
        forget()  # whatever state the failure left behind must not reach the next frame
        result = {"error": in_words(error)}
    cost_s = time.perf_counter() - started
    label = checked(Label(frame=bare, method=potential.describe(), cost_s=cost_s, **result))
    if inbox is not None:
        deliver(label, inbox)
    return label


def failed(frame: Atoms, spec: Mapping[str, Any], why: str, inbox: Path) -> Label:
    """A label that says why there is none, handed over through the inbox."""
    label = Label(frame=_bare(frame), method=potentials.create(spec).describe(), error=why)
    deliver(label, inbox)
    return label


def forget() -> None:
    """Drop the calculators this process keeps warm."""
    _warm.clear()


def _bare(frame: Atoms) -> Atoms:
    """A copy without calculator, constraints or labels."""
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    bare.info = {key: value for key, value in frame.info.items() if not key.startswith("REF_")}
    return bare


def _topology(frame: Atoms, liquid: Liquid | None) -> Topology | None:
    """What the calculator must know: of a frame that names no ions only its charge, None where that is zero."""
    if liquid is not None:
        return liquid.topology
    charge, symbols = charge_of(frame), tuple(frame.get_chemical_symbols())
    if not charge:
        return None
    return Topology(
        symbols=symbols,
        names=atom_names(symbols),
        bonds=np.empty((0, 2), dtype=np.int64),
        molecules=np.zeros(len(frame), dtype=np.int64),
        species=("unknown",),
        charges=(charge,),
    )


def _calculator(
    spec: Mapping[str, Any], composition: str, topology: Topology | None, threads: int
) -> tuple[Potential, Calculator]:
    key = (json.dumps(spec, sort_keys=True, default=str), composition, threads)
    if key in _warm:
        _warm.move_to_end(key)
        return _warm[key]
    potential = potentials.create(spec)
    _warm[key] = (potential, potential.calculator(topology, threads))
    if len(_warm) > _KEPT_WARM:
        _warm.popitem(last=False)
    return _warm[key]


def _ask(calculator: Calculator, frame: Atoms, has_stress: bool) -> dict[str, Any]:
    wanted = ["energy", "forces", "stress"] if has_stress and all(frame.pbc) else ["energy", "forces"]
    atoms = frame.copy()
    atoms.calc = calculator
    calculator.calculate(atoms, properties=wanted, system_changes=all_changes)
    results = calculator.results
    return {
        # the energy that the forces belong to; it differs from "energy" where electrons are smeared
        "energy": float(results.get("free_energy", results["energy"])),
        "forces": np.array(results["forces"], dtype=float),
        "stress": np.array(results["stress"], dtype=float) if "stress" in wanted else None,
        "converged": bool(results.get("converged", True)),
    }

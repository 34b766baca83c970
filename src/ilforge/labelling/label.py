"""The work of a labelling worker: compute the label of a frame, and keep the calculator for the next one."""

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
    """Label one frame, and deliver the label to the inbox before returning it.

    If a frame fails (no convergence, an error inside the calculator, an unusable result), the result is a label with
    the reason, never an exception. Failures with other causes are exceptions.

    Parameters
    ----------
    frame
        Structure to label; not changed.
    spec
        The reference potential, for :func:`ilforge.potentials.create`.
    threads
        Threads of the calculation.
    inbox
        Folder for the finished label; None only returns it.
    liquid
        The ions of the frame. By default those named in ``frame.info["ions"]``, from the ion catalogue.

    Raises
    ------
    SettingsError, MissingProgram
        When this method cannot label any frame, and as described in :func:`.storing.state.with_state`.
    """
    bare = _bare(frame)
    if liquid is None and bare.info.get("ions"):
        liquid = Liquid.of_frame(bare)
    bare = with_state(bare, liquid, spec.get("charge"))
    if spec.get("charge") not in (None, charge_of(bare) or 0):
        raise SettingsError(f"The method has charge = {spec['charge']}, but the frame has {charge_of(bare) or 0:+d} e.")
    composition = liquid.label if liquid is not None else f"charge {charge_of(bare) or 0}"
    potential, calculator = _calculator(spec, composition, _topology(bare, liquid), threads)
    started = time.perf_counter()
    try:
        result = _ask(calculator, bare, potential.has_stress)
    except (SettingsError, MissingProgram):
        raise
    except Exception as error:
        forget()  # the state of the failed calculation must not affect the next frame
        result = {"error": in_words(error)}
    cost_s = time.perf_counter() - started
    label = checked(Label(frame=bare, method=potential.describe(), cost_s=cost_s, **result))
    if inbox is not None:
        deliver(label, inbox)
    return label


def failed(frame: Atoms, spec: Mapping[str, Any], why: str, inbox: Path) -> Label:
    """A failed label with its reason, delivered to the inbox."""
    label = Label(frame=_bare(frame), method=potentials.create(spec).describe(), error=why)
    deliver(label, inbox)
    return label


def forget() -> None:
    """Drop the calculators that this process keeps."""
    _warm.clear()


def _bare(frame: Atoms) -> Atoms:
    """A copy without calculator, constraints or labels."""
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    bare.info = {key: value for key, value in frame.info.items() if not key.startswith("REF_")}
    return bare


def _topology(frame: Atoms, liquid: Liquid | None) -> Topology | None:
    """Topology for the calculator; without ions only the charge of the frame, or None if it is zero."""
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
        # the energy that is consistent with the forces; it differs from "energy" if electrons are smeared
        "energy": float(results.get("free_energy", results["energy"])),
        "forces": np.array(results["forces"], dtype=float),
        "stress": np.array(results["stress"], dtype=float) if "stress" in wanted else None,
        "converged": bool(results.get("converged", True)),
    }

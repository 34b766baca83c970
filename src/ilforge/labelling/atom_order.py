"""Reorder the atoms and forces of output frames whose atoms are not in the order of their ions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.labelling.gate_settings import GateSettings
from ilforge.liquid.atom_order import order_by_bonds
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.potentials.quantum.outputs import Output, Reading


def frames_in_order(
    frames: Sequence[Atoms],
    ions: str,
    define: Mapping[str, IonSettings] | None = None,
    bond_factor: float | None = None,
) -> tuple[list[Atoms], int]:
    """Frames after :func:`in_order`, with their labels, and the number of frames that were reordered.

    Frames whose atoms cannot be reordered are left unchanged. Frames that do not name their ions get ``ions``.
    """
    output = in_order(Output({}, tuple(Reading(frame) for frame in frames)), ions, define, bond_factor)
    ordered = [reading.atoms.copy() for reading in output.readings]
    for frame in ordered:
        if ions:
            frame.info.setdefault("ions", ions)
    return ordered, sum(now.atoms is not before for now, before in zip(output.readings, frames, strict=True))


def in_order(
    output: Output,
    ions: str,
    define: Mapping[str, IonSettings] | None = None,
    bond_factor: float | None = None,
) -> Output:
    """The output with the atoms of every frame in the order of its ions, as far as bonds identify them.

    Some programs (VASP) group atoms by element; in the order of the ions, all molecules would then look broken. A frame
    gets a fault if its elements are not in the order of the ions and its molecules are not the ions. A frame with
    broken bonds gets the order of other frames of the same run; the gate judges it later.

    Parameters
    ----------
    ions
        Ions of frames that do not name theirs, ``"2 PYR14, 2 BF4"``; empty if they are not known.
    define
        The user's own ions, by name.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii; by default that of the gate.
    """
    factor = bond_factor or GateSettings().bond_factor
    liquids: dict[tuple[str, bool], Topology | None] = {}
    known: dict[
        tuple[str, bytes], np.ndarray
    ] = {}  # all frames of a file have one order, which does not change during a run
    pending: dict[int, tuple[tuple[str, bytes], Topology]] = {}
    readings, moved = list(output.readings), 0
    for number, reading in enumerate(readings):
        label = reading.atoms.info.get("ions", "") or ions
        topology = _topology(liquids, label, reading, label == ions, define)
        if topology is None or reading.fault is not None or len(reading.atoms) != topology.n_atoms:
            continue
        key = (label, reading.atoms.numbers.tobytes())
        if fragmentation(reading.atoms, topology, factor) is None:
            continue
        held = known.get(key)
        if held is None or fragmentation(reading.atoms[held], topology, factor) is not None:
            own = order_by_bonds(reading.atoms, topology, factor)
            if own is None:
                pending[number] = (key, topology)
                continue
            known.setdefault(key, own)
            held = own
        readings[number], moved = _moved(reading, held), moved + 1
    for number, (key, topology) in pending.items():
        if key in known:
            readings[number], moved = _moved(readings[number], known[key]), moved + 1
        else:
            readings[number] = _unknown_order(readings[number], key[0], topology)
    if not moved:
        return replace(output, readings=tuple(readings))
    remark = f"the atoms of {moved} frames were put in the order of their ions, which were recognised by their bonds"
    return replace(output, readings=tuple(readings), remarks=(*output.remarks, remark))


def _topology(
    liquids: dict[tuple[str, bool], Topology | None],
    label: str,
    reading: Reading,
    asked: bool,
    define: Mapping[str, IonSettings] | None,
) -> Topology | None:
    """The topology of a frame; None if it names no ions, or ions that are not in the catalogue."""
    if not label:
        return None
    key = (label, not reading.atoms.pbc.any())
    if key not in liquids:
        try:
            liquids[key] = Liquid.from_label(label, define, vacuum=key[1]).topology
        except SettingsError:
            if asked:
                raise
            liquids[key] = None
    return liquids[key]


def _moved(reading: Reading, order: np.ndarray) -> Reading:
    """The frame with its atoms and forces in this order."""
    shaped = reading.forces is not None and np.shape(reading.forces) == (len(order), 3)
    forces = np.asarray(reading.forces)[order] if shaped else reading.forces
    return replace(reading, atoms=reading.atoms[order], forces=forces)


def _unknown_order(reading: Reading, label: str, topology: Topology) -> Reading:
    """A frame that cannot be reordered; it gets a fault, unless its elements are in the right order."""
    if tuple(reading.atoms.get_chemical_symbols()) == topology.symbols:
        return reading
    return replace(
        reading,
        fault=(
            f"order: the atoms do not form the molecules of {label}, in this order or any other: the frame has other "
            "ions, or bonds are broken"
        ),
    )

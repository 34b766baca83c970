"""Scans of single ions by a reference method, in the coordinates of the maps of shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.properties.shared.conformations import shapes_of
from ilforge.properties.shared.local_structure import ShapeSettings
from ilforge.results import Table
from ilforge.units import KJ_PER_MOL


def scan_tables(
    scan: Sequence[Atoms],
    name: str,
    shapes: Sequence[ShapeSettings] = (),
    define: Mapping[str, IonSettings] | None = None,
) -> dict[str, Table]:
    """Positions of the frames of a scan on the maps of their ion, and energies relative to the lowest.

    Parameters
    ----------
    scan
        Frames with one ion in vacuum, all of one kind, with ``ions`` (``"1 PYR14"``) and ``REF_energy`` (eV) in
        ``info``.
    name
        The file, for messages.
    shapes, define
        The study's own shapes and ions.

    Returns
    -------
    Tables with names such as ``"scan PYR14"``: the two coordinates of the map in degrees or Å, and the energy in
    kJ/mol.

    Raises
    ------
    SettingsError
        For frames with more than one ion, without an energy, or of an ion without a map.
    """
    topology = _one_ion(scan, name, define)
    energies = np.array([float(frame.info[frames.ENERGY]) for frame in scan])
    positions = np.stack([frame.positions for frame in scan])
    known = [one for one in shapes if one.ion in topology.species]
    tables = {}
    for shape in shapes_of(topology, known):
        if len(shape.map_of) != 2:
            continue
        chosen = [next(c for c in shape.coordinates if c.name == wanted) for wanted in shape.map_of]
        columns = [f"{c.name}_{'degrees' if c.is_angle else 'A'}" for c in chosen]
        values = [[float(c.values(frame, topology.first_atoms)[0]) for c in chosen] for frame in positions]
        above = ((energies - energies.min()) / KJ_PER_MOL).tolist()
        rows = [(*place, energy) for place, energy in zip(values, above, strict=True)]
        tables[f"scan {shape.name}"] = Table((*columns, "energy_kJ_mol"), rows, "scan", shape.name)
    if not tables:
        raise SettingsError(f"{name} is a scan of {topology.species[0]}, whose shapes have no map.")
    return tables


def _one_ion(scan: Sequence[Atoms], name: str, define: Mapping[str, IonSettings] | None) -> Topology:
    labels = {frame.info.get("ions") for frame in scan}
    if len(labels) != 1 or None in labels:
        found = ", ".join(map(repr, sorted(map(str, labels)))) or "no frames"
        raise SettingsError(
            f'{name}: all frames of a scan must contain the same ion, such as ions="1 PYR14"; found {found}.'
        )
    lacking = sum(frames.ENERGY not in frame.info for frame in scan)
    if lacking:
        raise SettingsError(f"{name}: {lacking} of {len(scan)} frames have no {frames.ENERGY} (eV).")
    topology = Liquid.of_frame(scan[0], define).topology
    if topology.n_molecules != 1:
        raise SettingsError(f"{name}: the frames of a scan must contain a single ion, but they contain {labels.pop()}.")
    return topology

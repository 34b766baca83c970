"""Read and write labelled frames as one HDF5 file of DeePMD systems, which ``dp`` reads as ``file.hdf5#/system``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.exchange import (
    NO_ELEMENTS,
    arrays_of,
    elements_of,
    frames_of,
    systems_of,
    with_origin,
)

if TYPE_CHECKING:
    import h5py

MAGIC = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""


def export_deepmd_hdf5(
    path: Path, labelled: Sequence[Atoms], type_map: Sequence[str], virials: bool = True
) -> list[str]:
    """Write DeePMD systems as groups of one file, completely or not at all; returns ``file.hdf5#/system`` of each.

    Units and options are those of :func:`.exchange.export_deepmd`.
    """
    import h5py

    systems = systems_of(labelled, virials)
    with files.replacing(path) as partial, h5py.File(partial, "w") as file:
        for name, members in systems.items():
            group, first = file.create_group(name), members[0]
            types = [list(type_map).index(symbol) for symbol in first.get_chemical_symbols()]
            group.create_dataset("type.raw", data=np.array(types, dtype=np.int32))
            group.create_dataset("type_map.raw", data=np.array(list(type_map), dtype="S"))
            if not any(first.pbc):
                group.create_dataset("nopbc", data=True)
            for array, values in arrays_of(members, virials).items():
                group.create_dataset(f"set.000/{array}.npy", data=values)
    return [f"{path}#/{name}" for name in systems]


def import_deepmd_hdf5(path: Path, kind: str = "EQ", independent: bool = False) -> list[Atoms]:
    """Read every DeePMD system of an HDF5 file; see :func:`.exchange.import_extxyz` for the options."""
    return read_deepmd_hdf5(path, kind, independent)[0]


def read_deepmd_hdf5(path: Path, kind: str = "EQ", independent: bool = False) -> tuple[list[Atoms], tuple[str, ...]]:
    """Every frame of the DeePMD systems of an HDF5 file, and remarks on what was left out.

    Raises
    ------
    SettingsError
        When the file is not HDF5, contains no system, or a system is incomplete.
    """
    import h5py

    path, imported = Path(path), []
    remarks: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            for name in _systems(file):
                for index, frame in enumerate(_frames(file[name], f"{path}#/{name}", remarks)):
                    imported.append(with_origin(frame, f"{path.stem}/{name}", index, kind, independent))
    except OSError as error:
        raise SettingsError(f"{path} could not be read as HDF5: {error}") from error
    if not imported:
        vasp = path.name.startswith("vaspout")
        instead = (
            " ilforge does not read HDF5 files of VASP: import vasprun.xml or OUTCAR of the same run." if vasp else ""
        )
        raise SettingsError(f"There is no DeePMD system (a group with type.raw) with frames in {path}.{instead}")
    return imported, tuple(remarks)


def _systems(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(lambda name: names.append(name))
    return sorted(name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == "type.raw")


def _frames(group: h5py.Group, name: str, remarks: list[str]) -> list[Atoms]:
    if "type_map.raw" not in group:
        raise SettingsError(NO_ELEMENTS.format(system=name))
    names = [each.decode() if isinstance(each, bytes) else each for each in group["type_map.raw"][:]]
    types, periodic = np.atleast_1d(group["type.raw"][:]).astype(int), "nopbc" not in group
    elements = elements_of(names, types, name)
    found: list[Atoms] = []
    for part in sorted(key for key in group if key.startswith("set.")):
        arrays = {key.removesuffix(".npy"): group[part][key][:] for key in group[part] if key.endswith(".npy")}
        found += frames_of(elements, types, arrays, periodic, f"{name}/{part}", remarks)
    return found

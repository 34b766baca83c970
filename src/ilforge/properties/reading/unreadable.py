"""Find which of several files MDAnalysis cannot read, and tell the user what to give in its place."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames
from typing import Any

from ilforge.errors import SettingsError

_TOPOLOGIES = (
    "Give the topology first: tpr, psf, prmtop, a LAMMPS data file (write_data), or PDB with CONECT records (OpenMM: "
    "app.PDBFile.writeFile)."
)
_TRAJECTORIES = "Give xtc, trr, dcd, nc, PDB, extended XYZ, or a LAMMPS dump of style atom or custom."
_IN_ITS_TERMS = (AttributeError, IndexError, KeyError, TypeError, ImportError)
"""Errors of another library whose messages are about its own code."""


def unreadable(
    paths: Sequence[Path], formats: Sequence[str | None], topology: Mapping[str, Any], error: Exception
) -> SettingsError:
    """The error for files that cannot be opened together; it names the file that is the cause, if one is.

    Parameters
    ----------
    paths
        The topology, and its trajectory files.
    formats
        MDAnalysis's name of the format of each trajectory file; None if it follows from the name of the file.
    topology
        Keywords with which the topology was opened.
    error
        The error of MDAnalysis. Its traceback is cleared, so that no half-opened reader outlives it.
    """
    said = first_line(error)
    with _no_closing_errors(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clear_frames(error.__traceback__)
        n_atoms, wrong = _looked_at_topology(paths[0], topology)
        of_each = (
            _wrong_trajectory(path, kind, paths[0], n_atoms) for path, kind in zip(paths[1:], formats, strict=True)
        )
        wrong = wrong or next((text for text in of_each if text), "")
    return SettingsError(wrong or f"{', '.join(map(str, paths))} cannot be read together: {said}.")


def _looked_at_topology(path: Path, keywords: Mapping[str, Any]) -> tuple[int, str]:
    """Number of atoms in a topology, or 0 and why it cannot be read."""
    from MDAnalysis.core._get_readers import get_parser_for

    keywords = {key: value for key, value in keywords.items() if key != "to_guess"}
    kind = keywords.pop("topology_format", None)
    try:
        parser = get_parser_for(str(path), format=kind)
    except Exception:
        return 0, f"{path} is no topology that ilforge can read. {_TOPOLOGIES}"
    try:
        with parser(str(path)) as one:
            n_atoms = int(one.parse(**keywords).n_atoms)
    except Exception as error:
        return 0, f"{path} cannot be read as a topology{_reason(error)}. {_TOPOLOGIES}"
    return n_atoms, ""


def _wrong_trajectory(path: Path, kind: str | None, topology: Path, n_atoms: int) -> str:
    """Why a trajectory file cannot be read; empty if it can."""
    from MDAnalysis.core._get_readers import get_reader_for

    try:
        reader = get_reader_for(str(path), format=kind)
    except Exception:
        return f"{path} is no trajectory that ilforge can read. {_TRAJECTORIES}"
    try:
        opened = reader(str(path), n_atoms=n_atoms)
        found = int(opened.n_atoms)
        opened.close()
    except Exception as error:
        return f"{path} cannot be read as a trajectory{_reason(error)}. {_TRAJECTORIES}"
    if found != n_atoms:
        return (
            f"{path} has {found} atoms, the topology {topology} {n_atoms}: give the topology this trajectory was made "
            "with."
        )
    return ""


def _reason(error: Exception) -> str:
    return "" if isinstance(error, _IN_ITS_TERMS) else f" ({first_line(error)})"


def first_line(error: Exception) -> str:
    """The message of another library, without lines about its internals."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Failed to construct topology")]
    return (said or lines or [type(error).__name__])[0].removeprefix("Error: ").rstrip(".")


@contextmanager
def _no_closing_errors() -> Iterator[None]:
    """Suppress what Python prints when a reader that never opened its file is closed."""
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = before

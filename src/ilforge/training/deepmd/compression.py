"""Check that compression does not change a DeePMD model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ilforge import files
from ilforge.errors import Unphysical
from ilforge.training import deepmd_session

TOLERANCE = {"float64": 1e-4, "float32": 1e-3}
"""Largest change by compression that is accepted, in eV/Å for a force, otherwise in eV/atom."""


def settle_compression(directory: Path, frozen: Path, model: Path, tolerance: float) -> None:
    """Keep the compressed model if it gives the same numbers as the frozen one; otherwise use the frozen one.

    Raises
    ------
    Unphysical
        When the frozen model itself gives values that are not numbers.
    """
    path = directory / deepmd_session.PARITY
    found = json.loads(path.read_text())
    if not found["finite"]:
        raise Unphysical(f"The DeePMD model in {directory} gives energies, forces or virials that are no numbers.")
    harm = [found[key] for key in ("energy_eV_atom", "force_eV_A", "virial_eV_atom")]
    if all(value <= tolerance for value in harm):  # false for NaN
        return
    shutil.copyfile(frozen, model)
    note = (
        f"Compression changed the DeePMD model: energies by {harm[0]:.2g} eV/atom, forces by {harm[1]:.2g} eV/Å, "
        f"virials by {harm[2]:.2g} eV/atom, where up to {tolerance:g} is harmless. {model.name} is the "
        "uncompressed model, which gives the right numbers in about twice the time."
    )
    files.write_text(path, json.dumps({**found, "note": note}))


def compression_note(directory: Path) -> str:
    """A sentence about the compression of a trained model if it changed the model; otherwise empty."""
    path = Path(directory) / deepmd_session.PARITY
    return str(json.loads(path.read_text()).get("note", "")) if path.is_file() else ""

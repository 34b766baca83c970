"""Read XTC and TRR files of GROMACS whose last frame is incomplete, as in a run that was killed or still runs.

MDAnalysis counts such a frame, and fails when it is read. These readers leave it out, like the reader of LAMMPS dumps.
"""

from __future__ import annotations

from typing import Any

from MDAnalysis.coordinates.TRR import TRRReader
from MDAnalysis.coordinates.XTC import XTCReader

from ilforge.properties.reading.trajectory_files import WHOLE_TRR, WHOLE_XTC


def leave_out_incomplete(file: Any) -> None:
    """Remove the last frame from the index of an open file of MDAnalysis if the frame cannot be read."""
    if len(file) < 2:
        return
    file.seek(len(file) - 1)
    try:
        file.read()
    except (OSError, StopIteration):
        file.set_offsets(file.offsets[:-1])
    file.seek(0)


class WholeXtcReader(XTCReader):  # type: ignore[misc]  # MDAnalysis has no types
    """MDAnalysis reader for XTC without an incomplete last frame."""

    format = WHOLE_XTC

    def _load_offsets(self) -> None:
        super()._load_offsets()
        leave_out_incomplete(self._xdr)


class WholeTrrReader(TRRReader):  # type: ignore[misc]  # as above
    """MDAnalysis reader for TRR without an incomplete last frame."""

    format = WHOLE_TRR

    def _load_offsets(self) -> None:
        super()._load_offsets()
        leave_out_incomplete(self._xdr)

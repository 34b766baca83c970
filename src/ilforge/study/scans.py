"""Scans named in a study: energies of single ions along their coordinates, for the maps of their shapes."""

from __future__ import annotations

from ilforge import frames
from ilforge.properties.combining.scans import scan_tables
from ilforge.results import Table
from ilforge.study.load import Study


def study_scans(study: Study) -> dict[str, Table]:
    """Tables of all scans named in a study (``analysis.shapes.scans``), by title."""
    shapes = study.settings.analysis.shapes
    found: dict[str, Table] = {}
    for name in shapes.scans:
        found |= scan_tables(frames.read(study.folder / name), name, shapes.define, study.settings.liquid.define)
    return found

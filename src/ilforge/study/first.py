"""Choices of a new study that follow from its liquid: whether CL&P can sample it, and with which cutoffs."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.potentials.classical.clp_parameters import known_ions
from ilforge.study.settings import SamplingSettings


def has_clp(ions: Collection[str], own: Mapping[str, IonSettings]) -> bool:
    """Whether CL&P has parameters of all ions, of its own or from the user's force-field files."""
    with_force_field = {name for name, ion in own.items() if ion.force_field}
    return set(ions) <= with_force_field | (set(known_ions()) - set(own))


def clp_cutoffs(liquid: Liquid, density_g_cm3: float, md_multiple: int) -> tuple[float, float]:
    """Longest cutoffs up to 10 Å, in steps of 0.5 Å, for the densest labelled box and for the MD box, Å.

    Parameters
    ----------
    md_multiple
        The MD box contains this many times the ions of the liquid.
    """
    densest = max(SamplingSettings().density_ratios)
    # a box at constant pressure may become smaller
    sides = (
        0.98 * liquid.volume(density_g_cm3 * densest) ** (1 / 3),
        0.92 * (md_multiple * liquid.volume(density_g_cm3)) ** (1 / 3),
    )
    small, large = (min(10.0, math.floor(side) / 2) for side in sides)
    return small, large


def define_tables(own: Mapping[str, IonSettings], folder: Path) -> dict[str, dict[str, Any]]:
    """Definitions of ions for a study file in this folder, with paths relative to it."""
    tables = {}
    for name, ion in own.items():
        given = ion.model_dump(exclude_none=True)
        for key in ("structure", "force_field"):
            if key in given:
                given[key] = os.path.relpath(given[key], folder or ".")
        tables[name] = given
    return tables

"""Ions and sites named in ``[analysis]``; only some compositions of a series may have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.properties import System, create, settings_of
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.rdf import find_site
from ilforge.settings import Settings

NAMING = ("rdf", "clusters", "shapes", "transitions")
"""Properties whose settings name ions."""


def refuse_unknown(name: str, analysis: AnalysisSettings, liquids: Sequence[Liquid], lone: Sequence[Liquid]) -> None:
    """Refuse ions and sites in the settings of a property that no composition has, before anything runs.

    Parameters
    ----------
    name
        The property.
    analysis
        Settings of the study.
    liquids
        Of every composition.
    lone
        Ions that are run in a vacuum, whose shapes may be defined as well.

    Raises
    ------
    SettingsError
        When there is one; the message lists the possible names.
    """
    asked = [*liquids, *(lone if name == "shapes" else [])]
    known = {ion.name: ion for liquid in asked for ion, _ in liquid.ions}
    everything = Topology.of((ion, 2) for ion in known.values())  # two: each has another of its kind around it
    try:
        create(name, analysis).begin(System(everything, 1, 1.0))
    except SettingsError as error:
        of_all = " (All compositions were checked.)" if len(liquids) > 1 else ""
        raise SettingsError(f"{error}{of_all}") from None
    if name == "shapes":
        return
    settings = settings_of(name, analysis)[name]
    for thing in sorted(set.intersection(*(set(_left_out(name, settings, liquid)) for liquid in liquids))):
        raise SettingsError(
            f"analysis.{name}: {thing} cannot be measured, because no composition has all that it needs. Name what one "
            "of them has together, or leave it out."
        )


def as_far_as_named(
    name: str, parts: dict[str, Settings], liquid: Liquid
) -> tuple[dict[str, Settings] | None, list[str]]:
    """Settings of a property without the ions and sites that one composition does not have.

    Parameters
    ----------
    name
        The property.
    parts
        Result of :func:`~ilforge.properties.settings_of`.
    liquid
        Of the composition.

    Returns
    -------
    parts
        The remaining settings; None if nothing is left to measure.
    notes
        Sentences about what was left out, for the measurement.
    """
    gone = _left_out(name, parts[name], liquid) if name in NAMING else {}
    if not gone:
        return parts, []
    own = _without(name, parts[name], gone)
    return (None if own is None else {**parts, name: own}), list(gone.values())


def _left_out(name: str, settings: Any, liquid: Liquid) -> dict[str, str]:
    """Ions and sites in the settings that a liquid does not have, with a note on each."""
    here = f"this composition ({', '.join(liquid.counts)})"
    if name == "rdf":
        return {
            "-".join(pair): f"{'-'.join(pair)} is left out: {here} has no {' and no '.join(lacking)}."
            for pair in settings.pairs or []
            if (lacking := [site for site in dict.fromkeys(pair) if not _has_site(site, liquid.topology)])
        }
    if name == "shapes":
        lacking = [one.ion for one in settings.define if one.ion not in liquid.counts]
        return {ion: f"Shapes of {ion} are left out: {here} has none." for ion in lacking}
    pair = f"{settings.cation}-{settings.ligand}"
    named = {role: getattr(settings, role) for role in ("cation", "ligand")}
    lacking = [
        f"{ion} (analysis.{name}.{role})"
        for role, ion in named.items()
        if ion not in liquid.counts and ion != type(settings).model_fields[role].default  # of which its own note tells
    ]
    return {pair: f"{pair} is left out: {here} has no {' and no '.join(lacking)}."} if lacking else {}


def _without(name: str, settings: Any, gone: dict[str, str]) -> Settings | None:
    """The settings without these; None where nothing is left."""
    if name == "shapes":
        kept = [one for one in settings.define if one.ion not in gone]
        fewer: Settings = settings.model_copy(update={"define": kept})
        return fewer
    if name == "rdf":
        kept = [pair for pair in settings.pairs if "-".join(pair) not in gone]
        return settings.model_copy(update={"pairs": kept}) if kept else None
    return None


def _has_site(site: str, topology: Topology) -> bool:
    try:
        find_site(site, topology)
    except SettingsError:
        return False
    return True

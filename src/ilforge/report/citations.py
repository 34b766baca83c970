"""Works to cite for the programs and potentials that a study used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ilforge.potentials import POTENTIALS
from ilforge.report.content import ReportContent

STUDY = (
    "The method follows Park, Ryu and Lee, Ionic Liquid Molecular Dynamics Simulation with Machine Learning "
    "Force Fields: DPMD and MACE."
)

_WORKS = {
    "learning": "Concurrent learning: Zhang et al., DP-GEN, Comput. Phys. Commun. 253, 107206 (2020).",
    "openmm": "OpenMM: Eastman et al., J. Phys. Chem. B 128, 109 (2024).",
    "lammps": "LAMMPS: Thompson et al., Comput. Phys. Commun. 271, 108171 (2022).",
    "packmol": "Packmol: Martínez, Andrade, Birgin and Martínez, J. Comput. Chem. 30, 2157 (2009).",
    "mdanalysis": "MDAnalysis: Michaud-Agrawal et al., J. Comput. Chem. 32, 2319 (2011).",
    "ase": "ASE: Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017).",
}
"""Works to cite for programs, by the names of their packages. Kinds of potential contain their own citations."""


def works(content: ReportContent) -> tuple[str, ...]:
    """Works to cite for programs and potentials in the content, and further works that the content names."""
    programs = [program for stage in content.stages for program in stage.programs]
    programs += ["learning"] if content.learning else []
    found = works_on(_methods(content), programs)
    return (f"ilforge {content.ilforge_version}.", STUDY, *found, *content.citations)


def _methods(content: ReportContent) -> Iterator[Mapping[str, Any]]:
    """Descriptions of all potentials; one that the content does not describe may have the name of its kind."""
    yield from content.methods.values()
    names = {record.potential for record in content.records} | {parity.potential for parity in content.parity}
    names |= {curve.potential for curve in content.curves}
    yield from ({"kind": kind} for kind in POTENTIALS if kind in names - set(content.methods))


def works_on(methods: Iterable[Mapping[str, Any]], programs: Iterable[str] = ()) -> tuple[str, ...]:
    """Works to cite for potentials, in the order of their kinds, and then for programs; each once.

    Parameters
    ----------
    methods
        Descriptions of potentials by :func:`ilforge.potentials.settings`: the ``kind`` of each, and its settings, such
        as ``"functional": "PBE"``.
    programs
        Names of packages: ``"openmm"``.
    """
    order = list(POTENTIALS)
    in_order = sorted(methods, key=lambda method: order.index(method["kind"]))
    found = [work for method in in_order for work in _works_on_method(method)]
    used = {program.lower() for program in programs}
    found += [work for name, work in _WORKS.items() if name in used]
    return tuple(dict.fromkeys(found))


def _works_on_method(method: Mapping[str, Any]) -> Iterator[str]:
    values = [value for value in method.values() if isinstance(value, str)]
    return (work for value, work in POTENTIALS[method["kind"]].works if not value or value in values)

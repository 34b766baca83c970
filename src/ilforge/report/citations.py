"""Works to cite for the programs and potentials that a study used."""

from __future__ import annotations

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
"""Works to cite for programs, by their names. Kinds of potential contain their own citations."""


def works(content: ReportContent) -> tuple[str, ...]:
    """Works to cite for programs and potentials in the content, and further works that the content names."""
    used = [program for stage in content.stages for program in stage.programs]
    names = [record.potential for record in content.records] + [parity.potential for parity in content.parity]
    names += [curve.potential for curve in content.curves]
    used += [content.kinds.get(name, name) for name in names if name] + [content.reference]
    used += ["learning"] if content.learning else []
    return (f"ilforge {content.ilforge_version}.", STUDY, *works_on(" ".join(used)), *content.citations)


def works_on(text: str) -> tuple[str, ...]:
    """Works to cite for methods and programs named in a text: ``"PBE-D3(BJ) with GPAW"``."""
    text = text.lower()
    named = [kind for kind in POTENTIALS.values() if kind.name in text or kind.title.lower() in text]
    found = [work for kind in named for word, work in kind.works if word.lower() in text]
    found += [work for word, work in _WORKS.items() if word in text]
    return tuple(dict.fromkeys(found))

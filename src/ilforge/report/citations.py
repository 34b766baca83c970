"""What to cite, from the programs and potentials that a study used."""

from __future__ import annotations

from ilforge.report.content import ReportContent

STUDY = (
    "The method follows Park, Ryu and Lee, Ionic Liquid Molecular Dynamics Simulation with Machine Learning "
    "Force Fields: DPMD and MACE."
)

_WORKS = {
    "mace": (
        "MACE: Batatia, Kovács, Simm, Ortner and Csányi, MACE: Higher Order Equivariant Message Passing Neural "
        "Networks for Fast and Accurate Force Fields, NeurIPS 35 (2022)."
    ),
    "deepmd": "DeePMD-kit: Zeng et al., J. Chem. Phys. 159, 054801 (2023).",
    "learning": "Concurrent learning: Zhang et al., DP-GEN, Comput. Phys. Commun. 253, 107206 (2020).",
    "clp": "CL&P: Canongia Lopes and Pádua, Theor. Chem. Acc. 131, 1129 (2012), and the papers cited there.",
    "clpol": (
        "CL&Pol: Goloviznina, Canongia Lopes, Costa Gomes and Pádua, J. Chem. Theory Comput. 15, 5858 (2019); "
        "Goloviznina, Gong, Costa Gomes and Pádua, J. Chem. Theory Comput. 17, 1606 (2021)."
    ),
    "exp6": "Form of the exp-6 polarizable force field: Borodin, J. Phys. Chem. B 113, 11463 (2009).",
    "gfn1-xtb": "GFN1-xTB: Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017).",
    "gfn2-xtb": "GFN2-xTB: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019).",
    "pbe": "PBE: Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).",
    "scan": "SCAN: Sun, Ruzsinszky and Perdew, Phys. Rev. Lett. 115, 036402 (2015).",
    "d3(bj)": "D3(BJ): Grimme, Ehrlich and Goerigk, J. Comput. Chem. 32, 1456 (2011).",
    "gpaw": "GPAW: Mortensen et al., J. Chem. Phys. 160, 092503 (2024).",
    "cp2k": "CP2K: Kühne et al., J. Chem. Phys. 152, 194103 (2020).",
    "vasp": "VASP: Kresse and Furthmüller, Phys. Rev. B 54, 11169 (1996).",
    "openmm": "OpenMM: Eastman et al., J. Phys. Chem. B 128, 109 (2024).",
    "lammps": "LAMMPS: Thompson et al., Comput. Phys. Commun. 271, 108171 (2022).",
    "packmol": "Packmol: Martínez, Andrade, Birgin and Martínez, J. Comput. Chem. 30, 2157 (2009).",
    "mdanalysis": "MDAnalysis: Michaud-Agrawal et al., J. Comput. Chem. 32, 2319 (2011).",
    "ase": "ASE: Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017).",
}


def works(content: ReportContent) -> tuple[str, ...]:
    """Works whose program or potential appears in the content, and those the content names itself."""
    used = [program for stage in content.stages for program in stage.programs]
    used += [record.potential for record in content.records] + [parity.potential for parity in content.parity]
    used += [curve.potential for curve in content.curves] + [content.reference]
    used += ["learning"] if content.learning else []
    return (f"ilforge {content.ilforge_version}.", STUDY, *works_on(" ".join(used)), *content.citations)


def works_on(text: str) -> tuple[str, ...]:
    """Works on the methods and programs that a text names: ``"PBE-D3(BJ) with GPAW"``."""
    return tuple(work for word, work in _WORKS.items() if word in text.lower())

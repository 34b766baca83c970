"""Works to cite follow the kinds and settings of potentials, and never what a user calls them."""

import dataclasses

import pytest

from ilforge.potentials import POTENTIALS, create, settings
from ilforge.report.citations import works, works_on


def names_of(cited):
    return {work.partition(":")[0] for work in cited}


def always(kind):
    """Works of a kind that are cited whatever its settings are."""
    return {work for value, work in POTENTIALS[kind].works if not value}


def test_a_name_that_is_another_kind_does_not_change_what_is_cited(content):
    methods = {"mace": {"kind": "deepmd"}, "OpenMM of GPAW": {"kind": "uf3"}}
    parity = tuple(dataclasses.replace(content.parity[0], potential=name) for name in methods)
    bare = {"records": (), "curves": (), "stages": (), "learning": (), "parity": parity}
    cited = works(dataclasses.replace(content, **bare, methods=methods, reference="OpenMM model packmol.model, SCAN"))
    assert always("deepmd") | always("uf3") <= set(cited)
    assert not names_of(cited) & {"MACE", "OpenMM", "GPAW", "Packmol", "SCAN"}


def test_a_potential_without_description_may_have_the_name_of_its_kind(content):
    cited = set(works(content))
    assert always("clp") | always("mace") | always("deepmd") <= cited
    assert {"OpenMM", "LAMMPS", "Packmol"} <= names_of(cited), "they are among the programs of its stages"


@pytest.mark.parametrize(
    ("spec", "cited"),
    [
        ({"kind": "xtb", "method": "GFN2-xTB"}, {"GFN2-xTB"}),
        ({"kind": "gpaw"}, {"GPAW", "PBE", "D3(BJ)"}),
        ({"kind": "gpaw", "functional": "revPBE", "dispersion": "none"}, {"GPAW", "PBE"}),
        ({"kind": "cp2k"}, {"CP2K", "PBE", "D3(BJ)"}),
        ({"kind": "vasp", "dispersion": "D3(0)"}, {"VASP", "PBE"}),
        ({"kind": "vasp", "functional": "SCAN", "dispersion": "none"}, {"VASP", "SCAN"}),
        ({"kind": "sevennet"}, {"SevenNet", "D3(BJ)"}),
        ({"kind": "sevennet", "dispersion": "none"}, {"SevenNet"}),
    ],
)
def test_works_follow_the_settings(spec, cited):
    assert names_of(works_on([settings(create(spec))])) == cited


def test_programs_are_cited_by_the_whole_name_of_their_package():
    assert names_of(works_on([], ["openmm", "MDAnalysis", "mace-torch", "phase-base"])) == {"OpenMM", "MDAnalysis"}

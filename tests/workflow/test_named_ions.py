"""A series in which one composition lacks ions that [analysis] names: asked when the plan is made, left out there."""

from __future__ import annotations

import json

import pytest

from ilforge.errors import SettingsError
from ilforge.properties import Measurement
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.stage import in_order
from ilforge.workflow.steps.md import MEASUREMENT
from support import studies

PROPERTIES = ("rdf", "clusters", "shapes", "transitions")
ANALYSIS = """
[analysis]
properties = ["rdf", "clusters", "shapes", "transitions"]
[analysis.rdf]
pairs = [["Na", "F:BF4"], ["PYR14", "BF4"]]
[analysis.clusters]
cation = "Na"
ligand = "BF4"
ligand_atoms = "F"
count_atom = "B"
[analysis.transitions]
cation = "PYR14"
ligand = "BF4"
ligand_atoms = "F"
[[analysis.shapes.define]]
ion = "FSI"
coordinates = [{ name = "sf", smarts = "[#16]-[#9]", atoms = [0, 1] }]
states = [{ name = "bound", ranges = { sf = [0, 2] } }]
"""
RUN = """
[[md]]
name = "{0}"
compositions = ["{0}"]
ensemble = "NVT"
potentials = ["clp"]
length_ps = 0.012
equilibration_ps = 0.0
interval_ps = 0.002
"""


def plan_with(folder, old="", new=""):
    """Of a pure liquid, and of one with sodium and FSI in it."""
    text = studies.COMPOSITIONS.split("[[md]]")[0].replace("LI = 1, BF4 = 2", "Na = 1, BF4 = 1, FSI = 1")
    text += RUN.format("pure") + RUN.format("salt") + (ANALYSIS.replace(old, new) if old else ANALYSIS)
    (folder / "series.toml").write_text(text)
    return make_plan(load_study(folder / "series.toml"))


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_what_one_composition_lacks_is_left_out_there_with_a_note(tmp_path):
    plan = plan_with(tmp_path)
    stages = {name: plan.analyses["pure", "clp", name] for name in PROPERTIES}
    store, outcome = studies.run(in_order(list(stages.values())), tmp_path / "store")
    assert outcome.complete
    found = {
        name: Measurement.from_json(json.loads((store.path(stage) / MEASUREMENT).read_text()))
        for name, stage in stages.items()
    }
    assert [name for name in found["rdf"].curves if name.startswith("rdf")] == ["rdf PYR14-BF4"]
    assert found["rdf"].notes[-1] == "Na-F:BF4 is left out: this composition (PYR14, BF4) has no Na."
    said = "Na-BF4 is left out: this composition (PYR14, BF4) has no Na (analysis.clusters.cation)."
    assert found["clusters"] == Measurement(notes=[said])
    assert "populations PYR14" in found["shapes"].tables, "what is built in is measured all the same"
    assert found["shapes"].notes == ["Shapes of FSI are left out: this composition (PYR14, BF4) has none."]
    assert found["transitions"].curves and not any("left out" in note for note in found["transitions"].notes)


def test_nothing_left_to_measure_is_a_note(tmp_path):
    plan = plan_with(tmp_path, ', ["PYR14", "BF4"]]', ', ["FSI", "FSI"]]')
    notes = plan.analyses["pure", "clp", "rdf"].settings["left_out"]
    assert [note.split()[0] for note in notes] == ["Na-F:BF4", "FSI-FSI"]
    assert "left_out" not in plan.analyses["salt", "clp", "rdf"].settings


def test_compositions_with_all_of_it_keep_the_names_of_their_results(tmp_path):
    whole, less = plan_with(tmp_path), plan_with(tmp_path, '["Na", "F:BF4"], ')
    salt, pure = ([plan.analyses[name, "clp", "rdf"] for plan in (whole, less)] for name in ("salt", "pure"))
    assert salt[0].settings["pairs"] == [("Na", "F:BF4"), ("PYR14", "BF4")] and "left_out" not in salt[0].settings
    assert pure[0].settings["pairs"] == pure[1].settings["pairs"]
    assert pure[0].key != pure[1].key, "one of them holds a note"
    for name in ("clusters", "shapes", "transitions"):
        assert whole.analyses["salt", "clp", name].key == less.analyses["salt", "clp", name].key


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"Na", "F:BF4"', '"K", "F:BF4"', r"analysis.rdf.pairs names 'K'.*\(PYR14, BF4, Na, FSI\).*All compositions"),
        ('"Na", "F:BF4"', '"Na", "S:BF4"', "analysis.rdf.pairs names 'S:BF4'"),
        ('cation = "Na"', 'cation = "K"', r"analysis.clusters.cation is 'K'.*\(PYR14, BF4, Na, FSI\)"),
        ('ligand = "BF4"', 'ligand = "PF6"', "analysis.clusters.ligand is 'PF6'"),
        ('ligand_atoms = "F"', 'ligand_atoms = "O"', "ligand_atoms is 'O', which BF4 does not have"),
        ('cation = "PYR14"', 'cation = "K"', "analysis.transitions.cation is 'K'"),
        ('ion = "FSI"', 'ion = "OTf"', "analysis.shapes.define: ion is 'OTf'"),
        ("[#16]-[#9]", "[#16]-[#17]", "matches nothing"),
    ],
)
def test_what_no_composition_has_is_said_when_the_plan_is_made(tmp_path, old, new, said):
    with pytest.raises(SettingsError, match=said):
        plan_with(tmp_path, old, new)


def test_a_pair_whose_ions_never_meet_is_refused(tmp_path):
    text = studies.COMPOSITIONS.replace("PYR14 = 1, LI = 1, BF4 = 2", "EMIM = 1, BF4 = 1")
    text += '[analysis]\nproperties = ["rdf"]\nrdf = { pairs = [["EMIM", "BF4"], ["PYR14", "EMIM"]] }\n'
    (tmp_path / "apart.toml").write_text(text)
    with pytest.raises(SettingsError, match="analysis.rdf: PYR14-EMIM cannot be measured, because no composition has"):
        make_plan(load_study(tmp_path / "apart.toml"))


def test_names_that_nothing_measures_are_not_asked_for(tmp_path):
    plan_with(tmp_path)
    text = (tmp_path / "series.toml").read_text().replace('cation = "Na"', 'cation = "K"')
    (tmp_path / "series.toml").write_text(text.replace('["rdf", "clusters", ', '["rdf", '))
    assert make_plan(load_study(tmp_path / "series.toml")).analyses


def test_shapes_of_an_ion_that_is_only_run_in_a_vacuum_may_be_defined(tmp_path):
    lone = RUN.format("lone").replace('compositions = ["lone"]', "vacuum = { OTf = 1 }")
    plan_with(tmp_path, "[analysis]", f"{lone}[analysis]")
    text = (tmp_path / "series.toml").read_text().replace('ion = "FSI"', 'ion = "OTf"').replace("[#9]", "[#8]")
    (tmp_path / "series.toml").write_text(text)
    plan = make_plan(load_study(tmp_path / "series.toml"))
    assert plan.analyses["lone", "clp", "shapes"].settings["define"]

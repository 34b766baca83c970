"""A study that runs one ion in a vacuum with several potentials: from its keys to shapes, divergence and tables."""

from __future__ import annotations

import csv

import pytest
from rich.console import Console

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.folders import MARKER
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.report import write_report
from ilforge.study.load import load_study
from ilforge.workflow.executors import Executors, LocalExecutor
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.records import collect_records
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.stage import in_order
from ilforge.workflow.steps.reporting import report_content
from ilforge.workflow.store import ResultStore
from ilforge.workflow.study_run import all_stages, publish

STUDY = """
name = "lone"
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 4.0
[sampling]
density_ratios = [0.9, 1.0]
[reference]
potential = "REFERENCE"
[learning]
iterations = 0
[analysis]
properties = ["density", "shapes", "health"]
[analysis.shapes]
scans = ["scan.xyz"]
[[analysis.shapes.define]]
ion = "BF4"
coordinates = [{ name = "bf", smarts = "[#5]-[#9]", atoms = [0, 1] }]
states = [{ name = "bound", ranges = { bf = [0, 2] } }]
[[md]]
name = "lone-tfsi"
ensemble = "NVT"
vacuum = { TFSI = 1 }
potentials = ["clp", "REFERENCE"]
length_ps = 0.04
equilibration_ps = 0.0
interval_ps = 0.002
"""


def write(folder, reference="gfn1", **change):
    path = folder / "lone.toml"
    text = STUDY.replace("REFERENCE", reference)
    for old, new in change.items():
        text = text.replace(old, new)
    path.write_text(text)
    return load_study(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Plan and store with everything of the vacuum in it, by CL&P and GFN1-xTB."""
    folder = tmp_path_factory.mktemp("lone")
    point = in_vacuum(Liquid.of({"TFSI": 1}, vacuum=True), 1)
    point.info["REF_energy"] = -1.0
    frames.write(folder / "scan.xyz", [point])
    plan, store = make_plan(write(folder)), ResultStore(folder / "store")
    store.prepare()
    watch = Watch(Console(quiet=True), store, 1, quiet=True)
    with Executors({"local": LocalExecutor(1)}) as executors:
        outcome = run_stages(in_order(list(plan.analyses.values())), store, executors, watch)
    watch.stop()
    assert outcome.complete
    return plan, store, folder


def test_shapes_of_one_ion_come_out_for_each_potential(finished):
    plan, store, _ = finished
    assert {name for _, _, name in plan.analyses} == {"shapes", "health"}
    starts = {stage.inputs["start"].key for stage in plan.trajectories.values()}
    assert len(starts) == 1
    records = collect_records(plan, store)
    for potential in ("clp", "gfn1"):
        shares = [r for r in records if (r.quantity, r.potential) == ("shape_population", potential)]
        assert [r.species for r in shares] == ["TFSI Cis", "TFSI aCis", "TFSI Trans", "TFSI aTrans"]
        assert sum(r.value for r in shares) == pytest.approx(100.0)
        assert not any(r.converged for r in shares if r.value > 0)  # a twentieth of a picosecond
        assert {r.liquid for r in shares} == {"TFSI in vacuum"}
    (apart,) = (r for r in records if r.quantity == "shape_divergence")
    assert (apart.potential, apart.provenance["against"]["potential"]) == ("clp", "gfn1")
    assert not apart.converged and "neither map has converged" in apart.note and apart.unit == "bit"


def test_the_report_shows_both_maps_and_writes_them_as_one_table(finished):
    plan, store, folder = finished
    page = write_report(folder / "report", report_content(plan, store)).read_text()
    for potential in ("clp", "gfn1"):
        assert f"map/TFSI/lone-tfsi/{potential}" in page
    rows = list(csv.DictReader((folder / "report" / "data" / "shapes" / "map-TFSI.csv").open()))
    assert {(row["potential"], row["ions"], row["protocol"]) for row in rows} == {
        ("clp", "1 TFSI", "lone-tfsi"), ("gfn1", "1 TFSI", "lone-tfsi")
    }  # fmt: skip
    (row,) = csv.DictReader((folder / "report" / "data" / "shapes" / "scan-TFSI.csv").open())
    assert float(row["energy_kJ_mol"]) == 0.0 and "Circles: energies of a scan" in page
    (row,) = csv.DictReader((folder / "report" / "data" / "numbers" / "shape_divergence.csv").open())
    assert row["against_potential"] == "gfn1" and row["species"] == "TFSI" and row["converged"] == "False"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({'"NVT"': '"NPT"'}, "ensemble NVT or NVE"),
        ({"vacuum = { TFSI = 1 }": "vacuum = {}"}, "such as { TFSI = 1 }"),
        ({"vacuum = { TFSI = 1 }": "vacuum = { TFSI = 0 }"}, "vacuum"),
        ({'"gfn1"': '"gpaw"'}, "runs gpaw in a vacuum, but GPAW needs a box"),
    ],
)
def test_what_cannot_be_in_a_vacuum_is_refused(tmp_path, change, words):
    with pytest.raises(SettingsError, match=words):
        write(tmp_path, **change)


def test_a_scan_that_is_not_there_is_missed_before_anything_runs(tmp_path):
    with pytest.raises(SettingsError, match="scan.xyz"):
        all_stages(write(tmp_path))


def test_an_ion_that_nothing_knows_is_refused_before_anything_runs(tmp_path):
    study = write(tmp_path, **{"vacuum = { TFSI = 1 }": "vacuum = { NO3 = 1 }"})
    with pytest.raises(SettingsError, match="NO3"):
        make_plan(study)


def test_the_tables_are_put_beside_the_report_and_older_ones_go(finished, tmp_path):
    plan, store, folder = finished
    made, output = folder / "to-publish", tmp_path / "output"
    write_report(made, report_content(plan, store))
    output.mkdir()
    publish(made, output)
    (output / "data" / "of-an-earlier-run.csv").write_text("x\n")
    publish(made, output)
    files = [path for path in output.rglob("*") if path.is_file() and path.name != MARKER]
    names = {path.relative_to(output).as_posix() for path in files}
    assert {"report.html", "results.json", "results.csv", "data/shapes/map-TFSI.csv"} <= names
    assert "data/of-an-earlier-run.csv" not in names
    assert names == {
        path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file() and path.name != MARKER
    }

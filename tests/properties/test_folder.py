"""Measurements written to a folder and read again."""

import csv

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.properties import Measurement
from ilforge.properties.reading.folder import Run, read_measurements, write_measurements, write_tidy
from ilforge.results import Curve, Estimate, Table


def a_measurement():
    table = Table(("kind", "n", "share"), [("a, b", 3, 0.25), ("c", 1, None)])
    curve = Curve(np.array([0.0, 1.0]), np.array([1.0, np.nan]), None, "time", "ps", "S(t)", "1")
    estimate = ("q", None, Estimate.refused("ps", "why"))
    return Measurement(
        [estimate], {"residence Li-O": curve}, [], ["a note"], {"kinds Li": table}, {"Li(O)3": "1\n\nLi 0 0 0\n"}
    )


def test_everything_comes_back_and_tables_are_tidy(tmp_path):
    folder = tmp_path / "new" / "out"
    written = write_measurements(folder, {"clusters": a_measurement()}, {"liquid": "2 Li, 2 F", "potential": "clp"})
    assert all(path.is_file() for path in written)
    assert read_measurements(folder)["clusters"].to_json() == a_measurement().to_json()
    with (folder / "clusters" / "kinds-Li.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"liquid": "2 Li, 2 F", "potential": "clp", "kind": "a, b", "n": "3", "share": "0.25"}
    assert rows[1]["share"] == ""
    with (folder / "clusters" / "residence-Li-O.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["time_ps"] for row in rows] == ["0.0", "1.0"] and rows[1]["S_t"] == ""
    assert {(row["species"], row["n_independent"], row["converged"]) for row in rows} == {("Li-O", "", "")}
    with (folder / "numbers" / "q.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"liquid": "2 Li, 2 F", "potential": "clp", "species": "", "q_ps": "", "error_ps": "", "n_independent": "0.0",
         "converged": "False", "note": "why"}
    ]  # fmt: skip
    assert (folder / "clusters" / "Li(O)3.xyz").read_text().startswith("1\n")


def test_runs_share_a_file_and_curves_say_whether_they_converged(tmp_path):
    def measured(converged, error):
        estimate = Estimate(2.0, 0.1, 9.0, "m^2/s", converged)
        curve = Curve(np.arange(2.0), np.arange(2.0), error, "time", "ps", "msd", "Å^2", np.array([4.0, 5.0]))
        plain = Curve(np.arange(2.0), np.arange(2.0), None, "r", "Å", "g(r)", "1", 7, True)
        picture = {"Li(F)1": "1\n\nLi 0 0 0\n"}
        return Measurement(
            [("self_diffusion", "Li", estimate)], {"msd Li": curve, "rdf Li-F": plain}, structures=picture
        )

    runs = [
        Run({"liquid": "LiF", "protocol": "nvt", "potential": "clp"}, {"diffusion": measured(True, np.ones(2))}),
        Run({"liquid": "LiF", "protocol": "nvt", "potential": "mace"}, {"diffusion": measured(False, None)}),
    ]
    written = write_tidy(tmp_path, runs)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in written) == [
        "diffusion/LiF-nvt-clp-Li(F)1.xyz", "diffusion/LiF-nvt-mace-Li(F)1.xyz", "diffusion/msd-Li.csv",
        "diffusion/rdf-Li-F.csv", "numbers/self_diffusion.csv",
    ]  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "diffusion" / "msd-Li.csv").open()))
    assert [(row["potential"], row["time_ps"], row["msd_A2"], row["error_A2"]) for row in rows] == [
        ("clp", "0.0", "0.0", "1.0"), ("clp", "1.0", "1.0", "1.0"),
        ("mace", "0.0", "0.0", ""), ("mace", "1.0", "1.0", ""),
    ]  # fmt: skip
    assert [row["n_independent"] for row in rows] == ["4.0", "5.0"] * 2
    assert [row["converged"] for row in rows] == ["True"] * 2 + ["False"] * 2
    rows = list(csv.DictReader((tmp_path / "diffusion" / "rdf-Li-F.csv").open()))
    assert {row["converged"] for row in rows} == {"True"} and {row["n_independent"] for row in rows} == {"7.0"}
    rows = list(csv.DictReader((tmp_path / "numbers" / "self_diffusion.csv").open()))
    assert [(row["self_diffusion_m2_s"], row["error_m2_s"], row["converged"]) for row in rows] == [
        ("2.0", "0.1", "True"), ("2.0", "0.1", "False")
    ]  # fmt: skip


def test_a_folder_without_or_with_damaged_measurements_is_said(tmp_path):
    with pytest.raises(SettingsError, match="ilforge analyse TRAJECTORY --out"):
        read_measurements(tmp_path)
    (tmp_path / "measurements.json").write_text('{"shapes": {"estim')
    with pytest.raises(SettingsError, match="damaged"):
        read_measurements(tmp_path)

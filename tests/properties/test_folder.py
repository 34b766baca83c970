"""Measurements written to a folder and read again."""

import csv

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.properties import Measurement
from ilforge.properties.folder import read_measurements, write_measurements
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
    written = write_measurements(folder, {"clusters": a_measurement()}, {"liquid": "2 Li, 2 F", "method": "clp"})
    assert all(path.is_file() for path in written)
    assert read_measurements(folder)["clusters"].to_json() == a_measurement().to_json()
    with (folder / "clusters" / "kinds-Li.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"liquid": "2 Li, 2 F", "method": "clp", "kind": "a, b", "n": "3", "share": "0.25"}
    assert rows[1]["share"] == ""
    with (folder / "clusters" / "residence-Li-O.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["time [ps]"] for row in rows] == ["0.0", "1.0"] and rows[1]["S(t)"] == ""
    assert (folder / "clusters" / "Li(O)3.xyz").read_text().startswith("1\n")


def test_a_folder_without_or_with_damaged_measurements_is_said(tmp_path):
    with pytest.raises(SettingsError, match="ilforge analyse TRAJECTORY --out"):
        read_measurements(tmp_path)
    (tmp_path / "measurements.json").write_text('{"shapes": {"estim')
    with pytest.raises(SettingsError, match="damaged"):
        read_measurements(tmp_path)

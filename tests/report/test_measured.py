"""Which tables of a measurement become figures: those of known kinds, whatever they are called."""

import pytest

from ilforge.properties import Measurement
from ilforge.report.measured import cluster_pictures, named_tables
from ilforge.results import Table
from support.measured import clusters, exchange, tfsi_map


def named(measurement):
    return [(table.kind, table.key) for table in named_tables("nvt", "mace", measurement)]


def test_the_kind_is_that_of_the_table_and_not_a_word_of_its_name():
    rows = [(0.0, 0.0, 1.0)]
    columns = ("phi_degrees", "psi_degrees", "energy_kJ_mol")
    tables = {
        "map of blocks": Table(columns, rows, "map", "blocks"),
        "scan of a map": Table(columns, rows, "course", "PYR14"),
        "kinds of ions": Table(columns, rows),
    }
    assert named(Measurement(tables=tables)) == [("map", "blocks")]
    assert not list(cluster_pictures("nvt", "mace", Measurement(tables=tables)))


@pytest.mark.parametrize("measurement", [tfsi_map(60.0), exchange(), clusters()])
def test_files_of_earlier_versions_have_the_same_figures(measurement):
    data = measurement.to_json()
    for table in data["tables"].values():
        del table["kind"], table["of"]
    old = Measurement.from_json(data)
    assert old.tables == measurement.tables
    assert named(old) == named(measurement)


def test_blocks_of_a_map_in_a_file_of_an_earlier_version_are_no_map():
    data = {"estimates": [], "curves": {}, "verdicts": [], "notes": []}
    old = Measurement.from_json({**data, "tables": {"map blocks TFSI": {"columns": ["block"], "rows": [[1]]}}})
    assert (old.tables["map blocks TFSI"].kind, old.tables["map blocks TFSI"].of) == ("map blocks", "TFSI")
    assert not named(old)

"""Tables print what the records say, and nothing that must not be quoted."""

from __future__ import annotations

import math

import pytest

from ilforge.report import key_numbers, tables
from ilforge.report.findings import findings
from ilforge.report.inventory import frames_table, rejections_table
from ilforge.report.sections import palette_of, sections
from ilforge.report.wording import duration, number, typeset, unit_name, with_error
from ilforge.results import Estimate, Record


def record(**changes):
    estimate = Estimate(1.0371, 0.0032, 31.0, "g/cm^3")
    labels = {"quantity": "density", "liquid": "PYR14BF4", "potential": "clp", "temperature_K": 423.0}
    return Record.of(estimate, **{**labels, **changes})


def test_a_converged_number_is_printed_with_its_error():
    assert tables.cell(record()).text == "1.037 ± 0.003"
    assert tables.cell(record(value=0.0021, error=0.0001, unit="eV/atom")).text == "2.10 ± 0.10"


@pytest.mark.parametrize(
    "changes", [{"converged": False}, {"value": math.nan}, {"converged": False, "value": math.nan}]
)
def test_what_did_not_converge_is_never_printed(changes):
    cell = tables.cell(record(note="run five times longer", **changes))
    assert cell.tone == "refused" and cell.note == "run five times longer"
    assert not any(character.isdigit() for character in cell.text)


def test_a_number_of_a_run_that_lost_the_liquid_is_not_quoted(content):
    density = next(r for r in content.records if (r.quantity, r.potential) == ("density", "deepmd"))
    cell = tables.cell(density)
    assert cell.text == "does not hold" and "the density fell from 1.02 to 0.45 g/cm3 within 11 ps" in cell.note
    void = next(r for r in content.records if (r.quantity, r.potential) == ("largest_cavity_radius", "deepmd"))
    assert tables.cell(void).text == "5.20 ± 0.05"  # what shows the fault is shown


def test_the_summary_sets_potentials_side_by_side_under_their_verdicts(content):
    table = tables.summary(content.records, palette_of(content))
    assert [cell.text for cell in table.columns] == ["Quantity", "MACE", "DeePMD", "CL&P"]
    assert [cell.unit for cell in table.columns] == ["", "not judged", "does not hold", "holds"]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert next(iter(rows)) == "Density" and rows["Density"] == ["not converged", "does not hold", "1.037 ± 0.003"]
    mace = next(r for r in content.records if (r.quantity, r.potential, r.dataset, r.iteration, r.species) == (
        "force_rmse", "mace", "EQ", 1, None))  # fmt: skip
    assert rows["Force RMSE, EQ frames"][0] == with_error(mace.value, mace.error)
    assert len(table.footnotes) == len(set(table.footnotes)) == 3


def test_verdicts_stand_first_a_line_for_each_run_that_tells_something(content):
    table = tables.verdicts(content.records, palette_of(content))
    assert [(row[0].text, row[1].text, row[2].text) for row in table.rows] == [
        ("MACE", "▲ Not judged", "npt"), ("MACE", "▲ Not judged", "nvt"), ("DeePMD", "■ Does not hold", "npt"),
        ("CL&P", "● Holds", "npt"),
    ]  # fmt: skip
    assert table.rows[2][3].text == "The density fell from 1.02 to 0.45 g/cm3 within 11 ps."
    lines = tables.verdict_lines(content.records, palette_of(content))
    assert lines[2] == ("DeePMD (npt): does not hold the liquid: the density fell from 1.02 to 0.45 g/cm3 within 11 ps")
    assert sections(content)[0].blocks[0].caption == table.caption
    assert findings(content, palette_of(content))[0].startswith("CL&P held the liquid; DeePMD did not hold the liquid")


def test_key_numbers_are_of_the_last_iteration_and_properties_come_first(content):
    chosen = key_numbers(content.records)
    assert chosen[0].quantity == "density" and chosen[-1].quantity == "energy_rmse_per_atom_offset_removed"
    assert {r.iteration for r in chosen} == {None, 1}
    assert all(r.species is None for r in chosen if r.quantity == "force_rmse")
    assert {r.species for r in chosen if r.quantity == "rdf_first_peak"} == {"PYR14-BF4"}


def test_the_force_error_is_set_against_the_forces(content):
    table = tables.error_table(content, palette_of(content), tables.last_iteration(content.records))
    assert [cell.text for cell in table.columns][:4] == ["Model", "Frames", "Force RMSE", "of RMS force"]
    share = float(table.rows[0][3].text.split()[0])
    assert 4 < share < 8


def test_elements_have_a_column_each(content):
    table = tables.element_table(content, palette_of(content), tables.last_iteration(content.records))
    assert [cell.text for cell in table.columns] == ["Model", "Frames", "H", "B", "C", "N", "F"]


def test_protocols_are_named_where_there_are_several(content):
    def rows(*potentials):
        runs = zip(("npt", "npt-long"), potentials, strict=True)
        records = [record(provenance={"protocol": protocol}, potential=potential) for protocol, potential in runs]
        return [row[0].text for row in tables.comparison("", records, records, palette_of(content)).rows]

    assert rows("clp", "clp") == ["Density, npt", "Density, npt-long"]
    assert rows("clp", "mace") == ["Density"]  # runs of different lengths, side by side


def test_frames_add_up(content):
    total = [cell.text for cell in frames_table(content.frames).rows[-1]]
    assert total == ["All", "", "", "230", "226", "4"]
    assert [row[-1].text for row in rejections_table(content.frames).rows] == ["2", "1", "1"]
    assert rejections_table(content.frames[:1]) is None


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.0371, 0.0032, "1.037 ± 0.003"),
        (1.0371, 0.0012, "1.0371 ± 0.0012"),
        (1.4e-11, 4e-12, "(1.4 ± 0.4) × 10⁻¹¹"),
        (123.4, 47.0, "120 ± 50"),
        (-0.5, 0.02, "−0.500 ± 0.020"),
        (2.0, math.nan, "2.00 (no error)"),
        (0.001, 0.5, "0.0 ± 0.5"),
        (math.nan, math.nan, "–"),
    ],
)
def test_errors_set_the_digits(value, error, text):
    assert with_error(value, error) == text


def test_numbers_units_and_times_read_well():
    assert (number(0.0123), number(12345.0, 2), number(3.2e-8, 2)) == ("0.0123", "12345", "3.2 × 10⁻⁸")
    assert (unit_name("g/cm^3"), unit_name("A^2/ps"), unit_name("1e-10 m2/s")) == ("g/cm³", "Å²/ps", "10⁻¹⁰ m²/s")
    assert typeset("fell to 0.45 g/cm3 or 0.5 g/cm^3 in 9 Å^3") == "fell to 0.45 g/\u2060cm³ or 0.5 g/\u2060cm³ in 9 Å³"
    assert (duration(0.42), duration(61), duration(7380)) == ("0.4 s", "1 min 01 s", "2 h 03 min")


def test_a_model_held_against_several_liquids_has_a_row_for_each(content):
    errors = {"quantity": "force_rmse", "potential": "mace", "iteration": 1, "dataset": "EQ", "unit": "eV/Å"}
    records = [
        record(**errors, liquid=liquid, value=value, error=0.001) for liquid, value in (("A", 0.05), ("B", 0.09))
    ]
    table = tables.error_table(content, palette_of(content), records)
    assert [(row[1].text, row[2].text) for row in table.rows] == [
        ("EQ, A", "0.0500 ± 0.0010"), ("EQ, B", "0.0900 ± 0.0010"),
    ]  # fmt: skip

"""Coverage of frames in the report: the numbers, and a distribution for every recipe."""

from __future__ import annotations

import numpy as np

from ilforge.report.coverage import coverage_figures, coverage_table


def test_the_table_prints_each_number_with_its_error(content):
    rows = {
        tuple(cell.text for cell in row[:3]): [cell.text for cell in row[3:]]
        for row in coverage_table(content.coverage).rows
    }
    assert rows["training", "nEQ/hot", "bonds"] == ["2.00 ± 0.05", "1.400 ± 0.020", "12.0 ± 1.0"]
    assert rows["training", "nEQ/hot", "torsions"][0] == "–"


def test_each_coordinate_has_a_figure_with_a_line_for_each_recipe(content):
    figures = coverage_figures(content.coverage)
    assert [figure.title for figure in figures] == ["Bonds, training", "Angles, training", "Torsions, training"]
    for figure in figures:
        assert [trace["name"] for trace in figure.data] == ["EQ/nvt", "nEQ/hot"]
        assert all(np.all(np.asarray(trace["y"]) > 0) for trace in figure.data), "a logarithmic axis has no zero"

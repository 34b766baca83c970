"""The Markov state model as it is drawn: areas are populations, arrows fluxes, and a refusal is a sentence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ilforge.properties import Measurement
from ilforge.report import measured
from ilforge.report.blocks import FigureRow, Paragraph
from ilforge.report.markov import exchange_blocks
from ilforge.report.sections import palette_of
from ilforge.report.structure import galleries
from ilforge.results import Record
from support.measured import STATES, exchange


def blocks_of(content, found: Measurement):
    """What the report shows of one run's exchange."""
    records = tuple(
        Record.of(e, quantity=q, species=s, potential="clp", liquid="x", provenance={"protocol": "nvt"})
        for q, s, e in found.estimates
    )
    tables = tuple(measured.named_tables("nvt", "clp", found))
    alone = dataclasses.replace(content, records=records, tables=tables)
    return exchange_blocks(alone, palette_of(alone))


def test_areas_are_populations_and_widths_fluxes(content):
    (row,) = blocks_of(content, exchange())
    network, scales, test = row.figures
    (circles,) = (one for one in network.data if one["name"] == "states")
    area = np.array(circles["marker"]["size"]) ** 2
    assert area / area.sum() == pytest.approx([0.2, 0.6, 0.2])
    arrows = [one for one in network.layout["annotations"] if one["showarrow"]]
    assert len(arrows) == 3 and all(one["arrowside"] == "end+start" for one in arrows)
    widths = sorted(one["arrowwidth"] for one in arrows)
    assert widths[1] / widths[2] == pytest.approx(5.0 / 6.5)
    places = {(round(x, 6), round(y, 6)) for x, y in zip(circles["x"], circles["y"], strict=True)}
    assert len(places) == 3
    for state, (share, life) in STATES.items():
        text = next(one["text"] for one in network.layout["annotations"] if state in one["text"])
        assert f"{share:.1f} ± 2.0 %" in text and f"{life:.0f} ± 3 ps" in text
    assert {one.get("name") for one in scales.data} >= {"process 2", "process 3", "time scale = lag"}
    assert sum("error_y" in one for one in test.data) == 3


def test_a_model_that_failed_is_not_drawn_but_what_it_failed_is(content):
    said, row = blocks_of(content, exchange(passed=False))
    assert isinstance(said, Paragraph) and "7.1 standard errors" in said.text
    assert [figure.title for figure in row.figures] == ["Implied time scales", "Chapman-Kolmogorov test"]


def test_a_refusal_gives_its_reason(content):
    blocks = exchange_blocks(content, palette_of(content))
    (said,) = (block.text for block in blocks if isinstance(block, Paragraph))
    assert said.startswith("MACE, nvt") and "10 needed: run at least" in said
    assert sum(isinstance(block, FigureRow) for block in blocks) == 1


def test_clusters_are_drawn_with_their_population_where_it_converged(content):
    (gallery,) = galleries(content, palette_of(content))
    first, second = gallery.viewers
    assert first.title == "Li(TFSI)3 2 mono 1 bi" and first.caption == "71 ± 4 % of clusters."
    assert "9.0" not in second.caption and "not converged" in second.caption
    for viewer in gallery.viewers:
        assert viewer.model["contacts"] == [[0, 1]] and viewer.svg.count('class="contact"') == 1
        assert viewer.model["bonds"] == [[1, 2], [2, 3]]
    assert first.anchor != second.anchor

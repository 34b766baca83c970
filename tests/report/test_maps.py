"""Maps of shapes: every bin in the colour of its free energy, one scale for all, only populations that converged."""

from __future__ import annotations

import base64
import dataclasses
import struct
import zlib

import numpy as np
import pytest

from ilforge.properties.shared.conformations import MAP_REGIONS
from ilforge.report import NamedTable
from ilforge.report.maps import divergence_table, map_rows, png
from ilforge.report.sections import palette_of
from ilforge.results import Table


def pixels(data: bytes) -> np.ndarray:
    """``(height, width, 4)`` of a PNG whose lines have no filter; checks the sums of its chunks."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, found = 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        found[kind] = body
        place += 12 + length
    width, height = struct.unpack(">II", found[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(found[b"IDAT"]), dtype=np.uint8).reshape(height, 1 + 4 * width)
    assert not lines[:, 0].any() and b"IEND" in found
    return lines[:, 1:].reshape(height, width, 4)


@pytest.fixture(scope="module")
def figures(content):
    (row,) = map_rows(content, palette_of(content))
    return {figure.name: figure for figure in row.figures}


def test_a_png_is_what_was_put_in():
    picture = np.random.default_rng(1).integers(0, 256, (3, 5, 4)).astype(np.uint8)
    assert np.array_equal(pixels(png(picture)), picture)


def test_every_bin_has_the_colour_of_its_free_energy_and_the_rest_is_blank(content, figures):
    figure = figures["map/TFSI/nvt/clp"]
    (image,) = figure.layout["images"]
    picture = pixels(base64.b64decode(image["source"].split(",")[1]))
    bar = figure.data[-1]["marker"]
    colours = [tuple(int(c) for c in name[4:-1].split(",")) for _, name in bar["colorscale"][::2]]
    steps = np.linspace(0.0, bar["cmax"], len(colours) + 1)
    table = content.tables[0].table
    per_unit = picture.shape[1] / image["sizex"]
    blank = np.ones(picture.shape[:2], dtype=bool)
    for phi, psi, free in zip(*(table.column(n) for n in ("phi_degrees", "psi_degrees", "F_kJ_mol")), strict=True):
        column, row = int((phi - image["x"]) * per_unit), int((image["y"] - psi) * per_unit)
        expected = colours[min(np.searchsorted(steps, free, side="right") - 1, len(colours) - 1)]
        assert tuple(picture[row, column]) == (*expected, 255)
        half = int(5 * per_unit)
        blank[row - half : row + half, column - half : column + half] = False
    assert blank.any() and not picture[blank].any()


def test_all_maps_of_an_ion_share_axes_and_colours(figures):
    assert len(figures) == 3
    scales = {str((f.data[-1]["marker"]["cmax"], f.data[-1]["marker"]["colorscale"])) for f in figures.values()}
    ranges = {str((f.layout["xaxis"]["range"], f.layout["yaxis"]["range"])) for f in figures.values()}
    assert len(scales) == len(ranges) == 1
    titles = {f.layout[axis]["title"]["text"] for f in figures.values() for axis in ("xaxis", "yaxis")}
    assert titles == {"phi (°)", "psi (°)"}
    assert {f.data[-1]["marker"]["colorbar"]["title"]["text"] for f in figures.values()} == {"F (kJ/mol)"}


def test_populations_are_quoted_with_errors_where_they_converged_and_nowhere_else(content, figures):
    sound, short, broken = (figures[f"map/TFSI/{run}"] for run in ("nvt/clp", "nvt/mace", "npt/deepmd"))
    share = next(r for r in content.records if (r.species, r.potential) == ("TFSI Trans", "clp"))
    assert f"{share.value:.1f} ± 1.5 %" in sound.caption
    assert any(f"{share.value:.1f} ± 1.5 %" in label["text"] for label in sound.layout["annotations"])
    for refused in (short, broken):
        assert "%" not in refused.caption
        assert refused.layout["annotations"] and not any(
            "%" in label["text"] for label in refused.layout["annotations"]
        )
    assert "not converged" in short.caption and "unphysical" in broken.caption


def test_labels_stand_in_the_region_of_their_shape(figures):
    regions = MAP_REGIONS["phi", "psi"]
    for figure in figures.values():
        for label in figure.layout["annotations"]:
            (kind,) = regions.classify(np.array([[label["x"], label["y"]]]))
            assert f"<b>{regions.labels[kind]}</b>" in label["text"]
        places = np.array([(label["x"], label["y"]) for label in figure.layout["annotations"]])
        apart = np.abs(places[:, None] - places[None]) / 360.0
        assert np.all((apart[..., 0] > 0.3) | (apart[..., 1] > 0.11) | np.eye(len(places), dtype=bool))


@pytest.mark.parametrize("coordinates", MAP_REGIONS)
def test_borders_are_where_the_shapes_change(coordinates):
    regions = MAP_REGIONS[coordinates]
    turned = (lambda v: (v + 180.0) % 360.0 - 180.0) if coordinates == ("phi", "psi") else (lambda v: v)
    rng = np.random.default_rng(2)
    for x0, y0, x1, y1 in regions.borders:
        share = rng.uniform(0.001, 0.999, 300)[:, None]
        points = np.array([x0, y0]) + share * np.array([x1 - x0, y1 - y0])
        across = 1e-3 * np.array([y0 - y1, x1 - x0]) / np.hypot(x1 - x0, y1 - y0)
        sides = [regions.classify(turned(points + step * across)) for step in (-1, 1)]
        assert np.mean(sides[0] != sides[1]) > 0.95, (x0, y0, x1, y1)


def test_without_a_temperature_maps_are_in_kT(content):
    named = content.tables[0]
    table = named.table
    blank = [table.columns.index(name) for name in ("F_kJ_mol", "F_error_kJ_mol")]
    rows = [tuple(None if k in blank else value for k, value in enumerate(row)) for row in table.rows]
    cold = dataclasses.replace(content, tables=(dataclasses.replace(named, table=Table(table.columns, rows)),))
    ((figure,),) = [row.figures for row in map_rows(cold, palette_of(cold))]
    assert figure.data[-1]["marker"]["colorbar"]["title"]["text"] == "F (kT)"


def test_a_scan_lies_on_the_map_in_its_colours(content, figures):
    table = Table(("phi_degrees", "psi_degrees", "energy_kJ_mol"), [(170.0, 90.0, 0.0), (60.0, 20.0, 11.0)])
    with_scan = dataclasses.replace(content, tables=(*content.tables, NamedTable("scan", "", "", "TFSI", table)))
    (row,) = map_rows(with_scan, palette_of(with_scan))
    for figure in row.figures:
        scan, bar = next(one for one in figure.data if one.get("name") == "scan"), figure.data[-1]
        assert (scan["x"], scan["y"]) == ([170.0, 60.0], [90.0, 20.0]) and "11.0 kJ/mol" in scan["text"][1]
        assert list(scan["marker"]["color"]) == [0.0, 11.0] and "scan" in figure.caption
        assert all(scan["marker"][key] == bar["marker"][key] for key in ("cmin", "cmax", "colorscale"))
    assert not any(one.get("name") == "scan" for figure in figures.values() for one in figure.data)


def test_divergence_stands_beside_both_runs_and_not_with_one_that_lost_the_liquid(content):
    (row,) = divergence_table(content.records, palette_of(content)).rows
    assert [cell.text for cell in row[1:]] == ["CL&P, nvt", "MACE, nvt", "0.310 ± 0.020"]
    (record,) = (r for r in content.records if r.quantity == "shape_divergence")
    lost = dataclasses.replace(record, converged=False, note="the run does not hold the liquid: it boiled")
    refused = divergence_table([lost], palette_of(content))
    assert refused.rows[0][3].text == "not converged"

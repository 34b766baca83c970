"""The page stands on its own: no request, no foreign markup, every figure drawn in a real browser."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import html
import html.parser
import json
import math
import re
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

from ilforge.report import LearningRound, NamedCurve, ReportContent, TrainingCurve, write_report
from ilforge.report.export import script_json
from ilforge.report.page import render
from ilforge.report.sections import sections
from ilforge.results import Curve, Record
from support.patience import PATIENCE_S

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tags(html.parser.HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def page(content, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), content)


def test_results_are_written_beside_the_page(page, content):
    records = [Record.from_json(one) for one in json.loads((page.parent / "results.json").read_text())]
    np.testing.assert_array_equal([r.value for r in records], [r.value for r in content.records])
    rows = list(csv.DictReader((page.parent / "results.csv").open()))
    np.testing.assert_array_equal([float(row["value"] or "nan") for row in rows], [r.value for r in content.records])
    assert json.loads(rows[-1]["provenance"]) == {"protocol": "nvt"}
    assert not list(page.parent.glob("*.partial"))


def test_tidy_tables_lie_beside_the_page(page):
    data = page.parent / "data"
    rows = list(csv.DictReader((data / "numbers" / "shape_population.csv").open()))
    assert {row["potential"] for row in rows} == {"clp", "mace", "deepmd"}
    assert {row["converged"] for row in rows if row["potential"] == "mace"} == {"False"}
    maps = list(csv.DictReader((data / "shapes" / "map-TFSI.csv").open()))
    assert {"F_kJ_mol", "F_error_kJ_mol", "n_independent", "converged", "protocol"} <= set(maps[0])
    assert (data / "transitions" / "transition-matrix-Li-TFSI.csv").is_file()
    assert len(list((data / "clusters").glob("*.xyz"))) == 2


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in Tags(page.read_text()).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not re.match(r"(https?:)?//", attributes.get(name) or ""), (tag, attributes)
    assert "default-src 'none'" in html.unescape(page.read_text())
    assert page.stat().st_size < 4e6


def test_foreign_text_stays_text(content):
    curve = Curve(np.arange(1.0, 5), np.arange(1.0, 5), None, EVIL, EVIL, EVIL, EVIL)
    strange = Record.of(content_estimate(), quantity=EVIL, liquid=EVIL, potential=EVIL)
    hostile = dataclasses.replace(
        content,
        study=EVIL, liquid=EVIL, liquid_label=EVIL, reference=EVIL, banner=EVIL, study_file=EVIL, citations=(EVIL,),
        potential_labels={"mace": EVIL},
        records=(*content.records, strange),
        curves=tuple(NamedCurve(kind, EVIL, EVIL, EVIL, curve) for kind in ("msd", "rdf", "viscosity")),
        structure=dataclasses.replace(content.structure, title=EVIL, species=(EVIL,) * len(content.structure.atoms)),
    )  # fmt: skip
    plain, attacked = Tags(render(content)).tags, Tags(render(hostile)).tags
    count = [sum(tag == "script" for tag, _ in tags) for tags in (plain, attacked)]
    assert count[0] == count[1]
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in attacked)
    for figure in json.loads(script_content(render(hostile), "figure-data")).values():
        assert "<script" not in json.dumps(figure)  # plotly reads tags in its texts


def content_estimate():
    from ilforge.results import Estimate

    return Estimate(1.0, 0.1, 3.0, EVIL)


def script_content(text, name):
    return re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S).group(1)


def test_not_a_number_is_null_and_markup_is_escaped():
    text = script_json({"y": np.array([1.0, math.nan, math.inf]), "text": "</script>"})
    assert json.loads(text) == {"y": [1.0, None, None], "text": "</script>"}
    assert "<" not in text


def test_numbers_that_did_not_converge_are_nowhere_on_the_page(content):
    secret = Record.of(content_estimate(), quantity="viscosity", liquid="PYR14BF4", potential="mace")
    secret = dataclasses.replace(
        secret, value=98765.4321, error=4321.5, converged=False, note="too short", unit="mPa s"
    )
    text = render(dataclasses.replace(content, records=(*content.records, secret)))
    visible = re.sub(r'href="data:[^"]*"', "", text)  # the files of results do hold it, flagged
    visible = visible.split("<body>")[1].split("<script>")[0]  # bundled programs are full of digits
    assert "figure-data" in visible
    assert "98765" not in visible and "98,765" not in visible
    assert "not converged" in visible and "too short" in visible


def test_an_empty_study_still_makes_a_page(tmp_path):
    bare = ReportContent("empty", "PYR14BF4", "2 PYR14", 423.0, "CL&P", "Reference: CL&P", "0.1.0", "2026-11-20")
    assert [section.name for section in sections(bare)] == ["provenance"]
    assert "CL&amp;P" in write_report(tmp_path, bare).read_text()


def test_bundled_programs_are_those_that_the_readme_names():
    vendor = resources.files("ilforge.report") / "vendor"
    readme = (vendor / "README").read_text()
    for name in ("plotly-basic.min.js", "3Dmol-min.js"):
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() in readme


def browse(page, directory, *more):
    """The page as Chromium leaves it after drawing, and what it wrote to its console."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --window-size=1400,1200"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={directory}", "--virtual-time-budget=60000", *more]
    done = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=PATIENCE_S)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.program("chromium")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_every_figure_without_a_complaint(page, tmp_path):
    dom, console = browse(page, tmp_path)
    assert console == []
    folded = dom.split("<summary>Earlier iterations</summary>")[1].split("</details>")[0]
    asked = len(re.findall(r'data-figure="', dom)) - len(re.findall(r'data-figure="', folded))
    assert asked > 15
    assert re.search(r'data-drawn="(\d+)"', dom).group(1) == str(asked)
    assert len(re.findall(r'class="main-svg"', dom)) >= asked


@pytest.mark.program("chromium")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_without_webgl_the_drawing_stays_and_says_so(page, tmp_path):
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    click = "<script>document.querySelector('[data-turn]').click()</script></body>"
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", click))
    dom, console = browse(copy, tmp_path / "profile", "--disable-3d-apis")
    assert console == []
    assert "This browser has no WebGL" in dom and "<circle" in dom


@pytest.mark.program("chromium")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_map_and_a_network_are_saved_as_csv_with_columns_of_their_own(page, tmp_path):
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    script = """<script>
    HTMLAnchorElement.prototype.click = function () { document.body.append(decodeURIComponent(this.href)); };
    for (const name of ["map/TFSI/nvt/clp", "markov/Li-TFSI/nvt/clp"]) {
      const figure = document.querySelector(`[data-figure="${name}"]`).closest("figure");
      figure.querySelector("[data-save=csv]").dispatchEvent(new Event("click"));
    }</script></body>"""
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", script))
    dom, console = browse(copy, tmp_path / "profile")
    assert console == []
    assert "series,phi (°),psi (°),F (kJ/mol),error (kJ/mol)\nF," in dom
    assert (
        "series,state,population (%),error (%),lifetime (ps),lifetime error (ps)\nstates,Li(TFSI)2,20,2,40,3\n" in dom
    )
    assert "series,from,to,flux (1/ns),error (1/ns)\nflux,Li(TFSI)2,Li(TFSI)3,5,0.3\n" in dom


@pytest.mark.program("chromium")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_policy_stops_what_escaping_might_miss(page, tmp_path):
    copy = tmp_path / "copy.html"
    copy.write_text(page.read_text().replace("</body>", "<script>document.title = 'broken into'</script></body>"))
    dom, console = browse(copy, tmp_path / "profile")
    assert "<title>broken into</title>" not in dom
    assert any("Content Security Policy" in line for line in console)


NOTHING, NOT_NUMBERS = np.zeros(0), np.full(5, math.nan)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("x", [NOTHING, NOT_NUMBERS, np.ones(1)])
def test_what_is_empty_or_not_a_number_still_makes_a_page(content, x):
    kinds = ("msd", "msd_slope", "rdf", "coordination", "density", "cavity")
    parity = content.parity[0]
    odd = dataclasses.replace(
        content,
        curves=tuple(NamedCurve(kind, "nvt", "mace", "", Curve(x, x, x, "x", "ps", "y", "1")) for kind in kinds),
        training=(TrainingCurve("mace", 0, None, x, "epoch", x),),
        learning=(LearningRound(1, x, 0, 0, 0, 0.0, 1.5, 0),),
        parity=(dataclasses.replace(parity, forces_predicted=parity.forces_predicted * math.nan),),
    )
    figures = json.loads(script_content(render(odd), "figure-data"))
    assert "msd/nvt/" in figures

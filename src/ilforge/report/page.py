"""The page: one HTML file with all sections, which loads nothing from the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ilforge import files
from ilforge.folders import claim, replacing_folder
from ilforge.properties.reading.folder import write_tidy
from ilforge.report.blocks import Beside, Block, Details, Figure, FigureRow, Gallery, Section, Viewer
from ilforge.report.content import ReportContent
from ilforge.report.export import results_csv, results_json, script_json
from ilforge.report.sections import sections
from ilforge.report.wording import sentence, typeset

DATA = "data"
_VENDORED = (("plotly.js (basic bundle)", "LICENSE.plotly"), ("3Dmol.js", "LICENSE.3Dmol"))


def write_report(directory: Path, content: ReportContent) -> Path:
    """Write ``report.html``, ``results.json``, ``results.csv`` and ``data/`` into a directory; return the page's path.

    ``data/`` contains every number, table and curve as tidy CSV, see
    :func:`~ilforge.properties.reading.folder.write_tidy`.

    Raises
    ------
    SettingsError
        When the directory contains files and is not ilforge's: see :mod:`ilforge.folders`.
    """
    directory = claim(Path(directory), "another directory")
    files.write_text(directory / "results.json", results_json(content.records))
    files.write_text(directory / "results.csv", results_csv(content.records))
    with replacing_folder(directory / DATA) as partial:
        write_tidy(partial, content.runs)
    files.write_text(directory / "report.html", render(content))
    return directory / "report.html"


def render(content: ReportContent) -> str:
    """The whole page as text."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    chapters = sections(content)
    figures = {figure.name: {"data": figure.data, "layout": figure.layout} for figure in _figures(chapters)}
    models = {block.anchor: block.model for block in _blocks(chapters) if isinstance(block, Viewer)}
    scripts = [_resource("vendor", "plotly-basic.min.js"), _resource("page.js")]
    viewer_script = _resource("vendor", "3Dmol-min.js") if models else ""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, auto_reload=False
    )
    environment.filters |= {"sentence": sentence, "typeset": typeset}
    # only text of the package itself is marked safe; the template escapes everything else
    return environment.from_string(_resource("page.html")).render(
        content=content,
        sections=chapters,
        style=Markup(_resource("page.css")),
        scripts=[Markup(script) for script in scripts],
        viewer_script=Markup(viewer_script),
        policy=_policy([*scripts, viewer_script]),
        figures=Markup(script_json(figures)),
        models=Markup(script_json(models)),
        licences=[(name, _resource("vendor", file)) for name, file in _VENDORED],
        csv=_data_uri("text/csv", results_csv(content.records)),
        json=_data_uri("application/json", results_json(content.records)),
    )


def _policy(scripts: list[str]) -> str:
    """Content security policy: the browser may run only these scripts and load nothing else."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts if script]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _figures(chapters: list[Section]) -> list[Figure]:
    """All figures of the page; their names are anchors and must be unique."""
    figures = [figure for block in _blocks(chapters) if isinstance(block, FigureRow) for figure in block.figures]
    names = [figure.name for figure in figures]
    if len(set(names)) != len(names):
        raise ValueError(f"two figures of one name: {sorted(name for name in names if names.count(name) > 1)}")
    return figures


def _blocks(chapters: list[Section]) -> Iterator[Block]:
    """All blocks, including those in details."""
    waiting = [block for section in chapters for block in section.blocks]
    while waiting:
        block = waiting.pop(0)
        yield block
        if isinstance(block, Details | Beside):
            waiting += block.blocks
        elif isinstance(block, Gallery):
            waiting += block.viewers


def _resource(*path: str) -> str:
    return resources.files("ilforge.report").joinpath(*path).read_text(encoding="utf-8")


def _data_uri(kind: str, text: str) -> str:
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"

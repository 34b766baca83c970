"""Documentation is part of the product: generated pages are current, examples run, commands exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from ilforge.potentials.classical.exp6 import file as exp6_file
from ilforge.settings_file import check_settings
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.executors import require_executors
from support.pages import blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))
STUDIES = [path for path in EXAMPLES if "[types]" not in path.read_text(encoding="utf-8")]  # the others: parameters
LABELLED_HERE = ("litfsi-pyr14tfsi-labels",)  # by GPAW, whose version is part of what a label is


def test_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [name for name, make in generate.PAGES.items() if (ROOT / "docs" / name).read_text() != make()]
    assert not stale, "run: make docs"


@pytest.mark.program("packmol")
def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    assert "force_rmse 0.80" in said and "good: every ion kept its bonds" in said
    assert "not converged" not in said  # a reader's first numbers are results


PROPERTY_PAGES = ["conductivity", "viscosity", "structure-factor", "temperatures"]


@pytest.mark.parametrize("name", PROPERTY_PAGES)
def test_the_python_examples_of_properties_run(name, capsys):
    for example in blocks(ROOT / "docs" / "properties" / f"{name}.md", "python"):
        exec(compile(example, name, "exec"), {"__name__": name})
    assert re.search(r" ± |\d\(\d", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "known"),
    [("density", r"density +32 Li, 32 Cl  1\.00\d*\(\d+\) g/cm3"),
     ("diffusion", r"self_diffusion_infinite +Cl .* m2/s"),
     ("rdf", r"rdf_first_peak +Li-Cl .* 2\.[34]\d*\(\d+\) Å"), ("health", "FAIL a cavity of radius .* has opened")],
)  # fmt: skip
def test_examples_of_what_every_run_is_measured_for(name, known, tmp_path, monkeypatch, capsys):
    """Python writes the trajectory that the commands of the page then measure."""
    from click.testing import CliRunner

    from ilforge.cli import ilforge, load_commands

    monkeypatch.chdir(tmp_path)
    load_commands()
    page = ROOT / "docs" / "properties" / f"{name}.md"
    (example,) = blocks(page, "python")
    exec(compile(example, page.name, "exec"), {"__name__": name})
    assert re.search(r" ± |\d\(\d|FAIL", capsys.readouterr().out)
    done = [CliRunner().invoke(ilforge, shlex.split(line)[1:]) for line in blocks(page, "")[0].splitlines()]
    assert [one.exit_code for one in done] == [0] * len(done), [one.exception for one in done]
    assert re.search(known, "".join(one.output for one in done))


@pytest.mark.parametrize("page", [page for page in PAGES if "benchmarks/properties.py" in page.read_text()], ids=str)
def test_benchmarks_of_properties_are_called_by_sections_that_exist(page):
    spec = importlib.util.spec_from_file_location("properties", ROOT / "benchmarks" / "properties.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for words in re.findall(r"benchmarks/properties\.py([ \w]*)", page.read_text(encoding="utf-8")):
        assert set(words.split()) <= set(benchmark.SECTIONS), words


@pytest.mark.program("packmol")
def test_the_python_examples_of_clusters_shapes_and_transitions_run(tmp_path, monkeypatch, capsys):
    """In this order: the later ones measure the trajectory of the first."""
    monkeypatch.chdir(tmp_path)
    for name, word in (("clusters", "cluster_population"), ("shapes", "divergence"), ("transitions", "exchange")):
        page = ROOT / "docs" / "properties" / f"{name}.md"
        (example,) = blocks(page, "python")
        exec(compile(example, page.name, "exec"), {"__name__": name})
        assert word in capsys.readouterr().out


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if page.name == "commands.md":
            continue
        for block in blocks(page, ""):
            found += [(page.name, line) for line in block.splitlines() if line.startswith("ilforge ")]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_in_the_pages_exist_with_their_options(page, line):
    import click

    from ilforge.cli import ilforge, load_commands

    load_commands()

    name, *arguments = shlex.split(line, comments=True)[1:]
    command = ilforge.get_command(click.Context(ilforge), name)
    assert command is not None, f"{page}: no command {name}"
    command.make_parser(click.Context(command)).parse_args(list(arguments))


def test_files_of_this_repository_that_pages_name_are_there():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("data/*.md")]
    missing = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"(?:tests|benchmarks|examples)/[\w./-]+\.(?:py|toml|xz)", page.read_text("utf-8"))
        if not (ROOT / name).is_file()
    }
    assert not missing


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, id=path.name, marks=pytest.mark.program("gpaw") if path.parent.name in LABELLED_HERE else ())
        for path in STUDIES
    ],
)
def test_examples_are_valid_studies(example):
    from ilforge.workflow.plan import make_plan

    assert make_plan(load_study(example)).stages


def test_study_files_in_the_pages_are_valid(tmp_path):
    """Every TOML block holds known keys only, when the required ones are added."""
    for page in PAGES:
        for block in blocks(page, "toml"):
            if set(tomllib.loads(block)) <= set(Machine.model_fields):
                require_executors(check_settings(Machine, tomllib.loads(block), str(page)))
                continue
            if "[types]" in block:
                exp6_file.checked(tomllib.loads(block))
                continue
            named = 'name = "' in f"\n{block}".partition("\n[")[0]  # a name of the study, not of something in it
            text = block if named else f'name = "x"\n{block}'
            if "[liquid]" not in text:
                text += "\n[liquid]\nions = { PYR14 = 1, BF4 = 1 }\ndensity_g_cm3 = 1.0\n"
            path = tmp_path / "study.toml"
            path.write_text(text)
            load_study(path)

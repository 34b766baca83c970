"""`run` and `report` write only into folders that ilforge made."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.study_run import run_study, write_partial_report
from support.studies import hold_something, smallest


@pytest.mark.parametrize("output", ["..", "{}", "."])
def test_a_users_folder_of_the_studys_name_is_refused(tmp_path, monkeypatch, output):
    """`--output ..` in a folder that is called as the study is."""
    folder = tmp_path / "smallest"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "raw.csv").write_text("precious")
    (folder / "results.csv").write_text("mine")
    study = load_study(smallest(folder))
    monkeypatch.chdir(tmp_path if output == "." else folder)
    machine = Machine(output=output.format(tmp_path), store=str(tmp_path / "store"))
    for act in (write_partial_report, lambda *a: run_study(*a, Console(file=io.StringIO()))):
        with pytest.raises(SettingsError, match="did not make it.*--output"):
            act(study, machine)
    assert (folder / "data" / "raw.csv").read_text() == "precious"
    assert (folder / "results.csv").read_text() == "mine"
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("name", ["..", ".", "...", ".hidden", "-x", "a/b", ""])
def test_a_name_that_is_no_folders_name_is_refused(tmp_path, name):
    path = smallest(tmp_path)
    path.write_text(path.read_text().replace('name = "smallest"', f'name = "{name}"', 1))
    with pytest.raises(SettingsError, match="name is"):
        load_study(path)


def test_a_report_replaces_an_earlier_one_and_nothing_else(tmp_path):
    study = load_study(smallest(tmp_path))
    machine = Machine(output=str(tmp_path / "out"), store=str(tmp_path / "store"))
    hold_something(study.path, tmp_path / "store")
    page = write_partial_report(study, machine)
    (page.parent / "data" / "old.csv").write_text("1")
    assert write_partial_report(study, machine) == page and page.is_file()
    assert not (page.parent / "data" / "old.csv").exists()

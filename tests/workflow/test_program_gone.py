"""A finished study whose DFT program has been removed: looking at it says what it said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ilforge import trust
from ilforge.errors import MissingProgram
from ilforge.labelling.labels import method_digest
from ilforge.labelling.methods import description
from ilforge.labelling.storing.store import LabelStore
from ilforge.potentials import create, digest
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.plan import make_plan
from ilforge.workflow.study_run import FinishedStudy, study_status
from support import studies

GPAW = """#!/bin/sh
echo 'versions {"gpaw": "26.7.0", "gpaw-data": "1.2.1"}'
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """What stands for GPAW on PATH: all that planning asks of it is its version."""
    path = tmp_path / "bin" / "gpaw"
    path.parent.mkdir()
    path.write_text(GPAW)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    return path


def test_a_description_has_one_digest():
    potential = create({"kind": "clp", "cutoff_A": 4.0})
    assert method_digest(potential.describe()) == digest(potential)


def test_what_a_method_said_stands_in_for_it(program, tmp_path):
    gpaw = create({"kind": "gpaw"})
    said = gpaw.describe()
    assert (said["gpaw"], said["setups"]) == ("26.7", "1.2.1")
    with LabelStore(tmp_path / "labels") as store:
        store.remember(said)
        store.remember({**said, "cutoff_eV": 800.0})
        store.remember({**said, "isolated_atom": "spin-polarised"})
    program.unlink()
    assert description(gpaw, tmp_path / "labels") == said
    for labels in (None, tmp_path / "nowhere"):
        with pytest.raises(MissingProgram):
            description(gpaw, labels)
    with pytest.raises(MissingProgram):
        description(create({"kind": "gpaw", "cutoff_eV": 900.0}), tmp_path / "labels")


def test_stages_keep_their_names_and_looking_needs_no_program(program, tmp_path):
    study = load_study(studies.smallest(tmp_path, "gpaw"))
    machine = Machine(store=str(tmp_path / "store"), output=str(tmp_path / "out"))
    before = [stage.key for stage in make_plan(study).stages]
    with LabelStore(Path(machine.store) / "labels") as store:
        store.remember(make_plan(study).method)
    program.unlink()
    with trust.looking():
        assert [stage.key for stage in make_plan(study, None, Path(machine.store) / "labels").stages] == before
    assert {row.state for row in study_status(study, machine).rows} == {"to do"}
    finished = FinishedStudy(study, machine)
    assert (finished.records(), finished.faults) == ([], {})
    with pytest.raises(MissingProgram):
        make_plan(study)

"""Sections of the card of a model."""

from __future__ import annotations

import re

import ilforge
from ilforge.results import Estimate, Record
from ilforge.training import TRAINERS
from ilforge.workflow.model_card import _errors, _use


def record(quantity, value, unit, **labels):
    return Record.of(Estimate(value, 0.01, 10.0, unit), quantity=quantity, potential="m", verdict=None, **labels)


def test_a_model_with_md_and_without_validation_says_that_no_errors_were_measured():
    assert list(_errors([record("density", 1.0, "g/cm^3")], "m")) == ["None were measured of m yet."]
    found = list(_errors([record("force_rmse", 0.05, "eV/A", dataset="EQ")], "m"))
    assert any(line.startswith("| Force RMSE | EQ |") for line in found) and "None were" not in "".join(found)


def test_a_model_without_files_for_programs_says_what_works_anywhere():
    """The card leaves the repository with the model, so it refers to no page in it."""
    found = " ".join(_use({}, {"kind": "clp", "cutoff_A": 4.0}))
    (call,) = re.findall(r"`(ilforge\.create\(.*?\))\.calculator\(\)`", found)
    assert eval(call, {"ilforge": ilforge}).cutoff_A == 4.0 and ".md" not in found


def test_files_that_look_ions_up_by_name_are_known():
    """They are not written for a study with ions of its own, in whose place they would find nothing or other ions."""
    for kind in TRAINERS.values():
        by_name = {file for file, text in kind.snippets.items() if "Liquid.of_frame" in text}
        assert kind.snippets_by_ion_name == by_name, kind.name
    assert TRAINERS["mace"].snippets_by_ion_name == {"run_openmm.py"}

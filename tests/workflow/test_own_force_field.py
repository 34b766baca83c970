"""A user's own ion from the files of a force field, through a whole plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.structures import sampling_spec
from support import studies

DATA = Path(__file__).parents[1] / "data/clandp"


@pytest.fixture
def study_file(tmp_path):
    """The smallest study, with an anion that the catalogue does not have."""
    shutil.copy(DATA / "il.ff", tmp_path / "my.ff")
    (tmp_path / "scn.zmat").write_text("thiocyanate\n\nSK\nCK 1 1.66\nNK 2 1.19 1 180.0\n\nmy.ff\n")
    path = studies.smallest(tmp_path)
    text = path.read_text().replace("PYR14 = 1, BF4 = 1", "PYR14 = 1, SCN = 1")
    unused = '[liquid.define.UNUSED]\nstructure = "nowhere.zmat"\n'
    path.write_text(text + f'\n[liquid.define.SCN]\nstructure = "scn.zmat"\n{unused}')
    return path


def test_clp_gets_the_numbers_of_the_ions_that_the_liquid_has(study_file):
    study = load_study(study_file)
    spec = sampling_spec(study)
    assert (
        set(spec["ions"]) == {"SCN"} and spec["cutoff_A"] == 4.0 and spec["ions"]["SCN"]["atoms"] == ["SK", "CK", "NK"]
    )


def test_another_number_in_the_users_file_is_another_study(study_file):
    before = {stage.key for stage in make_plan(load_study(study_file)).stages}
    force_field = study_file.parent / "my.ff"
    text = force_field.read_text()
    force_field.write_text(text + "\n# a comment changes nothing\n")
    assert {stage.key for stage in make_plan(load_study(study_file)).stages} == before
    force_field.write_text(text.replace("SK   CK", "SK CK").replace("2836.8", "2836.9"))
    assert not {stage.key for stage in make_plan(load_study(study_file)).stages} & before


def test_a_missing_term_stops_a_study_before_it_starts(study_file):
    force_field = study_file.parent / "my.ff"
    kept = [line for line in force_field.read_text().splitlines() if not line.startswith("SK  CK  NK")]
    force_field.write_text("\n".join(kept))
    with pytest.raises(SettingsError, match="no angle SK-CK-NK for the atoms S1-C1-N1 of SCN in my.ff"):
        make_plan(load_study(study_file))

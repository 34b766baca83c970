"""One key switches the sampler of a study between CL&P and CL&Pol."""

from __future__ import annotations

import pytest

from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.workflow.plan import given_potentials, make_plan
from support import exp6, studies


@pytest.fixture
def study(tmp_path):
    """The smallest study, sampled with the force field of that name."""

    def load(kind):
        path = studies.smallest(tmp_path)
        text = path.read_text().replace('potential = "clp"', f'potential = "{kind}"')
        path.write_text(text + ("\n[potentials.clpol]\ncutoff_A = 4.0\n" if kind == "clpol" else ""))
        return load_study(path)

    return load


def test_one_key_switches_the_sampler(study):
    before, after = make_plan(study("clp")), make_plan(study("clpol"))
    assert before.frames["training"].key != after.frames["training"].key
    assert (None, "clpol", "") in after.validations
    assert given_potentials(after.study)["clpol"] == {"kind": "clpol", "cutoff_A": 4.0}


def test_one_force_field_at_two_cutoffs(study, tmp_path):
    """The longer one, for MD in a large box, does not fit the boxes with labels, and the plan says so."""
    path = studies.smallest(tmp_path)
    more = '[potentials.clp10]\nkind = "clp"\n[[md]]\nname = "large"\nensemble = "NPT"\npotentials = ["clp10"]\n'
    path.write_text(f"{path.read_text()}\n{more}box_multiple = 30\nlength_ps = 0.1\n")
    plan = make_plan(load_study(path))
    cutoffs = {name: spec.get("cutoff_A") for name, spec in given_potentials(plan.study).items()}
    assert cutoffs == {"clp": 4.0, "clp10": None}
    assert (None, "clp", "") in plan.validations and (None, "clp10", "") not in plan.validations
    assert plan.notes == ["clp10 is not compared with labels: its cutoff does not fit into their boxes."]


def test_equilibrium_and_hot_frames_can_be_sampled_with_clpol():
    from ilforge import potentials
    from ilforge.sampling.equilibrated import sample_equilibrated
    from ilforge.sampling.packed import relax_packed
    from support import md

    potential = potentials.create(md.CLPOL)
    state = {"temperature_K": 423.0, "timestep_fs": 1.0, "equilibration_ps": 0.1, "interval_ps": 0.05}
    first, second = (
        sample_equilibrated(md.packed_box(), md.liquid(), potential, **state, n_frames=2, seed=1) for _ in range(2)
    )
    assert [len(frame) for frame in first] == [70, 70]
    assert (first[1].positions == second[1].positions).all()  # the same arguments, the same frames
    assert len(relax_packed(md.packed_box(), md.liquid(), potential, 20)) == 70


def test_a_force_field_of_the_users_own_numbers(study, tmp_path):
    file = exp6.changed(tmp_path, {})
    path = studies.smallest(tmp_path)
    text = path.read_text()
    table = f'\n[potentials.exp6]\nparameters = "{file.name}"\ncutoff_A = 4.0\n'
    path.write_text(text.replace('potential = "clp"', 'potential = "exp6"') + table)
    plan = make_plan(load_study(path))
    assert (None, "exp6", "") in plan.validations
    file.write_text(file.read_text().replace("thole_a = 0.2", "thole_a = 0.3"))
    assert make_plan(load_study(path)).frames["training"].key != plan.frames["training"].key
    file.write_text(file.read_text().replace("0.96, -0.39", "0.90, -0.39"))
    with pytest.raises(SettingsError, match="charges of ions.BF4 add up to -1.06 e"):
        make_plan(load_study(path))


def test_md_with_it_needs_its_file(study, tmp_path):
    path = studies.smallest(tmp_path)
    path.write_text(
        path.read_text() + '\n[[md]]\nname = "polarizable"\nensemble = "NVT"\npotentials = ["exp6"]\nlength_ps = 0.1\n'
    )
    with pytest.raises(
        SettingsError, match="md 'polarizable': potentials names 'exp6': there is no model or potential with this"
    ):
        load_study(path)
    file = exp6.changed(tmp_path, {})
    path.write_text(f'{path.read_text()}\n[potentials.exp6]\nparameters = "{file.name}"\ncutoff_A = 4.0\n')
    plan = make_plan(load_study(path))
    assert plan.trajectories["polarizable", "exp6"].key
    assert given_potentials(plan.study)["exp6"]["cutoff_A"] == 4.0

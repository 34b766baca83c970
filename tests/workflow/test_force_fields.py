"""One key switches the sampler of a study between CL&P and CL&Pol."""

from __future__ import annotations

import pytest

from ilforge.study.load import load_study
from ilforge.workflow.plan import given_potentials, make_plan
from support import studies


@pytest.fixture
def study(tmp_path):
    """The smallest study, sampled with the force field of that name."""

    def load(kind):
        path = studies.smallest(tmp_path)
        path.write_text(path.read_text().replace('potential = { kind = "clp"', f'potential = {{ kind = "{kind}"'))
        return load_study(path)

    return load


def test_one_key_switches_the_sampler(study):
    before, after = make_plan(study("clp")), make_plan(study("clpol"))
    assert before.frames["training"].key != after.frames["training"].key
    assert (None, "clpol", "") in after.validations
    assert given_potentials(after.study)["clpol"] == {"kind": "clpol", "cutoff_A": 4.0}


def test_md_with_the_other_force_field_keeps_the_cutoff_that_fits_the_box(study):
    assert given_potentials(study("clpol"))["clp"]["cutoff_A"] == 4.0


def test_equilibrium_and_hot_frames_can_be_sampled_with_clpol():
    from ilforge import potentials
    from ilforge.sampling.equilibrated import sample_equilibrated
    from ilforge.sampling.nonequilibrated import relax_packed
    from support import md

    potential = potentials.create(md.CLPOL)
    state = {"temperature_K": 423.0, "timestep_fs": 1.0, "equilibration_ps": 0.1, "interval_ps": 0.05}
    first, second = (
        sample_equilibrated(md.packed_box(), md.liquid(), potential, **state, n_frames=2, seed=1) for _ in range(2)
    )
    assert [len(frame) for frame in first] == [70, 70]
    assert (first[1].positions == second[1].positions).all()  # the same arguments, the same frames
    assert len(relax_packed(md.packed_box(), md.liquid(), potential, 20)) == 70

"""Going on from the last frame of another run, with its velocities."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames
from ilforge.dynamics import run_md
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.potentials.classical.clp import Clp
from support import md

ENGINES = ["openmm", pytest.param("gromacs", marks=pytest.mark.program("gmx"))]


def _protocol(**changes):
    return md.short(ensemble="NVE", equilibration_ps=0.0, checkpoint_steps=10**6, **changes)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_halves_with_velocities_kept_are_one_run(engine, tmp_path):
    """At constant energy nothing is drawn: the second half ends where one run of both ends."""
    potential, ion = Clp(4.6), md.liquid()
    start = md.warm_box(0.8)
    whole = run_md(potential, start, ion, _protocol(length_ps=0.02), tmp_path / "whole", engine=engine)
    half = run_md(potential, start, ion, _protocol(length_ps=0.01), tmp_path / "a", engine=engine)
    (last,) = frames.read(half.last_file)
    kept, drawn = (
        run_md(potential, last, ion, _protocol(length_ps=0.01, keep_velocities=keep), tmp_path / name, engine=engine)
        for keep, name in ((True, "b"), (False, "c"))
    )
    end, found, other = (frames.read(run.last_file)[0].positions for run in (whole, kept, drawn))
    # files have eight decimals, and OpenMM is in mixed precision
    assert np.abs(found - end).max() < 1e-3 < 1e-2 < np.abs(other - end).max()
    with pytest.raises(SettingsError, match="contains a run with another start"):
        again = last.copy()
        again.set_momenta(-last.get_momenta())
        run_md(potential, again, ion, _protocol(length_ps=0.01, keep_velocities=True), kept.directory, engine=engine)


def test_a_frame_without_velocities_is_refused_in_words():
    with pytest.raises(SettingsError, match=r"\(--keep-velocities\): the structure has no velocities. `last.xyz`"):
        Job(Clp(4.0), md.packed_box(), md.liquid().topology, _protocol(keep_velocities=True))


def test_what_goes_on_does_not_draw_the_same_numbers_again():
    """Seeds of all segments of a run and of two that go on from it, and not those of the same start again."""
    first = Job(Clp(4.0), md.warm_box(), md.liquid().topology, md.short())
    jobs, positions = [first], md.warm_box().positions
    for shift in (0.0, 0.1, 0.1):
        start = md.warm_box()
        start.positions = positions + shift
        start.set_velocities(first.start_velocities)
        protocol = md.short(equilibration_ps=0.0, keep_velocities=True)
        jobs.append(Job(Clp(4.0), start, md.liquid().topology, protocol))
    seeds = [{tuple(job.random_seed(step).generate_state(4)) for step in (0, 100, 200)} for job in jobs]
    assert len(seeds[0] | seeds[1] | seeds[2]) == 9 and seeds[2] == seeds[3]


def test_the_command_draws_other_numbers_for_another_run():
    from ilforge.cli.md import _own_seed

    start, other, usual = md.warm_box(), md.packed_box(), md.short()
    runs = [
        (start, "clp", None, usual), (start, "clpol", None, usual), (other, "clp", None, usual),
        (start, "clp", "gromacs", usual), (start, "clp", None, md.short(temperature_K=400.0)),
    ]  # fmt: skip
    seeds = [_own_seed(*run) for run in runs]
    assert len(set(seeds)) == 5 and seeds == [_own_seed(*run) for run in runs]
    assert all(0 <= seed < 2**31 for seed in seeds)

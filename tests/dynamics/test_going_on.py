"""Going on from the last frame of another run, with its velocities."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames
from ilforge.dynamics import run_md
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.potentials.clp import Clp
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
    with pytest.raises(SettingsError, match="holds a run with another start"):
        again = last.copy()
        again.set_momenta(-last.get_momenta())
        run_md(potential, again, ion, _protocol(length_ps=0.01, keep_velocities=True), kept.directory, engine=engine)


def test_a_frame_without_velocities_is_refused_in_words():
    with pytest.raises(SettingsError, match=r"\(--keep-velocities\): the structure has no velocities. `last.xyz`"):
        Job(Clp(4.0), md.packed_box(), md.liquid().topology, _protocol(keep_velocities=True))

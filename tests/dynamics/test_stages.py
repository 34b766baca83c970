"""The unrecorded start in stages: a packed box becomes a liquid without blowing up, and goes on from any stage."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from ilforge import potentials
from ilforge.dynamics import run_md
from ilforge.dynamics.protocol import Stage
from ilforge.dynamics.simulation import Job
from support import md

PROTOCOL = md.short(
    ensemble="NPT",
    pressure_bar=10000.0,  # so that it contracts within a picosecond
    timestep_fs=1.0,
    minimise_steps=200,
    constant_volume_ps=0.3,
    equilibration_ps=0.7,
    length_ps=0.04,
    interval_ps=0.02,
    checkpoint_steps=250,
)
CASES = ["openmm", pytest.param("gromacs", marks=pytest.mark.program("gmx"))]


def test_stages_are_what_was_asked_for_in_order():
    assert PROTOCOL.unrecorded == (Stage("NVT", 300), Stage("NPT", 700))
    assert PROTOCOL.unrecorded_steps == 1000
    assert replace(PROTOCOL, ensemble="NVE").unrecorded == (Stage("NVT", 300), Stage("NVT", 700))
    assert md.short(equilibration_ps=0.0).unrecorded == ()


@pytest.mark.parametrize("engine", CASES)
def test_a_packed_box_is_heated_and_then_contracts(engine, tmp_path):
    box = md.packed_box(0.65)
    trajectory = run_md(potentials.create(md.WIDE_CLP), box, md.liquid(), PROTOCOL, tmp_path, engine=engine)
    assert trajectory.fault is None
    thermo = trajectory.thermo()
    assert thermo["volume_A3"].max() < 0.98 * box.get_volume()
    # 207 degrees of freedom: 7 %; the contraction heats by some 10 %, and a minimised box that is not heated has half
    assert thermo["temperature_K"].mean() == pytest.approx(423, rel=0.45)


@pytest.mark.parametrize("engine", CASES)
def test_a_start_in_stages_goes_on_from_any_of_them_and_ends_the_same(engine, tmp_path):
    module = import_module(f"ilforge.dynamics.{engine}")
    job = Job(potentials.create(md.WIDE_CLP), md.packed_box(0.65), md.liquid().topology, PROTOCOL, 1, tmp_path / "a")
    every = list(module.frames(job, None, 0))
    states = [state for sample, state in every if sample is None]
    assert len(states) == 5  # 250 + 50 steps at constant volume, 250 + 250 + 200 at constant pressure
    last = next(sample for sample, _ in reversed(every) if sample is not None)
    for index in (0, 1, 3):
        again = list(module.frames(replace(job, directory=tmp_path / str(index)), states[index], 0))
        found = next(sample for sample, _ in reversed(again) if sample is not None)
        np.testing.assert_array_equal(found.positions, last.positions)


@pytest.mark.program("lmp")
def test_lammps_changes_its_ensemble_between_stages(tiny_deepmd_model, tmp_path):
    protocol = replace(PROTOCOL, minimise_steps=5, constant_volume_ps=0.02, equilibration_ps=0.02, timestep_fs=0.5)
    md.run(md.deepmd(tiny_deepmd_model), "lammps", md.warm_box(), protocol, tmp_path)
    moves = [line for line in (tmp_path / "ilforge-lammps" / "in.lammps").read_text().splitlines() if "move" in line]
    assert [line.split()[:4] for line in moves] == [
        ["fix", "move", "all", "nvt"],
        ["unfix", "move"],
        ["fix", "move", "all", "npt"],
    ]


@pytest.mark.slow
@pytest.mark.program("lmp")
def test_lammps_goes_on_within_its_start_and_ends_the_same(tiny_deepmd_model, tmp_path):
    """Steps before the recorded run are done in segments, also ones that begin in one stage and end in the next."""
    protocol = replace(
        PROTOCOL, minimise_steps=5, constant_volume_ps=0.03, equilibration_ps=0.03, timestep_fs=0.5, checkpoint_steps=40
    )
    potential, module = potentials.create(md.deepmd(tiny_deepmd_model)), import_module("ilforge.dynamics.lammps")
    job = Job(potential, md.warm_box(), md.liquid().topology, protocol, 1, tmp_path / "a")
    every = list(module.frames(job, None, 0))
    states = [state for sample, state in every if sample is None]
    assert len(states) == 2  # 40 and 40 of 60 + 60 steps; the last 40 go with the first frames
    last = every[-1][0]
    for index, state in enumerate(states):
        again = list(module.frames(replace(job, directory=tmp_path / str(index)), state, 0))
        np.testing.assert_array_equal(again[-1][0].positions, last.positions)
    frames = [sample for sample, _ in every if sample is not None]
    assert len(frames) == 2


def test_lammps_divides_the_start_among_segments_and_stages(tmp_path):
    lammps = import_module("ilforge.dynamics.lammps")
    job = Job(potentials.create(md.WIDE_CLP), md.packed_box(0.65), md.liquid().topology, PROTOCOL, 1, tmp_path)
    assert lammps._stages(job, -1000, 40) == [("NVT", 300), ("NPT", 700)]
    assert lammps._stages(job, -1000, -750) == [("NVT", 250)]
    assert lammps._stages(job, -750, -500) == [("NVT", 50), ("NPT", 200)]
    assert lammps._stages(job, -250, 40) == [("NPT", 250)]
    assert lammps._stages(job, 0, 40) == []

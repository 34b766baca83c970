"""LAMMPS on several cores: as MPI ranks, with the trajectory of one rank, and nothing left running."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from ilforge import potentials, programs
from ilforge.devices import CPU, Device
from ilforge.dynamics import run_md
from ilforge.dynamics.lammps import program as lammps_program
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.deepmd import room as deepmd_room
from support import md
from support.patience import PATIENCE_S, until

pytestmark = pytest.mark.program("lmp")

needs_mpi = pytest.mark.skipif(
    programs.of_environment("mpiexec.hydra") is None, reason="the environment has no MPICH (pip install mpich)"
)


@pytest.fixture(scope="module")
def liquid():
    return Liquid.of({"PYR14": 6, "BF4": 6})


@pytest.fixture(scope="module")
def box(liquid):
    """210 atoms, enough for two ranks."""
    packed = pack(liquid, 1.03, seed=1)
    packed.info["ions"] = liquid.label
    return packed


def job(potential, box, liquid, threads, **changes):
    return Job(potential, box, liquid.topology, md.short(**changes), threads)


@needs_mpi
def test_two_cores_are_two_ranks_of_one_thread(tiny_deepmd_model, box, liquid):
    potential = potentials.create(md.deepmd(tiny_deepmd_model))
    command, environment, threads = lammps_program.command_for(job(potential, box, liquid, 2), CPU)
    assert (command[0].endswith("mpiexec.hydra"), command[command.index("-np") + 1], threads) == (True, "2", 1)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""  # a GPU that is there is not taken
    command, _, threads = lammps_program.command_for(job(potential, box, liquid, 4), CPU)
    assert (command[command.index("-np") + 1], threads) == ("2", 2)  # 105 atoms a rank


def test_one_rank_where_ranks_do_not_help(tiny_deepmd_model, box, liquid, monkeypatch):
    potential = potentials.create(md.deepmd(tiny_deepmd_model))
    small = job(potential, md.packed_box(), md.liquid(), 2)
    on_gpu = Device("cuda", 1)
    for one, device in (
        (job(potential, box, liquid, 1), CPU), (small, CPU), (job(potential, box, liquid, 2), on_gpu)
    ):  # fmt: skip
        command, environment, threads = lammps_program.command_for(one, device)
        assert "-np" not in command and threads == one.threads
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setattr(programs, "of_environment", lambda program: None)  # no MPICH: threads
    command, _, threads = lammps_program.command_for(job(potential, box, liquid, 2), CPU)
    assert "-np" not in command and threads == 2


@needs_mpi
def test_two_ranks_move_atoms_as_one_does(tiny_deepmd_models, box, liquid, tmp_path):
    """A committee, through a minimisation, an unrecorded start and several segments."""
    members = [md.deepmd(model) for model in tiny_deepmd_models]
    committee = potentials.create({"kind": "committee", "members": members})
    protocol = md.short(ensemble="NPT", length_ps=0.01, interval_ps=0.0025, equilibration_ps=0.005)
    one, two = (
        run_md(committee, box, liquid, protocol, tmp_path / str(threads), threads=threads) for threads in (1, 2)
    )
    log = (tmp_path / "2/ilforge-lammps/lmp.log").read_text()
    assert any(f"{grid} MPI processor grid" in log for grid in ("1 by 1 by 2", "1 by 2 by 1", "2 by 1 by 1"))
    first, second = (np.array([step.positions.copy() for step in run.universe().trajectory]) for run in (one, two))
    np.testing.assert_allclose(first, second, atol=1e-4)  # Å
    for name, values in one.thermo().items():
        np.testing.assert_allclose(values, two.thermo()[name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.slow
@needs_mpi
def test_ranks_end_with_a_killed_run(tiny_deepmd_model, box, tmp_path):
    arguments = (md.deepmd(tiny_deepmd_model), "lammps", box, md.short(length_ps=1000.0), tmp_path / "run", 2)
    process = multiprocessing.get_context("spawn").Process(target=md.run, args=arguments)
    process.start()
    until(lambda: len(md.processes_in(tmp_path)) >= 3, "the launcher and two ranks at least")
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_S)
    until(lambda: not md.processes_in(tmp_path), "the end of all ranks")


def test_the_room_of_a_model_is_that_of_its_training(tiny_deepmd_model):
    room = deepmd_room.room_of(tiny_deepmd_model)
    assert (room.sel, room.cutoff_A, set(room.elements)) == ((80,) * 5, 4.5, {"H", "B", "C", "N", "F"})


def test_a_start_too_dense_for_the_model_is_refused(tiny_deepmd_model, tmp_path):
    dense, room = md.packed_box(), deepmd_room.room_of(tiny_deepmd_model)
    assert room.overflow([dense]) is None
    dense.set_cell(dense.cell.array * 0.6, scale_atoms=True)
    assert "H neighbours within 4.5 Å" in room.overflow([dense])
    potential = potentials.create(md.deepmd(tiny_deepmd_model))
    vars(potential)["_room"] = replace(room, sel=(80, 80, 9, 80, 80))  # as of a model with less room for carbon
    with pytest.raises(SettingsError, match=r"C neighbours within 4\.5 Å.*room for 9 \(sel\).*dense as the start"):
        run_md(potential, md.packed_box(), md.liquid(), md.short(), tmp_path, engine="lammps")


def test_a_run_that_becomes_too_dense_ends_with_a_fault(tiny_deepmd_model, tmp_path, monkeypatch):
    potential = potentials.create(md.deepmd(tiny_deepmd_model))
    counts = iter([[0] * 5, [0, 0, 93, 0, 0]])  # at the start, and after the first segment
    monkeypatch.setattr(deepmd_room, "neighbour_counts", lambda *_: np.array(next(counts)))
    trajectory = run_md(potential, md.packed_box(), md.liquid(), md.short(equilibration_ps=0.0), tmp_path)
    assert (
        "93 C neighbours" in trajectory.fault["message"]
        and "it would ignore some of them" in trajectory.fault["message"]
    )

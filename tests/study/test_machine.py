"""``machine.toml``: every key is checked in words, and none of them changes what a study computes."""

from __future__ import annotations

import sys

import pytest

from ilforge import hardware, machine_programs, programs
from ilforge.errors import MissingProgram, SettingsError
from ilforge.settings import meaning_of
from ilforge.study.machine import Machine, load_machine
from support.patience import PATIENCE_S


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Machine:
        (tmp_path / "machine.toml").write_text(text)
        return load_machine(tmp_path / "machine.toml")

    return read


def program(path, says="hello"):
    """A program that says something and its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {says} "$@"\n')
    path.chmod(0o755)
    return path


def test_tasks_at_once_are_as_many_as_cores_and_threads_allow(read, monkeypatch):
    monkeypatch.setattr(hardware, "usable_cores", lambda: 16)
    assert read("").worker_count == 16
    assert read("threads = 4\n").worker_count == 4
    assert read("threads = 32\n").worker_count == 1
    assert read("cores = 6\nthreads = 4\n").worker_count == 1
    assert read("workers = 3\n").worker_count == 3
    assert read("workers = 40\n").worker_count == 40, "without cores, the word of the user counts"
    assert read("workers = 40\ncores = 8\n").worker_count == 8


def test_memory_of_the_machine_leaves_something_to_others(read, monkeypatch):
    there = hardware.memory_GB()
    assert 0.1 < there < 1e5
    assert 0 < Machine().usable_memory_GB < there
    assert read("memory_GB = 3.5\n").usable_memory_GB == 3.5
    monkeypatch.setattr(hardware, "memory_GB", lambda: 100.0)
    assert Machine().usable_memory_GB == pytest.approx(90.0)
    monkeypatch.setattr(hardware, "memory_GB", lambda: 1.5)
    assert Machine().usable_memory_GB == pytest.approx(0.75)


def test_memory_of_a_container_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("250000000\n")
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    assert hardware.memory_GB() == pytest.approx(0.25)
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.memory_GB() > 0.25


def test_free_disk_of_a_folder_that_is_not_made_yet(tmp_path):
    assert hardware.free_disk_GB(tmp_path / "store" / "of" / "mine") == pytest.approx(
        hardware.free_disk_GB(tmp_path), rel=0.1
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores = 0\n", "cores is 0, but should be at least 1"),
        ("memory_GB = -1\n", "memory_GB is -1, but should be greater than 0"),
        ('gpus = "two"\n', "gpus is 'two', but should be a valid integer"),
        ('[commands]\ncp2l = "x"\n', "commands.cp2l is not a known key. Did you mean cp2k.*cp2k, vasp, gpaw, gmx"),
        ('commands = { vasp = "" }\n', "commands.vasp: it is empty; write a command"),
        ('commands = { vasp = "mpirun \'x" }\n', "commands.vasp: No closing quotation"),
        ('commands = { gmx = "mpirun -np 4 gmx_mpi" }\n', "commands.gmx.*has 4 words.*without mpirun"),
        ('run = { labels = "local" }\n', "run.labels is not a known key. Did you mean label"),
        ('run = { label = "cluster" }\n', "run.label is 'cluster', which is not one of the executors: local"),
        ('[executors.many]\nworkers = 2\n', "executors.many.kind is missing"),
        ("[environments]\nsevennet = 7\n", "environments.sevennet is 7, but should be a valid string"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_key_and_what_it_may_be(read, text, said):
    with pytest.raises(SettingsError, match=f"machine.toml:\n.*{said}"):
        read(text)


def test_every_key_is_described():
    for settings in (Machine, *(field.default.__class__ for field in Machine.model_fields.values())):
        for name in getattr(settings, "model_fields", {}):
            assert meaning_of(settings, name).endswith((".", "``.", "likewise.")), name


def test_a_command_of_the_machine_starts_the_program(tmp_path, read):
    launcher = program(tmp_path / "bin" / "launch", "launched")
    gmx = program(tmp_path / "opt" / "gmx", "gromacs")
    machine = read(f'[commands]\nlmp = "{launcher} -np 2 {gmx}"\ngmx = "{gmx}"\n')
    machine_programs.use(machine.programs)
    assert programs.find("gmx") == gmx and programs.find("lmp") == gmx
    assert programs.command_line("lmp") == [str(launcher), "-np", "2", str(gmx)]
    programs.run(["lmp", "-in", "x"], tmp_path, log="log")
    assert (tmp_path / "log").read_text() == f"launched -np 2 {gmx} -in x\n"
    programs.run(["gmx", "--version"], tmp_path, log="log")
    assert (tmp_path / "log").read_text() == "gromacs --version\n"


def test_a_command_that_is_not_there_is_missing_with_the_table_that_names_it(tmp_path, read):
    machine_programs.use(read(f'commands = {{ gmx = "{tmp_path}/nothing" }}\n').programs)
    with pytest.raises(MissingProgram, match=r"nothing was not found.*needed for gmx, as \[commands\] in machine.toml"):
        programs.find("gmx")


def test_the_machine_s_command_comes_before_the_study_s(tmp_path, read):
    from ilforge.potentials.quantum.cp2k import Cp2k
    from ilforge.potentials.quantum.vasp import Vasp

    ours = Cp2k(command="cp2k.popt"), Vasp(command="vasp_gam")
    keys = [one.settings() for one in ours]
    assert [one.command_here for one in ours] == ["cp2k.popt", "vasp_gam"]
    machine_programs.use(read('[commands]\ncp2k = "mpirun -np 8 cp2k.psmp"\nvasp = "srun vasp_std"\n').programs)
    assert [one.command_here for one in ours] == ["mpirun -np 8 cp2k.psmp", "srun vasp_std"]
    assert [one.settings() for one in ours] == keys, "it is no part of the method"


def test_lammps_of_the_machine_is_started_just_as_it_says(tmp_path, read):
    from ilforge.devices import CPU
    from ilforge.dynamics.lammps import program as lammps_program

    class Job:
        threads = 4

    launcher, lmp = program(tmp_path / "mpirun"), program(tmp_path / "lmp")
    machine_programs.use(read(f'commands = {{ lmp = "{launcher} -np 8 {lmp}" }}\n').programs)
    command, variables, threads = lammps_program.command_for(Job(), CPU)
    assert command[:4] == [str(launcher), "-np", "8", str(lmp)] and command[4:6] == ["-in", lammps_program.INPUT]
    assert variables == {"CUDA_VISIBLE_DEVICES": ""} and threads == 4


def test_an_environment_is_checked_when_it_is_used(tmp_path, read):
    text = f'[environments]\nsevennet = "{sys.executable}"\ngone = "{tmp_path}/bin/python"\n'
    named = read(text).programs
    assert named.interpreter("sevennet").samefile(sys.executable)
    with pytest.raises(SettingsError, match=r"'chgnet' is not known. Environments in machine.toml: gone, sevennet"):
        named.interpreter("chgnet")
    with pytest.raises(SettingsError, match=r"environments\.gone in machine\.toml is .* no such program is there"):
        named.interpreter("gone")


def test_looking_starts_no_program_that_a_file_beside_the_study_names(tmp_path):
    from ilforge import trust

    gmx = program(tmp_path / "gmx", "started")
    (tmp_path / "machine.toml").write_text(f'commands = {{ gmx = "{gmx}" }}\n')
    machine_programs.use(load_machine(None, tmp_path).programs)
    with trust.looking(), pytest.raises(SettingsError, match="look at a study start no program that this file names"):
        programs.run(["gmx"], tmp_path, log="log")
    assert not (tmp_path / "log").exists() or not (tmp_path / "log").read_text()
    programs.run(["gmx"], tmp_path, log="log")  # `ilforge run`
    machine_programs.use(load_machine(tmp_path / "machine.toml", tmp_path).programs)
    with trust.looking():
        programs.run(["gmx"], tmp_path, log="log")  # --machine names it


def test_workers_start_programs_as_the_machine_says(read):
    from ilforge.workflow.executors import Executors
    from support import tasks

    with Executors.of_machine(read('workers = 1\n[commands]\nvasp = "srun vasp_std"\n')) as executors:
        assert executors.of("label").submit(tasks.command_of, "vasp").result(PATIENCE_S) == "srun vasp_std"

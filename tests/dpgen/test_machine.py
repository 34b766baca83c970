"""``machine.json`` in both layouts: every value of ``machine.toml``, and what ilforge refuses."""

from __future__ import annotations

import pytest

from ilforge.dpgen.book import Book
from ilforge.dpgen.machine import leave_top, move_machine
from ilforge.errors import SettingsError
from ilforge.settings_file import read_toml
from ilforge.study.machine import load_machine
from ilforge.workflow.executors.parsl.settings import ParslSettings
from support import dpgen_runs


def executors(moved):
    tables = load_machine(moved.out / "machine.toml").executors
    return {name: ParslSettings(**table) for name, table in tables.items()}


def test_slurm_by_dpdispatcher(moved_vasp):
    machine = load_machine(moved_vasp.out / "machine.toml")
    assert machine.store == str(moved_vasp.out / "ilforge-store")
    assert machine.commands.vasp == "mpirun -n 32 vasp_std"  # without "|| :"
    run = machine.run
    assert (run.train, run.explore, run.md, run.label) == ("training", "exploring", "exploring", "labelling")
    assert run.analyse == "local"
    found = executors(moved_vasp)
    assert {one.provider for one in found.values()} == {"slurm"}
    training, labelling = found["training"], found["labelling"]
    assert (training.partition, training.cores, training.gpus, training.device) == ("gpu", 8, 2, "cuda")
    assert (training.workers, training.threads) == (2, 4)  # para_deg = 2
    assert (training.walltime_h, training.memory_GB) == (36.0, 64.0)  # 1-12:00:00
    assert found["exploring"].environment == ["source /opt/dp.env"]
    assert (labelling.partition, labelling.cores, labelling.gpus) == ("cpu", 32, 0)
    assert (labelling.workers, labelling.threads) == (1, 1)  # mpirun -n 32
    assert (labelling.walltime_h, labelling.account) == (12.5, "proj7")
    assert labelling.options == ["#SBATCH --constraint=milan"]
    assert labelling.environment == [
        "module load intel/2021",
        "module load vasp/6.3",
        'export OMP_NUM_THREADS="1"',
        "ulimit -s unlimited",
    ]


def test_pbs_in_the_older_layout(moved_cp2k):
    machine, found = load_machine(moved_cp2k.out / "machine.toml"), executors(moved_cp2k)
    assert machine.commands.cp2k == "mpirun -np 16 /opt/cp2k/bin/cp2k.popt"
    assert {one.provider for one in found.values()} == {"pbs"}
    training, labelling = found["training"], found["labelling"]
    assert (training.partition, training.cores, training.gpus, training.memory_GB) == ("gpuq", 4, 1, 32.0)
    assert training.walltime_h == 23.0 and training.environment == ["source /opt/deepmd/activate"]
    assert (labelling.partition, labelling.cores, labelling.walltime_h) == ("long", 16, 6.5)
    assert labelling.environment == ["module load cp2k", 'export CP2K_DATA_DIR="/opt/cp2k/data"']


def test_parsl_asks_slurm_for_what_dpgen_asked_for(moved_vasp):
    pytest.importorskip("parsl")
    from ilforge.workflow.executors.parsl.providers import Shape, provider_of

    provider = provider_of(executors(moved_vasp)["labelling"], Shape(1, None))
    assert (provider.walltime, provider.partition, provider.account) == ("12:30:00", "cpu", "proj7")
    assert provider.cores_per_node == 32 and "--constraint=milan" in provider.scheduler_options


def test_passwords_are_nowhere(moved_vasp):
    for path in moved_vasp.out.rglob("*.*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def moved(sections, fp_style="vasp"):
    book = Book("machine.json", sections)
    found = move_machine(book, fp_style, "/tmp/store")
    leave_top(book)
    return found, book


def changed(**changes):
    sections = dpgen_runs.slurm_machine()
    for part, keys in changes.items():
        sections["fp"][0][part] = {**sections["fp"][0][part], **keys}
    return sections


def test_this_machine(tmp_path):
    found, _ = moved(changed(machine={"batch_type": "Shell", "context_type": "LazyLocal"}))
    (tmp_path / "machine.toml").write_text("\n".join(found.lines))
    assert read_toml(tmp_path / "machine.toml")[1]["executors"]["labelling"]["provider"] == "local"


@pytest.mark.parametrize("system", ["LSF", "Bohrium", "DpCloudServer", "Torque"])
def test_systems_without_an_executor_are_named_and_their_keys_listed(system):
    found, book = moved(changed(machine={"batch_type": system}))
    assert any(system in remark for remark in found.remarks)
    assert not any("executors.labelling" in line or line.startswith("label =") for line in found.lines)
    left = {entry.key for entry in book.left()}
    assert {"fp[0].resources.queue_name", "fp[0].resources.module_list", "fp[0].machine.batch_type"} <= left


def test_several_nodes_and_gpus_of_dft_are_not_taken_over_silently():
    _, book = moved(changed(resources={"number_node": 4, "gpu_per_node": 2}))
    left = {entry.key: entry.became for entry in book.left()}
    assert "one node" in left["fp[0].resources.number_node"]
    assert "processor" in left["fp[0].resources.gpu_per_node"]


@pytest.mark.parametrize(
    ("flag", "hours"),
    [("#SBATCH -t 90", 1.5), ("#SBATCH --time=2-06", 54), ("#PBS -l walltime=7200", 2), ("#SBATCH -t 0:30:00", 0.5)],
)
def test_time_limits_as_queueing_systems_write_them(flag, hours):
    found, _ = moved(changed(resources={"custom_flags": [flag]}))
    text = "\n".join(found.lines).split("[executors.labelling]")[1]
    assert f"walltime_h = {float(hours)}" in text


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {}}, ["train does not say how jobs are started", "Slurm, PBS, Shell"]),
        ({}, ["no 'train'", "sections train, model_devi and fp"]),
        ({"train": 3}, ["train is 3", "machine, resources and command"]),
        (changed(machine={"batch_type": "slrum"}), ["batch_type is 'slrum'", "Slurm, PBS or Shell"]),
        (changed(resources={"cpu_per_node": "many"}), ["fp[0].resources.cpu_per_node", "'many'".replace("'", '"')]),
        (changed(resources={"custom_flags": ["#SBATCH -t soon"]}), ["'soon'", "24:00:00"]),
    ],
)
def test_faults_are_said_in_the_words_of_the_file(sections, words):
    with pytest.raises(SettingsError) as error:
        moved(sections)
    for word in words:
        assert word in str(error.value)

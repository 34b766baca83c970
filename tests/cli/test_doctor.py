"""``ilforge doctor``: what the machine has, as it is, with what ``machine.toml`` makes of it."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from ilforge import devices, programs
from ilforge.hardware import usable_cores


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Without asking libraries for devices, which takes long."""
    monkeypatch.setattr("ilforge.cli.doctor.inventory", dict)


def test_doctor_says_cores_memory_disk_and_gpus(ilforge):
    code, out, _ = ilforge("doctor")
    assert code == 0
    assert re.search(rf"^cores +{usable_cores()}; \d+ tasks at the same time, with 1 threads each", out, re.M)
    assert re.search(r"^memory +\d+\.\d GB; tasks may take \d+\.\d GB together", out, re.M)
    assert re.search(r"^disk +\d+\.\d GB free in the folder of the store, ilforge-store", out, re.M)
    assert re.search(r"^GPUs +\S", out, re.M) and re.search(r"^executor local +local: label, train", out, re.M)


def test_doctor_tries_the_environments_and_commands_of_machine_toml(ilforge, tmp_path):
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho no module named encodings\nexit 1\n")
    bad.chmod(0o755)
    (tmp_path / "here.toml").write_text(
        f'commands = {{ gmx = "{tmp_path}/gmx", vasp = "{sys.executable}" }}\n'
        'run = { label = "many" }\nexecutors = { many = { kind = "local", workers = 3 } }\n'
        f'[environments]\ngood = "{sys.executable}"\nbad = "{bad}"\ngone = "{tmp_path}/python"\n'
    )
    code, out, _ = ilforge("doctor", "--machine", "here.toml")
    assert code == 0
    version = sys.version.split()[0]
    assert re.search(rf"^environment good +{re.escape(sys.executable)}: Python {re.escape(version)}", out, re.M)
    assert re.search(r"^environment bad +does not start: no module named encodings", out, re.M)
    assert re.search(r"^environment gone +missing: environments\.gone", out, re.M)
    assert re.search(r"^command gmx +missing: .*gmx *$", out, re.M)
    assert re.search(rf"^command vasp +{re.escape(sys.executable)}", out, re.M)
    assert re.search(r"^executor many +local: label *$", out, re.M)


def test_doctor_does_not_start_what_a_file_in_the_folder_names_unasked(ilforge, tmp_path):
    (tmp_path / "machine.toml").write_text(f'[environments]\nfound = "{sys.executable}"\n')
    code, out, _ = ilforge("doctor")
    assert code == 0 and "environment found" not in out
    assert "ilforge doctor --machine machine.toml" in out


def test_gpus_are_those_of_the_driver_that_the_process_sees(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, GPU-a, NVIDIA H200'\necho '1, GPU-b, NVIDIA L4'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.gpus() == ["NVIDIA H200", "NVIDIA L4"]
    for chosen, expected in (("1", ["NVIDIA L4"]), ("GPU-a", ["NVIDIA H200"]), ("", []), ("1,0", None)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert devices.gpus() == (expected if expected is not None else ["NVIDIA L4", "NVIDIA H200"])
    smi.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert devices.gpus() == []


@pytest.mark.skipif(not programs.is_installed("parsl"), reason=f"needs {programs.extra('cluster')}")
def test_doctor_runs_a_task_on_each_executor(ilforge, tmp_path):
    bad = {"kind": "parsl", "provider": "local", "workers": 1, "status_s": 1.0, "environment": ["exit 3"]}
    (tmp_path / "m.toml").write_text(
        f'store = "{tmp_path}/store"\nrun = {{ label = "good", md = "bad" }}\n[executors.good]\nkind = "parsl"\n'
        'provider = "local"\nworkers = 1\n[executors.bad]\n'
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in bad.items())
    )
    code, out, _ = ilforge("doctor", "--machine", "m.toml")
    assert code == 0
    assert re.search(r"^executor local: works: \S+, after \d+ s; \d+ cores, \d+ GB", out, re.M)
    assert re.search(r"^executor good: works: ", out, re.M)
    assert re.search(r"^executor bad: does not work: \[executors\.bad\] in machine\.toml: 3 jobs in a row", out, re.M)

"""Devices: what may be asked for, and a GPU that is not there is refused in words before anything is computed."""

from __future__ import annotations

import openmm
import pytest
import torch

from ilforge import devices
from ilforge.devices import CPU, PROGRAMS, Device, Devices
from ilforge.errors import MissingProgram, SettingsError
from ilforge.study.machine import Machine, load_machine
from ilforge.workflow.executors import LocalExecutor, Surroundings
from support import tasks
from support.patience import PATIENCE_S

PLATFORMS = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
without_cuda = pytest.mark.skipif(
    torch.cuda.is_available() or "CUDA" in PLATFORMS, reason="refusals are of a GPU that is not there"
)


@pytest.mark.parametrize(
    ("text", "device"),
    [("cpu", CPU), ("cuda", Device("cuda")), ("CUDA:1", Device("cuda", 1)), ("opencl:0", Device("opencl", 0))],
)
def test_devices_as_they_are_written(text, device):
    assert Device.parse(text) == device
    assert str(device) == text.lower()


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:-1", "cpu:1", ""])
def test_what_is_no_device_is_refused_with_what_may_be(text):
    with pytest.raises(SettingsError, match=f"device is {text!r}; it may be cpu, cuda, cuda:0"):
        Device.parse(text)


def test_a_table_gives_each_program_its_own_and_the_others_the_cpu():
    found = Devices.parse({"torch": "cuda:1", "openmm": "opencl"})
    assert (found.torch, found.openmm, found.deepmd, found.gromacs) == (Device("cuda", 1), Device("opencl"), CPU, CPU)
    with pytest.raises(SettingsError, match=r"device\.mace is not a known key.*torch, openmm, deepmd, gromacs"):
        Devices.parse({"mace": "cuda"})


def test_machine_toml_has_the_device(tmp_path):
    file = tmp_path / "machine.toml"
    assert Machine().devices == Devices()
    file.write_text('device = "cuda:1"\n')
    assert load_machine(file).devices == Devices(*[Device("cuda", 1)] * len(PROGRAMS))
    file.write_text('device = { openmm = "opencl" }\n')
    assert load_machine(file).devices == Devices(openmm=Device("opencl"))
    file.write_text('device = "nvidia"\n')
    with pytest.raises(SettingsError, match="machine.toml:\n  - device is 'nvidia'; it may be"):
        load_machine(file)


@without_cuda
@pytest.mark.parametrize(
    ("program", "found", "cure"),
    [
        ("torch", rf"torch\.cuda\.is_available\(\) is False: PyTorch {torch.__version__.split('+')[0]}", "pytorch.org"),
        ("openmm", f"has the platforms {', '.join(PLATFORMS)}, but not CUDA", r"openmm\[cuda12\]"),
        ("deepmd", "TensorFlow .* is built without CUDA", "pip install 'deepmd-kit"),
        ("gromacs", "GPU support: disabled", "DGMX_GPU=CUDA"),
    ],
)
def test_an_absent_gpu_is_refused_with_the_key_what_was_found_and_what_to_do(program, found, cure):
    try:
        with pytest.raises(SettingsError, match=rf'device = "cuda" .*{found}.*{cure}.*device = "cpu", or "auto"'):
            Devices.parse("cuda").resolved(program)
    except MissingProgram as error:
        pytest.skip(str(error))


@without_cuda
@pytest.mark.parametrize("program", ["torch", "openmm"])
def test_auto_is_the_cpu_where_there_is_no_gpu(program):
    assert Devices.parse("auto").resolved(program) == CPU


@pytest.mark.parametrize("program", ["torch", "deepmd"])
def test_opencl_is_for_programs_that_know_it(program):
    with pytest.raises(SettingsError, match=r"can compute on cpu or cuda.*device = \{ openmm"):
        Devices.parse("opencl").resolved(program)


def test_a_child_sees_the_chosen_gpu_alone(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible(CPU) == {"CUDA_VISIBLE_DEVICES": ""}
    assert devices.visible(Device("cuda")) == {}
    assert devices.visible(Device("cuda", 1)) == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")  # as a queueing system gives them
    assert devices.visible(Device("cuda", 1)) == {"CUDA_VISIBLE_DEVICES": "7"}


def test_workers_compute_on_the_devices_of_the_machine():
    wanted = Devices.parse({"openmm": "opencl:2", "torch": "cuda"})
    with LocalExecutor(1, surroundings=Surroundings(devices=wanted)) as workers:
        assert workers.submit(tasks.chosen_devices).result(PATIENCE_S) == wanted
    with LocalExecutor(1) as workers:
        assert workers.submit(tasks.chosen_devices).result(PATIENCE_S) == Devices()

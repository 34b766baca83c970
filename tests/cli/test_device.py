"""``--device`` and ``device`` in ``machine.toml``: an absent GPU ends a command before it has done anything."""

from __future__ import annotations

import openmm
import pytest
import torch

from ilforge import devices, frames
from ilforge.devices import Devices
from support.md import mace, packed_box
from support.studies import SMALLEST

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available()
    or "CUDA" in [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())],
    reason="refusals are of a GPU that is not there",
)


@pytest.fixture
def box(tmp_path):
    frames.write(tmp_path / "box.xyz", [packed_box()])
    return tmp_path / "box.xyz"


@pytest.mark.parametrize("command", ["md", "label", "validate"])
@pytest.mark.parametrize("kind", ["clp:4.0", "mace"])
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_computed(
    ilforge, box, tmp_path, tiny_mace_model, command, kind
):
    spec = mace(tiny_mace_model)
    potential = ("--potential", kind) if kind != "mace" else ("--potential", spec["path"], "--trust", spec["sha256"])
    rest = ("--length", "0.01") if command == "md" else ()
    code, _, err = ilforge(command, box, *potential, *rest, "--device", "cuda")
    assert code == 2
    assert 'device = "cuda"' in err and ("CUDA" in err or "torch.cuda" in err)
    assert {path.name for path in tmp_path.iterdir()} == {"box.xyz"}


def test_training_on_a_gpu_that_is_not_there_is_refused_before_it_starts(ilforge, tmp_path):
    from support.labels import salt_frames

    frames.write(tmp_path / "labels.xyz", salt_frames(12))
    for kind in ("mace", "deepmd"):
        code, _, err = ilforge("train", "labels.xyz", "--model", kind, "--device", "cuda:0")
        assert code == 2 and 'device = "cuda:0"' in err
    assert {path.name for path in tmp_path.iterdir()} == {"labels.xyz"}


def test_a_method_without_gpus_says_so(ilforge, box):
    code, _, err = ilforge("label", box, "--potential", "GFN1-xTB", "--device", "cuda")
    assert code == 2 and "xtb computes on the CPU only. These can use a GPU: clp, clpol, exp6, sevennet" in err


def test_a_device_holds_for_one_command_alone(ilforge, box, tmp_path):
    ilforge("md", box, "--potential", "clp:4.0", "--length", "0.01", "--device", "cuda")
    code, _, _ = ilforge("md", box, "--potential", "clp:4.0", "--length", "0.01", "--interval", "0.01")
    assert code == 0 and devices.chosen() == Devices()


def test_a_study_on_a_gpu_that_is_not_there_is_refused_by_check_and_run(ilforge, tmp_path):
    (tmp_path / "study.toml").write_text(SMALLEST.replace('"REFERENCE"', '"gfn1"'))
    (tmp_path / "machine.toml").write_text('device = { openmm = "cuda" }\n')
    code, out, err = ilforge("check", "study.toml")
    assert code == 2 and "stages to do" in out and 'Not usable: device = "cuda"' in err and "platforms Reference" in err
    code, _, err = ilforge("run", "study.toml")
    assert code == 2 and "platforms Reference" in err
    assert not (tmp_path / "ilforge-store").exists()
    (tmp_path / "machine.toml").write_text('device = { gromacs = "cuda" }\n')  # which the study does not use
    assert ilforge("check", "study.toml")[0] == 0

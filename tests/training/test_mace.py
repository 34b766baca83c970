"""MACE trainings at their smallest, and what surrounds them."""

from __future__ import annotations

import hashlib
import json
import math
import re

import numpy as np
import pytest
from pydantic import ValidationError

from ilforge import frames
from ilforge.devices import Device
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.labelling.label import evaluate
from ilforge.potentials.learned.mace.cuequivariance import has_cuequivariance
from ilforge.training import learning_curve, train
from ilforge.training.curve import read
from ilforge.training.mace import atom_energies, parse_curve, progress, train_mace
from ilforge.training.mace.command import command_line, schedule
from ilforge.training.mace.settings import MaceSettings
from support.hostile import evil_model
from support.kills import kill_in_the_middle
from support.labels import labelled_frame, salt_frames

SMALL = MaceSettings(
    hidden_irreps="4x0e + 4x1o",
    r_max_A=3.5,
    max_ell=1,
    correlation=1,
    epochs=2,
    second_stage_epoch=1,
    batch_size=2,
    retrain_fraction=0.5,
    retrain_learning_rate=1e-4,
)
ONE_STAGE = SMALL.model_copy(update={"epochs": 1})


@pytest.fixture(scope="module")
def dataset():
    return split(salt_frames(12), 0.2, seed=1)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("mace")
    return train_mace(dataset, SMALL, seed=5, directory=directory)


def forces(model, frame):
    spec = {"kind": "mace", "path": str(model), "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
    label = evaluate(frame, spec)
    assert not label.failed, label.error
    return label.forces


@pytest.mark.program("mace_run_train")
def test_training_leaves_a_model_a_curve_and_nothing_big(trained, dataset):
    assert trained.name == "model.model"
    left = {path.name for path in trained.parent.iterdir()}
    assert {"model.model", "learning_curve.csv", "mace.log"} <= left
    assert not left & {"checkpoints", "models"}
    points = read(trained.parent)
    assert [point.step for point in points] == [1, 2]
    assert all(math.isfinite(point.force_rmse_eV_A) and math.isfinite(point.train_loss) for point in points)
    steps, rmse = learning_curve(trained.parent)
    np.testing.assert_array_equal(steps, [1, 2])
    assert rmse[1] == points[1].force_rmse_eV_A
    batches = len(dataset.train) // 2
    assert progress(trained.parent) == (2 * batches, 2 * batches)
    assert np.isfinite(forces(trained, dataset.stop[0])).all()


@pytest.mark.program("mace_run_train")
def test_same_seed_same_model_and_leftovers_of_a_killed_training_do_not_matter(trained, dataset, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "training.json").write_text('{"epochs": 9, "batches": 2}')
    (tmp_path / "results" / "mace_run-5_train.txt").write_text('{"mode": "eval", "epoch": 7, "loss"')
    again = train(dataset, SMALL, 5, tmp_path)
    assert read(tmp_path) == read(trained.parent)
    for frame in dataset.stop:
        np.testing.assert_array_equal(forces(again, frame), forces(trained, frame))


LONGER = SMALL.model_copy(update={"epochs": 6, "second_stage_epoch": 3})


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    return train_mace(dataset, LONGER, seed=5, directory=tmp_path_factory.mktemp("undisturbed"))


def kill_after(dataset_file, directory, epochs):
    """Train in a process that is killed when so many epochs are behind it."""
    code = (
        "import sys; from pathlib import Path; from ilforge.labelling.datasets.dataset import Dataset\n"
        "from ilforge.training.mace import train_mace; from ilforge.training.mace.settings import MaceSettings\n"
        f"settings = MaceSettings.model_validate_json({LONGER.model_dump_json()!r})\n"
        f"train_mace(Dataset.read(Path({str(dataset_file)!r})), settings, 5, Path({str(directory)!r}))\n"
    )

    def there():
        text = "".join(path.read_text() for path in (directory / "results").glob("*_train.txt"))
        return f'"epoch": {epochs}' in text and (directory / "resume.pt").is_file()

    kill_in_the_middle(code, directory, there)


@pytest.mark.slow
@pytest.mark.program("mace_run_train")
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(undisturbed, dataset, tmp_path):
    """Killed in the first stage and again in the second."""
    dataset.write(tmp_path / "dataset")
    for epochs in (2, 4):
        kill_after(tmp_path / "dataset", tmp_path / "run", epochs)
        assert (tmp_path / "run" / "resume.pt").is_file()
    again = train_mace(Dataset.read(tmp_path / "dataset"), LONGER, 5, tmp_path / "run")
    steps = [json.loads(line) for line in (next((tmp_path / "run" / "results").glob("*"))).read_text().splitlines()]
    assert sum(step["mode"] == "opt" and step["epoch"] < 3 for step in steps) == 3 * (len(dataset.train) // 2)
    assert read(tmp_path / "run") == read(undisturbed.parent)
    for frame in dataset.stop:
        np.testing.assert_allclose(forces(again, frame), forces(undisturbed, frame), rtol=0, atol=1e-6)
    assert not (tmp_path / "run" / "resume.pt").exists()


@pytest.mark.slow
@pytest.mark.program("mace_run_train")
def test_a_state_that_would_run_code_is_not_loaded(trained, dataset, tmp_path):
    evil = tmp_path / "run"
    dataset.write(tmp_path / "dataset")
    again = train_mace(dataset, SMALL, seed=5, directory=evil)
    again.unlink()
    evil_model(evil / "resume.pt", tmp_path / "trace")
    (evil / "checkpoints").mkdir()
    evil_model(evil / "checkpoints" / "mace_run-5_epoch-0.pt", tmp_path / "trace")
    again = train_mace(dataset, SMALL, seed=5, directory=evil)
    assert not (tmp_path / "trace").exists() and read(evil) == read(trained.parent)


def test_folders_of_the_users_are_not_cleared(dataset, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.csv").write_text("precious")
    with pytest.raises(SettingsError, match="not from a training by ilforge"):
        train_mace(dataset, SMALL, 1, tmp_path)
    assert (tmp_path / "results" / "mine.csv").read_text() == "precious"


@pytest.mark.program("mace_run_train")
def test_warm_start_goes_on_from_where_the_model_was(trained, dataset, tmp_path):
    """With next to no learning rate it must stay where it was, and one epoch from scratch must not be there."""
    still = ONE_STAGE.model_copy(update={"retrain_fraction": 1.0, "retrain_learning_rate": 1e-9, "ema_decay": 0.0})
    warm = train_mace(dataset, still, seed=6, directory=tmp_path, start_from=trained)
    assert len(read(tmp_path)) == 1
    for frame in dataset.stop:
        np.testing.assert_allclose(forces(warm, frame), forces(trained, frame), atol=2e-4)


@pytest.mark.program("mace_run_train")
def test_what_mace_says_when_it_fails_is_quoted(dataset, tmp_path):
    uneven = SMALL.model_copy(update={"hidden_irreps": "4x0e + 2x1o"})  # which settings refuse, when they are read
    with pytest.raises(DidNotFinish, match="same dimension"):
        train_mace(dataset, uneven, 1, tmp_path)


@pytest.mark.parametrize(
    ("irreps", "nearest"),
    [
        ("16x0e + 4x1e", "16x0e + 16x1o"),
        ("16x0e + 4x1o", "16x0e + 16x1o"),
        ("8x1o", "8x0e + 8x1o"),
        ("8x0e + 8x2e", "8x0e + 8x1o + 8x2e"),
        ("8x0o", "8x0e"),
    ],
)
def test_irreps_that_mace_fails_on_are_refused_with_the_nearest_that_it_takes(irreps, nearest):
    with pytest.raises(ValidationError, match=re.escape(repr(nearest))):
        MaceSettings(hidden_irreps=irreps)
    assert MaceSettings(hidden_irreps=nearest).hidden_irreps == nearest


@pytest.mark.slow
@pytest.mark.program("mace_run_train")
def test_stress_is_learned_where_it_has_a_weight(dataset, tmp_path):
    """From stresses alone: only with the right sign, order and unit can those of frames left out be found."""
    alone = {"stress_weight": 1e5, "energy_weight": 0.0, "forces_weight": 0.0, "ema_decay": 0.0}
    few = LONGER.model_copy(update={"epochs": 40, "second_stage_epoch": 40, "batch_size": 1, **alone})
    model = train_mace(dataset, few, 5, tmp_path)
    spec = {"kind": "mace", "path": str(model), "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
    found = np.array([evaluate(frame, spec).stress for frame in dataset.stop])
    truth = np.array([frame.info[frames.STRESS] for frame in dataset.stop])
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.4 * np.sqrt(np.mean(truth**2))


def test_labels_without_stress_are_learned_without_it(dataset, tmp_path):
    energies = {"Li": 0.0, "B": 0.0, "F": 0.0}
    assert "--loss=weighted" in command_line(SMALL, 1, 2, 1, energies)
    weighed = SMALL.model_copy(update={"stress_weight": 10.0})
    line = command_line(weighed, 1, 2, 1, energies, stress=True)
    assert {"--loss=stress", "--stress_weight=10.0", "--swa_stress_weight=10.0", "--stress_key=REF_stress"} <= set(line)


def test_missing_labels_are_refused_before_anything_is_started(tmp_path):
    members = [labelled_frame(number) for number in range(20)]
    del members[3].arrays[frames.FORCES]
    with pytest.raises(SettingsError, match="forces"):
        train_mace(split(members, 0.2, 1), SMALL, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_fewer_frames_than_a_batch_are_refused(tmp_path):
    members = split([labelled_frame(number) for number in range(10)], 0.2, 1)
    with pytest.raises(SettingsError, match="batch_size"):
        train_mace(Dataset(members.train[:1], members.stop), SMALL, 1, tmp_path)


def test_atom_energies_add_up_over_every_composition():
    """Two compositions, three elements: not determined one by one, yet right in the sum."""
    members = [labelled_frame(number) for number in range(2)]
    for index, (numbers, energy) in enumerate([([1] * 12 + [6] * 8, -50.0), ([1] * 4 + [6] * 8 + [9] * 8, -80.0)]):
        members[index].numbers = numbers
        members[index].info[frames.ENERGY] = energy
    energies = atom_energies(members, ("H", "C", "F"))
    assert 12 * energies["H"] + 8 * energies["C"] == pytest.approx(-50.0)
    assert 4 * energies["H"] + 8 * energies["C"] + 8 * energies["F"] == pytest.approx(-80.0)


def test_second_stage_only_where_there_is_one():
    assert "--swa" in command_line(SMALL, 1, epochs=4, second_stage=3, energies={"H": -1.0})
    one_stage = command_line(SMALL, 1, epochs=4, second_stage=4, energies={"H": -1.0})
    assert "--swa" not in one_stage
    assert "--E0s={1: -1.0}" in one_stage
    assert "--energy_key=REF_energy" in one_stage


def test_the_device_reaches_the_program():
    assert "--device=cpu" in command_line(SMALL, 1, 4, 3, {"H": -1.0})
    on_gpu = command_line(SMALL, 1, 4, 3, {"H": -1.0}, Device("cuda", 1))  # which one is said by CUDA_VISIBLE_DEVICES
    assert "--device=cuda" in on_gpu
    assert any(option.startswith("--enable_cueq") for option in on_gpu) == has_cuequivariance(Device("cuda"))


def test_schedule_of_a_warm_start_is_shorter_in_both_stages():
    settings = MaceSettings(epochs=100, second_stage_epoch=75, retrain_fraction=0.4)
    assert schedule(settings, warm=False) == (100, 75)
    assert schedule(settings, warm=True) == (40, 30)
    never = MaceSettings(epochs=5, second_stage_epoch=10, retrain_fraction=0.1)
    assert schedule(never, warm=True) == (1, 1)


def test_half_a_line_at_the_end_of_the_curve_is_left_out():
    lines = [
        {"mode": "eval", "epoch": None, "loss": 9.0, "rmse_e_per_atom": 9.0, "rmse_f": 9.0},
        {"mode": "opt", "epoch": 0, "loss": 2.0},
        {"mode": "opt", "epoch": 0, "loss": 4.0},
        {"mode": "eval", "epoch": 0, "loss": 1.0, "rmse_e_per_atom": 0.1, "rmse_f": 0.2},
    ]
    (point,) = parse_curve("\n".join(map(json.dumps, lines)) + '\n{"mode": "eval", "ep')
    assert (point.step, point.train_loss, point.stop_loss) == (1, 3.0, 1.0)
    assert (point.energy_rmse_eV_atom, point.force_rmse_eV_A) == (0.1, 0.2)


def test_no_progress_before_a_start(tmp_path):
    assert progress(tmp_path) == (0, 0)


def test_isolated_atoms_are_what_the_energies_of_the_model_count_from(dataset, tmp_path):
    import torch

    known = {"Li": -1.5, "B": -0.5, "F": -0.75}
    model = train_mace(dataset, ONE_STAGE, seed=1, directory=tmp_path, isolated_atoms=known)
    network = torch.load(model, map_location="cpu", weights_only=False)
    found = network.atomic_energies_fn.atomic_energies.flatten().tolist()
    assert network.atomic_numbers.tolist() == [3, 5, 9]
    assert found == pytest.approx([-1.5, -0.5, -0.75])

"""DeePMD trainings at their smallest, and what surrounds them."""

from __future__ import annotations

import hashlib
import json
import math
import shutil

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import SettingsError, Unphysical
from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.labelling.label import evaluate
from ilforge.potentials.learned.deepmd.room import neighbour_counts, overflow, room_of
from ilforge.training import deepmd
from ilforge.training.curve import read
from ilforge.training.deepmd import (
    input_script,
    parse_curve,
    progress,
    selection,
    train_deepmd,
)
from ilforge.training.deepmd.settings import DeepmdSettings
from support.kills import kill_in_the_middle
from support.labels import labelled_frame, salt_frames

SMALL = DeepmdSettings(
    r_cut_A=3.5,
    embedding=[4, 8],
    axis_neurons=2,
    fitting=[8, 8],
    steps=20,
    retrain_fraction=0.1,
    retrain_learning_rate_start=2e-9,
    learning_rate_stop=1e-9,
)

pytestmark = pytest.mark.program("dp")


@pytest.fixture(scope="module")
def dataset():
    return split(salt_frames(12), 0.2, seed=1)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    return train_deepmd(dataset, SMALL, seed=5, directory=tmp_path_factory.mktemp("deepmd"))


def answer(model, frame):
    spec = {"kind": "deepmd", "path": str(model), "sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
    label = evaluate(frame, spec)
    assert not label.failed, label.error
    return label


def test_training_leaves_a_compressed_model_a_curve_and_nothing_big(trained, dataset):
    left = {path.name for path in trained.parent.iterdir()}
    assert left == {
        "model.pb", "frozen.pb", "input.json", "lcurve.out", "dp.log", "parity.json", "learning_curve.csv"
    }  # fmt: skip
    assert progress(trained.parent) == (20, 20)
    points = read(trained.parent)
    assert points[-1].step == 20
    assert math.isfinite(points[-1].force_rmse_eV_A)
    assert np.isfinite(answer(trained, dataset.stop[0]).forces).all()


@pytest.mark.slow
def test_same_seed_same_model(trained, dataset, tmp_path):
    again = train_deepmd(dataset, SMALL, 5, tmp_path)
    assert read(tmp_path) == read(trained.parent)
    for frame in dataset.stop:
        np.testing.assert_array_equal(answer(again, frame).forces, answer(trained, frame).forces)


LONGER = SMALL.model_copy(update={"steps": 400, "learning_rate_start": 1e-3})


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    return train_deepmd(dataset, LONGER, 5, tmp_path_factory.mktemp("undisturbed"))


def kill_after(dataset_folder, directory, steps):
    """Train in a process that is killed when so many steps are behind it."""
    code = (
        "from pathlib import Path; from ilforge.labelling.datasets.dataset import Dataset\n"
        "from ilforge.training.deepmd import train_deepmd\n"
        "from ilforge.training.deepmd.settings import DeepmdSettings\n"
        f"settings = DeepmdSettings.model_validate_json({LONGER.model_dump_json()!r})\n"
        f"train_deepmd(Dataset.read(Path({str(dataset_folder)!r})), settings, 5, Path({str(directory)!r}))\n"
    )
    checkpoints = directory.glob
    kill_in_the_middle(
        code, directory, lambda: progress(directory)[0] >= steps and any(checkpoints("model.ckpt-*.index"))
    )


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(undisturbed, dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    kill_after(tmp_path / "dataset", tmp_path / "run", 100)
    assert list((tmp_path / "run").glob("model.ckpt-*.index"))
    again = train_deepmd(Dataset.read(tmp_path / "dataset"), LONGER, 5, tmp_path / "run")
    said = (tmp_path / "run" / "dp.log").read_text()
    assert "restart from model" in said, "it went on"
    assert [p.step for p in read(tmp_path / "run")] == [p.step for p in read(undisturbed.parent)]
    for a, b in zip(read(tmp_path / "run"), read(undisturbed.parent), strict=True):
        assert a.force_rmse_eV_A == pytest.approx(b.force_rmse_eV_A, rel=1e-6)
    for frame in dataset.stop:
        np.testing.assert_allclose(answer(again, frame).forces, answer(undisturbed, frame).forces, rtol=0, atol=1e-8)


@pytest.mark.slow
def test_a_checkpoint_that_somebody_else_put_there_is_not_used(trained, dataset, tmp_path):
    """The folder was copied from elsewhere: its training is begun anew."""
    dataset.write(tmp_path / "dataset")
    kill_after(tmp_path / "dataset", tmp_path / "run", 50)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    train_deepmd(dataset, LONGER, 5, tmp_path / "copy")
    assert "restart from model" not in (tmp_path / "copy" / "dp.log").read_text()


def test_folders_of_the_users_are_not_cleared(dataset, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw.csv").write_text("precious")
    with pytest.raises(SettingsError, match="not from a training by ilforge"):
        train_deepmd(dataset, SMALL, 1, tmp_path)
    assert (tmp_path / "data" / "raw.csv").read_text() == "precious"


@pytest.mark.slow
def test_warm_start_goes_on_from_where_the_model_was(trained, dataset, tmp_path):
    """With next to no learning rate the model must stay what it was."""
    warm = train_deepmd(dataset, SMALL, 6, tmp_path, start_from=trained.parent)
    assert progress(tmp_path) == (2, 2)
    for frame in dataset.stop:
        np.testing.assert_allclose(answer(warm, frame).forces, answer(trained, frame).forces, atol=1e-4)


def test_warm_start_needs_the_same_network_and_room_for_the_neighbours(trained, dataset, tmp_path):
    with pytest.raises(SettingsError, match="another network"):
        train_deepmd(dataset, SMALL.model_copy(update={"fitting": [9]}), 1, tmp_path, start_from=trained)
    with pytest.raises(SettingsError, match=r"frozen\.pb is missing"):
        train_deepmd(dataset, SMALL, 1, tmp_path, start_from=tmp_path)
    dense = []
    for frame in dataset.frames:
        squeezed = frame.copy()
        squeezed.set_cell(frame.cell.array * 0.5, scale_atoms=True)
        dense.append(frames.quantize(squeezed))
    with pytest.raises(SettingsError, match="would ignore some of them"):
        train_deepmd(split(dense, 0.2, 1), SMALL, 1, tmp_path, start_from=trained)


@pytest.mark.slow
def test_labels_without_stress_are_learnt_without_virials(tmp_path):
    members = salt_frames(6)
    for frame in members:
        del frame.info[frames.STRESS]
    model = train_deepmd(split(members, 0.2, 1), SMALL, 1, tmp_path)
    script = json.loads((tmp_path / "input.json").read_text())
    assert script["loss"]["start_pref_v"] == script["loss"]["limit_pref_v"] == 0.0
    assert np.isfinite(answer(model, members[0]).forces).all() and not list(tmp_path.rglob("virial.npy"))


def test_frames_without_stress_among_others_are_refused(tmp_path):
    members = [labelled_frame(number) for number in range(20)]
    del members[3].info[frames.STRESS]
    with pytest.raises(SettingsError, match="no stress label"):
        train_deepmd(split(members, 0.2, 1), SMALL, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_compressed_model_gives_the_frozen_ones_energies_forces_and_virials(trained):
    found = json.loads((trained.parent / "parity.json").read_text())
    assert found.pop("finite") is True and set(found) == {"energy_eV_atom", "force_eV_A", "virial_eV_atom"}
    assert max(found.values()) < 1e-3 and deepmd.compression_note(trained.parent) == ""
    assert trained.read_bytes() != (trained.parent / "frozen.pb").read_bytes()


@pytest.mark.parametrize("what", ["energy_eV_atom", "force_eV_A", "virial_eV_atom"])
@pytest.mark.parametrize("harm", [2e-4, math.nan])
def test_a_compression_that_changes_the_model_gives_way_to_the_frozen_one(tmp_path, what, harm):
    found = {"energy_eV_atom": 0.0, "force_eV_A": 0.0, "virial_eV_atom": 0.0, "finite": True, what: harm}
    (tmp_path / "parity.json").write_text(json.dumps(found))
    (tmp_path / "model.pb").write_text("compressed")
    (tmp_path / "frozen.pb").write_text("frozen")
    deepmd.settle_compression(tmp_path, tmp_path / "frozen.pb", tmp_path / "model.pb", 1e-4)
    assert (tmp_path / "model.pb").read_text() == "frozen"
    note = deepmd.compression_note(tmp_path)
    assert f"by {harm:.2g} eV" in note and "model.pb is the uncompressed model" in note


def test_a_model_that_gives_no_numbers_is_an_error(tmp_path):
    nothing = dict.fromkeys(("energy_eV_atom", "force_eV_A", "virial_eV_atom"), math.nan)
    (tmp_path / "parity.json").write_text(json.dumps({**nothing, "finite": False}))
    with pytest.raises(Unphysical, match="no numbers"):
        deepmd.settle_compression(tmp_path, tmp_path / "frozen.pb", tmp_path / "model.pb", 1e-4)


def test_models_are_compared_on_frames_of_all_densities():
    members = [labelled_frame(number) for number in range(9)]
    for number, frame in enumerate(members):
        frame.set_cell(frame.cell.array * (1 + 0.1 * number))
    chosen = deepmd.spread_over(members, 3)
    assert [frame.cell.volume for frame in chosen] == [members[i].cell.volume for i in (0, 4, 8)]
    assert len(deepmd.spread_over(members, 20)) == 9


def test_neighbours_are_counted_through_the_boundary(two_pairs):
    """Against a count over explicit images."""
    elements, cutoff = ("H", "F"), 5.0
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3) @ two_pairs.cell.array
    symbols = np.array(two_pairs.get_chemical_symbols())
    expected = []
    for element in elements:
        neighbours = (two_pairs.positions[symbols == element][:, None] + images).reshape(-1, 3)
        distances = np.linalg.norm(two_pairs.positions[:, None] - neighbours, axis=-1)
        expected.append(((distances < cutoff) & (distances > 1e-9)).sum(axis=1).max())
    np.testing.assert_array_equal(neighbour_counts([two_pairs], elements, cutoff), expected)


def test_room_for_neighbours_has_headroom_and_overflow_is_loud():
    counts = np.array([0, 6, 71])
    assert selection(counts) == [4, 8, 96]
    assert overflow(counts, [4, 8, 96], ("B", "N", "H"), 6.0) is None
    assert "71 H neighbours within 6 Å" in overflow(counts, [4, 8, 70], ("B", "N", "H"), 6.0)


def test_the_room_is_read_from_the_model(trained):
    sel = json.loads((trained.parent / "input.json").read_text())["model"]["descriptor"]["sel"]
    for model in (trained, trained.parent / "frozen.pb"):
        assert list(room_of(model).sel) == sel


def test_published_hyperparameters_reach_the_program():
    script = input_script(DeepmdSettings(preset="park2025"), ("H", "C"), seed=1, warm=False)
    assert script["model"]["descriptor"]["rcut"] == 10.0
    assert script["model"]["descriptor"]["neuron"] == [25, 50, 100]
    assert script["model"]["fitting_net"]["neuron"] == [240, 240, 240]
    assert script["learning_rate"]["stop_lr"] == 3.5e-8
    assert script["training"]["numb_steps"] == 1000000
    loss = script["loss"]
    assert (loss["start_pref_e"], loss["limit_pref_e"]) == (0.02, 1)
    assert (loss["start_pref_f"], loss["limit_pref_f"]) == (1000, 1)


def test_half_a_line_at_the_end_of_the_curve_is_left_out():
    text = (
        "#  step      rmse_val    rmse_trn    rmse_e_val  rmse_e_trn    rmse_f_val  rmse_f_trn         lr\n"
        "      0      3.0e+01     4.0e+01      1.0e-01    2.0e-01      7.0e-01     8.0e-01    1.0e-03\n"
        "# a comment\n"
        "     10      2.0e+01     3.0e+01      1.5e-02    2.0e-01      6.0e-01     8.0e-01    1.0e-04\n"
        "     20      1.0e+01     2.0"
    )
    points = parse_curve(text)
    assert [point.step for point in points] == [0, 10]
    assert (points[1].stop_loss, points[1].train_loss) == (20.0, 30.0)
    assert (points[1].energy_rmse_eV_atom, points[1].force_rmse_eV_A) == (0.015, 0.6)
    assert parse_curve("") == []

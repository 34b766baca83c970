"""Fine-tuning of MACE: energies are aligned, no rate learns nothing, replay and frozen layers do what they say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.datasets.dataset import split
from ilforge.labelling.label import evaluate
from ilforge.training import TRAINERS, Tuning, train
from ilforge.training.alignment import fitted_shift, read_report
from ilforge.training.mace import train_mace
from ilforge.training.mace.command import command_line, schedule
from ilforge.training.mace.settings import MaceSettings
from ilforge.training.mace.tuning import note, require_replay
from support.labels import salt_frames

SMALL = MaceSettings(
    hidden_irreps="4x0e + 4x1o", r_max_A=3.5, max_ell=1, correlation=1, epochs=2, second_stage_epoch=2, batch_size=2
)
TUNE = MaceSettings(start="base", epochs=1, batch_size=2)
NOTHING_LEARNED = TUNE.model_copy(update={"learning_rate": 1e-14})
SHIFT = {"Li": 3.0, "B": -7.5, "F": 0.25}
"""Between two methods, eV: what the labels of the second are off by for each atom."""


@pytest.fixture(scope="module")
def dataset():
    return split(salt_frames(12), 0.2, seed=1)


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    return train_mace(dataset, SMALL, seed=5, directory=tmp_path_factory.mktemp("base"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ask(model, frame):
    answer = evaluate(frame, {"kind": "mace", "path": str(model), "sha256": digest(model), "dtype": "float64"})
    assert not answer.failed, answer.error
    return answer


def labelled_by(model, frame, shift=SHIFT):
    """The frame with a model's energy and forces as labels, and energies shifted by element."""
    answer, copy = ask(model, frame), frame.copy()
    copy.info[frames.ENERGY] = answer.energy + sum(shift[symbol] for symbol in frame.get_chemical_symbols())
    copy.arrays[frames.FORCES] = answer.forces
    return copy


def state_of(model):
    import mace  # noqa: F401  # e3nn does not load before mace has changed torch's defaults
    import torch

    return {name: value.numpy() for name, value in torch.load(model, weights_only=False).state_dict().items()}


def test_a_fit_finds_the_shift_of_each_element_where_compositions_tell_them_apart(dataset):
    frame = dataset.train[0]
    compositions = [frame, frame[[0, 1, 2, 3, 4, 5, 6]], frame[[0, 2, 3, 4, 5, 6]], frame[[2, 3, 4, 5, 6]]]
    for part in compositions:
        part.info[frames.ENERGY] = sum(SHIFT[symbol] for symbol in part.get_chemical_symbols()) + 11.0
    found = fitted_shift(compositions, [11.0] * len(compositions), ["B", "F", "Li"])
    counted = np.array([[part.get_chemical_symbols().count(z) for z in found] for part in compositions])
    assert np.linalg.matrix_rank(counted) == 2, "BF4 is whole in all of them: of B and F only the sum is known"
    assert found["Li"] == pytest.approx(3.0, abs=1e-6)
    assert found["B"] + 4 * found["F"] == pytest.approx(-6.5, abs=1e-5)
    one = fitted_shift(compositions[:1] * 3, [11.0] * 3, ["B", "F", "Li"])
    assert 2 * (one["Li"] + one["B"] + 4 * one["F"]) == pytest.approx(-7.0, abs=1e-5), "the sum is right all the same"


@pytest.mark.program("mace_run_train")
def test_at_no_learning_rate_the_model_is_its_start_with_the_energies_of_the_labels(base, dataset, tmp_path):
    """The labels are the start model's own forces, and its energies shifted: all that is to be done is the shift."""
    moved = replace(
        dataset,
        train=tuple(labelled_by(base, frame) for frame in dataset.train),
        stop=tuple(labelled_by(base, frame) for frame in dataset.stop),
    )
    tuned = train(moved, NOTHING_LEARNED, 3, tmp_path, start_from=base, tuning=Tuning(digest(base)))
    for frame in moved.stop:
        answer = ask(tuned, frame)
        np.testing.assert_allclose(answer.forces, ask(base, frame).forces, rtol=0, atol=1e-5)
        assert answer.energy == pytest.approx(frame.info[frames.ENERGY], abs=1e-3)  # float32 of sums of some 100 eV
    told = read_report(tmp_path)
    total = 2 * SHIFT["Li"] + 2 * SHIFT["B"] + 8 * SHIFT["F"]
    assert told["offset_eV_atom"] == pytest.approx(total / 12, abs=1e-4)
    assert told["residual_eV_atom"] == pytest.approx(0, abs=1e-5) and told["spread_eV_atom"] < 1e-4
    assert told["by"] == "fit" and told["start_sha256"] == digest(base)
    assert "least-squares fit" in note(tmp_path) and not note(base.parent)


@pytest.mark.program("mace_run_train")
def test_isolated_atoms_take_the_place_of_those_of_the_start(base, dataset, tmp_path):
    own = state_of(base)["atomic_energies_fn.atomic_energies"].reshape(-1)
    atoms = dict(zip(("Li", "B", "F"), own + np.array([SHIFT[z] for z in ("Li", "B", "F")]), strict=True))
    moved = replace(
        dataset,
        train=tuple(labelled_by(base, frame) for frame in dataset.train),
        stop=tuple(labelled_by(base, frame) for frame in dataset.stop),
    )
    tuned = train_mace(
        moved, NOTHING_LEARNED, 3, tmp_path / "a", start_from=base, isolated_atoms=atoms, tuning=Tuning(digest(base))
    )
    found = state_of(tuned)["atomic_energies_fn.atomic_energies"].reshape(-1)
    np.testing.assert_allclose(found, list(atoms.values()), atol=1e-4)
    assert read_report(tmp_path / "a")["by"] == "isolated atoms"
    wrong = {**atoms, "F": atoms["F"] + 2.0}
    with pytest.raises(SettingsError, match=r'leaves the energies .* -1\.33 eV/atom .* Write atom_energies = "fit"'):
        train_mace(
            moved,
            NOTHING_LEARNED,
            3,
            tmp_path / "b",
            start_from=base,
            isolated_atoms=wrong,
            tuning=Tuning(digest(base)),
        )


@pytest.mark.program("mace_run_train")
def test_frozen_layers_stay_and_the_others_learn(base, dataset, tmp_path):
    settings = TUNE.model_copy(update={"frozen": "interactions", "learning_rate": 0.01})
    tuned = train_mace(dataset, settings, 3, tmp_path, start_from=base, tuning=Tuning(digest(base)))
    before, after = state_of(base), state_of(tuned)
    moved = {name for name in before if not np.allclose(before[name], after[name], rtol=0, atol=1e-6)}
    learns = {name.partition(".")[0] for name in moved} - {"atomic_energies_fn"}
    assert learns == {"products", "readouts"}, learns
    assert "frozen up to interactions" in note(tmp_path)


@pytest.mark.program("mace_run_train")
def test_replayed_frames_are_trained_on_with_the_start_models_answers(base, dataset, tmp_path):
    other = [frame.copy() for frame in salt_frames(20)[14:17]]
    for frame in other:
        frame.info[frames.ENERGY], frame.arrays[frames.FORCES] = 1e6, 1e3 * np.ones((12, 3))  # of another method
    tuning = Tuning(digest(base), tuple(other))
    train_mace(dataset, NOTHING_LEARNED, 3, tmp_path, start_from=base, tuning=tuning)
    seen = frames.read(tmp_path / "train.xyz")
    assert len(seen) == len(dataset.train) + 3
    shift = read_report(tmp_path)["shift_eV"]
    for mine, frame in zip(seen[-3:], other, strict=True):
        expected = labelled_by(base, frame, shift)
        np.testing.assert_allclose(mine.arrays[frames.FORCES], expected.arrays[frames.FORCES], rtol=0, atol=1e-4)
        assert mine.info[frames.ENERGY] == pytest.approx(expected.info[frames.ENERGY], abs=1e-2)
    assert "3 frames replayed in head Default" in note(tmp_path)


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("Using heads: ['Default']\nTotal number of configurations: train=10, valid=2", "10 frames and head 'Default'"),
        (
            "Using heads: ['Default', 'pt_head']\nTotal number of configurations: train=13, valid=2",
            "head 'Default', 'pt",
        ),
        ("nothing", "None frames and head none"),
    ],
)
def test_replay_that_the_program_did_not_do_is_an_error(log, says):
    with pytest.raises(DidNotFinish, match="Replay is off: 10 labels and 3 replayed frames") as error:
        require_replay(log, labels=10, replay=3)
    assert says in str(error.value)
    require_replay("Using heads: ['Default']\nTotal number of configurations: train=13, valid=2", labels=10, replay=3)


@pytest.mark.program("mace_run_train")
def test_a_start_that_does_not_fit_is_refused_before_training(base, dataset, tmp_path, one_pair):
    stranger = one_pair.copy()
    stranger.info[frames.ENERGY], stranger.arrays[frames.FORCES] = -1.0, np.ones((len(stranger), 3))
    wider = replace(dataset, train=(*dataset.train, stranger))
    with pytest.raises(SettingsError, match="does not know C, H, N; it knows Li, B, F"):
        train_mace(wider, TUNE, 3, tmp_path / "a", start_from=base, tuning=Tuning(digest(base)))
    with pytest.raises(SettingsError, match="its digest is"):
        train_mace(dataset, TUNE, 3, tmp_path / "b", start_from=base, tuning=Tuning("0" * 64))
    assert not list(tmp_path.rglob("mace.log"))


def test_fine_tuning_is_one_stage_at_its_own_rate():
    assert TUNE.preset == "tune" and TRAINERS["mace"].fine_tunes and not TRAINERS["deepmd"].fine_tunes
    longer = MaceSettings(start="base", epochs=40)
    assert schedule(longer, warm=False) == (40, 40) and schedule(longer, warm=True) == (20, 20)
    words = command_line(longer, 1, 40, 40, {"H": 0.0}, start_from="base.model", tuned=True)
    assert "--swa" not in words and f"--lr={longer.learning_rate}" in words and "--E0s=foundation" in words
    assert longer.learning_rate <= 0.002


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"start": "a", "r_max_A": 5.0}, "r_max_A describes the network, and start brings its own"),
        ({"start": "a", "preset": "quick"}, "leave preset out"),
        ({"preset": "tune"}, "is for fine-tuning: name the model to start from"),
        ({"frozen": "embedding"}, "frozen is for fine-tuning"),
        ({"start": "a", "replay_frames": 10}, "replay names no dataset: replay would be off"),
        ({"frames": 100}, "frames is about frames that a teacher labels"),
        ({"start_sha256": "0" * 64}, "start_sha256 is the digest of the file that start names"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, says):
    with pytest.raises(ValueError, match="1 validation error") as error:
        MaceSettings(**keys)
    assert says in str(error.value)


def test_models_of_earlier_versions_keep_their_names_in_the_store():
    """Keys that came later are left out where they say nothing."""
    added = {"start", "start_sha256", "teacher", "frames", "frames_by", "frames_boxes"}
    added |= {"frozen", "replay", "replay_frames"}
    assert not added & set(MaceSettings().decisive())
    assert MaceSettings(start="a", frozen="products").decisive()["frozen"] == "products"
    assert not {"hidden_irreps", "r_max_A", "preset"} & set(TUNE.decisive())
    assert json.dumps(MaceSettings().decisive())


@pytest.mark.program("mace_run_train")
def test_a_call_from_python_fine_tunes_a_file_by_its_digest(base, dataset, tmp_path):
    import ilforge

    keys = {"start": str(base), "epochs": 1, "batch_size": 2, "learning_rate": 1e-14}
    with pytest.raises(SettingsError, match="give its digest as start_sha256"):
        ilforge.train(dataset, settings=keys, directory=tmp_path / "a")
    keys["start_sha256"] = digest(base)
    tuned = ilforge.train(dataset, settings=keys, directory=tmp_path / "b")
    frame = dataset.stop[0]
    np.testing.assert_allclose(ask(tuned, frame).forces, ask(base, frame).forces, rtol=0, atol=1e-5)
    with pytest.raises(SettingsError, match="was given no model to start from"):
        train(dataset, TUNE, 3, tmp_path / "c")

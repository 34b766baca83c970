"""Datasets: frozen, split by parent, verified, honest about what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.dataset import Dataset, census, parent_of, require_labels, split
from support.labels import labelled_frame


def sample(first: int = 0, count: int = 60, prefix: str = "") -> list:
    """EQ frames, three a parent, and nEQ frames, each its own parent."""
    return [
        labelled_frame(
            number,
            ions="2 PYR14, 2 BF4",
            kind="EQ" if number % 2 else "nEQ",
            recipe="nvt" if number % 2 else "packed",
            parent=f"{prefix}eq-{number // 6}" if number % 2 else f"{prefix}packed-{number}",
        )
        for number in range(first, first + count)
    ]


def digests(members) -> list[str]:
    return [frames.digest(frame) for frame in members]


def test_no_parent_is_on_both_sides_and_shares_are_as_asked_for():
    dataset = split(sample(), 0.2, seed=1)
    assert not {parent_of(f) for f in dataset.train} & {parent_of(f) for f in dataset.stop}
    assert len(dataset.train) + len(dataset.stop) == 60
    for kind in ("EQ", "nEQ"):
        assert sum(frame.info["kind"] == kind for frame in dataset.stop) == 6


def test_split_depends_on_the_seed_and_not_on_the_order():
    members = sample()
    shuffled = [members[i] for i in np.random.default_rng(3).permutation(len(members))]
    assert split(members, 0.2, 1).digest == split(shuffled, 0.2, 1).digest
    assert split(members, 0.2, 1).digest != split(members, 0.2, 2).digest


def test_duplicates_are_dropped_and_counted():
    members = sample()
    dataset = split([*members, members[0].copy(), members[7].copy()], 0.2, seed=1)
    assert dataset.duplicates == 2
    assert sorted(digests(dataset.frames)) == sorted(digests(members))


def test_smallest_datasets_keep_a_frame_on_either_side():
    dataset = split(sample(count=2), 0.1, seed=1)
    assert (len(dataset.train), len(dataset.stop)) == (1, 1)


def test_one_parent_cannot_be_split():
    with pytest.raises(SettingsError, match="at least two boxes"):
        split([labelled_frame(number, parent="box") for number in range(5)], 0.1, 1)


def test_old_frames_stay_where_they_are_when_a_dataset_grows():
    before = split(sample(), 0.2, seed=1)
    known = [labelled_frame(500, kind="nEQ", parent=parent_of(before.stop[0]))]
    known += [labelled_frame(501, kind="nEQ", parent=parent_of(before.train[0]))]
    after = before.extend([*known, *sample(100, 40, "new-"), before.train[3].copy()], 0.2, seed=9)
    assert digests(after.train)[: len(before.train)] == digests(before.train)
    assert digests(after.stop)[: len(before.stop)] == digests(before.stop)
    assert digests([known[0]])[0] in digests(after.stop)
    assert digests([known[1]])[0] in digests(after.train)
    assert after.duplicates == 1
    assert len(after.frames) == 102
    assert not {parent_of(f) for f in after.train} & {parent_of(f) for f in after.stop}
    assert after.extend([], 0.2, 1).digest == after.digest


def test_dataset_comes_back_from_disk_with_the_same_digest(tmp_path):
    dataset = split(sample(), 0.2, seed=1)
    dataset.write(tmp_path)
    again = Dataset.read(tmp_path)
    assert again.digest == dataset.digest
    assert again.duplicates == dataset.duplicates
    for ours, theirs in zip(dataset.frames, again.frames, strict=True):
        assert ours.info[frames.ENERGY] == theirs.info[frames.ENERGY]
        np.testing.assert_array_equal(ours.arrays[frames.FORCES], theirs.arrays[frames.FORCES])
        np.testing.assert_array_equal(ours.info[frames.STRESS], theirs.info[frames.STRESS])
        assert ours.info["parent"] == theirs.info["parent"]
    assert {path.name for path in tmp_path.iterdir()} == {"train.xyz", "stop.xyz", "dataset.json"}


def test_summary_says_what_is_in_it(tmp_path):
    members = sample()
    del members[0].info[frames.STRESS]
    members[1].info[frames.STRESS] = np.zeros(6)
    split([*members, members[2].copy()], 0.2, seed=1).write(tmp_path)
    summary = json.loads((tmp_path / "dataset.json").read_text())
    assert summary["frames"] == {"train": 48, "stop": 12}
    assert summary["kinds"]["stop"] == {"EQ": 6, "nEQ": 6}
    assert summary["recipes"]["train"] == {"nvt": 24, "packed": 24}
    assert summary["ions"] == {"2 PYR14, 2 BF4": 60}
    assert summary["elements"] == ["H", "B", "C", "N", "F"]
    assert summary["duplicates_dropped"] == 1
    assert summary["labels"]["stress"] == {"present": 59, "missing": 1, "zero": 1}
    assert summary["labels"]["forces"] == {"present": 60, "missing": 0, "zero": 0}
    assert summary["rms_force_eV_A"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("damage", ["truncate", "edit", "json", "remove"])
def test_damage_is_found_when_reading(tmp_path, damage):
    split(sample(), 0.2, seed=1).write(tmp_path)
    path = tmp_path / ("dataset.json" if damage in ("json", "remove") else "train.xyz")
    text = path.read_text()
    match damage:
        case "truncate":
            path.write_text(text[: len(text) // 2])
        case "edit":
            frame = frames.read(path)
            frame[0].arrays[frames.FORCES][0, 0] += 1e-6
            frames.write(path, frame)
        case "json":
            path.write_text(text[:-20])
        case "remove":
            path.unlink()
    with pytest.raises(SettingsError):
        Dataset.read(tmp_path)


def test_missing_and_zero_labels_are_told_apart_and_refused():
    members = sample()
    del members[0].info[frames.ENERGY]
    members[1].arrays[frames.FORCES][:] = 0.0
    found = census(members)
    assert found["energy"] == {"present": 59, "missing": 1, "zero": 0}
    assert found["forces"] == {"present": 60, "missing": 0, "zero": 1}
    dataset = split(members, 0.2, 1)
    with pytest.raises(SettingsError, match="no energy label"):
        require_labels(dataset, "energy")
    with pytest.raises(SettingsError, match="all-zero forces label"):
        require_labels(dataset, "forces")
    require_labels(dataset, "stress")


def test_wrong_key_is_missing_and_not_zero():
    """A user's file with ``energy`` instead of ``REF_energy``."""
    members = sample()
    for frame in members:
        frame.info["energy"] = frame.info.pop(frames.ENERGY)
    with pytest.raises(SettingsError, match="no energy label"):
        require_labels(split(members, 0.2, 1), "energy", "forces")


def test_frames_without_a_parent_are_their_own():
    members = [labelled_frame(number) for number in range(10)]
    for frame in members:
        del frame.info["parent"]
    assert len({parent_of(frame) for frame in members}) == 10
    assert len(split(members, 0.2, 1).stop) == 2

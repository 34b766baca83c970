"""A dataset on disk: what goes in comes out, rejected labels with their reasons too."""

from __future__ import annotations

from dataclasses import replace

import ase.io
import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.labelling.datasets.published import Entry, is_published, open_published
from ilforge.labelling.datasets.publishing import publish
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import Label
from ilforge.labelling.reading.outputs import import_labels
from support.labels import METHOD, random_label

SAID = "DidNotFinish: gpaw was killed by signal 9\nIt last said:\n  \"iter: 12\" = {3: \\n, 4}, [5] '6'"


def in_one_line(text):
    """A file of frames has one line for each frame's info."""
    return None if text is None else " ".join(text.replace("\\", "/").split())


def made(folder, entries, **changes):
    how = {
        "title": "invented", "settings": {"kind": "invented"}, "study": 'name = "x"\n', "gate": GateSettings(),
        "isolated_atoms": {"H": -1.0}, "programs": {"ilforge": "0"},
    }  # fmt: skip
    return publish(folder, folder.name, entries, **{**how, **changes})


@pytest.fixture
def entries():
    """Three labels to train on and one to validate on, one that the gate refused, and one that failed."""
    labels = [random_label(number) for number in range(6)]
    for number, label in enumerate(labels):
        label.frame.info.update(parent=f"box-{number}", ions="1 X, 1 Y")
    labels[1] = replace(labels[1], stress=None)
    failed = Label(labels[5].frame, METHOD, error=SAID, cost_s=12.5)
    return [
        *(Entry(label, "training") for label in labels[:3]),
        Entry(labels[3], "validation"),
        Entry(labels[4], "validation", "net force: 0.070 eV/Å, allowed 0.05 (gate.max_net_force_eV_A)"),
        Entry(failed, "training", f"failed: {SAID}"),
    ]


def test_everything_comes_back(entries, tmp_path):
    dataset = made(tmp_path / "set", entries)
    back = {entry.label.frame_digest: entry for entry in open_published(dataset.directory).entries()}
    assert len(back) == 6
    for entry in entries:
        found, label = back[entry.label.frame_digest], entry.label
        assert (found.purpose, found.rejected) == (entry.purpose, in_one_line(entry.rejected))
        assert (found.label.energy, found.label.error) == (label.energy, in_one_line(label.error))
        assert (found.label.converged, found.label.cost_s) == (label.converged, label.cost_s)
        assert found.label.method_digest == label.method_digest and found.label.frame.info == label.frame.info
        for one, other in ((found.label.forces, label.forces), (found.label.stress, label.stress)):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-8)
    assert dataset.counts("training") == {"EQ/nvt": 3} and dataset.compositions == ("1 X, 1 Y",)
    assert dataset.manifest["rejected"] == {"training": {"failed": 1}, "validation": {"net force": 1}}
    assert dataset.versions == {"cutoff_A": 4.0}, "what no setting decides"
    assert len(ase.io.read(dataset.directory / "training.xyz.gz", index=":")) == 3


def test_import_takes_failures_as_failures(entries, tmp_path):
    labels = import_labels([made(tmp_path / "set", entries).directory]).labels
    assert [label.error for label in labels if label.failed] == [in_one_line(SAID)]


def test_the_same_labels_are_the_same_bytes(entries, tmp_path):
    first, second = (made(tmp_path / name / "set", entries) for name in "ab")
    assert first.manifest == second.manifest and first.digest == second.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e[:3], "no accepted label for validation yet"),
        (lambda e: e[3:], "no accepted label for training yet"),
        (lambda e: [*e, e[0]], "occurs 2 times"),
        (lambda e: [*e[:-1], Entry(replace(e[-1].label, method={"kind": "other"}), "training", "x")], "by 2 methods"),
    ],
)
def test_what_is_no_dataset_is_not_written(entries, tmp_path, change, words):
    with pytest.raises(SettingsError, match=words):
        made(tmp_path / "set", change(entries))
    assert not (tmp_path / "set").exists()


def test_a_box_in_both_sets_is_refused(entries, tmp_path):
    entries[3].label.frame.info["parent"] = "box-0"
    with pytest.raises(SettingsError, match="box box-0 is in training and in validation"):
        made(tmp_path / "set", entries)


def test_a_killed_export_leaves_no_dataset(entries, tmp_path, monkeypatch):
    """The manifest goes first and comes last."""
    folder = made(tmp_path / "set", entries).directory
    from ilforge.labelling.datasets import published

    monkeypatch.setattr(published.files, "write_bytes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made(folder, entries)
    assert not is_published(folder)

"""The label store: nothing paid is lost, nothing is paid twice, nothing broken is believed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling import inbox
from ilforge.labelling.labels import Label, method_digest
from ilforge.labelling.store import FILE, LabelStore, salvage
from support.labels import METHOD, random_frame, random_label

TESTS = Path(__file__).parents[1]


def same(a: Label, b: Label) -> bool:
    return (
        a.frame_digest == b.frame_digest
        and a.method == b.method
        and a.energy == b.energy
        and np.array_equal(a.forces, b.forces)
        and np.array_equal(a.stress, b.stress)
        and (a.converged, a.error, a.cost_s, a.host, a.time) == (b.converged, b.error, b.cost_s, b.host, b.time)
        and a.frame.info == b.frame.info
    )


@pytest.fixture
def store(tmp_path):
    with LabelStore(tmp_path / "labels") as store:
        yield store


def test_label_comes_back_as_it_went_in(store):
    label = random_label(1)
    store.add(label)
    found = store.get(label.frame_digest, label.method_digest)
    assert same(found, label)
    assert store.methods() == {label.method_digest: METHOD}
    carrying = found.on(label.frame)
    assert carrying.info["REF_energy"] == label.energy
    assert carrying.info["parent"] == "box-1"


def test_a_missing_stress_stays_missing(store):
    label = random_label(1, stress=None)
    store.add(label)
    found = store.get(label.frame_digest, label.method_digest)
    assert found.stress is None
    assert "REF_stress" not in found.on(label.frame).info


def test_label_survives_the_inbox_bit_by_bit():
    label = random_label(2)
    assert same(inbox.decode(inbox.encode(label)), label)


def test_changed_method_is_another_method(store):
    """Same name, another cutoff: nothing is reused."""
    label = random_label(1)
    store.add(label)
    other = method_digest({**METHOD, "cutoff_A": 5.0})
    assert store.get(label.frame_digest, other) is None
    assert store.missing([label.frame_digest], other) == [label.frame_digest]
    store.add(random_label(1, method={**METHOD, "cutoff_A": 5.0}, energy=-7.0))
    assert store.get(label.frame_digest, other).energy == -7.0
    assert store.get(label.frame_digest, label.method_digest).energy == label.energy


def test_missing_keeps_order_and_drops_repeats(store):
    labels = [random_label(seed) for seed in range(4)]
    store.add(labels[2])
    digests = [label.frame_digest for label in labels]
    method = labels[0].method_digest
    assert store.missing([*digests, digests[0]], method) == [digests[0], digests[1], digests[3]]
    assert list(store.get_many(digests, method)) == [digests[2]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"energy": float("nan")}, "not finite"),
        ({"forces": np.full((20, 3), np.inf)}, "not finite"),
        ({"stress": np.full(6, np.nan)}, "not finite"),
        ({"forces": np.zeros((19, 3))}, "wrong number of atoms"),
        ({"forces": None}, "incomplete"),
        ({"stress": np.zeros(9)}, "incomplete"),
    ],
)
def test_broken_results_are_stored_as_failures(store, changes, said):
    label = random_label(1, **changes)
    store.add(label)
    found = store.get(label.frame_digest, label.method_digest)
    assert found.failed
    assert said in found.error
    assert found.energy is None and found.forces is None
    assert found.cost_s == label.cost_s
    assert store.census()["failures"] == 1


def test_a_result_replaces_a_failure_and_nothing_replaces_a_result(store):
    failure = random_label(1, error="did not converge", energy=None, forces=None, stress=None)
    store.add(failure)
    assert store.get(failure.frame_digest, failure.method_digest).failed
    result = random_label(1)
    store.add(result)
    store.add(failure)
    store.add(random_label(1, energy=0.0))
    assert same(store.get(result.frame_digest, result.method_digest), result)
    assert store.forget_failures(result.method_digest) == 0


def test_failures_can_be_tried_again(store):
    label = random_label(1, error="the disk was full", energy=None, forces=None)
    store.add(label)
    assert store.missing([label.frame_digest], label.method_digest) == []
    assert store.forget_failures(label.method_digest) == 1
    assert store.missing([label.frame_digest], label.method_digest) == [label.frame_digest]


def test_inbox_is_absorbed_once_and_emptied(store):
    labels = [random_label(seed) for seed in range(5)]
    for label in labels:
        inbox.deliver(label, store.inbox)
    assert store.census() == {
        "labels": 0, "results": 0, "failures": 0, "stresses": 0, "waiting": 5, "damaged": 0
    }  # fmt: skip
    assert store.absorb_inbox() == 5
    assert store.absorb_inbox() == 0
    assert not list(store.inbox.iterdir())
    assert store.census()["results"] == 5


def test_damaged_inbox_file_is_set_aside(store):
    path = inbox.deliver(random_label(1), store.inbox)
    inbox.deliver(random_label(2), store.inbox)
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)
    (store.inbox / f"cut{inbox.SUFFIX}").write_bytes(contents[:100])
    assert store.absorb_inbox() == 1
    assert store.census()["damaged"] == 2


def test_leftovers_of_killed_writers_do_no_harm(store):
    old, new = (store.inbox / f"{name}{inbox.SUFFIX}.1.partial" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half a la")
    os.utime(old, (0, 0))
    assert store.absorb_inbox() == 0
    assert not old.exists()
    assert new.exists()


def test_damaged_row_is_found_dropped_and_computed_again(store):
    label = random_label(1)
    store.add_many([label, random_label(2)])
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE labels SET energy = energy + 1 WHERE frame = ?", (label.frame_digest,))
    assert store.missing([label.frame_digest], label.method_digest) == [label.frame_digest]
    assert store.get(label.frame_digest, label.method_digest) is None
    assert store.census()["labels"] == 1
    assert store.census()["damaged"] == 1


def test_damaged_file_says_how_to_rescue_labels_and_salvage_does(tmp_path):
    labels = [random_label(seed, n_atoms=100) for seed in range(60)]
    with LabelStore(tmp_path) as store:
        store.add_many(labels)
    path = tmp_path / FILE
    contents = bytearray(path.read_bytes())
    third = len(contents) // 3
    contents[third : third + 20000] = bytes(20000)
    path.write_bytes(contents)
    with pytest.raises(SettingsError, match="salvage"), LabelStore(tmp_path) as store:
        store.verify()
    count, aside = salvage(tmp_path)
    assert aside.is_file()
    assert 20 < count < 60
    with LabelStore(tmp_path) as store:
        store.verify()
        whole = store.get_many([label.frame_digest for label in labels], labels[0].method_digest)
        assert len(whole) == count
        assert all(same(whole[label.frame_digest], label) for label in labels if label.frame_digest in whole)


@pytest.mark.parametrize(
    "contents", [b"this is no database at all, just text" * 100, b"SQLite format 3\0" + bytes(200)]
)
def test_a_file_that_is_no_database(tmp_path, contents):
    (tmp_path / FILE).write_bytes(contents)
    with pytest.raises(SettingsError, match=FILE):
        LabelStore(tmp_path)


def test_a_database_that_is_no_label_store(tmp_path):
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(SettingsError, match="not a label store"):
        LabelStore(tmp_path)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be written"):
        LabelStore(tmp_path / "file" / "labels")


def test_a_label_fits_only_its_own_frame():
    label = random_label(1)
    with pytest.raises(SettingsError, match="structure"):
        label.on(random_frame(2))
    moved = frames.quantize(label.frame.copy())
    moved.info["study"] = "another"
    assert label.on(moved).info["study"] == "another"


WRITER = """
import sys
from support.labels import random_label
from ilforge.labelling import inbox
from ilforge.labelling.store import LabelStore
first, count = int(sys.argv[2]), int(sys.argv[3])
with LabelStore(sys.argv[1]) as store:
    store.absorb_inbox()
    for seed in range(first, first + count):
        label = random_label(seed)
        if seed % 3:
            inbox.deliver(label, store.inbox)
        else:
            store.add(label)
        print(label.frame_digest, flush=True)
        if seed % 5 == 0:
            store.absorb_inbox()
"""


def start_writer(directory: Path, first: int, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(first), str(count)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_at_any_moment_loses_no_label(tmp_path):
    """Every label that was handed over is there after kill -9, in the file or in the inbox."""
    rng = np.random.default_rng(5)
    handed_over: list[str] = []
    for attempt in range(4):
        writer = start_writer(tmp_path, 1000 * attempt, 1000)
        handed_over.append(writer.stdout.readline().strip())
        time.sleep(rng.uniform(0.0, 0.3))
        writer.send_signal(signal.SIGKILL)
        # a line cut in the middle by the kill is no complete digest
        handed_over += [line.strip() for line in writer.stdout.read().splitlines() if len(line.strip()) == 64]
        writer.wait()
        writer.stdout.close()
    with LabelStore(tmp_path) as store:
        store.absorb_inbox()
        store.verify()
        method = method_digest(METHOD)
        assert len(handed_over) > 20
        assert store.missing(handed_over, method) == []
        assert len(store.get_many(handed_over, method)) == len(handed_over)
        assert store.census()["damaged"] == 0


def test_two_studies_write_and_read_at_once(tmp_path):
    """Two processes make the store, overlap in half of their labels, and absorb each other's inbox."""
    writers = [start_writer(tmp_path, 0, 80), start_writer(tmp_path, 40, 80)]
    digests = [line.strip() for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    with LabelStore(tmp_path) as store:
        store.absorb_inbox()
        assert len(set(digests)) == 120
        assert store.missing(digests, method_digest(METHOD)) == []
        assert store.census()["labels"] == 120
        assert store.census()["damaged"] == 0

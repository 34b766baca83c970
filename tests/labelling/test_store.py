"""The label store: nothing paid is lost, nothing is paid twice, nothing broken is believed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.labels import Label, method_digest
from ilforge.labelling.storing import inbox
from ilforge.labelling.storing.merge import merge
from ilforge.labelling.storing.salvage import salvage
from ilforge.labelling.storing.store import BACKUP, FILE, METHODS, LabelStore
from support.kills import killed_at
from support.labels import METHOD, damage, filled, random_frame, random_label

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


def test_a_quick_look_at_errors_agrees_with_the_labels_themselves(store):
    labels = [random_label(seed) for seed in range(6)]
    failures = {4: "did not converge", 5: "MemoryError: 3 GB"}
    for number, error in failures.items():
        labels[number] = random_label(number, error=error, energy=None, forces=None, stress=None)
    store.add_many(labels[1:])
    method = labels[0].method_digest
    digests = [label.frame_digest for label in labels] + [f"none-{i}" for i in range(1200)]  # more than one query
    found = store.errors_of([*digests, digests[1]], method)
    assert found == {digest: label.error for digest, label in store.get_many(digests, method).items()}
    assert sorted(error for error in found.values() if error) == sorted(failures.values())
    assert store.errors_of(digests, "another method") == {}


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


def assert_whole(folder: Path, labels: list[Label], count: int) -> None:
    """The store opens, verifies, and holds so many of the labels, each bit by bit."""
    with LabelStore(folder) as store:
        assert not store.verify()
        whole = store.get_many([label.frame_digest for label in labels], labels[0].method_digest)
        assert len(whole) == count == store.census()["labels"]
        assert all(same(whole[label.frame_digest], label) for label in labels if label.frame_digest in whole)


@pytest.mark.parametrize("n_atoms", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_every_page_may_be_lost_and_only_its_own_labels_are(tmp_path, n_atoms):
    """115 labels; each page of the file in turn becomes zeros. Rows of 100 atoms run over into pages of their own."""
    labels = filled(tmp_path / "whole", 115, n_atoms)
    size = (tmp_path / "whole" / FILE).stat().st_size
    at_most = 4096 // 1000 + 1 if n_atoms == 20 else 4  # rows that touch one page
    lost = []
    for page in range(0, size, 4096):
        folder = tmp_path / str(page)
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder / FILE, page, page + 4096)
        count, aside = salvage(folder)
        assert aside.is_file()
        assert_whole(folder, labels, count)
        lost.append(115 - count)
        shutil.rmtree(folder)
    assert max(lost) <= at_most, "more than one page's labels"
    assert sum(lost) >= 115, "every label lies on some page"


def test_a_lost_description_of_the_method_costs_no_label(tmp_path):
    """Its row is gone with its page: the file of its own has it."""
    labels = filled(tmp_path, 10)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("DELETE FROM methods")
    connection.close()
    count, _ = salvage(tmp_path)
    assert count == 10
    assert_whole(tmp_path, labels, 10)


def test_a_torn_end_and_a_lost_beginning(tmp_path):
    labels = filled(tmp_path / "a", 115)
    for name, start, end in (("begin", 0, 20000), ("end", 250_000, None), ("all", 0, None)):
        folder = tmp_path / name
        shutil.copytree(tmp_path / "a", folder)
        contents = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(contents[:start] if end is None else bytes(end) + contents[end:])
        count, _ = salvage(folder)
        assert_whole(folder, labels, count)
        assert (count == 0) == (name == "all") and (name == "all" or count > 60)


def test_labels_of_the_write_ahead_log_are_rescued(tmp_path):
    """Killed before the log went into the file, whose pages are bad: the log has the labels."""
    store = LabelStore(tmp_path / "a")
    labels = [random_label(seed) for seed in range(30)]
    store.add_many(labels)
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").glob(f"{FILE}*"):
        shutil.copy(path, tmp_path / "b")
    store.close()
    damage(tmp_path / "b" / FILE, 0, 4096)
    count, _ = salvage(tmp_path / "b")
    assert count == 30
    assert_whole(tmp_path / "b", labels, 30)


def test_the_backup_has_what_the_file_lost(tmp_path):
    labels = filled(tmp_path, 20, backup=True)
    late = random_label(77)
    with LabelStore(tmp_path) as store:
        store.add(late)
    damage(tmp_path / FILE, 0, 8 * 4096)
    count, _ = salvage(tmp_path)
    assert count >= 20
    assert_whole(tmp_path, [*labels, late], count)
    (tmp_path / FILE).unlink()
    assert salvage(tmp_path)[0] >= 20, "the file is gone"


def test_a_backup_with_more_labels_is_kept(tmp_path):
    filled(tmp_path, 20, backup=True)
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    with LabelStore(tmp_path) as store:
        store.add(random_label(1))
        store.backup()
    assert (tmp_path / BACKUP / "previous.sqlite").is_file()
    assert salvage(tmp_path)[0] == 20


def test_a_killed_rescue_is_gone_on_with(tmp_path):
    n, killed = 0, True
    while killed:
        n += 1
        labels = filled(tmp_path / str(n), 20)
        damage(tmp_path / str(n) / FILE, 0, 4096)
        killed = killed_at(n, lambda n=n: salvage(tmp_path / str(n)))
        assert salvage(tmp_path / str(n))[0] == 20
        assert_whole(tmp_path / str(n), labels, 20)
    assert n > 2


def test_a_damaged_file_says_how_to_rescue_it(tmp_path):
    filled(tmp_path / "labels", 60, 100)
    damage(tmp_path / "labels" / FILE, 40960, 60000)
    with pytest.raises(SettingsError, match="ilforge store salvage"), LabelStore(tmp_path / "labels") as store:
        store.verify()


def test_an_index_that_hides_labels_is_found_and_made_anew(tmp_path):
    """Labels that the index does not list would be computed, and paid for, again."""
    labels = filled(tmp_path, 50)
    hide_from_index(tmp_path / FILE, 20)
    digests, method = [label.frame_digest for label in labels], labels[0].method_digest
    with LabelStore(tmp_path) as store:
        assert len(store.missing(digests, method)) == 20
        assert store.verify(), "it is mended"
        assert store.missing(digests, method) == [] and not store.verify()
    hide_from_index(tmp_path / FILE, 20)
    with pytest.raises(SettingsError, match="index"), LabelStore(tmp_path, read_only=True) as store:
        store.verify()


def hide_from_index(path: Path, count: int) -> None:
    """Take entries out of the index: rows are put in while SQLite believes that there is none."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM labels LIMIT ?", (count,)).fetchall()
        connection.execute("DELETE FROM labels WHERE rowid <= ?", (count,))
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = 'sqlite_autoindex_labels_1'").fetchone()
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'labels'").fetchone()[0]
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'sqlite_autoindex_labels_1'")
        without = sql.replace(",\n    UNIQUE (frame, method)", "")
        assert without != sql
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'labels'", (without,))
    connection.close()
    with sqlite3.connect(path) as connection:
        marks = ", ".join("?" * 16)
        connection.executemany(f"INSERT INTO labels VALUES ({marks})", rows)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'labels'", (sql,))
    connection.close()


def test_a_changed_text_of_a_method_is_never_believed(tmp_path):
    """One word changed, GFN1 to GFN2: not given under it, not merged under another name, and mended."""
    gfn1 = {"kind": "xtb", "method": "GFN1-xTB"}
    label = random_label(1, method=gfn1)
    with LabelStore(tmp_path / "a") as store:
        store.add(label)
    change_method(tmp_path / "a")
    with LabelStore(tmp_path / "a") as store, LabelStore(tmp_path / "b") as other:
        assert store.methods() == {label.method_digest: gfn1}, "the file of its own has the true text"
        shutil.rmtree(tmp_path / "a" / METHODS)
        assert store.methods() == {} and list(store) == []
        assert store.get(label.frame_digest, label.method_digest) is None
        assert store.missing([label.frame_digest], label.method_digest) == [label.frame_digest]
        assert merge(other, store).added == 0 and other.census()["labels"] == 0
        store.remember(gfn1)  # whoever asks for labels of a method knows what it says of itself
        assert store.missing([label.frame_digest], label.method_digest) == []
        assert same(store.get(label.frame_digest, label.method_digest), label)
    change_method(tmp_path / "a")
    assert salvage(tmp_path / "a")[0] == 1


def change_method(folder: Path) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("UPDATE methods SET description = replace(description, 'GFN1', 'GFN2')")
    connection.close()


def test_a_store_that_may_only_be_read(tmp_path):
    """As a user without rights to write, in a process of its own."""
    labels = filled(tmp_path / "store", 5)
    inbox.deliver(random_label(9), tmp_path / "store" / "inbox")
    for path in (tmp_path, *tmp_path.parents[:-1]):
        path.chmod(0o755)

    def read():
        os.setuid(65534)
        assert not os.access(tmp_path / "store", os.W_OK)
        with LabelStore(tmp_path / "store", read_only=True) as store:
            assert len(store.get_many([x.frame_digest for x in labels], labels[0].method_digest)) == 5
            assert len(list(store)) == 6, "those in the inbox too"
            store.verify()

    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    before = sorted(path for path in (tmp_path / "store").rglob("*"))
    assert not killed_at(None, read)
    assert sorted(path for path in (tmp_path / "store").rglob("*")) == before


def test_a_file_that_another_process_is_just_making_has_no_labels_yet(tmp_path):
    """Whoever waits for the first label looks at the file between its creation and that of its tables."""
    sqlite3.connect(tmp_path / FILE).close()
    (tmp_path / FILE).touch()
    label = random_label(1)
    with LabelStore(tmp_path, read_only=True) as store:
        assert store.errors_of([label.frame_digest], label.method_digest) == {}
    with LabelStore(tmp_path) as store:
        store.add(label)
    with LabelStore(tmp_path, read_only=True) as store:
        assert store.errors_of([label.frame_digest], label.method_digest) == {label.frame_digest: label.error}


@pytest.mark.parametrize("part", ["", "inbox", FILE])
def test_links_inside_a_store_are_not_followed(tmp_path, part):
    filled(tmp_path / "mine", 3)
    (tmp_path / "store").mkdir()
    target = tmp_path / "store" / "labels"
    if part:
        target.mkdir()
    (target / part if part else target).symlink_to(tmp_path / "mine" / part)
    with pytest.raises(SettingsError, match="is a link"):
        LabelStore(target)


def test_what_is_no_label_in_the_inbox_is_set_aside(store, tmp_path):
    """A newer version's file with a right checksum, a folder and a link, all called NAME.label."""
    inbox.deliver(random_label(1), store.inbox)
    data = inbox.encode(random_label(2)).replace(b'"energy"', b'"energie"')[:-16]
    (store.inbox / "newer.label").write_bytes(data + inbox._checksum(data))
    (store.inbox / "folder.label").mkdir()
    (tmp_path / "elsewhere").write_bytes(inbox.encode(random_label(3)))
    (store.inbox / "link.label").symlink_to(tmp_path / "elsewhere")
    assert store.absorb_inbox() == 1
    assert store.census()["damaged"] == 3 and (tmp_path / "elsewhere").is_file()
    assert store.absorb_inbox() == 0


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
from support.kills import killed_at
from support.labels import random_label
from ilforge.labelling.storing import inbox
from ilforge.labelling.storing.store import LabelStore
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
        writer = start_writer(tmp_path, 100_000 * attempt, 100_000)
        handed_over += [writer.stdout.readline().strip() for _ in range(6)]
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


def test_two_runs_back_up_at_once(tmp_path):
    filled(tmp_path, 200)
    stores = [LabelStore(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(store.backup) for store in stores for _ in range(5)]:
            future.result()
    for store in stores:
        store.close()
    assert [path.name for path in (tmp_path / BACKUP).iterdir()] == [FILE]
    with LabelStore(tmp_path / BACKUP, read_only=True) as copy:
        assert copy.census()["labels"] == 200

"""A label store is read in full once for each state that somebody else may have changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ilforge.errors import SettingsError
from ilforge.labelling.storing.store import FILE, LabelStore
from support.labels import damage, filled, random_label

TESTS = Path(__file__).parents[1]


@pytest.fixture(params=["wal", "delete"])
def folder(request, tmp_path):
    """A label store of some labels, in each mode of its journal."""
    filled(tmp_path, 40)
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute(f"PRAGMA journal_mode = {request.param}").fetchone() == (request.param,)
    connection.close()
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """The files that SQLite has read in full."""
    found, faults = [], LabelStore._faults
    monkeypatch.setattr(LabelStore, "_faults", lambda store: found.append(store.path) or faults(store))
    return found


def label_in_stages(folder, seeds):
    """Open the store, check it, add a label, close it: as a stage that labels."""
    for seed in seeds:
        with LabelStore(folder) as store:
            store.verify(again=False)
            store.add(random_label(seed))


def test_stages_that_label_one_after_the_other_read_it_once(folder, read):
    label_in_stages(folder, range(100, 109))
    assert len(read) == 1
    with LabelStore(folder) as store:
        assert store.census()["labels"] == 49
        store.verify()
        assert len(read) == 2, "whoever asks for it is not refused"


def test_stages_that_label_side_by_side_read_it_once(folder, read):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda k: label_in_stages(folder, range(100 * k, 100 * k + 10)), range(1, 9)))
    assert len(read) == 1
    with LabelStore(folder) as store:
        assert store.census()["labels"] == 40 + 80 and not store.verify()


def test_a_change_by_another_process_is_a_reason_to_read_it_again(folder, read):
    label_in_stages(folder, [100, 101])
    code = (
        "from ilforge.labelling.storing.store import LabelStore; from support.labels import random_label\n"
        f"with LabelStore({str(folder)!r}) as store: store.add(random_label(200))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=TESTS, check=True)
    label_in_stages(folder, [102, 103])
    assert len(read) == 2


@pytest.mark.parametrize("is_open", [False, True])
def test_damage_between_two_stages_is_found(folder, read, is_open):
    label_in_stages(folder, [100])
    with LabelStore(folder) as other:
        if not is_open:
            other.close()
        damage(folder / FILE, 8192, 20000)
        with pytest.raises(SettingsError, match="ilforge store salvage"):
            label_in_stages(folder, [101])


def test_a_store_that_is_damaged_is_read_each_time(folder, read):
    damage(folder / FILE, 8192, 20000)
    for count in (1, 2):
        with pytest.raises(SettingsError, match="ilforge store salvage"):
            label_in_stages(folder, [101])
        assert len(read) == count


def test_another_file_in_its_place_is_read(folder, read, tmp_path_factory):
    label_in_stages(folder, [100])
    other = tmp_path_factory.mktemp("other")
    filled(other, 41)
    (other / FILE).replace(folder / FILE)
    label_in_stages(folder, [101])
    assert len(read) == 2


def test_a_backup_never_copies_a_file_that_was_not_read(folder, read):
    label_in_stages(folder, [100])
    with LabelStore(folder) as store:
        store.backup()
    assert len(read) == 2

"""Label stores on folders that several machines share."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import pytest

from ilforge.errors import DidNotFinish
from ilforge.labelling import journal as journals
from ilforge.labelling.storing.store import FILE, LabelStore
from support.labels import random_label
from support.patience import PATIENCE_S


def journal(path):
    with contextlib.closing(sqlite3.connect(path / FILE)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_machines_that_share_a_folder_share_no_write_ahead_log(tmp_path, monkeypatch):
    """New there, or made on a disk and copied there; and the machine whose disk it is keeps to that."""
    for made_on_a_disk in (False, True):
        folder = tmp_path / str(made_on_a_disk)
        if made_on_a_disk:
            with LabelStore(folder) as labels:
                labels.add(random_label(1))
            assert journal(folder) == "wal"
        monkeypatch.setattr(journals, "on_network", lambda path: True)
        with LabelStore(folder) as labels:
            labels.add(random_label(2))
            assert labels.census()["labels"] == 1 + made_on_a_disk
            with LabelStore(folder) as other:
                other.add(random_label(3))
                assert other.census()["labels"] == 2 + made_on_a_disk
        assert journal(folder) == "delete" and not (folder / f"{FILE}-wal").exists()
        monkeypatch.undo()
        with LabelStore(folder) as labels:
            assert labels.census()["labels"] == 2 + made_on_a_disk
        assert journal(folder) == "delete"


def test_a_store_in_use_on_a_disk_is_not_opened_over_the_network(tmp_path, monkeypatch):
    with LabelStore(tmp_path) as labels:
        labels.add(random_label(1))
        monkeypatch.setattr(journals, "on_network", lambda path: True)
        with pytest.raises(DidNotFinish, match="Another study was writing to the label store"):
            LabelStore(tmp_path, busy_timeout_s=0.1)


def test_a_change_of_the_journal_waits_for_another_study(tmp_path):
    """SQLite does not wait by itself when a journal changes while another connection writes."""
    path = tmp_path / FILE
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (x)")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with contextlib.closing(sqlite3.connect(path, timeout=0.0)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            journals.choose_journal(connection, tmp_path, new=True, timeout_s=0.1)
        ends = threading.Timer(0.3, other.close)
        ends.start()
        journals.choose_journal(connection, tmp_path, new=True, timeout_s=PATIENCE_S)
        ends.join()
    assert journal(tmp_path) == "wal"

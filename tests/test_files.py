"""Files are there whole or as they were before."""

from __future__ import annotations

import pytest

from ilforge import files


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "first Å")
    files.write_text(path, "second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "before")
    with pytest.raises(RuntimeError), files.replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]

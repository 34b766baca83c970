"""Files are there whole or as they were before."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import numpy as np
import pytest

from ilforge import files, frames
from ilforge.errors import SettingsError
from ilforge.potentials.quantum.outputs import text_of


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


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_what_unfolds_to_fill_the_memory_is_refused(tmp_path, opener):
    """100 MB of zeros in some kB; a large file of real numbers is read."""
    path = tmp_path / "bomb.xyz.gz"
    with opener(path, "wb") as file:
        for _ in range(100):
            file.write(bytes(10**6))
    with pytest.raises(SettingsError, match="expands from .* to more than 64 MiB"):
        text_of(path)
    if opener is gzip.open:
        with pytest.raises(SettingsError, match="expands from .* to more than 64 MiB"):
            frames.read(path)
    numbers = np.random.default_rng(1).normal(size=400_000)
    text = "\n".join(map(str, numbers)) + "\n"
    with opener(path, "wt") as file:
        file.write(text)
    assert text_of(path) == text


def test_text_that_a_spreadsheet_would_run_is_none_as_a_cell():
    for text in ("=1+1", "+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1"):
        assert files.csv_cell(text) == f"'{text}"
    for value in (-1.5, 7, None, "PYR14", "1-2", "", True):
        assert files.csv_cell(value) is value


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    """Nor a device: who may write into /dev would lose it."""
    os.mkfifo(tmp_path / "pipe")
    for write in (files.write_text, lambda path, text: frames.write(path, [])):
        with pytest.raises(SettingsError, match="device or a pipe"):
            write(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe"]

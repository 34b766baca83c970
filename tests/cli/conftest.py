"""The command as a user calls it."""

from __future__ import annotations

import sys

import pytest

from ilforge.cli import main


@pytest.fixture
def ilforge(monkeypatch, tmp_path, capfd):
    """Run the command in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ilforge", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        return left.value.code, out, err

    return call

"""Every argument and option that takes a path, a word or text, given what no one can mean: refused by name, in time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click
import pytest

from ilforge.cli import ilforge as group
from ilforge.cli import load_commands
from ilforge.cli.bounds import commands_of
from support.hostile_time import in_time
from support.studies import SMALLEST

TWO_PAIRS = Path(__file__).parents[1] / "data" / "two_pairs.xyz"
FILES = ("missing", "folder", "pipe", "/dev/zero", "binary", "empty", "big", "a" * 300, "empty/x")
WITH_SUFFIX = ("binary.xyz", "empty.xyz", "big.xyz")
CLP = ("--potential", "clp:4.0")
BRIEF = ("--length", "0.002", "--interval", "0.001")
READERS = {  # a command with {} where the file goes
    "label": ("label", "{}", *CLP),
    "validate": ("validate", "{}", *CLP),
    "md": ("md", "{}", *CLP, *BRIEF),
    "import": ("import", "{}"),
    "rejected": ("rejected", "{}"),
    "export-labels": ("export-labels", "{}", "--format", "deepmd", "--out", "d"),
    "train": ("train", "{}"),
    "analyse": ("analyse", "{}"),
    "analyse topology": ("analyse", "{}", "good.xyz", "--frame-interval", "1"),
    "analyse trajectory": ("analyse", "good.xyz", "{}", "--frame-interval", "1"),
    "analyse study": ("analyse", "good.xyz", "--frame-interval", "1", "--study", "{}"),
    "analyse pressure": ("analyse", "good.xyz", "--frame-interval", "1", "--property", "viscosity", "--pressure", "{}"),
    "temperatures": ("temperatures", "{}"),
    "compare": ("compare", "{}", "folder"),
    "export": ("export", "--box", "{}", *CLP, "--format", "lammps", "--out", "e"),
    "check": ("check", "{}"),
    "run": ("run", "{}"),
    "status": ("status", "{}"),
    "results": ("results", "{}"),
    "report": ("report", "{}"),
    "store merge": ("store", "merge", "t", "{}"),
    "store check": ("store", "check", "{}"),
    "store backup": ("store", "backup", "{}"),
    "store salvage": ("store", "salvage", "{}"),
    "store trust": ("store", "trust", "{}"),
    "model": ("label", "good.xyz", "--potential", "mace:{}"),
    "parameters": ("label", "good.xyz", "--potential", "exp6:{}"),
    "define": ("ions", "--define", "X={}:+1"),
}
WRITERS = {  # where only what cannot be written to is refused
    "label": ("label", "good.xyz", *CLP, "--out", "{}"),
    "label store": ("label", "good.xyz", *CLP, "--store", "{}"),
    "import": ("import", "good.xyz", "--out", "{}"),
    "pack": ("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "{}"),
    "train": ("train", "good.xyz", "--out", "{}"),
    "md": ("md", "good.xyz", *CLP, *BRIEF, "--out", "{}"),
    "export": ("export", "--box", "good.xyz", *CLP, "--format", "lammps", "--out", "{}"),
    "init": ("init", "{}", "--ion", "PYR14=2", "--ion", "BF4=2", "--density", "1.0"),
}
WORDS = ("nonsense", "a" * 20_000, "=1+1", "\u20ac", "../..", "1e400")
CHOSEN = {  # options that take words; a command that would run with a right one
    "--property": ("analyse", "good.xyz", "--frame-interval", "1"),
    "--lammps-units": ("analyse", "good.xyz", "--frame-interval", "1"),
    "--pairs": ("analyse", "good.xyz", "--frame-interval", "1", "--property", "rdf"),
    "--cell": ("analyse", "good.xyz", "--frame-interval", "1"),
    "--ions": ("label", "good.xyz", *CLP),
    "--define": ("label", "good.xyz", *CLP),
    "--potential": ("label", "good.xyz"),
    "--trust": ("label", "good.xyz", "--potential", "mace:binary"),
    "--device": ("label", "good.xyz", *CLP),
    "--ion": ("pack", "--density", "1.0"),
    "--model": ("train", "good.xyz"),
    "--preset": ("train", "good.xyz"),
    "--format": ("export", "--box", "good.xyz", *CLP, "--out", "e"),
    "--ensemble": ("md", "good.xyz", *CLP, *BRIEF),
    "--thermostat": ("md", "good.xyz", *CLP, *BRIEF),
    "--barostat": ("md", "good.xyz", *CLP, *BRIEF),
    "--engine": ("md", "good.xyz", *CLP, *BRIEF),
    "--inner-potential": ("md", "good.xyz", *CLP, *BRIEF),
    "--energy-key": ("import", "good.xyz"),
    "--forces-key": ("import", "good.xyz"),
    "--stress-key": ("import", "good.xyz"),
    "--virial-key": ("import", "good.xyz"),
    "--units": ("import", "good.xyz"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a good file and with what is none."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(TWO_PAIRS, "good.xyz")
    Path("s.toml").write_text(SMALLEST.replace("REFERENCE", "xtb"))
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("binary").write_bytes(bytes(range(256)) * 400)
    Path("empty").write_bytes(b"")
    Path("big").write_bytes(b"1 2 3 4 5\n" * 1_000_000)
    for name in ("binary", "empty", "big"):
        shutil.copy(name, f"{name}.xyz")


def refused(ilforge, arguments, *named, codes=(2,)):
    """What is wrong with how a command took its arguments; None where it refused them by name."""
    with in_time(30):
        code, out, err = ilforge(*arguments)
    said = out + err
    if "fault of ilforge" in said or "Traceback" in said:
        return f"a fault: {said[-300:]}"
    if code not in codes:
        return f"exit code {code}: {said[-200:]}"
    return None if any(name in said for name in named) else f"not named: {said[-200:]}"


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_such_file_is_refused(ilforge, here, reader):
    wrong = {}
    for value in (*FILES, *WITH_SUFFIX):
        arguments = [part.replace("{}", value) for part in READERS[reader]]
        fault = refused(ilforge, arguments, Path(value).name[:40], codes=(2, 4) if reader == "import" else (2,))
        if fault:
            wrong[value[:20]] = fault
    assert not wrong, wrong


@pytest.mark.parametrize("writer", WRITERS)
def test_what_cannot_be_written_to_is_refused(ilforge, here, writer):
    """A store or a folder may be there; a file of frames may not be a folder."""
    wrong = {}
    folders = writer in ("label store", "train", "md", "export")
    for value in ("pipe", "/dev/zero", "a" * 300, "empty/x", "binary" if folders else "folder"):
        fault = refused(ilforge, [part.replace("{}", value) for part in WRITERS[writer]], Path(value).name[:40])
        if fault:
            wrong[value[:20]] = fault
    assert not wrong, wrong
    assert Path("pipe").is_fifo() and Path("folder").is_dir() and Path("empty").read_bytes() == b""


@pytest.mark.parametrize("option", CHOSEN)
def test_words_that_nobody_knows_are_refused(ilforge, here, option):
    wrong = {}
    for word in WORDS:
        value = (word, word) if option == "--pairs" else (word,)
        fault = refused(ilforge, [*CHOSEN[option], option, *value], option, word[:20], codes=(2, 3))
        if fault:
            wrong[word[:10]] = fault
    assert not wrong, wrong


def test_every_path_is_looked_at_for_pipes_and_devices():
    load_commands()
    paths = [
        (command, parameter)
        for command in commands_of(group)
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
    ]
    assert len(paths) > 40
    for command, parameter in paths:
        value = ["/dev/zero"] * parameter.nargs if parameter.nargs > 1 else "/dev/zero"
        with pytest.raises(click.BadParameter, match="/dev/zero"):
            parameter.process_value(click.Context(command), ["/dev/zero"] if parameter.nargs == -1 else value)


def test_there_are_enough_of_them():
    assert len(READERS) * 12 + len(WRITERS) * 5 + len(CHOSEN) * len(WORDS) > 180


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(ilforge, here):
    Path("good.xyz").chmod(0)
    for arguments in (("label", "good.xyz", *CLP), ("analyse", "good.xyz", "--frame-interval", "1")):
        assert refused(ilforge, arguments, "good.xyz") is None

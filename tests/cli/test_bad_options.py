"""Every option that takes numbers, given numbers that no run can mean: exit code 2 and the option's name."""

from __future__ import annotations

import os

import click
import pytest

from ilforge.cli import ilforge as group
from ilforge.cli import load_commands
from ilforge.cli.bounds import commands_of, takes_numbers

load_commands()
OPTIONS = [
    (command, option)
    for command in commands_of(group)
    for option in command.params
    if isinstance(option, click.Option) and takes_numbers(option)
]
BAD = ("nan", "inf", "-inf", "1e308", "-1e308", "1" + 25 * "0", "x", "")


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=[f"{c.name} {o.opts[0]}" for c, o in OPTIONS])
def test_numbers_that_no_run_can_mean(command, option):
    """Only the arguments are read: nothing of the command runs."""
    name = max(option.opts, key=len)
    for value in BAD:
        with pytest.raises(click.BadParameter) as refused:
            option.process_value(click.Context(command), _whole(option, value))
        assert name in refused.value.format_message()


def _whole(option: click.Option, value: str):
    """The value as often as the option takes one."""
    return (value,) * option.nargs if option.nargs > 1 else value


def test_there_are_as_many_options_as_there_should_be():
    assert len(OPTIONS) * len(BAD) >= 180


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", ""), "--out is empty"),
        (("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "afile/x"), "--out afile/x"),
        (("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "a" * 300), "--out aaa"),
        (
            ("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "pipe"),
            "pipe is a device or a pipe",
        ),
        (("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "nan"), "--density"),
        (("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--seed", "-1"), "--seed"),
        (("check", "pipe"), "pipe is a device or a pipe"),
        (("check", "missing.toml"), "missing.toml"),
        (("init", "afile/s.toml", "--ion", "PYR14=2", "--ion", "BF4=2", "--density", "1.0"), "afile/s.toml"),
        (("init", "s.toml", "--ion", "PYR14=2", "--ion", "BF4=2", "--density", "5"), "--density"),
        (("init", "s.toml", "--ion", "PYR14=2", "--ion", "BF4=1", "--density", "1"), "charge"),
    ],
)
@pytest.mark.program("packmol")
def test_paths_and_values_that_cannot_be(ilforge, tmp_path, arguments, said):
    (tmp_path / "afile").write_text("")
    os.mkfifo(tmp_path / "pipe")
    code, _, err = ilforge(*arguments)
    assert code == 2 and said in err and "fault of ilforge" not in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afile", "pipe"], "nothing is left behind"

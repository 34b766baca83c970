"""`--help`: every command has an example, and every example is one that the command takes."""

from __future__ import annotations

import shlex

import click
import pytest

from ilforge.cli import ilforge, load_commands

load_commands()


def leaves(group, words=()):
    """Every command that does something, with the words that call it."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(leaves(ilforge))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples_that_it_takes(words):
    command, begin = COMMANDS[words], ["ilforge", *words]
    group = click.Context(ilforge, **ilforge.context_settings)  # a command keeps the help option of its first context
    lines = [shlex.split(line) for line in command.help.splitlines() if line.strip().startswith("ilforge ")]
    examples = [line[: line.index(">")] if ">" in line else line for line in lines]
    assert examples and all(line[: len(begin)] == begin for line in examples)
    for line in examples:
        context = command.make_context(" ".join(words), line[len(begin) :], parent=group, resilient_parsing=True)
        assert not context.args and not [name for name in line if name.startswith("--") and name not in _known(command)]


def _known(command):
    return {option for parameter in command.params for option in parameter.opts}

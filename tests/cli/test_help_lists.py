"""Help texts: every option is explained, every command is listed, and lists of kinds are those of the registries."""

import subprocess
import sys

import click
import pytest

from ilforge.cli import SECTIONS, ilforge, load_commands
from ilforge.cli.bounds import commands_of
from ilforge.dynamics import ENGINES
from ilforge.dynamics.export import FORMATS
from ilforge.dynamics.protocol import CHOICES
from ilforge.potentials import POTENTIALS
from ilforge.properties.reading.lammps_table import UNITS
from ilforge.properties.reading.trajectory_files import LAMMPS_VELOCITIES
from ilforge.properties.registry import PROPERTIES
from ilforge.training import TRAINERS

load_commands()


def option(command, name):
    return next(one for one in ilforge.commands[command].params if f"--{name}" in one.opts)


def test_every_option_is_explained():
    bare = [
        f"{command.name} {parameter.opts[0]}"
        for command in commands_of(ilforge)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert not bare


def test_every_command_is_listed_with_a_line_about_it():
    listed = [name for section in SECTIONS.values() for name in section]
    assert sorted(listed) == sorted(ilforge.commands) and len(set(listed)) == len(listed)
    shown = ilforge.get_help(click.Context(ilforge, info_name="ilforge", terminal_width=80))
    assert "..." not in shown.partition("A study")[2]
    for section in SECTIONS.values():
        for name, (module, _) in section.items():
            assert ilforge.commands[name].callback.__module__ == f"ilforge.cli.{module}"
        assert all(f"{name:{max(map(len, section))}s}  {line}\n" in f"{shown}\n" for name, (_, line) in section.items())


def test_the_list_of_commands_comes_without_loading_their_libraries():
    """Shells ask for it at every completion, and users wait for it."""
    code = """
import sys
from ilforge.cli import ilforge
ilforge(["--help"], standalone_mode=False)
assert not {"numpy", "ase", "pydantic", "rich"} & set(sys.modules)
ilforge(["store", "--help"], standalone_mode=False)
assert "ilforge.cli.store" in sys.modules and "ilforge.cli.single" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["label", "md", "validate"])
def test_potentials_are_those_of_the_registry(command):
    words = option(command, "potential").help
    for kind in POTENTIALS.values():
        if kind.file_suffix:
            assert f"{kind.file_suffix} ({kind.title})" in words
    named = [name.partition(":")[0].partition("[")[0] for name in words.partition(", or a model file")[0].split(", ")]
    assert named == [
        "clp",
        "clpol",
        "exp6",
        "GFN1-xTB",
        "gfn1",
        "GFN2-xTB",
        "gfn2",
        "gpaw",
        "cp2k",
        "pyscf",
        *named[10:],
    ]
    assert set(named[10:]) >= {"sevennet", "chgnet", "so3lr"} and "vasp" not in named, "it needs a folder of potentials"


def test_kinds_of_models_and_presets_are_those_of_the_registry():
    kinds, presets = option("train", "model").help, option("train", "preset").help
    assert all(name in kinds for name in TRAINERS)
    for name, kind in TRAINERS.items():
        usable = [preset for preset in kind.settings.presets if preset != kind.settings.tuning_preset]
        assert f"for {name} {', '.join(usable)}" in presets
    assert "tune" not in presets, "train has no model to start from"


def test_choices_are_those_of_the_code():
    assert list(option("md", "engine").type.choices) == list(ENGINES)
    for name, (_, values) in CHOICES.items():
        assert tuple(option("md", name).type.choices) == values
    assert tuple(option("export", "ensemble").type.choices) == CHOICES["ensemble"][1]
    assert list(option("export", "format").type.choices) == list(FORMATS)
    assert option("analyse", "property").help.startswith(", ".join(PROPERTIES))
    assert set(option("analyse", "lammps-units").type.choices) == set(LAMMPS_VELOCITIES)
    assert set(option("analyse", "pressure-units").type.choices) == set(UNITS)


def test_potentials_of_export_are_those_that_can_be_written():
    for program, able in {"gromacs": ["clp"], "lammps": ["clp", "clpol"]}.items():
        assert [name for name, kind in POTENTIALS.items() if hasattr(kind.potential, FORMATS[program][0])] == able


def test_devices_of_engines_and_potentials():
    words = option("md", "device").help
    assert all(name in words for name, kind in POTENTIALS.items() if kind.computes_with)
    assert all(f"engine {name}" in words for name, kind in ENGINES.items() if kind.computes_with)

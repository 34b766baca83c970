"""How programs are started on this machine: commands and other environments in ``machine.toml``.

Both belong to the machine, like the number of threads: they are not part of any key. Each process has one choice
(:func:`use`), which is set at its start.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ilforge.errors import SettingsError


@dataclass(frozen=True)
class MachinePrograms:
    """The contents of ``[commands]`` and ``[environments]``.

    Attributes
    ----------
    commands
        Command line of a program, by the program's name: ``{"cp2k": "mpirun -np 8 cp2k.psmp"}``.
    environments
        Python interpreter of another environment, by the environment's name.
    from_user
        Whether the user named the file, or keeps it in their own folder. A file that was found beside a study may come
        from somebody else.
    """

    commands: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)
    from_user: bool = True

    def interpreter(self, name: str) -> Path:
        """Path of the Python interpreter of an environment.

        Raises
        ------
        SettingsError
            When no environment has this name, or its interpreter is not a program.
        """
        if name not in self.environments:
            known = ", ".join(sorted(self.environments)) or "none"
            raise SettingsError(
                f"The environment {name!r} is not known. Environments in machine.toml: {known}. Name its interpreter "
                f'there: [environments] {name} = "/path/to/bin/python".'
            )
        path = Path(self.environments[name]).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise SettingsError(
                f"environments.{name} in machine.toml is {str(path)!r}, and no such program is there. It should be the "
                "path of a Python interpreter, such as /home/me/sevennet/bin/python."
            )
        return path


_chosen = MachinePrograms()


def use(named: MachinePrograms) -> None:
    """Choose for this process how programs are started."""
    global _chosen
    _chosen = named


def chosen() -> MachinePrograms:
    """The commands and environments chosen for this process."""
    return _chosen


def command(program: str) -> list[str] | None:
    """The words of the command line for a program in ``machine.toml``; None if there is none."""
    text = _chosen.commands.get(program)
    return None if text is None else shlex.split(text)


def command_text(program: str, own: str) -> str:
    """The command line of a program: from ``machine.toml``, otherwise ``own``, from the study."""
    return _chosen.commands.get(program, own)

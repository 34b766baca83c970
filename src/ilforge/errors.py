"""Errors, named by the user's next step.

Every error that reaches the command line is one of these; its ``exit_code`` is the program's.
The failure of a single frame is a value (see :mod:`ilforge.labelling.gate`), not an exception.
"""

from __future__ import annotations

from pathlib import Path


class IlforgeError(Exception):
    """Base class of all errors that ilforge raises on purpose."""

    exit_code = 4


class SettingsError(IlforgeError):
    """Fix the file or the argument: the message names the key, the value found and the allowed values."""

    exit_code = 2


class MissingProgram(IlforgeError):
    """Install a program: the message names the program and the package that contains it."""

    exit_code = 3

    def __init__(self, program: str, package: str, needed_for: str = ""):
        self.program, self.package, self.needed_for = program, package, needed_for
        why = f" It is needed for {needed_for}." if needed_for else ""
        super().__init__(f"{program} was not found.{why} Install it with: {package}")

    # an exception is sent to other processes by the arguments of its constructor
    def __reduce__(self) -> tuple[type[MissingProgram], tuple[str, str, str]]:
        return type(self), (self.program, self.package, self.needed_for)


class MissingEnvironment(MissingProgram):
    """Make an environment: the message says what is wrong with it and names the command."""

    def __init__(self, name: str, fault: str, command: str):
        super().__init__(f"environment {name}", command)
        self.name, self.fault = name, fault
        self.args = (f"The environment {name} {fault.rstrip('.')}. Make it with: {command}",)

    def __reduce__(self) -> tuple[type[MissingEnvironment], tuple[str, str, str]]:
        return type(self), (self.name, self.fault, self.package)


class DidNotFinish(IlforgeError):
    """Try again or look into the directory: a program ended early."""

    def __init__(self, what: str, directory: Path | None = None, last_lines: str = ""):
        self.what, self.directory, self.last_lines = what, directory, last_lines
        where = f"\nIts files are in {directory}" if directory else ""
        said = f"\nIt last said:\n{last_lines}" if last_lines else ""
        super().__init__(f"{what}{where}{said}")

    def __reduce__(self) -> tuple[type[DidNotFinish], tuple[str, Path | None, str]]:
        return type(self), (self.what, self.directory, self.last_lines)


class LacksMemory(DidNotFinish, MemoryError):
    """Provide more memory: a program that ilforge started ran out of memory, or was killed, probably for that
    reason."""


class DidNotConverge(IlforgeError):
    """A calculation ended without an answer: the frame is dropped and counted."""


class Unphysical(IlforgeError):
    """Stop and inspect: a run has become unphysical."""

"""A program that keeps running, and answers one line of JSON after the other."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

from ilforge import programs
from ilforge.errors import DidNotFinish, LacksMemory
from ilforge.programs import last_lines

_ENDING_S = 60.0  # from the end of the answers to the end of the program, whose exit code says why


class JsonProcess:
    """A program that keeps running and answers each line of JSON with a line of JSON.

    Parameters
    ----------
    command
        Program name and arguments; the program is looked up with :func:`~ilforge.programs.command_line`.
    directory
        Working directory; all output except the answers goes to ``directory/log``.
    threads
        Number of threads that numerical libraries in the child may use.
    environment
        Additional environment variables of the child.
    name
        Name of the program in errors; by default the name of its command.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        *,
        log: str,
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
    ):
        self._name, self._directory, self._log = name or command[0], Path(directory), Path(directory) / log
        with open(self._log, "wb") as output:
            whole = programs.whole_command(command)
            self._child = programs.start(whole, self._directory, PIPE, PIPE, output, threads, environment)

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message, without waiting for the answer."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer will raise an error with the reason
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
            self._child.stdin.flush()

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next answer.

        Parameters
        ----------
        timeout_s
            Time limit, s; by default there is none.

        Raises
        ------
        LacksMemory
            When the program was killed by signal 9, as the system does if memory is exhausted.
        DidNotFinish
            When it ends otherwise, does not answer in time, or answers invalidly; the message quotes its last lines.
        """
        assert self._child.stdout is not None
        if timeout_s is not None and not select.select([self._child.stdout], [], [], timeout_s)[0]:
            self._child.kill()
            self.close()
            raise DidNotFinish(
                f"{self._name} gave no answer within {timeout_s:.0f} s and was stopped", None, last_lines(self._log)
            )
        line = self._child.stdout.readline()
        try:
            if line.endswith(b"\n"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        except ValueError:
            self.close()
            said = line[:500].decode(errors="replace")
            raise DidNotFinish(f"{self._name} gave an answer that cannot be read", None, said) from None
        code = self.close(_ENDING_S)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        killed = code == -signal.SIGKILL
        why = " (probably out of memory)" if killed else ""
        kind = LacksMemory if killed else DidNotFinish
        raise kind(f"{self._name} {how}{why} in the middle of an answer", None, last_lines(self._log))

    def close(self, patience_s: float = 5.0) -> int:
        """End the program, which is killed if it takes longer than ``patience_s``, s; returns its exit code."""
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            return self._child.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

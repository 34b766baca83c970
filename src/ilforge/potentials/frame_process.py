"""Processes that compute frame after frame for a calculator, one line of JSON each way."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge.json_process import JsonProcess


class UsesProcess:
    """For calculators that send their frames to a process.

    The process works in a temporary folder. It starts with the first frame and lives as long as the calculator. A
    class that inherits this implements :meth:`_start`, and calls :meth:`_begin` in it.
    """

    _process: JsonProcess | None = None
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None if no process runs."""
        return None if self._process is None else self._process.pid

    def _start(self) -> None:
        """Start the process."""
        raise NotImplementedError

    def _begin(
        self,
        command: Sequence[str],
        settings: Mapping[str, Any],
        *,
        prefix: str,
        log: str,
        threads: int,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Start the process and send it its settings; returns its first answer.

        Parameters
        ----------
        prefix
            Beginning of the name of the folder.
        timeout_s
            How long to wait for the answer, s; without it for as long as the process lives.

        The others are those of :class:`~ilforge.json_process.JsonProcess`.
        """
        self._folder = tempfile.TemporaryDirectory(prefix=prefix)
        self._process = JsonProcess(
            command, Path(self._folder.name), log=log, threads=threads, environment=environment, name=name
        )
        self._process.send(settings)
        return self._receive(timeout_s)

    def _send(self, atoms: Atoms, charge: float, **more: Any) -> None:
        """Send a frame, and more keys of the message, to the process; start it if none runs."""
        if self._process is None:
            self._start()
        assert self._process is not None
        self._process.send(
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": atoms.pbc.tolist(),
                "charge": charge,
                **more,
            }
        )

    def _receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next answer; see :meth:`~ilforge.json_process.JsonProcess.receive`."""
        assert self._process is not None
        with self._closed_on_error():
            return self._process.receive(timeout_s)

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """End the process if the context raises: an answer that was not read would be read as the next frame's."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process; the next frame starts a new one."""
        if self._process is not None:
            self._process.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None

    def __del__(self) -> None:
        self.close()

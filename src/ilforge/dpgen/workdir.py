"""What a work directory of DP-GEN holds: how far it is, its labels and its models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilforge.dpgen.book import Book
from ilforge.errors import SettingsError

STEPS = (
    "make_train", "run_train", "post_train", "make_model_devi", "run_model_devi", "post_model_devi",
    "make_fp", "run_fp", "post_fp",
)  # fmt: skip
"""The steps of an iteration, in the order of their numbers in ``record.dpgen``."""
RECORD = "record.dpgen"
_OUTPUTS = ("OUTCAR", "output")  # of VASP and CP2K, in 02.fp/task.*


@dataclass(frozen=True)
class Progress:
    """How far DP-GEN is.

    Attributes
    ----------
    iteration, step
        The last step that ended; -1 if none did.
    """

    iteration: int
    step: int

    @property
    def finished(self) -> int:
        """Number of iterations of which every step ended."""
        return self.iteration + (1 if self.step == len(STEPS) - 1 else 0)

    def __str__(self) -> str:
        if self.iteration < 0:
            return "no step of DP-GEN has ended"
        return f"iteration {self.iteration} has ended its step {self.step} ({STEPS[self.step]})"


@dataclass(frozen=True)
class Found:
    """The labels and models of a work directory.

    Attributes
    ----------
    initial
        Systems and HDF5 files of ``init_data_sys``.
    systems
        Systems of ``iter.*/02.fp/data.*``.
    models
        Models of the last iteration that has them.
    progress
        From ``record.dpgen``; None if there is none.
    iterations
        Number of folders ``iter.*``.
    runs
        Number of explorations in the last iteration that has any.
    remarks
        Sentences on what is missing.
    """

    initial: tuple[Path, ...]
    systems: tuple[Path, ...]
    models: tuple[Path, ...]
    progress: Progress | None
    iterations: int
    runs: int | None
    remarks: tuple[str, ...] = field(default=())


def look(workdir: Path, param: Book) -> Found:
    """Everything in a work directory that can be moved.

    Raises
    ------
    SettingsError
        When ``record.dpgen`` is broken.
    """
    iterations = sorted(path for path in workdir.glob("iter.[0-9]*") if path.is_dir())
    remarks: list[str] = []
    initial = _initial(workdir, param, remarks)
    systems = [
        system
        for iteration in iterations
        for data in sorted((iteration / "02.fp").glob("data.*"))
        for system in _systems_in(data)
    ]
    progress = _progress(workdir / RECORD)
    if progress is None and iterations:
        remarks.append(f"{workdir} holds no {RECORD}: every folder iter.* counts as a finished iteration.")
    for iteration in iterations:
        remarks += _unfinished(iteration)
    models = next((found for folder in reversed(iterations) if (found := _models(folder))), [])
    if iterations and not models:
        remarks.append(f"{workdir} holds no model: there is no iter.*/00.train/graph.*.pb.")
    runs = next(
        (n for folder in reversed(iterations) if (n := len([*(folder / "01.model_devi").glob("task.*")]))), None
    )
    return Found(
        tuple(initial), tuple(systems), tuple(models), progress, len(iterations), runs, tuple(remarks)
    )  # fmt: skip


def _initial(workdir: Path, param: Book, remarks: list[str]) -> list[Path]:
    """Systems of ``init_data_sys``; those that are not here are named in the remarks."""
    prefix = param.get("init_data_prefix", default="")
    folder = workdir / Path(str(prefix)).expanduser()
    found: list[Path] = []
    for given in param.texts("init_data_sys"):
        path = folder / Path(given).expanduser()
        here = _systems_in(path)
        if not here:
            remarks.append(
                f"The initial data {path} were not found, so their labels are missing. If they are elsewhere, change "
                "init_data_prefix in a copy of the file, and give the copy with --param."
            )
        found += here
    return found


def _systems_in(path: Path) -> list[Path]:
    """Systems at or below a folder, or an HDF5 file of systems."""
    if path.is_file():
        return [path]
    return sorted(raw.parent for raw in path.rglob("type.raw")) if path.is_dir() else []


def _models(iteration: Path) -> list[Path]:
    """``graph.000.pb`` and so on, of any backend; links to files that are gone do not count."""
    found = sorted((iteration / "00.train").glob("graph.*"))
    return [
        path for path in found if re.fullmatch(r"graph\.\d+\.(pb|pth|pt2|savedmodel)", path.name) and path.is_file()
    ]


def _unfinished(iteration: Path) -> Sequence[str]:
    """A remark on calculations that ended, but whose labels DP-GEN has not yet put together."""
    fp = iteration / "02.fp"
    if any(fp.glob("data.*")):
        return ()
    for name in _OUTPUTS:
        count = len([*fp.glob(f"task.*/{name}")])
        if count:
            return (
                f"{fp} holds {count} calculations that DP-GEN has not yet collected (no data.*). They are not lost: "
                f"import them with `ilforge import {fp}/task.*/{name}`.",
            )
    return ()


def _progress(record: Path) -> Progress | None:
    """The last line of ``record.dpgen``: number of the iteration, number of the step."""
    if not record.is_file():
        return None
    lines = [line.split() for line in record.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return Progress(-1, -1)
    try:
        iteration, step = (int(word) for word in lines[-1])
        STEPS[step]
    except (ValueError, IndexError):
        raise SettingsError(
            f"{record} ends with {' '.join(lines[-1])[:60]!r}; expected the numbers of an iteration and of a step, "
            f"0 to {len(STEPS) - 1}. Delete that line."
        ) from None
    return Progress(iteration, step)

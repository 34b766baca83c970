"""One of two studies on one store that differ in their gate alone, whose labels take their time: a process of its own.

``python -m support.slow_study FOLDER MAX_FORCE [LEASE_S]``

With ``whole`` in the place of a force it is the quick study from its start, with labels that take their time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from ilforge.labelling.storing import claims
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps import labels as steps
from ilforge.workflow.study_run import run_study
from support import studies, tasks


def stage(folder: Path, max_force: str):
    """The stage that labels the training frames, and the one that samples them."""
    own = folder / f"force-{max_force}"  # two processes that write one file would read it half written
    own.mkdir(exist_ok=True)
    text = studies.cold(own, "clp").read_text()
    path = own / "study.toml"
    path.write_text(f"{text}\n[gate]\nmax_force_eV_A = {max_force}\n")
    found = make_plan(load_study(path)).labels["training"]
    return found, found.inputs["frames"]


def run_whole(folder: Path) -> None:
    """The quick study in a folder, as ``ilforge run`` runs it with two workers."""
    machine = Machine(store=str(folder / "store"), output=str(folder / "out"), workers=2)
    run_study(load_study(studies.quick(folder)), machine, Console(quiet=True), quiet=True)


def main() -> None:
    folder, max_force, *lease = sys.argv[1:]
    if max_force == "whole":
        steps.evaluate = tasks.evaluate_slowly
        run_whole(Path(folder))
        return
    if lease:  # as on another machine: no lock of the system says that a process is dead
        claims.LEASE_S = float(lease[0])
        claims._machine = lambda: f"machine of {max_force}"
    steps.evaluate, steps.POLL_S = tasks.evaluate_slowly, 0.2
    _, outcome = studies.run([stage(Path(folder), max_force)[0]], Path(folder) / "store", workers=2)
    assert outcome.complete, outcome.failed


if __name__ == "__main__":
    main()

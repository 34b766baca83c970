"""A study's labels in jobs of Slurm, as a process that can be killed: ``python -m support.cluster_study FOLDER``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from ilforge.study.load import load_study
from ilforge.study.machine import load_machine
from ilforge.workflow.executors import Executors
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.steps import labels as steps
from ilforge.workflow.store import ResultStore
from support import studies, tasks

MACHINE = """
workers = 1
run = { label = "tiny" }
[executors.tiny]
kind = "parsl"
provider = "slurm"
partition = "main"
address = "127.0.0.1"
cores = 2
memory_GB = 1
jobs = 1
walltime_h = 0.1
lost_after_s = 20
status_s = 2.0
idle_min = 0.3
submissions_per_hour = 60
"""


def stage(folder: Path):
    """The stage that labels the training frames."""
    return make_plan(load_study(studies.quick(folder))).labels["training"]


def main(folder: Path) -> None:
    (folder / "machine.toml").write_text(MACHINE)
    machine = load_machine(folder / "machine.toml").model_copy(update={"store": str(folder / "store")})
    steps.evaluate, steps.POLL_S = tasks.evaluate_slowly, 0.2
    store = ResultStore(folder / "store")
    store.prepare()
    watch = Watch(Console(file=io.StringIO()), store)
    watch.say = lambda text: print(text, flush=True)
    with Executors.of_machine(machine) as executors:
        executors.listen(watch.say)
        outcome = run_stages([stage(folder)], store, executors, watch)
    watch.stop()
    assert outcome.complete, outcome.failed


if __name__ == "__main__":
    main(Path(sys.argv[1]))

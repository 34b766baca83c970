"""Overhead of executors: trivial tasks on this machine, by Parsl on this machine, and in a job of Slurm if it is here.

``python benchmarks/executors.py [TASKS]`` prints for each the time of the first task, that of all further ones, and the
processor time of this process for each of them, which other work on the machine does not change.
Slurm is brought up as in the tests (``tests/support/slurm.py``), which needs slurm-wlm, munge and root.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])

from ilforge.study.machine import Machine  # noqa: E402
from ilforge.workflow.executors import Executors  # noqa: E402
from support import slurm, tasks  # noqa: E402

PARSL = {"kind": "parsl", "workers": 2, "walltime_h": 0.5, "status_s": 5.0}
TABLES = {
    "local": {"kind": "local", "workers": 2},
    "parsl, this machine": {**PARSL, "provider": "local"},
    "parsl, Slurm": {**PARSL, "provider": "slurm", "cores": 2, "address": "127.0.0.1"},
}


def measure(table: dict, count: int, folder: Path) -> tuple[float, float, float]:
    """Time from the start of an executor to its first result; time and processor time here of the tasks after it; s."""
    machine = Machine(store=str(folder), executors={"it": table}, run={"label": "it"})
    began = time.perf_counter()
    with Executors.of_machine(machine) as executors:
        executor = executors.of("label")
        executor.submit(tasks.sleep, 0.0).result(300)
        first = time.perf_counter() - began
        time.sleep(5.0)  # until all workers are there
        began, used = time.perf_counter(), time.process_time()
        for future in [executor.submit(tasks.sleep, 0.0) for _ in range(count)]:
            future.result(300)
        return first, time.perf_counter() - began, time.process_time() - used


def main(count: int) -> None:
    print(f"{count} trivial tasks, 2 workers")
    print(f"{'executor':22} {'first result / s':>18} {'all tasks / s':>15} {'each / ms':>11} {'driver, each / ms':>19}")
    for name, table in TABLES.items():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
            if table.get("provider") == "slurm":
                if slurm.missing():
                    print(f"{name:22} {slurm.missing()}")
                    continue
                stack.enter_context(slurm.cluster(Path(folder) / "slurm"))
            first, others, used = measure(table, count, Path(folder) / "store")
        print(f"{name:22} {first:18.1f} {others:15.2f} {1000 * others / count:11.2f} {1000 * used / count:19.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

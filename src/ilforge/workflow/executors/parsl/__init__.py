"""The executor of a cluster: jobs of Slurm, PBS or Kubernetes, started by Parsl (https://parsl-project.org).

====================  ==========================================================================
``settings.py``       keys of the table in ``machine.toml``
``providers.py``      queueing systems by name
``executor.py``       the executor: sends tasks to pools, and handles their results
``pool.py``           jobs of one shape and their tasks
``jobs.py``           submits jobs, and follows each of them
``tasks.py``          time limits of tasks, and the errors of tasks that are given up
``ledger.py``         records of jobs on disk
``remote.py``         the code that runs on a node
``interchange.py``    Parsl's interchange, which ends with its run
====================  ==========================================================================
"""

from __future__ import annotations

from ilforge.workflow.executors.executor import ExecutorKind
from ilforge.workflow.executors.parsl.executor import ParslExecutor, start
from ilforge.workflow.executors.parsl.settings import ParslSettings

__all__ = ["KIND", "ParslExecutor", "ParslSettings"]

KIND = ExecutorKind("parsl", ParslSettings, start, lambda machine, settings: settings.slots, elsewhere=True)

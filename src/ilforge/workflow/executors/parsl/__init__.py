"""The executor of a cluster: jobs of Slurm, PBS or Kubernetes, started by Parsl (https://parsl-project.org).

====================  ==========================================================================
``settings.py``       keys of the table in ``machine.toml``
``providers.py``      queueing systems by name
``executor.py``       the executor: which task goes to which pool, and what becomes of it
``pool.py``           jobs of one shape and their tasks
``jobs.py``           how many jobs are asked for, and what became of each
``tasks.py``          how long tasks may take, and how they are given up
``ledger.py``         what is written down about jobs
``remote.py``         what runs on a node
``interchange.py``    Parsl's interchange, which ends with its run
====================  ==========================================================================
"""

from __future__ import annotations

from ilforge.workflow.executors.executor import ExecutorKind
from ilforge.workflow.executors.parsl.executor import ParslExecutor, start
from ilforge.workflow.executors.parsl.settings import ParslSettings

__all__ = ["KIND", "ParslExecutor", "ParslSettings"]

KIND = ExecutorKind("parsl", ParslSettings, start, lambda machine, settings: settings.slots, elsewhere=True)

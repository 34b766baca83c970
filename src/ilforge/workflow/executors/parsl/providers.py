"""Queueing systems by name, and the requests for jobs in each. Parsl's providers submit, check and cancel the jobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ilforge.workflow.executors.parsl.settings import ParslSettings

ENDS = "ILFORGE_JOB_ENDS"
"""Environment variable of a job with the end of its time, s since the epoch."""


@dataclass(frozen=True)
class Shape:
    """Resources that one job requests.

    Attributes
    ----------
    workers
        Tasks at the same time on each node.
    memory_GB
        Memory of each node, GB; None for the default of the queueing system.
    """

    workers: int
    memory_GB: float | None


def provider_of(settings: ParslSettings, shape: Shape) -> Any:
    """Parsl's provider for jobs of this shape."""
    return _PROVIDERS[settings.provider](settings, shape)


def cancel(settings: ParslSettings, numbers: Sequence[str]) -> bool:
    """Cancel jobs that another run has submitted; False if the queueing system did not cancel them."""
    from parsl.jobs.states import JobState, JobStatus

    provider = provider_of(settings, Shape(1, None))
    unknown = {"status": JobStatus(JobState.UNKNOWN)}
    provider.resources.update({number: {"job_id": number, **unknown} for number in numbers})
    try:
        return all(provider.cancel(list(numbers)))
    except Exception:  # such as a command that does not come back
        return False


def first_lines(settings: ParslSettings, shape: Shape) -> str:
    """Lines of shell that a job runs before its workers start."""
    ends = f"export {ENDS}=$(( $(date +%s) + {int(settings.walltime_s)} ))"
    # without it Parsl would count the cores of the whole node
    cores = f"export PARSL_CORES={shape.workers * settings.threads}"
    return "\n".join([ends, *settings.environment, cores])


def _slurm(settings: ParslSettings, shape: Shape) -> Any:
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import SlurmProvider

    return SlurmProvider(
        **{
            "partition": settings.partition,
            "account": settings.account,
            "nodes_per_block": settings.nodes,
            "cores_per_node": settings.cores,
            "mem_per_node": None if shape.memory_GB is None else math.ceil(shape.memory_GB),
            "gpus_per_node": settings.gpus or None,
            "exclusive": settings.cores is None,
            "walltime": _clock(settings.walltime_s),
            # ilforge does not expect a job that Slurm starts again by itself
            "scheduler_options": "\n".join(["#SBATCH --no-requeue", *settings.options]),
            "worker_init": first_lines(settings, shape),
            "cmd_timeout": 60,
            "launcher": SrunLauncher() if settings.nodes > 1 else SingleNodeLauncher(),
            **settings.provider_options,
        }
    )


def _pbs(settings: ParslSettings, shape: Shape) -> Any:
    from parsl.launchers import MpiExecLauncher, SingleNodeLauncher
    from parsl.providers import PBSProProvider

    wanted = [] if shape.memory_GB is None else [f"mem={math.ceil(shape.memory_GB)}gb"]
    wanted += [f"ngpus={settings.gpus}"] if settings.gpus else []
    return PBSProProvider(
        **{
            "queue": settings.partition,
            "account": settings.account,
            "nodes_per_block": settings.nodes,
            "cpus_per_node": settings.cores or shape.workers * settings.threads,
            "select_options": ":".join(wanted),
            "walltime": _clock(settings.walltime_s),
            "scheduler_options": "\n".join(settings.options),
            "worker_init": first_lines(settings, shape),
            "launcher": MpiExecLauncher() if settings.nodes > 1 else SingleNodeLauncher(),
            **settings.provider_options,
        }
    )


def _kubernetes(settings: ParslSettings, shape: Shape) -> Any:
    from parsl.providers import KubernetesProvider

    cores = float(settings.cores or shape.workers * settings.threads)
    memory = {} if shape.memory_GB is None else dict.fromkeys(("init_mem", "max_mem"), f"{shape.memory_GB:g}G")
    gpus = {"nvidia.com/gpu": str(settings.gpus)}
    return KubernetesProvider(
        **{
            "nodes_per_block": settings.nodes,
            "init_cpu": cores,
            "max_cpu": cores,
            "worker_init": first_lines(settings, shape),
            **memory,
            **({"extra_requests": gpus, "extra_limits": gpus} if settings.gpus else {}),
            **settings.provider_options,
        }
    )


def _local(settings: ParslSettings, shape: Shape) -> Any:
    from parsl.providers import LocalProvider

    return LocalProvider(worker_init=first_lines(settings, shape), **settings.provider_options)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as queueing systems read them: whole minutes, because Parsl drops seconds."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


_PROVIDERS: dict[str, Callable[[ParslSettings, Shape], Any]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "kubernetes": _kubernetes,
    "local": _local,
}

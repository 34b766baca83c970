"""Keys of a table ``[executors.NAME]`` of the kind ``parsl``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.devices import Device, Devices
from ilforge.errors import SettingsError
from ilforge.settings import Positive, Settings

ProviderName = Literal["slurm", "pbs", "kubernetes", "local"]
_Number = Annotated[int, Field(ge=1)]


class ParslSettings(Settings):
    """A table of ``[executors]`` of the kind ``parsl``: jobs of a queueing system, each of which runs many tasks."""

    kind: Literal["parsl"] = "parsl"
    """Jobs of a queueing system, started by Parsl."""
    provider: ProviderName = "slurm"
    """The queueing system: slurm, pbs, kubernetes, or local (this machine, to try things out)."""
    partition: str | None = None
    """Partition of Slurm, or queue of PBS. Without it, the default one."""
    account: str | None = None
    """Account that the computing time is charged to."""
    jobs: _Number = 1
    """Jobs at the same time, waiting or running."""
    nodes: _Number = 1
    """Nodes of each job."""
    cores: _Number | None = None
    """Cores of each node that a job asks for. Without it, whole nodes; ``workers`` is needed then."""
    memory_GB: Positive | None = None
    """Memory of each node that a job asks for, GB. Without it, that of the queueing system."""
    more_memory_GB: Positive | None = None
    """Memory of a job for a single task that ran out of memory, or is expected to need more than its share of
    ``memory_GB``, GB. Without it, twice ``memory_GB``."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of each node that a job asks for. Each task has one of them, and no more tasks run than there are GPUs."""
    walltime_h: Positive = 1.0
    """Time limit of each job, h. No task is started that is not expected to end within it."""
    workers: _Number | None = None
    """Tasks at the same time on each node. Without it, as many as ``cores``, ``threads`` and ``gpus`` allow."""
    threads: _Number = 1
    """Threads of each task."""
    device: str | dict[str, str] | None = None
    """Device of the programs on the nodes, as ``device`` of the whole file. Without it, that one."""
    environment: list[str] = []
    """Lines of shell that a job runs first: ``["module load cp2k", "source /home/me/ilforge/bin/activate"]``."""
    options: list[str] = []
    """Further lines for the queueing system, such as ``["#SBATCH --constraint=milan"]``."""
    python: str | None = None
    """Python interpreter on the nodes, in which ilforge is installed. Without it, the one of this run."""
    address: str | None = None
    """Address at which the nodes reach the machine of the run. Without it, they try all of its addresses."""
    submissions_per_hour: _Number = 20
    """Limit for the jobs that are submitted within an hour, also over several runs."""
    margin: Annotated[float, Field(ge=1.0)] = 1.5
    """A task is started if this many times its expected time is left of the job's walltime."""
    idle_min: Positive = 2.0
    """A job that has had no task for this time is ended, min."""
    lost_after_s: Annotated[int, Field(ge=6)] = 120
    """A node that sends no message for this time counts as lost, s; its tasks run elsewhere."""
    status_s: Positive = 30.0
    """Time between queries of the queueing system about its jobs, s."""
    provider_options: dict[str, Any] = {}
    """Further arguments of Parsl's provider, such as ``{ qos = "long" }``, or ``{ image = "..." }`` of Kubernetes."""

    @model_validator(mode="after")
    def _check(self) -> ParslSettings:
        if self.workers is None and self.cores is None and not self.gpus:
            raise ValueError("workers is missing: say how many tasks run on a node, or how many cores it has (cores)")
        if self.cores is not None and self.cores < self.threads:
            raise ValueError(f"threads = {self.threads} is more than cores = {self.cores}")
        if self.gpus and self.workers is not None and self.workers > self.gpus:
            raise ValueError(f"workers = {self.workers}, but each task has a GPU, and a node has gpus = {self.gpus}")
        if self.more_memory_GB is not None and self.memory_GB is not None and self.more_memory_GB < self.memory_GB:
            raise ValueError(f"more_memory_GB = {self.more_memory_GB:g} is less than memory_GB = {self.memory_GB:g}")
        if self.device is not None:
            self._check_device(self.device)
        return self

    def _check_device(self, device: str | dict[str, str]) -> None:
        try:
            Devices.parse(device)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        named = [device] if isinstance(device, str) else list(device.values())
        if not self.gpus and any(Device.parse(one).is_gpu for one in named):
            raise ValueError('device names a GPU, and a job asks for none: set gpus, or device = "cpu"')

    @property
    def workers_per_node(self) -> int:
        """Tasks at the same time on each node."""
        if self.workers is not None:
            return self.workers
        by_cores = None if self.cores is None else self.cores // self.threads
        return min(number for number in (by_cores, self.gpus or None) if number is not None)

    @property
    def slots(self) -> int:
        """Tasks at the same time in all jobs."""
        return self.jobs * self.nodes * self.workers_per_node

    @property
    def walltime_s(self) -> float:
        """Time limit of each job, s."""
        return 3600.0 * self.walltime_h

    @property
    def share_GB(self) -> float | None:
        """Memory of each task if all of a node run, GB."""
        return None if self.memory_GB is None else self.memory_GB / self.workers_per_node

    @property
    def alone_GB(self) -> float | None:
        """Memory of a job in which one task runs alone, GB."""
        if self.more_memory_GB is not None:
            return self.more_memory_GB
        return None if self.memory_GB is None else 2 * self.memory_GB

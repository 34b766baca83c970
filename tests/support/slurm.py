"""A real Slurm of one node on this machine, for tests: munge, the controller and the node's daemon, all as root."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.patience import PATIENCE_S, until

NODE = "tiny"
_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=2
InactiveLimit=0
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 \
ThreadsPerCore=1 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why a Slurm cannot be brought up here; None where it can."""
    absent = [name for name in _NEEDED if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not found (apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "Slurm of a test is brought up as root"


class Slurm:
    """A cluster of one node, at work.

    Parameters
    ----------
    folder
        For its configuration, state and logs; with a short path, because a socket is in it.
    """

    def __init__(self, folder: Path):
        self.folder, self._daemons = folder, {}
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        self.conf = folder / "slurm.conf"
        ctld, slurmd = _free_ports(2)
        self.conf.write_text(
            _CONF.format(host=socket.gethostname(), folder=folder, node=NODE, ctld=ctld, slurmd=slurmd)
        )
        self.environment = {"SLURM_CONF": str(self.conf), "PATH": _path()}
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {name: folder / f"munge.{name}" for name in ("socket", "log", "pid", "seed")}
        try:
            self._bring_up(key, files)
        except BaseException:
            self.close()
            raise

    def _bring_up(self, key: Path, files: dict[str, Path]) -> None:
        self._start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={files['socket']}",
            f"--log-file={files['log']}", f"--pid-file={files['pid']}", f"--seed-file={files['seed']}",
        )  # fmt: skip
        until(files["socket"].exists, "munged")
        self.start_controller()
        self._start("slurmd", "-D", "-f", str(self.conf), "-N", NODE)
        until(lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"), f"slurmd, see {self.folder}", every_s=0.2)

    def start_controller(self) -> None:
        self._start("slurmctld", "-D", "-f", str(self.conf))
        until(lambda: "UP" in self.run("scontrol", "ping"), f"slurmctld, see {self.folder}", every_s=0.2)

    def stop_controller(self) -> None:
        self._daemons.pop("slurmctld").kill()

    def run(self, *command: str) -> str:
        """Output of a command of Slurm; what it says of errors is left out."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def jobs(self, state: str = "R") -> list[str]:
        """Numbers of the jobs in a state."""
        return self.run("squeue", "-h", "-t", state, "-o", "%i").split()

    def memory_of_jobs(self) -> dict[str, str]:
        """Memory that jobs ask for, by number, also of those that ended within the last minutes."""
        said = self.run("scontrol", "--oneliner", "show", "jobs")
        return dict(re.findall(r"JobId=(\d+) .*MinMemoryNode=(\S+)", said))

    def cancel_running(self, drain: bool = False) -> None:
        """Cancel the jobs that run, on a node that takes no more of them if ``drain``; return when they have ended.

        A controller that has just started may not know its jobs yet, and may drop a request.
        """
        until(self.jobs, "a job that runs", every_s=0.2)
        running = set(self.jobs())

        def ended() -> bool:
            self.run("scancel", *running)
            return running.isdisjoint(self.jobs())

        if drain:
            self.run("scontrol", "update", f"NodeName={NODE}", "State=DRAIN", "Reason=test")
        until(ended, "the end of the jobs that ran", every_s=0.2)

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.run("scancel", "--user=root")
            until(lambda: not self.run("squeue", "-h").strip(), "the end of jobs", longest_s=60, every_s=0.2)
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()

    def _start(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, **self.environment}
        with open(self.folder / f"{program}.out", "a") as log:
            self._daemons[program] = subprocess.Popen(
                [program, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )


@contextlib.contextmanager
def cluster() -> Iterator[Slurm]:
    """A Slurm that is there until the block ends, also for processes that the block starts."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: there is a socket in it
    slurm = Slurm(folder)
    before = {name: os.environ.get(name) for name in slurm.environment}
    os.environ.update(slurm.environment)
    try:
        yield slurm
    finally:
        slurm.close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    shutil.rmtree(folder, ignore_errors=True)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives to connections that somebody opens."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(10_000, 32_000), 2000):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free port")

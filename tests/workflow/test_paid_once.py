"""Two studies on one store at once, that differ in their gate alone: each label is paid for once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from support import slow_study, studies, tasks
from support.patience import PATIENCE_S, until

pytestmark = [pytest.mark.slow, pytest.mark.program("packmol")]
TESTS = Path(__file__).parents[1]


@pytest.fixture
def sampled(tmp_path):
    """A store that has the training frames, and how many there are."""
    stage, frames_stage = slow_study.stage(tmp_path, "30.0")
    _, outcome = studies.run([frames_stage], tmp_path / "store", workers=2)
    assert outcome.complete
    return stage.tasks


def start(folder: Path, max_force: str, seconds: float, *lease: str, host: str | None = None) -> subprocess.Popen:
    """One of the studies in a process; with ``host`` under its own mounts and host name."""
    command = [sys.executable, "-m", "support.slow_study", str(folder), max_force, *lease]
    if host is not None:
        script = f'hostname {host} && [ "$(hostname)" = {host} ] && exec "$@"'
        command = ["unshare", "--uts", "--mount", "sh", "-c", script, "sh", *command]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        tasks.SLOW: str(folder / "log"),
        tasks.SECONDS: str(seconds),
    }
    return subprocess.Popen(command, env=environment, cwd=folder)


def counts(folder: Path, word: str) -> list[int]:
    said = Counter(line.removeprefix(word) for line in (folder / "log").read_text().split() if line.startswith(word))
    return sorted(said.values())


def namespaces() -> bool:
    return subprocess.run(["unshare", "--uts", "--mount", "hostname", "other"], capture_output=True).returncode == 0


@pytest.mark.parametrize("hosts", [(None, None), ("one", "two")], ids=["processes", "namespaces"])
def test_each_label_is_computed_once_and_both_have_all(tmp_path, sampled, hosts):
    """The two share the work: neither waits for the other to have it all."""
    if hosts[0] and not namespaces():
        pytest.skip("needs namespaces: unshare --uts --mount")
    running = [start(tmp_path, f"{40 + i}.0", 1.0, host=host) for i, host in enumerate(hosts)]
    assert [process.wait(PATIENCE_S) for process in running] == [0, 0]
    assert counts(tmp_path, "begin-") == [1] * sampled
    assert len(list((tmp_path / "store" / "results").glob("labels-*"))) == 2


@pytest.mark.parametrize("lease", [(), ("5.0",)], ids=["one machine", "two machines"])
def test_a_run_that_is_killed_holds_up_nobody(tmp_path, sampled, lease):
    """The other goes on: at once on one machine, after the lease on another; only what was in the making is repaid."""
    first = start(tmp_path, "40.0", 10_000.0, *lease)
    until((tmp_path / "log").exists, "the first label")
    time.sleep(1.0)
    second = start(tmp_path, "41.0", 0.5, *lease)
    time.sleep(1.0)
    first.kill()
    first.wait()
    assert second.wait(PATIENCE_S) == 0
    assert counts(tmp_path, "end-") == [1] * sampled
    assert sum(counts(tmp_path, "begin-")) <= sampled + 2, "the two that were killed"

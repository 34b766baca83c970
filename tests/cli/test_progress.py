"""How far a command or a study has come: in its own shell, and asked for from another one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ilforge.cli.progress import PLAIN_S, Progress, watched
from ilforge.dynamics.trajectory import frames_recorded
from ilforge.workflow import shared_progress
from support import md, studies, tasks
from support.patience import PATIENCE_S, until


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_time_left_is_that_of_the_pace_since_the_beginning():
    """Fifty that an earlier run had done do not count; a minute for each of the others."""
    now, out = [0.0], io.StringIO()
    progress = Progress("labels", out, lambda: now[0])
    for done in range(50, 60):
        progress(done, 60)
        now[0] += 60.0
    lines = out.getvalue().splitlines()
    assert lines[0] == "labels: 51 of 60, about 9 min left" and lines[-1] == "labels: 59 of 60, about 60 s left"


def test_the_time_left_learns_that_work_has_become_slower():
    now, out = [0.0], io.StringIO()
    progress = Progress("frames", out, lambda: now[0])
    for done in range(101):
        progress(done, 200)
        now[0] += 10.0 if done < 50 else 40.0
    left = [line.split("about ")[1] for line in out.getvalue().splitlines() if "about" in line]
    assert left[5] == "30 min left" and left[-1] == "67 min left"


def test_short_work_says_nothing_where_nobody_looks():
    out = io.StringIO()
    progress = Progress("frames", out, lambda: 0.5 * PLAIN_S)
    for done in range(10):
        progress(done, 10)
    progress.close()
    assert out.getvalue() == ""


def test_a_terminal_has_one_line_that_is_gone_at_the_end():
    now, out = [0.0], Terminal()
    progress = Progress("frames", out, lambda: now[0])
    for done in range(1001):
        progress(done, 1000)
        now[0] += 1.0
    progress.close()
    written = out.getvalue().split("\r")
    assert written[1].startswith("frames: 1 of 1,000, about 17 min left") and not written[-1]
    assert not written[-2].strip() and len(written[-2]) >= len(written[-3].rstrip())


def test_an_unfinished_file_does_not_end_the_watching(monkeypatch, capsys):
    monkeypatch.setattr("ilforge.cli.progress.POLL_S", 0.01)
    monkeypatch.setattr("ilforge.cli.progress.PLAIN_S", 0.0)
    answers, later = iter([ValueError("half a file"), (3, 0), *[(3 + k, 100) for k in range(9)]]), threading.Event()

    def read():
        answer = next(answers, None)
        if answer is None:  # all of them were shown
            later.set()
            return 12, 100
        if isinstance(answer, Exception):
            raise answer
        return answer

    with watched("frames", read):
        assert later.wait(PATIENCE_S)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "frames: 3 of 100" and lines[3].startswith("frames: 6 of 100, about ")


def test_frames_of_a_run_are_counted_while_it_goes_on(tmp_path):
    assert frames_recorded(tmp_path) == (0, 0)
    md.run_and_be_killed(md.CLP, "openmm", md.warm_box(), md.short(), tmp_path, at_frame=10)
    done, total = frames_recorded(tmp_path)
    assert 10 <= done < 20 and total == 20
    md.run(md.CLP, "openmm", md.warm_box(), md.short(), tmp_path)
    assert frames_recorded(tmp_path) == (20, 20)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"failed": 3}', '{"seconds_left": NaN, "failed": {}}', "x" * 2**21]
)
def test_what_a_strangers_store_says_of_its_run_is_not_believed_blindly(tmp_path, content):
    path = shared_progress.file_of(tmp_path, "a")
    path.write_text(content)
    assert shared_progress.read(path) is None
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert shared_progress.read(path) is None


@pytest.mark.parametrize("command", ["status", "results", "report"])
def test_a_store_that_holds_nothing_of_the_study_is_named(ilforge, tmp_path, command):
    path = studies.quick(tmp_path)
    code, out, err = ilforge(command, path, "--store", "elsewhere")
    assert code == 2 and out == ""
    assert f"The store {tmp_path / 'elsewhere'} contains no results of this study, quick" in err
    assert "--store" in err and f"ilforge run {path}" in err
    assert not (tmp_path / "ilforge-results").exists() and not (tmp_path / "elsewhere").exists()


def test_results_without_a_store_are_an_empty_list_and_an_error(ilforge, tmp_path):
    code, out, err = ilforge("results", studies.quick(tmp_path), "--json")
    assert code == 2 and json.loads(out) == [] and "contains no results of this study" in err


def test_studies_of_one_name_keep_their_own_reports(ilforge, tmp_path):
    """The second is refused while the first is there; a study that was moved keeps its folder."""
    made = [tmp_path / name for name in ("one", "two")]
    for folder in made:
        folder.mkdir()
        studies.quick(folder)
    studies.hold_something(made[0] / "quick.toml", tmp_path / "store")
    shared = ("--store", "store", "--output", "out")
    code, out, err = ilforge("report", made[0] / "quick.toml", *shared)
    assert code == 0 and str(tmp_path / "store") in err
    page = (tmp_path / "out" / "quick" / "report.html").read_bytes()
    code, _, err = ilforge("report", made[1] / "quick.toml", *shared)
    assert code == 2 and str(made[0] / "quick.toml") in err and "--output" in err
    assert (tmp_path / "out" / "quick" / "report.html").read_bytes() == page
    (made[0] / "quick.toml").rename(tmp_path / "quick.toml")
    code, _, _ = ilforge("report", tmp_path / "quick.toml", *shared)
    assert code == 0


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_status_in_another_shell_counts_labels_failures_and_the_time_left(ilforge, tmp_path, monkeypatch):
    """While a study labels slowly: so many of so many, and how long it still takes; and after a kill."""
    path = studies.quick(tmp_path)
    environment = {**os.environ, tasks.SECONDS: "1.0", tasks.MOST: "10", tasks.SLOW: str(tmp_path / "log")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [sys.executable, "-m", "support.slow_study", str(tmp_path), "whole"], env=environment, cwd=tmp_path
    )
    try:
        said = ""

        def counting():
            nonlocal said
            said = ilforge("status", path, "--store", "store")[1]
            return _counting(said)

        until(counting, "a status that counts labels", every_s=1.0)
        assert f"Store {tmp_path / 'store'}" in said
        assert f"process {running.pid} on " in said and " left, as process " in said
    finally:
        running.kill()
        running.wait()
    said = ilforge("status", path, "--store", "store")[1]
    assert "begun, then stopped, " in said and "The study is not running. Continue it with: ilforge run" in said


def _counting(said: str) -> bool:
    lines = [line for line in said.splitlines() if line.startswith("label ") and " at work, " in line]
    return any(int(line.split(" at work, ")[1].split(" of ")[0]) >= 2 for line in lines)

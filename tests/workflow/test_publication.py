"""A result is published whole or not at all, whenever the process is killed, and is then never made again."""

from __future__ import annotations

import json
import os

import pytest

from ilforge import files
from ilforge.workflow.stage import Stage
from ilforge.workflow.store import MANIFEST, ResultStore, read_manifest
from support import studies
from support.kills import killed_at


def require_part(directory):
    """A part as :meth:`.job.Job.parts` makes it: once it has its name, it has both files."""
    part = directory / "parts" / "one"
    partial = part.with_name("one.partial")
    if not part.is_dir():
        partial.mkdir(parents=True, exist_ok=True)
        for name in ("x.txt", "y.txt"):
            files.write_text(partial / name, "1")
        os.replace(partial, part)
    assert {path.name for path in part.iterdir()} == {"x.txt", "y.txt"}, "the part is not whole"


def made_in(log, number=1, inputs=None):
    """A stage that fills two files and a folder in this process, and logs that it did."""

    def work(job):
        files.write_text(job.directory / "a.txt", str(number))
        require_part(job.directory)
        (job.directory / "sub").mkdir(exist_ok=True)
        files.write_text(job.directory / "sub" / "b.txt", str(number))
        with open(log, "a") as file:
            file.write(f"{number}\n")

    return Stage(f"stage {number}", "made", 1, {"number": number}, inputs or {}, work)


def test_a_kill_at_any_change_of_the_disk_leaves_no_result_or_a_whole_one(tmp_path):
    """Killed at each of the changes in turn: the second run has both results, the third makes nothing."""
    made_again = kills = n = 0
    killed = True
    while killed:
        n += 1
        root, log = tmp_path / str(n) / "store", tmp_path / str(n) / "log"
        log.parent.mkdir()
        first = made_in(log)
        stages = [first, made_in(log, 2, {"first": first})]

        def run(stages=stages, root=root):
            assert studies.run(stages, root)[1].complete

        killed = killed_at(n, run)
        kills += killed
        run()
        store, made = ResultStore(root), log.read_text().split()
        assert [store.fault(stage) for stage in stages] == [None, None]
        for stage in stages:
            assert set(read_manifest(store.path(stage))["files"]) == {"a.txt", "sub/b.txt"}
        assert not list(root.rglob("*.partial")) and not (root / "damaged").exists()
        run()
        assert log.read_text().split() == made, "the third run made a stage again"
        made_again += len(made) - 2
    print(f"{kills} kills, {made_again} stages were in the making when killed")
    assert kills > 20


def test_a_stage_whose_publication_was_stopped_is_not_made_again(tmp_path):
    log = tmp_path / "log"
    stage = made_in(log)
    store, _ = studies.run([stage], tmp_path / "store")
    store.path(stage).rename(store.scratch / stage.key)
    assert studies.run([stage], tmp_path / "store")[1].complete
    assert store.fault(stage) is None and log.read_text().split() == ["1"]
    store.path(stage).rename(store.scratch / stage.key)
    (store.scratch / stage.key / "a.txt").write_text("half")
    assert studies.run([stage], tmp_path / "store")[1].complete
    assert store.fault(stage) is None and log.read_text().split() == ["1", "1"]


def test_a_result_without_its_manifest_is_made_again(tmp_path):
    stage = made_in(tmp_path / "log")
    store, _ = studies.run([stage], tmp_path / "store")
    (store.path(stage) / MANIFEST).unlink()
    assert studies.run([stage], tmp_path / "store")[1].complete
    assert store.fault(stage) is None


@pytest.mark.parametrize("name", [MANIFEST, f"{MANIFEST}.partial"])
def test_results_of_earlier_versions_that_list_their_own_manifest_are_whole(tmp_path, name):
    stage = made_in(tmp_path / "log")
    store, _ = studies.run([stage], tmp_path / "store")
    path = store.path(stage) / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["files"][name] = "0" * 64
    path.write_text(json.dumps(manifest))
    assert store.fault(stage) is None

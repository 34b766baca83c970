"""The list of what was not taken over is complete: no key of DP-GEN is dropped without a word."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from ilforge.dpgen.book import COMMENT, NOT_KNOWN, Book, leaves, named
from ilforge.dpgen.move import import_dpgen
from support import dpgen_runs


def listed(text):
    """Keys in the tables of the page, with stars for numbers of list entries."""
    keys = re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)
    return {re.sub(r"\[(\d+|\*)\]", "[*]", key.split(" (")[0]) for key in keys}


def wanted(data):
    return {named(tuple("*" if isinstance(step, int) else step for step in path)) for path in leaves(data)}


def covered(key, found):
    """Whether a key, or one that contains it, is in the lists."""
    return any(key == one or key.startswith((f"{one}.", f"{one}[")) for one in found)


@pytest.mark.parametrize("run", ["vasp", "cp2k"])
def test_every_key_of_both_files_is_in_a_list(run, request):
    moved, source = request.getfixturevalue(f"moved_{run}"), request.getfixturevalue(f"{run}_run")
    found = listed((moved.out / "from-dpgen.md").read_text())
    for name in ("param.json", "machine.json"):
        missing = [key for key in wanted(json.loads((source / name).read_text())) if not covered(key, found)]
        assert not missing


def test_strange_keys_at_any_depth_are_in_the_list(tmp_path, salts):
    """A hundred keys that nobody knows, put anywhere into a file that DP-GEN takes."""
    rng, param = np.random.default_rng(7), dpgen_runs.vasp_param()
    tables = [param, param["default_training_param"], *param["model_devi_jobs"]]
    tables += [param["default_training_param"]["model"]["descriptor"], param["default_training_param"]["training"]]
    names = [f"strange_{number}" for number in range(100)]
    for name in names:
        value = [3, "text", [1, 2], {"inner": 1}, None, True][rng.integers(6)]
        tables[rng.integers(len(tables))][name] = value
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts[:3])
    text = (import_dpgen(run, tmp_path / "out").out / "from-dpgen.md").read_text()
    left = text.split("## param.json: not taken over")[1].split("\n## ")[0]
    rows = {name: [line for line in left.splitlines() if re.search(rf"\b{name}\b", line)] for name in names}
    assert all(len(found) == 1 and NOT_KNOWN in found[0] for found in rows.values())
    missing = [key for key in wanted(param) if not covered(key, listed(text))]
    assert not missing


def test_a_book_forgets_no_key():
    rng = np.random.default_rng(3)
    for _ in range(200):
        data = _table(rng, 3)
        book = Book("file", data)
        for path in [path for path in leaves(data) if rng.random() < 0.4]:
            (book.take if rng.random() < 0.5 else book.leave)(path, "said")
        found = {re.sub(r"\[(\d+|\*)\]", "[*]", one.key.split(" (")[0]) for one in (*book.taken(), *book.left())}
        assert wanted(data) <= found


def test_comments_are_named_as_such():
    book = Book("file", {"_comment": "x", "inner": {"_note": 1, "other": 2}})
    assert {entry.key: entry.became for entry in book.left()} == {
        "_comment": COMMENT,
        "inner._note": COMMENT,
        "inner.other": NOT_KNOWN,
    }


def _table(rng, depth):
    """Nested tables and lists by chance."""
    made = {}
    for number in range(rng.integers(1, 5)):
        kind = rng.integers(4) if depth else 0
        made[f"k{number}"] = {
            0: 1,
            1: [1, 2],
            2: _table(rng, depth - 1) if depth else 1,
            3: [_table(rng, depth - 1), _table(rng, depth - 1)] if depth else 1,
        }[int(kind)]
    return made

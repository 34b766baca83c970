"""Drivers and workers killed at random moments: the studies of :mod:`support.random_kills`, until 60 were killed."""

from __future__ import annotations

import pytest

from support.random_kills import STUDIES, Kills

pytestmark = [pytest.mark.slow, pytest.mark.program("packmol"), pytest.mark.timeout(3000)]
ALL = 60


def test_after_sixty_kills_every_label_was_computed_once_and_datasets_are_those_of_undisturbed_runs(tmp_path):
    """Each study checks itself. ``benchmarks/kills.py`` goes on to a thousand kills."""
    done: list[Kills] = []
    while sum(one.all for one in done) < ALL or len(done) < len(STUDIES):
        folder = tmp_path / f"study-{len(done)}"
        folder.mkdir()
        done.append(list(STUDIES.values())[len(done) % len(STUDIES)](folder, len(done)))
    assert sum(one.drivers for one in done) and sum(one.workers for one in done)

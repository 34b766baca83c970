"""No two runs on one store pay for one label; a run that died holds nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from ilforge.errors import SettingsError
from ilforge.labelling.storing import claims
from ilforge.labelling.storing.claims import State, holding
from support.patience import PATIENCE_S, until

METHOD = "m" * 64
HOUR_S = 3600.0


def digest(number: int) -> str:
    return f"{number:032d}" + 32 * "0"


def test_a_frame_is_claimed_by_one_given_back_and_done(tmp_path):
    with holding(tmp_path) as one, holding(tmp_path) as other:
        assert one.take(digest(1), METHOD) is State.MINE is one.take(digest(1), METHOD)
        assert other.take(digest(1), METHOD) is State.BUSY and other.holder_of(digest(1), METHOD) == one.name
        assert other.take(digest(2), METHOD) is State.MINE and other.take(digest(1), "n" * 64) is State.MINE
        other.release(digest(1), METHOD)
        assert other.state(digest(1), METHOD) is State.BUSY, "it is not its own"
        one.release(digest(1), METHOD)
        assert other.take(digest(1), METHOD) is State.MINE
        other.finish(digest(1), METHOD)
        assert one.take(digest(1), METHOD) is State.DONE
        one.release(digest(1), METHOD)
        assert one.take(digest(1), METHOD) is State.MINE
    assert not list((tmp_path / claims.FOLDER).glob("*.alive"))


def race(folder, barrier, won):
    with holding(folder) as holder:
        barrier.wait()
        mine = [i for i in range(40) if holder.take(digest(i), METHOD) is State.MINE]
        won.put(mine)
        barrier.wait()


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_at_once_one_wins_each_frame(tmp_path, dead):
    """Eight processes, also where the claims are there already, of a run that was killed."""
    context = multiprocessing.get_context("fork")
    if dead:
        process = context.Process(target=claim_and_die, args=(tmp_path, 40))
        process.start()
        process.join()
        assert len(list((tmp_path / claims.FOLDER).glob("*.claim"))) == 40
    barrier, won = context.Barrier(8), context.Queue()
    processes = [context.Process(target=race, args=(tmp_path, barrier, won)) for _ in range(8)]
    for process in processes:
        process.start()
    taken = sorted(number for _ in processes for number in won.get(timeout=PATIENCE_S))
    for process in processes:
        process.join()
    assert taken == list(range(40))


def claim_and_die(folder, count):
    with holding(folder) as holder:
        for number in range(count):
            holder.take(digest(number), METHOD)
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_dead_of_this_machine_hold_nothing_at_once(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=claim_and_die, args=(tmp_path, 1))
    process.start()
    process.join()
    with holding(tmp_path) as holder:
        assert holder.take(digest(0), METHOD) is State.MINE


def test_the_dead_of_another_machine_hold_until_their_lease_ends_and_the_living_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.05)
    with holding(tmp_path, lease_s=HOUR_S) as living:
        assert living.take(digest(1), METHOD) is State.MINE
        process = multiprocessing.get_context("fork").Process(target=claim_elsewhere_and_die, args=(tmp_path,))
        process.start()
        process.join()
        signs = list((tmp_path / claims.FOLDER).glob("*.alive"))
        assert len(signs) == 2
        monkeypatch.setattr(claims, "_machine", lambda: "here")
        with holding(tmp_path, lease_s=HOUR_S) as holder:
            assert holder.take(digest(0), METHOD) is State.BUSY
            for path in signs:
                os.utime(path, (time.time() - 2 * HOUR_S, time.time() - 2 * HOUR_S))
            assert holder.take(digest(0), METHOD) is State.MINE, "its lease is over"
            until(lambda: holder.state(digest(1), METHOD) is State.BUSY, "another sign of life")
            assert holder.take(digest(1), METHOD) is State.BUSY


def claim_elsewhere_and_die(folder):
    claims._machine = lambda: "elsewhere"
    claims.LEASE_S = HOUR_S
    claim_and_die(folder, 1)


def test_words_about_frames_are_kept_as_long_as_somebody_may_not_know(tmp_path):
    with holding(tmp_path) as one:
        one.take(digest(1), METHOD)
        one.finish(digest(1), METHOD)
        with holding(tmp_path) as other:
            assert other.state(digest(1), METHOD) is State.DONE
    time.sleep(0.02)
    with holding(tmp_path) as later:
        assert later.state(digest(1), METHOD) is State.FREE


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / claims.FOLDER).symlink_to(tmp_path / "precious")
    with pytest.raises(SettingsError, match="is a link"), holding(tmp_path):
        pass

"""AIMD whose every frame is a label: the forces are those of the labels, and a kill loses none of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.aimd import hand_out
from ilforge.labelling.label import evaluate
from ilforge.labelling.storing.store import FILE, LabelStore
from support import aimd
from support.patience import until


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return aimd.run(folder / "run", folder / "inbox")


def test_every_step_is_a_frame_with_where_it_comes_from(whole):
    assert whole.fault is None and whole.computed == len(whole.labels) == aimd.N_FRAMES
    assert whole.labels[0].frame_digest == frames.digest(frames.quantize(aimd.start()))
    assert len({label.frame_digest for label in whole.labels}) == aimd.N_FRAMES
    for i, label in enumerate(whole.labels):
        assert label.frame.info == {
            "ions": "1 Li, 1 BF4", "kind": "nEQ", "recipe": "aimd", "seed": 4, "parent": "tiny", "time_fs": 0.5 * i,
        }  # fmt: skip


def test_the_labels_are_those_of_the_method_on_the_stored_frames(whole):
    for label in whole.labels[::5]:
        again = evaluate(label.frame, aimd.SPEC, liquid=aimd.liquid())
        assert again.energy == pytest.approx(label.energy, abs=1e-9)
        np.testing.assert_allclose(again.forces, label.forces, rtol=0, atol=1e-9)


def test_the_atoms_move_by_the_forces_of_the_labels(whole):
    """x(t+dt) - 2 x(t) + x(t-dt) is dt^2 F/m and kicks of the thermostat, sqrt(kT/m) sqrt(2 gamma dt) dt / sqrt(2)."""
    masses = aimd.liquid().topology.masses[:, None]
    positions = np.array([label.frame.positions for label in whole.labels])
    pull = np.array([label.forces for label in whole.labels])[1:-1] / masses
    dt, friction = 0.5 / 10.180505306645389, 1e-3 * 10.180505306645389  # in Å sqrt(amu/eV); 1/ps
    second = positions[2:] - 2 * positions[1:-1] + positions[:-2]
    kicks = np.sqrt(8.617333262e-5 * 423.0 / masses) * np.sqrt(2 * friction * dt) * dt / np.sqrt(2)
    slope = np.sum(second * pull / kicks**2) / np.sum((pull / kicks) ** 2) / dt**2
    assert slope == pytest.approx(1.0, abs=0.12)  # three times what so many kicks make of it
    assert np.sqrt(np.mean(((second - dt**2 * pull) / kicks) ** 2)) == pytest.approx(1.0, abs=0.25)


def test_a_killed_run_goes_on_where_it_was_and_computes_nothing_twice(whole, tmp_path, pytestconfig):
    command = [sys.executable, "-m", "support.aimd", str(tmp_path / "run"), str(tmp_path / "labels" / "inbox"), "8"]
    process = subprocess.Popen(command, cwd=pytestconfig.rootpath / "tests")
    kept = tmp_path / "run"
    until(lambda: len(list(kept.glob("*.label"))) >= 4 or process.poll() is not None, "four labels", every_s=0.002)
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.label")}
    assert 4 <= len(before) <= 8
    run = aimd.run(kept, tmp_path / "labels" / "inbox")
    assert run.computed == aimd.N_FRAMES - len(before)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    for label, undisturbed in zip(run.labels, whole.labels, strict=True):
        assert label.frame_digest == undisturbed.frame_digest
        assert label.energy == undisturbed.energy and np.array_equal(label.forces, undisturbed.forces)
    method = potentials.digest(potentials.create(aimd.SPEC))
    with LabelStore(tmp_path / "labels") as store:
        assert store.absorb_inbox() == aimd.N_FRAMES
        assert not store.missing([label.frame_digest for label in run.labels], method)


def test_a_step_that_lacked_memory_is_no_end_of_the_run(whole, tmp_path, monkeypatch):
    """The run stops with an error, and the next attempt ends as one that nobody disturbed."""
    real, calls = evaluate, []

    def short(frame, *args, **kwargs):
        calls.append(frame)
        label = real(frame, *args, **kwargs)
        return replace(label, energy=None, forces=None, error="MemoryError: ") if len(calls) == 4 else label

    monkeypatch.setattr("ilforge.labelling.aimd.evaluate", short)
    with pytest.raises(DidNotFinish, match="step 3: MemoryError"):
        aimd.run(tmp_path / "run", tmp_path / "inbox")
    run = aimd.run(tmp_path / "run", tmp_path / "inbox")
    assert run.fault is None and run.computed == aimd.N_FRAMES - 3
    assert [label.frame_digest for label in run.labels] == [label.frame_digest for label in whole.labels]


def test_a_longer_run_computes_only_what_no_store_has(whole, tmp_path):
    with LabelStore(tmp_path / "store") as store:
        store.add_many(whole.labels[:4])
        hand_out(store, [aimd.start()], whole.labels[0].method_digest, tmp_path / "known")
    (tmp_path / "store" / FILE).unlink()  # a run reads files and no store
    run = aimd.run(tmp_path / "run", None, n_frames=6, known=tmp_path / "known")
    assert run.computed == 2
    assert [label.energy for label in run.labels] == [label.energy for label in whole.labels[:6]]


def test_labels_of_another_method_in_the_folder_are_not_taken(tmp_path):
    aimd.run(tmp_path, None, n_frames=2)
    other = aimd.run(tmp_path, None, n_frames=2, spec={"kind": "clp", "cutoff_A": 3.4})
    assert other.computed == 2


def test_a_damaged_file_of_a_run_is_computed_again(tmp_path):
    aimd.run(tmp_path, None, n_frames=3)
    (tmp_path / "000001.label").write_bytes(b"half of a label")
    again = aimd.run(tmp_path, None, n_frames=3)
    assert again.computed == 1 and len(again.labels) == 3


def test_a_step_the_method_cannot_compute_ends_the_run_and_is_kept_with_its_reason(tmp_path):
    from ilforge.labelling.aimd import run_aimd

    run = run_aimd(
        aimd.start(), {**aimd.SPEC, "max_iterations": 2}, aimd.liquid(), n_frames=5, temperature_K=423.0,
        timestep_fs=0.5, seed=4, directory=tmp_path,
    )  # fmt: skip
    assert len(run.labels) == 1 and run.labels[0].failed and "gave no energy" in run.fault


def test_a_run_of_one_frame_is_a_single_point_and_refused(tmp_path):
    with pytest.raises(SettingsError, match="at least 2 frames"):
        aimd.run(tmp_path, None, n_frames=1)

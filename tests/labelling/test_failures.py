"""The failures of labelling, one by one and in one batch: each refused with its reason, none stops the others.

Outputs are recorded from real programs and damaged here as the end of a queue, a full disk or a crash damages them;
labels are computed where nothing needs to be installed for it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.labelling.gate import judge_batch, tally
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.label import evaluate, forget
from ilforge.labelling.labels import Label
from ilforge.labelling.reading.outputs import import_labels
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from support.patience import until

DATA = Path(__file__).parents[1] / "data"
GPAW, CP2K = DATA / "outputs" / "gpaw_two_frames.txt", DATA / "outputs" / "cp2k_lithium_pair.out"
PAIR, SALT = "1 PYR14, 1 BF4", "1 Li, 1 BF4"
XTB = {"kind": "xtb", "method": "GFN1-xTB"}


@pytest.fixture(autouse=True)
def cold():
    forget()
    yield
    forget()


def damaged(source: Path, folder: Path, change: Callable[[str], str]) -> Path:
    """A recorded output after something happened to it."""
    path = folder / f"damaged-{source.name}"
    path.write_text(change(source.read_text()))
    assert path.read_text() != source.read_text()
    return path


def killed_in_self_consistency(text: str) -> str:
    """The queue's time was over in the middle of the second frame."""
    second = text.index("iter:", text.rindex("Positions:") if "Positions:" in text else text.rindex("Atoms  #"))
    return text[: second + 120]


def cut_in_forces(text: str) -> str:
    return text[: text.rindex("\nForces") + 60]


def nan_in_forces(text: str) -> str:
    start = text.rindex("\nForces")
    return text[:start] + re.sub(r"-?\d+\.\d{5}", "     nan", text[start:], count=1)


def one_row_less(text: str) -> str:
    """The table of forces lacks an atom that the list of positions has."""
    start = text.rindex("\nForces")
    lines = text[start:].splitlines(keepends=True)
    rows = [number for number, line in enumerate(lines) if re.search(r"\d\.\d{5}", line)]
    del lines[rows[2]]
    return text[:start] + "".join(lines)


def stars_for_forces(text: str) -> str:
    start = text.index("ATOMIC FORCES in")
    return text[:start] + re.sub(r"-?\d\.\d{8}", "**********", text[start:], count=1)


@pytest.mark.parametrize(
    ("source", "change", "verdict"),
    [
        (GPAW, killed_in_self_consistency, "not converged"),
        (GPAW, cut_in_forces, "truncated"),
        (GPAW, nan_in_forces, "not finite"),
        (GPAW, one_row_less, "truncated"),
        (CP2K, stars_for_forces, "(truncated|not finite|missing)"),
        (CP2K, lambda text: text[: text.index("ATOMIC FORCES in") + 300], "truncated"),
        (CP2K, lambda text: text.replace("outer SCF loop converged", "outer SCF loop FAILED to converge"), "not conv"),
    ],
)
def test_a_damaged_output_gives_a_reason_and_keeps_its_good_frames(tmp_path, source, change, verdict):
    (whole,) = {len(import_labels([source]).labels)}
    found = import_labels([damaged(source, tmp_path, change)], ions=SALT)
    reasons = verdicts(found.labels)
    assert re.match(verdict, reasons[-1]), reasons
    assert reasons[:-1] == [None] * (whole - 1), "the frames before it are as good as ever"


def test_an_output_that_ends_before_its_first_result_says_so(tmp_path):
    found = import_labels([damaged(CP2K, tmp_path, lambda text: text[: text.index("SCF WAVEFUNCTION") + 400])])
    assert found.labels == ()
    ((_, ending),) = found.endings.items()
    assert ending.startswith("truncated")


def verdicts(labels) -> list[str | None]:
    judged = judge_batch({str(i): label for i, label in enumerate(labels)}, topology_of, GateSettings())
    return [label.error or reason for label, reason in zip(labels, judged.values(), strict=True)]


def topology_of(frame):
    return Liquid.from_label(frame.info["ions"]).topology if "ions" in frame.info else None


@pytest.fixture
def bad_frames(one_pair):
    """Frames whose labels must not be accepted, by the verdict they get from a real method."""
    hydrogen = next(i for i, z in enumerate(one_pair.numbers) if z == 1)
    fluorine = next(i for i, z in enumerate(one_pair.numbers) if z == 9)
    proton, torn, crushed, fewer = (one_pair.copy() for _ in range(4))
    proton.positions[hydrogen] = proton.positions[fluorine] + 0.95 * away(one_pair, fluorine)
    torn.positions[fluorine] += 1.2 * away(one_pair, fluorine)
    crushed.positions[1] = crushed.positions[0]
    del fewer[-1]
    return {"proton transfer": proton, "broken bond": torn, "failed": crushed, "the frame has 34 atoms": fewer}


def away(frame, atom):
    """From the middle of the anion outwards."""
    outwards = frame.positions[atom] - frame.positions[-5:].mean(axis=0)
    return outwards / np.linalg.norm(outwards)


def test_a_batch_with_every_fault_is_labelled_to_its_end_and_only_the_good_ones_are_taken(
    one_pair, bad_frames, tmp_path
):
    """As a study labels: through the inbox of a store, one frame after the other."""
    good = []
    for number in range(3):
        frame = one_pair.copy()
        frame.rattle(0.01, seed=number)
        good.append(frames.quantize(frame))
    order = [good[0], *bad_frames.values(), good[1], good[0], good[2]]  # one of them twice
    with LabelStore(tmp_path) as store:
        labels = [evaluate(frame, XTB, 1, store.inbox, liquid=Liquid.from_label(PAIR)) for frame in order]
        store.absorb_inbox()
        held = store.get_many([frames.digest(frame) for frame in order], labels[0].method_digest)
    assert len(held) == 7, "the repeated frame is one label"
    reasons = judge_batch(held, topology_of, GateSettings())
    assert all(reasons[frames.digest(frame)] is None for frame in good)
    for words, frame in bad_frames.items():
        assert words in reasons[frames.digest(frame)], (words, reasons[frames.digest(frame)])
    assert tally(reasons.values())["accepted"] == 3


def test_a_method_with_too_few_iterations_fails_every_frame_and_says_so(one_pair):
    label = evaluate(one_pair, {**XTB, "max_iterations": 2})
    assert label.failed and "DidNotConverge" in label.error and label.energy is None and label.forces is None


@pytest.mark.parametrize(
    ("how", "said"),
    [("timeout -s KILL 0.3 sleep 5", "exit code 137|signal 9"), ("timeout 0.3 sleep 5", "exit code 124")],
)
def test_a_program_killed_by_the_queue_is_a_failed_label(tmp_path, how, said):
    """The adapter of VASP, whose command is any: it dies in the middle of the frame, as at the end of its walltime."""
    frame = frames.read(DATA / "lithium_pair.xyz")[0]
    for name in ("Li_sv", "B", "F"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "POTCAR").write_text(f"  PAW_PBE {name} 01Jan2000\n End of Dataset\n")
    label = evaluate(frame, {"kind": "vasp", "command": how, "potentials_dir": str(tmp_path)})
    assert label.failed and re.search(said, label.error), label.error


LABEL_TWENTY = """
import sys, threading
from ilforge.labelling import label as labelling
evaluate, begun = labelling.evaluate, []

def at_most_twenty(*arguments, **more):
    begun.append(1)
    if len(begun) > 20:
        threading.Event().wait()  # for the kill, which may be late
    return evaluate(*arguments, **more)

labelling.evaluate = at_most_twenty
from ilforge.cli import main
sys.argv = ["ilforge", "label", "many.xyz"]
main()
"""


@pytest.mark.slow
def test_a_study_killed_in_the_middle_of_a_label_has_no_half_of_it(tmp_path):
    """SIGKILL while labels are being made: those that are there are whole, the others are not there."""
    frame = frames.read(DATA / "two_pairs.xyz")[0]
    many = []
    for number in range(40):
        copy = frame.copy()
        copy.rattle(0.01, seed=number)
        many.append(frames.quantize(copy))
    frames.write(tmp_path / "many.xyz", many)
    process = subprocess.Popen(
        [sys.executable, "-c", LABEL_TWENTY], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    database = tmp_path / "ilforge-store" / "labels" / "labels.sqlite"

    def two_labels():
        if not database.is_file():
            return False
        with LabelStore(database.parent) as store:
            return store.census()["labels"] >= 2

    until(two_labels, "two labels", every_s=0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with LabelStore(database.parent) as store:
        labels = list(store)
        assert 2 <= len(labels) <= 20 and store.census()["damaged"] == 0
    assert verdicts(labels) == [None] * len(labels)


def test_a_broken_result_is_never_stored_as_a_result(one_pair, tmp_path):
    """NaN, forces of other atoms, nothing: whatever a calculator may give."""
    good = Label(one_pair, {"kind": "any"}, -1.0, np.zeros((35, 3)) + 1e-9, converged=True)
    broken = [
        replace(good, forces=np.full((35, 3), np.nan)),
        replace(good, energy=float("inf")),
        replace(good, forces=good.forces[:34]),
        replace(good, energy=None),
    ]
    for number, label in enumerate(broken):
        with LabelStore(tmp_path / str(number)) as store:
            store.add(label)
            (held,) = store
            assert held.failed and held.energy is None and held.forces is None, held.error


def test_a_frame_that_comes_twice_and_a_method_that_changed_under_its_name(tmp_path):
    again = import_labels([GPAW, GPAW], ions=SALT).labels
    assert [label.error and label.error.split(":")[0] for label in again] == [None, None, "duplicate", "duplicate"]
    energy = re.findall(r"^\s*Free energy:\s*(-?\d+\.\d+)", GPAW.read_text(), re.M)[-1]
    other = damaged(GPAW, tmp_path, lambda text: text.replace(energy, f"{float(energy) - 0.2:.6f}"))
    *_, last = import_labels([GPAW, other], ions=SALT).labels
    assert last.error.startswith("contradiction: ") and "by another method with the same name" in last.error

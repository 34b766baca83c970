"""The gate: every fault it exists for, and none where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilforge.labelling.gate import judge, judge_batch, tally
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from support.labels import random_label

GATE = GateSettings()
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def good(request):
    """A real label: CL&P on two ion pairs."""
    from ilforge import frames

    frame = frames.read(request.config.rootpath / "tests" / "data" / "two_pairs.xyz")[0]
    return evaluate(frame, {"kind": "clp", "cutoff_A": 4.0})


def test_a_good_label_passes(good, topology_of):
    assert judge(good, topology_of(good.frame), GATE) is None
    assert judge(good, None, GATE) is None


def test_failed(good):
    failed = Label(good.frame, good.method, error="GFN1-xTB: SCF not converged")
    assert judge(failed, None, GATE) == "failed: GFN1-xTB: SCF not converged"


def test_not_converged(good):
    assert judge(replace(good, converged=False), None, GATE).startswith("not converged:")


def test_not_finite(good):
    forces = good.forces.copy()
    forces[3, 1] = np.nan
    assert judge(replace(good, forces=forces), None, GATE).startswith("not finite:")
    assert judge(replace(good, energy=np.inf), None, GATE).startswith("not finite:")


def test_net_force(good):
    """CP2K's egg-box effect looks like this: every force off by a little, the sum by much."""
    drifting = replace(good, forces=good.forces + [0.001, 0.0, 0.0])
    reason = judge(drifting, None, GATE)
    assert reason.startswith("net force: 0.070 eV/Å")
    assert judge(drifting, None, GateSettings(max_net_force_eV_A=0.1)) is None


def test_large_force(good):
    forces = good.forces.copy()
    forces[4, 2] += 40.0
    forces[5, 2] -= 40.0
    reason = judge(replace(good, forces=forces), None, GATE)
    assert reason.startswith("large force:")
    assert judge(replace(good, forces=forces), None, GateSettings(max_force_eV_A=200.0)) is None


def test_fragmented(good, topology_of):
    frame = good.frame.copy()
    hydrogen = frame.get_chemical_symbols().index("H")
    frame.positions[hydrogen] += [0.0, 0.0, 1.5]
    reason = judge(replace(good, frame=frame), topology_of(frame), GATE)
    assert reason.startswith("fragmented:")


def test_tally():
    gate = GateSettings(max_net_force_eV_A=1e-3)
    labels = [random_label(seed) for seed in range(3)]
    pushed = replace(random_label(4), forces=np.ones((20, 3)))
    failed = replace(random_label(5), error="no")
    assert tally(judge(label, None, gate) for label in [*labels, pushed, failed]) == {
        "accepted": 3, "failed": 1, "net force": 1
    }  # fmt: skip


def lone_anions() -> dict[str, Label]:
    """GFN1-xTB (tblite 0.8) on one BF4- in a vacuum: two of these frames ended in a false state, converged."""
    from ilforge import frames

    found = {}
    for frame in frames.read(DATA / "bf4_false_states.xyz"):
        energy, forces = frame.info.pop(frames.ENERGY), frame.arrays.pop(frames.FORCES)
        label = Label(frame, {"kind": "xtb"}, energy, forces, converged=True)
        found[label.frame_digest] = label
    return found


def test_a_false_state_of_self_consistency_is_refused_though_it_converged(topology_of):
    labels = lone_anions()
    alone = [judge(label, None, GATE) for label in labels.values()]
    assert alone == [None] * len(labels), "one by one, each looks like a label"
    reasons = judge_batch(labels, lambda frame: None, GATE)
    jumps = [reason for reason in reasons.values() if reason is not None]
    assert len(jumps) == 2 and all(reason.startswith("energy jump:") for reason in jumps)
    assert "-46.5" in jumps[0] and "+21" in jumps[1], jumps
    few = dict(list(labels.items())[:4])
    assert not any(judge_batch(few, lambda frame: None, GATE).values()), "of four frames no median says anything"


def alike(energies, n_atoms: int = 20) -> dict[str, Label]:
    """Labels of frames of the same atoms with these energies, eV."""
    first, labels = random_label(0, n_atoms), {}
    for number, energy in enumerate(energies):
        frame = first.frame.copy()
        frame.rattle(0.01, seed=number)
        labels[f"{n_atoms} atoms, {number}"] = replace(first, frame=frame, energy=float(energy))
    return labels


def test_the_spread_of_honest_frames_is_no_jump():
    """Energies as wide as hot frames of 70 atoms have them (standard deviation 2.6 eV, the furthest 10 eV off)."""
    honest = [*np.random.default_rng(7).normal(-100, 2.6, 40), -90.0]
    gate = GateSettings(max_energy_jump_eV_atom=0.01)
    assert not any(judge_batch(alike(honest), lambda frame: None, gate).values())
    *others, last = judge_batch(alike([*honest, -145.0]), lambda frame: None, gate).values()
    assert last.startswith("energy jump: -4") and not any(others)


def test_every_composition_is_held_against_its_own():
    """One of other atoms may lie thousands of eV away."""
    labels = {**alike(-100.0 - 0.1 * np.arange(6)), **alike(-3000.0 - 0.1 * np.arange(6), n_atoms=30)}
    assert not any(judge_batch(labels, lambda frame: None, GATE).values())

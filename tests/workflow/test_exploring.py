"""What each exploration gets: conditions, starts, the region that it must not leave, and the window of candidates."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.frames import FORCES
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.sampling.explanation import as_json
from ilforge.sampling.exploration import Conditions, Exploration, Part
from ilforge.sampling.selection import Window, select
from ilforge.study.load import load_study
from ilforge.study.settings import LearningSettings
from ilforge.workflow.explored import explored
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps import exploring
from ilforge.workflow.store import write_json
from support import md, studies


def boxes(count, parents, scale=1.0):
    found = []
    for number in range(count):
        box = md.packed_box()
        box.set_cell(box.cell * scale, scale_atoms=True)
        box.info.update(kind="EQ", recipe="nvt", parent=f"box-{number % parents}", number=number)
        found.append(frames.quantize(box))
    return found


def test_runs_take_all_combinations_in_turn():
    learning = LearningSettings(
        starts=8, ensembles=["NPT", "NVT"], temperatures_K=[450.0, 600.0], pressures_bar=[1.0, 5000.0]
    )
    walks = [exploring.walk_of(learning, 1.0, run, seed=run) for run in range(8)]
    assert [walk.conditions for walk in walks[:6]] == [
        Conditions("NPT", 450.0, 1.0), Conditions("NPT", 450.0, 5000.0), Conditions("NPT", 600.0, 1.0),
        Conditions("NPT", 600.0, 5000.0), Conditions("NVT", 450.0), Conditions("NVT", 600.0),
    ]  # fmt: skip
    assert walks[6].conditions == walks[0].conditions and walks[6].seed == 6
    assert exploring.walk_of(LearningSettings(), 7.0, 3, 1).conditions == Conditions("NPT", 450.0, 7.0)


def test_runs_start_from_different_boxes_whatever_the_number_of_runs():
    candidates = boxes(12, parents=4)
    starts = [exploring.starts_of_run(candidates, run, 3, seed=5) for run in range(8)]
    assert [len(one) for one in starts] == [4] * 8
    assert len({one[0].info["parent"] for one in starts[:4]}) == 4
    assert len({one[0].info["number"] for one in starts}) == 8
    assert len({tuple(box.info["number"] for box in one[1:]) for one in starts}) > 1


def test_a_run_must_not_leave_the_densities_of_sampled_frames_by_more_than_the_margin():
    learning, liquid = LearningSettings(density_margin=0.1), md.liquid()
    known = [*boxes(1, 1), *boxes(1, 1, scale=1.1)]
    densest = exploring.density_of(known[0], liquid.topology)
    found = exploring.trusted_region(learning, known, liquid, 1.3)
    assert found.densities_g_cm3 == pytest.approx((0.9 * densest / 1.331, 1.1 * densest), rel=1e-6)
    assert (found.deviation_eV_A, found.bond_factor) == (1.5, 1.3)


def test_a_calibrated_window_is_that_of_a_committee_whose_errors_are_known(tmp_path):
    """If the second of two members gives the labels, the error of the first is twice the deviation."""
    topology, rng = md.liquid().topology, np.random.default_rng(1)
    members = [md.CLP, md.WIDE_CLP]
    one, other = (potentials.create(member).calculator(topology) for member in members)
    labelled, deviations = [], []
    for number in range(24):
        box = boxes(1, 1, scale=1.05)[0]
        box.positions += rng.normal(scale=0.002 * (number + 1), size=box.positions.shape)
        box.arrays[FORCES] = other.get_forces(box)
        deviations.append(0.5 * np.linalg.norm(one.get_forces(box) - box.arrays[FORCES], axis=1).max())
        labelled.append(box)
    frames.write(tmp_path / "accepted.xyz", labelled)
    Dataset(tuple(boxes(1, 1)), tuple(boxes(1, 1, scale=1.1))).write(tmp_path)
    target = 2 * (np.sort(deviations)[9] + np.sort(deviations)[10]) / 2
    learning = LearningSettings(
        deviation_low_eV_A="calibrated", deviation_high_eV_A=1000.0, force_error_eV_A=target, pressure_deviation_GPa=0.3
    )
    exploring.write_window(tmp_path, tmp_path, tmp_path / "accepted.xyz", members, md.liquid(), learning, 1)
    found = exploring.read_window(tmp_path)
    assert found.low == pytest.approx(np.sort(deviations)[10], rel=1e-6)
    assert "24 validation frames, rank correlation 1.00" in found.note
    densest = exploring.density_of(boxes(1, 1)[0], topology)
    assert found.densities_g_cm3 == pytest.approx((densest / 1.331, densest), rel=1e-6)
    assert (found.high, found.pressure_GPa) == (1000.0, 0.3)
    exploring.write_window(tmp_path, tmp_path, None, [], md.liquid(), LearningSettings(), 1)
    assert exploring.read_window(tmp_path).low == 0.05


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("temperature_K = 450.0", r"temperatures_K = \[450.0\]"),
        ("temperatures_K = [450.0, 450.0]", "contains a value twice"),
        ('ensembles = ["NVT"]\npressures_bar = [1.0]', 'needs ensembles with "NPT"'),
        ("temperatures_K = [300.0, 400.0, 500.0]", "starts is 2, but .* 3 combinations"),
        ("deviation_low_eV_A = 60.0", "must be below deviation_high_eV_A"),
        ('deviation_low_eV_A = "adaptive"', "deviation_low_eV_A"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_words(tmp_path, keys, words):
    path = studies.smallest(tmp_path, "clp")
    text = path.read_text().replace("deviation_low_eV_A = 0.0\n", "") if "_low" in keys else path.read_text()
    path.write_text(text.replace("[learning]\n", f"[learning]\n{keys}\n"))
    with pytest.raises(SettingsError, match=words):
        load_study(path)


def test_what_exploration_found_is_said_for_every_state(tmp_path):
    plan = make_plan(load_study(studies.smallest(tmp_path, "clp")))
    boiled = Part(1, 0.004, "boiled", "At 0.004 ps: the density fell.", 0.41)
    frame = boxes(1, 1)[0]
    run = Exploration((frame,), np.array([9.0]), (None,), Conditions("NPT", 450.0, 1.0), ((),), parts=(boiled,))
    window = Window(0.05, 1.5, note="0.05 eV/Å was used: a calibration needs 20 validation frames, and there are 5")
    selection = as_json(select([run], window, 3, md.liquid().topology), window)

    class Store:
        def holds(self, stage):
            return stage is plan.explorations[1, ""]

        def path(self, stage):
            return tmp_path

    write_json(tmp_path / "selection.json", selection)
    (found,) = explored(plan, Store())
    first, second, third = found.lines
    assert first == (
        "Iteration 1, NPT, 450 K, 1 bar: 0 accurate, 0 candidates, 0 to be labelled, failed: 1 deviation too high, "
        "runs that ended early: 1 boiled (at 0.004 ps and 0.41 g/cm3)"
    )
    assert "validation frames, and there are 5" in second and "explore at a lower temperature" in third

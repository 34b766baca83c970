"""Figures say what the content says: every outlier, every point, every run that must not be quoted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilforge.report import LearningRound, NamedCurve, Parity
from ilforge.report.content import ExploredState
from ilforge.report.figures import (
    deviation_figure,
    improvement_figure,
    msd_figure,
    plain_figure,
    rdf_figure,
    state_deviation_figure,
)
from ilforge.report.inventory import explored_table
from ilforge.report.palette import Palette
from ilforge.report.parity import OUTLIER, energy_parity, energy_residuals, force_parity, force_residuals
from ilforge.report.plot import MAX_POINTS, thinned
from ilforge.results import Curve

PALETTE = Palette.of(["clp", "deepmd", "mace"])


def trace(figure, name):
    return next(one for one in figure.data if one.get("name") == name)


def test_bins_hold_every_component_and_dots_every_outlier(content):
    parity = content.parity[0]
    residuals = force_residuals(parity, "EQ")
    figure = force_parity(parity, "EQ", PALETTE)
    bins, dots = trace(figure, "bins"), trace(figure, "outliers")

    errors = (parity.forces_predicted - parity.forces_reference)[np.array(parity.datasets)[parity.frames] == "EQ"]
    beyond = np.abs(errors) > OUTLIER * np.sqrt(np.mean(errors**2))
    assert 0 < beyond.sum() == len(dots["x"]) == len(dots["text"])
    np.testing.assert_allclose(np.sort(dots["customdata"] - dots["x"]), np.sort(errors[beyond]))
    inside = [i for i in range(residuals.index.size) if i not in set(residuals.outliers)]
    assert bins["customdata"].sum() >= len(inside)


def test_an_outlier_is_named_by_frame_atom_and_direction():
    reference = np.zeros((600, 3))
    predicted = 0.01 * np.ones_like(reference)
    predicted[403, 2] = 3.0
    frames = np.repeat([0, 1], 300)
    parity = Parity("mace", 1, ("EQ", "EQ"), np.zeros(2), np.zeros(2), reference, predicted, ("C",) * 600, frames)
    dots = trace(force_parity(parity, "EQ", PALETTE), "outliers")
    assert dots["text"] == ["frame 1, C (atom 103), z"]
    assert dots["marker"]["symbol"] == ["triangle-up"]  # outside the plot, so on its edge, its value on hover
    assert dots["customdata"] == pytest.approx([3.0])


def test_predictions_that_are_not_numbers_are_counted_not_drawn(content):
    parity = content.parity[0]
    predicted = parity.forces_predicted.copy()
    predicted[5, 1] = np.nan
    broken = Parity(**{**vars(parity), "forces_predicted": predicted})
    figure = force_parity(broken, "EQ", PALETTE)
    assert "1 prediction not finite" in figure.caption
    assert np.isfinite(trace(figure, "outliers")["y"]).all()


def test_energies_are_compared_about_their_means():
    energies = np.array([-20.0, -20.01, -20.02])
    parity = Parity(
        "mace", 0, ("EQ",) * 3, energies, energies + 0.005, np.zeros((3, 3)), np.zeros((3, 3)), ("H",) * 3, np.arange(3)
    )
    residuals, offset = energy_residuals(parity, "EQ")
    assert offset == pytest.approx(5.0)
    np.testing.assert_allclose(residuals.errors, 0, atol=1e-9)
    dots = trace(energy_parity(parity, "EQ", PALETTE), "all points")
    np.testing.assert_allclose(dots["x"], [10, 0, -10], atol=1e-9)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="forces_predicted"):
        Parity(
            "mace", 0, ("EQ",), np.zeros(1), np.zeros(1), np.zeros((2, 3)), np.zeros((3, 3)), ("H",) * 2, np.zeros(2)
        )


def test_deviations_of_every_round_are_counted():
    rounds = [LearningRound(i, np.array([0.01, 0.2, 0.3, 5.0]), 1, 2, 1, 0.05, 1.5, 2) for i in (1, 2)]
    figure = deviation_figure(rounds, PALETTE)
    assert [sum(one["y"][1:-1:2]) for one in figure.data] == [4, 4]
    (window,) = figure.layout["shapes"]
    assert (window["x0"], window["x1"]) == (0.05, 1.5)


def test_improvement_needs_two_iterations(content):
    once = [r for r in content.records if r.iteration == 1]
    assert improvement_figure(once, PALETTE) is None
    figure = improvement_figure(content.records, PALETTE)
    mace = trace(figure, "MACE, EQ")
    expected = [r.value for r in content.records if (r.quantity, r.potential, r.dataset, r.species) == (
        "force_rmse", "mace", "EQ", None)]  # fmt: skip
    np.testing.assert_allclose(mace["y"], expected)


def curve(y, error=None):
    return Curve(np.arange(1.0, 1 + len(y)), np.asarray(y, dtype=float), error, "time", "ps", "MSD", "A^2")


def test_curves_keep_their_values_and_their_colour():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    named = [
        NamedCurve("msd", "nvt", name, "BF4", curve(values * k, 0.1 * values)) for k, name in ((1, "clp"), (2, "mace"))
    ]
    figure = msd_figure(named, PALETTE)
    np.testing.assert_allclose(trace(figure, "MACE")["y"], 2 * values)
    assert trace(figure, "MACE")["line"]["color"] == PALETTE.colour("mace")
    guide = trace(figure, "slope 1")
    assert guide["y"][1] / guide["y"][0] == pytest.approx(guide["x"][1] / guide["x"][0])


def test_an_unphysical_run_is_dotted_and_not_quoted():
    named = [NamedCurve("density", "npt", name, "", curve([k, k + 0.5])) for k, name in ((1, "clp"), (7, "mace"))]
    figure = plain_figure(named, PALETTE, {"mace"})
    assert trace(figure, "MACE (unphysical)")["line"]["dash"] == "dot"
    assert "7" not in figure.caption and "unphysical" in figure.caption


def test_coordination_lies_below_g_of_r():
    g = [NamedCurve("rdf", "nvt", "mace", "B-N", curve([0, 3, 1]))]
    n = [NamedCurve("coordination", "nvt", "mace", "B-N", curve([0, 1, 2]))]
    figure = rdf_figure(g, n, PALETTE)
    assert [one.get("yaxis") for one in figure.data] == [None, "y2"]
    assert figure.layout["yaxis2"]["domain"][1] < figure.layout["yaxis"]["domain"][0]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_thinning_keeps_the_ends(logarithmic):
    keep = thinned(100_000, logarithmic=logarithmic)
    assert keep[0] == 0 and keep[-1] == 99_999 and len(keep) <= MAX_POINTS
    assert np.all(np.diff(keep) > 0)


def test_colours_are_one_per_potential():
    kinds = {"mace-EQ": "mace", "mace-nEQ": "mace"}
    palette = Palette.of(["mace", "clp", "mace-EQ", "deepmd", "mace-nEQ"], None, kinds)
    assert len(set(palette.colours.values())) == 5
    assert palette.colour("mace") == Palette.of(["mace"]).colour("mace")
    assert palette.label("mace-EQ") == "MACE-EQ"


def test_a_name_of_the_study_has_the_colour_of_its_kind():
    kinds = {"tuned": "mace", "clp": "clp", "clp-md": "clp", "gfn1": "xtb"}
    palette = Palette.of(["clp", "tuned", "clp-md", "gfn1"], None, kinds)
    assert [palette.label(name) for name in kinds] == ["tuned", "CL&P", "CL&P-md", "gfn1"]
    assert palette.colour("tuned") == Palette.of(["mace"]).colour("mace")
    assert palette.colour("clp") == Palette.of(["clp"]).colour("clp") != palette.colour("clp-md")


def test_a_name_that_begins_with_another_kind_has_the_colour_of_its_own():
    palette = Palette.of(["mace", "clp-like", "gpaw-cheap"], None, {"mace": "deepmd", "clp-like": "uf3"})
    deepmd, uf3 = (Palette.of([kind]).colour(kind) for kind in ("deepmd", "uf3"))
    assert palette.colours["mace"] == deepmd and palette.colours["clp-like"] == uf3
    assert list(palette.labels.values()).count("GPAW-cheap") == 0, "nothing is known of it but its name"
    assert {name: palette.label(name) for name in palette} == {name: name for name in palette}


def explored_state(conditions, deviations, **more):
    usual = {"liquid": "PYR14BF4", "runs": 2, "accurate": 1, "candidate": 2, "unknown_density": 1, "labelled": 1}
    words = {"failed": "1 broken or new bonds (broken C-H in PYR14)", "left": "1 boiled (at 3 ps and 0.61 g/cm3)"}
    return ExploredState(conditions=conditions, deviations=np.array(deviations), **{**usual, **words, **more})


def test_deviations_of_every_state_are_counted():
    states = (explored_state("NPT, 450 K, 1 bar", [0.1, np.nan]), explored_state("NVT, 450 K", [0.2, 0.3, 0.4]))
    learning = LearningRound(1, np.array([0.1, 0.2]), 1, 1, 0, 0.05, 1.5, 1, states)
    figure = state_deviation_figure(learning)
    assert [(one["name"], sum(one["y"][1:-1:2])) for one in figure.data] == [
        ("NPT, 450 K, 1 bar", 1),
        ("NVT, 450 K", 3),
    ]
    assert state_deviation_figure(replace(learning, states=states[:1])) is None


def test_the_table_says_by_state_why_frames_failed():
    states = (explored_state("NPT, 450 K, 1 bar", [0.1]), explored_state("NVT, 450 K", [0.1], failed="", left=""))
    table = explored_table([LearningRound(3, np.array([0.1]), 1, 1, 0, 0.05, 1.5, 1, states)])
    first, second = ([cell.text for cell in row] for row in table.rows)
    assert first == [
        "3", "NPT, 450 K, 1 bar", "2", "1", "2", "1", "1", "1 broken or new bonds (broken C-H in PYR14).",
        "1 boiled (at 3 ps and 0.61 g/cm3).",
    ]  # fmt: skip
    assert second[-2:] == ["", ""] and table.numeric == {2, 3, 4, 5, 6}
    assert explored_table([LearningRound(3, np.array([0.1]), 1, 1, 0, 0.05, 1.5, 1)]) is None

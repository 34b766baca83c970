"""SevenNet: what is learned, what is added when it runs, and that its file is what was trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import ilforge
from ilforge import frames
from ilforge.cli.potential_option import parse_potential
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.potentials.learned.sevennet import Sevennet
from ilforge.potentials.learned.sevennet.models import MODELS
from ilforge.potentials.quantum.dispersion import d3bj
from ilforge.training import TRAINERS, Tuning, curve, train
from ilforge.training.alignment import read_report
from ilforge.training.sevennet import KIND, MODEL, dispersion_of, start_of
from ilforge.training.sevennet.settings import SevennetModelSettings
from support.kills import kill_in_the_middle
from support.models import ask, force_rmse

SMALL = SevennetModelSettings(channels=4, lmax=1, layers=2, r_max_A=3.5, epochs=4, batch_size=2)
TUNE = SevennetModelSettings(start="base", epochs=1)
NOTHING_LEARNED = TUNE.model_copy(update={"learning_rate": 1e-14})
SHIFT = {"Li": 3.0, "B": -7.5, "F": 0.25}
"""Between two methods, eV: what the labels of the second are off by for each atom."""
there = pytest.mark.environment("sevennet")


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    return train(dataset, SMALL, 5, tmp_path_factory.mktemp("base"))


def spec_of(model):
    return KIND.spec(model.parent, file_digest(model))


def state_of(model):
    import torch

    return torch.load(model, weights_only=False)["model_state_dict"]


# ---------------------------------------------------------------- what is said, without the environment


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"start": "a", "channels": 8}, "channels describes the network, and start brings its own"),
        ({"start": "a", "preset": "small"}, "leave preset out"),
        ({"preset": "tune"}, "is for fine-tuning: name the model to start from"),
        ({"frozen": 2}, "frozen is for fine-tuning"),
        ({"start": "a", "atom_energies": "isolated atoms"}, "aligned by a fit to the labels"),
        ({"functional": "PBE"}, 'write dispersion = "D3(BJ)" beside it'),
        ({"dispersion": "D3(BJ)"}, "write functional, too"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, says):
    with pytest.raises(ValueError, match="1 validation error") as error:
        SevennetModelSettings(**keys)
    assert says in str(error.value)


def test_dispersion_is_that_of_the_start_unless_it_is_given():
    pretrained, bare = Sevennet(), Sevennet(dispersion="none")
    assert dispersion_of(SMALL, None) is None
    assert dispersion_of(TUNE, pretrained) == "PBE" and dispersion_of(TUNE, bare) is None
    without = SevennetModelSettings(start="a", dispersion="none")
    assert dispersion_of(without, pretrained) is None
    asked = SevennetModelSettings(start="a", dispersion="D3(BJ)")
    assert dispersion_of(asked, bare) == "PBE"
    given = SevennetModelSettings(dispersion="D3(BJ)", functional="r2SCAN")
    assert dispersion_of(given, None) == "r2SCAN"
    with pytest.raises(SettingsError, match="functional is 'LDA9'"):
        dispersion_of(SevennetModelSettings(dispersion="D3(BJ)", functional="LDA9"), None)


def test_a_model_of_several_levels_of_theory_is_no_start():
    assert start_of({"kind": "sevennet"}) == {"kind": "sevennet"}
    with pytest.raises(SettingsError, match=r"SevenNet-MF-0 \(PBE\) has weights for several levels"):
        start_of({"kind": "sevennet", "model": "7net-mf-0", "modality": "PBE"})


def test_the_command_line_takes_what_is_added_from_beside_the_file(tmp_path):
    digest = "0" * 64
    assert parse_potential(str(tmp_path / MODEL), digest)["sha256"] == digest
    (tmp_path / "potential.json").write_text('{"dispersion": "D3(BJ)", "functional": "PBE"}')
    found = parse_potential(str(tmp_path / MODEL), digest)
    assert found["path"] == str(tmp_path / MODEL) and found["dispersion"] == "D3(BJ)" and found["functional"] == "PBE"
    assert "dispersion" not in parse_potential(str(tmp_path / "other.pth"), digest)
    assert parse_potential("sevennet:7net-l3i5", None)["model"] == "7net-l3i5"


def test_snippets_are_programs():
    words = {"file": MODEL, "spec": json.dumps({"kind": "sevennet", "path": MODEL}), "added": "nothing is to be added"}
    for name, text in KIND.snippets.items():
        compile(text.format(**words), name, "exec")


# ---------------------------------------------------------------- what is learned


@there
def test_from_scratch_it_learns_and_its_file_has_the_errors_of_the_curve(base, dataset):
    points = curve.read(base.parent)
    assert [point.step for point in points] == [1, 2, 3, 4]
    best = min(points, key=lambda point: point.stop_loss)
    assert best.force_rmse_eV_A < 0.9 * points[0].force_rmse_eV_A
    assert force_rmse(spec_of(base), dataset.stop) == pytest.approx(best.force_rmse_eV_A, rel=1e-4)
    assert "dispersion" not in spec_of(base) and not KIND.note(base.parent)
    assert {path.name for path in base.parent.iterdir()} == {
        MODEL, "learning_curve.csv", "sevennet.log", "training.json",
    }  # fmt: skip


@there
def test_forces_and_stress_are_derivatives_of_the_energy(base, dataset):
    frame = dataset.stop[0].copy()
    answer, step = ask(spec_of(base), frame), 0.02
    for atom, axis in ((0, 0), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = frame.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(ask(spec_of(base), moved).energy)
        assert answer.forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=3e-3)
    energies = []
    for sign in (1, -1):
        strained = frame.copy()
        strained.set_cell(frame.cell.array @ (np.eye(3) + sign * 1e-3 * np.diag([0, 1, 0])), scale_atoms=True)
        energies.append(ask(spec_of(base), strained).energy)
    assert answer.stress[1] == pytest.approx((energies[0] - energies[1]) / 2e-3 / frame.get_volume(), abs=1e-4)


@there
def test_at_no_learning_rate_the_model_is_its_start_with_energies_of_the_labels_and_d3_once(base, dataset, tmp_path):
    """The labels are the start model's forces and energies, D3(BJ), and a shift: only the shift is to be found."""

    def labelled(frame):
        answer, (energy, forces, _) = ask(spec_of(base), frame), d3bj(frame, "PBE")
        copy = frame.copy()
        copy.info[frames.ENERGY] = answer.energy + energy + sum(SHIFT[z] for z in frame.get_chemical_symbols())
        copy.arrays[frames.FORCES] = answer.forces + forces
        return copy

    moved = replace(dataset, train=tuple(map(labelled, dataset.train)), stop=tuple(map(labelled, dataset.stop)))
    start = {**spec_of(base), "dispersion": "D3(BJ)", "functional": "PBE"}
    tuned = train(moved, NOTHING_LEARNED, 3, tmp_path / "a", start_from=start, tuning=Tuning(start["sha256"]))
    assert spec_of(tuned)["dispersion"] == "D3(BJ)" and spec_of(tuned)["functional"] == "PBE"
    for frame in moved.stop:
        answer = ask(spec_of(tuned), frame)
        np.testing.assert_allclose(answer.forces, frame.arrays[frames.FORCES], rtol=0, atol=2e-5)
        assert answer.energy == pytest.approx(frame.info[frames.ENERGY], abs=1e-3)
    told = read_report(tmp_path / "a")
    total = 2 * SHIFT["Li"] + 2 * SHIFT["B"] + 8 * SHIFT["F"]
    assert told["offset_eV_atom"] == pytest.approx(total / 12, abs=1e-4) and told["spread_eV_atom"] < 1e-4
    assert "least-squares fit" in KIND.note(tuned.parent) and "without D3(BJ) of PBE" in KIND.note(tuned.parent)
    # a model that starts from it, by its file, is run with the same
    again = train(moved, NOTHING_LEARNED, 3, tmp_path / "b", start_from=tuned, tuning=Tuning(file_digest(tuned)))
    assert spec_of(again)["dispersion"] == "D3(BJ)"
    frame = moved.stop[0]
    assert ask(spec_of(again), frame).energy == pytest.approx(frame.info[frames.ENERGY], abs=1e-3)


@there
def test_fine_tuning_learns_and_frozen_layers_stay(base, dataset, tmp_path):
    settings = TUNE.model_copy(update={"frozen": 1, "learning_rate": 0.005, "epochs": 3})
    tuned = train(dataset, settings, 3, tmp_path, start_from=base, tuning=Tuning(file_digest(base)))
    points = curve.read(tmp_path)
    assert points[0].step == 0 and min(point.stop_loss for point in points[1:]) < points[0].stop_loss
    before, after = state_of(base), state_of(tuned)
    moved = {name.partition(".")[0] for name in before if not np.allclose(before[name], after[name], rtol=0, atol=1e-7)}
    learns = moved - {"rescale_atomic_energy"}
    assert learns and all(name.startswith(("1_", "reduce_")) for name in learns), learns
    assert "the embedding and 1 layers frozen" in KIND.note(tmp_path)


@there
def test_a_start_that_does_not_fit_is_refused_before_training(base, dataset, tmp_path, one_pair):
    stranger = one_pair.copy()
    stranger.info[frames.ENERGY], stranger.arrays[frames.FORCES] = -1.0, np.ones((len(stranger), 3))
    wider = replace(dataset, train=(*dataset.train, stranger))
    tuning = Tuning(file_digest(base))
    with pytest.raises(SettingsError, match="does not know C, H, N; it knows Li, B, F"):
        train(wider, TUNE, 3, tmp_path / "a", start_from=base, tuning=tuning)
    deeper = TUNE.model_copy(update={"frozen": 3})
    with pytest.raises(SettingsError, match="frozen is 3, but the start model .* has 2 interaction layers"):
        train(dataset, deeper, 3, tmp_path / "b", start_from=base, tuning=tuning)
    with pytest.raises(SettingsError, match="its digest is"):
        train(dataset, TUNE, 3, tmp_path / "c", start_from=base, tuning=Tuning("0" * 64))


@there
def test_isolated_atoms_are_what_energies_are_counted_from(dataset, tmp_path):
    """The network starts with random weights, and its zero is that of the atoms: far apart they have their energies."""
    atoms = {"Li": -3.0, "B": -70.5, "F": -650.25}
    once = SMALL.model_copy(update={"epochs": 1, "learning_rate": 1e-14})
    model = train(dataset, once, 5, tmp_path, isolated_atoms=atoms)
    config_shift = state_of(model)["rescale_atomic_energy.shift"].numpy()
    np.testing.assert_allclose(sorted(config_shift), sorted(atoms.values()), rtol=1e-6)


@there
def test_stress_counts_in_the_loss_with_its_sign_and_order(base, dataset, tmp_path):
    """Labels of the start model itself leave no loss; with two components of their stress exchanged they do."""

    def labelled(frame, order):
        answer, copy = ask(spec_of(base), frame), frame.copy()
        copy.info |= {frames.ENERGY: answer.energy, frames.STRESS: np.array(answer.stress)[order]}
        copy.arrays[frames.FORCES] = answer.forces
        return copy

    losses = {}
    for name, order in (("own", [0, 1, 2, 3, 4, 5]), ("other", [0, 1, 2, 4, 3, 5])):
        own = tuple(labelled(frame, order) for frame in dataset.train[:2])
        settings = NOTHING_LEARNED.model_copy(update={"stress_weight": 1.0})
        few = replace(dataset, train=own, stop=own)
        train(few, settings, 3, tmp_path / name, start_from=base, tuning=Tuning(file_digest(base)))
        losses[name] = curve.read(tmp_path / name)[0].stop_loss
    assert losses["own"] < 1e-6 < 1e-4 < losses["other"]


LONGER = SMALL.model_copy(update={"epochs": 6})


def kill_after_an_epoch(dataset_file, directory):
    """Train in a process that is killed when at least one epoch is behind it."""
    code = (
        "from pathlib import Path; from ilforge.labelling.datasets.dataset import Dataset\n"
        "from ilforge.training import train; from ilforge.training.sevennet.settings import SevennetModelSettings\n"
        f"settings = SevennetModelSettings.model_validate_json({LONGER.model_dump_json()!r})\n"
        f"train(Dataset.read(Path({str(dataset_file)!r})), settings, 5, Path({str(directory)!r}))\n"
    )
    kill_in_the_middle(code, directory, (directory / "resume.pt").is_file)


@there
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    dataset = Dataset.read(tmp_path / "dataset")
    whole = train(dataset, LONGER, 5, tmp_path / "whole")
    kill_after_an_epoch(tmp_path / "dataset", tmp_path / "run")
    assert KIND.progress(tmp_path / "run")[1] == 6 * -(-len(dataset.train) // 2)
    again = train(dataset, LONGER, 5, tmp_path / "run")
    said = (tmp_path / "run" / "sevennet.log").read_text()
    assert "epoch 1:" not in said and "epoch 6:" in said, "the first epoch was not made again"
    assert curve.read(again.parent) == curve.read(whole.parent)
    mine, other = state_of(again), state_of(whole)
    for name in mine:
        np.testing.assert_array_equal(mine[name], other[name])


@there
def test_what_sevennet_says_when_it_fails_is_quoted(dataset, tmp_path, monkeypatch):
    """A digest that is not that of the weights in the wheel."""
    monkeypatch.setitem(MODELS, "7net-0", replace(MODELS["7net-0"], sha256="0" * 64))
    with pytest.raises(DidNotFinish) as error:
        train(dataset, TUNE, 3, tmp_path, start_from={"kind": "sevennet"}, tuning=Tuning(""))
    assert "has the digest 7052cb42b7b3" in error.value.last_lines


@there
@pytest.mark.slow
def test_sevennet_0_is_fine_tuned_by_its_name(dataset, tmp_path):
    """On labels of CL&P, which are nothing like PBE: the errors fall, and D3(BJ) is added to the model."""
    few = replace(dataset, train=dataset.train[:4], stop=dataset.stop[:2])
    keys = {"start": "sevennet", "epochs": 2, "batch_size": 1}
    tuned = ilforge.train(few, "sevennet", settings=keys, directory=tmp_path / "tuned")
    assert spec_of(tuned)["functional"] == "PBE" and TRAINERS["sevennet"].fine_tunes
    assert read_report(tuned.parent)["start_sha256"] == MODELS["7net-0"].sha256
    assert force_rmse(spec_of(tuned), few.stop) < 0.95 * force_rmse({"kind": "sevennet"}, few.stop)

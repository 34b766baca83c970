"""NequIP and Allegro: what is learned, that a stopped training goes on, and that its file is what was trained."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from ase import units

from ilforge import environments, frames
from ilforge.cli.potential_option import parse_potential
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training import TRAINERS, Tuning, curve, train
from ilforge.training.nequip import KIND, MODEL, SESSION
from ilforge.training.nequip.settings import PRESETS, NequipModelSettings
from support.kills import kill_in_the_middle
from support.models import NEQUIP_SMALL as SMALL
from support.models import ask, force_rmse

ALLEGRO = SMALL.model_copy(update={"architecture": "allegro"})
there = pytest.mark.environment("nequip")


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    return train(dataset, SMALL, 5, tmp_path_factory.mktemp("base"))


def spec_of(model):
    return KIND.spec(model.parent, file_digest(model))


# ---------------------------------------------------------------- what is said, without the environment


def test_presets_are_whole_and_differ_in_the_architecture():
    found = {name: NequipModelSettings(preset=name) for name in PRESETS}
    assert found["small"].architecture == "nequip" and found["allegro"].architecture == "allegro"
    assert NequipModelSettings() == found["small"] and NequipModelSettings(features=8).features == 8


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"preset": "liquid"}, "Input should be 'small' or 'allegro'"),
        ({"architecture": "mace"}, "Input should be 'nequip' or 'allegro'"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"lmax": 5}, "less than or equal to 4"),
    ],
)
def test_keys_that_it_cannot_use_are_refused(keys, says):
    with pytest.raises(ValueError, match=says):
        NequipModelSettings(**keys)


def test_it_is_trained_from_scratch_only(dataset, tmp_path):
    assert not TRAINERS["nequip"].fine_tunes
    with pytest.raises(SettingsError, match="NequIP is trained from scratch only"):
        train(dataset, SMALL, 1, tmp_path, start_from=tmp_path / MODEL, tuning=Tuning("0" * 64))


def test_the_command_line_knows_a_packaged_model(tmp_path):
    digest = "0" * 64
    found = parse_potential(str(tmp_path / "mine.nequip.zip"), digest)
    assert found == {"kind": "nequip", "path": str(tmp_path / "mine.nequip.zip"), "sha256": digest}
    with pytest.raises(SettingsError, match=r"--potential frames\.zip: it may be .*\.nequip\.zip \(NequIP\)"):
        parse_potential("frames.zip", digest)


def test_snippets_are_programs():
    words = {"file": MODEL, "spec": json.dumps({"kind": "nequip", "path": MODEL, "sha256": "0" * 64})}
    for name, text in KIND.snippets.items():
        compile(text.format(**words), name, "exec")


def test_more_work_is_expected_of_larger_networks():
    costs = [KIND.seconds_per_step(NequipModelSettings(features=width, epochs=1), 70) for width in (16, 32, 64)]
    assert 0 < costs[0] < costs[1] < costs[2]


# ---------------------------------------------------------------- what is learned


@there
@pytest.mark.parametrize("settings", [SMALL, ALLEGRO], ids=["nequip", "allegro"])
def test_it_learns_and_its_file_has_the_errors_of_the_curve(settings, base, dataset, tmp_path):
    model = base if settings is SMALL else train(dataset, settings, 5, tmp_path)
    points = curve.read(model.parent)
    assert [point.step for point in points] == [1, 2, 3, 4]
    best = min(points, key=lambda point: point.stop_loss)
    assert best.force_rmse_eV_A < 0.8 * points[0].force_rmse_eV_A
    assert force_rmse(spec_of(model), dataset.stop) == pytest.approx(best.force_rmse_eV_A, rel=1e-4)
    assert not KIND.note(model.parent)
    assert {path.name for path in model.parent.iterdir()} == {
        MODEL, "learning_curve.csv", "nequip.log", "training.json",
    }  # fmt: skip


@there
def test_isolated_atoms_are_what_energies_are_counted_from(dataset, tmp_path):
    """Atoms without neighbours have the energies that were given, and nothing of the network."""
    atoms = {"Li": -3.0, "B": -70.5, "F": -650.25}
    model = train(dataset, SMALL.model_copy(update={"epochs": 1}), 5, tmp_path, isolated_atoms=atoms)
    apart = dataset.stop[0][[0, 2, 3]]  # Li, B, F
    apart.set_cell(np.eye(3) * 60.0)
    apart.positions = np.array([[0.0, 0.0, 0.0], [20.0, 20.0, 20.0], [40.0, 40.0, 40.0]])
    assert sorted(apart.get_chemical_symbols()) == sorted(atoms)
    assert ask(spec_of(model), apart).energy == pytest.approx(sum(atoms.values()), abs=1e-6)


@there
def test_stress_counts_in_the_loss_in_gpa_with_its_sign_and_order(base, dataset, tmp_path):
    """Labels of the start model itself leave no loss, but for two components of the stress that are exchanged."""

    def labelled(frame):
        answer, copy = ask(spec_of(base), frame), frame.copy()
        copy.info |= {frames.ENERGY: answer.energy, frames.STRESS: np.array(answer.stress)[[0, 1, 2, 4, 3, 5]]}
        copy.arrays[frames.FORCES] = answer.forces
        return copy

    own = tuple(map(labelled, dataset.train[:2]))
    settings = SMALL.model_copy(update={"stress_weight": 3.0, "retrain_learning_rate": 1e-14, "epochs": 1})
    train(replace(dataset, train=own, stop=own), settings, 3, tmp_path, start_from=base)
    apart = np.array([frame.info[frames.STRESS][3] - frame.info[frames.STRESS][4] for frame in own])
    expected = 3.0 * np.mean(4 * (apart / units.GPa) ** 2 / 9)  # four of nine elements of the matrix differ
    assert curve.read(tmp_path)[0].stop_loss == pytest.approx(expected, rel=1e-3) and expected > 1e-3


@there
def test_a_training_that_goes_on_from_a_model_begins_with_its_errors(base, dataset, tmp_path):
    best = min(point.stop_loss for point in curve.read(base.parent))
    model = train(dataset, SMALL, 7, tmp_path, start_from=base)
    points = curve.read(tmp_path)
    assert [point.step for point in points] == [0, 1, 2] and points[0].stop_loss == pytest.approx(best, rel=1e-5)
    assert min(point.stop_loss for point in points) < best and force_rmse(spec_of(model), dataset.stop) > 0


@there
def test_a_start_without_an_element_of_the_labels_is_refused(base, dataset, tmp_path, one_pair):
    stranger = one_pair.copy()
    stranger.info[frames.ENERGY], stranger.arrays[frames.FORCES] = -1.0, np.ones((len(stranger), 3))
    wider = replace(dataset, train=(*dataset.train, stranger))
    with pytest.raises(DidNotFinish) as error:
        train(wider, SMALL, 3, tmp_path, start_from=base)
    assert "the model does not know C, H, N; it knows Li, B, F" in error.value.last_lines


@there
def test_nequip_itself_reads_the_package(base, dataset):
    """NequIP's own command names the elements and the network of the file."""
    tool = environments.interpreter("nequip").with_name("nequip-package")
    done = subprocess.run([tool, "info", base], capture_output=True, text=True, check=True)
    assert "0: Li" in done.stdout + done.stderr and "2: F" in done.stdout + done.stderr


@there
def test_what_its_snippet_computes_is_what_ilforge_computes(base, dataset, tmp_path):
    frame = dataset.stop[0]
    frames.write(tmp_path / "frame.xyz", [frame])
    (tmp_path / MODEL).write_bytes(base.read_bytes())
    (tmp_path / "run.py").write_text(KIND.snippets["run_nequip.py"].format(file=MODEL))
    python = environments.interpreter("nequip")
    done = subprocess.run([python, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[0]) == pytest.approx(ask(spec_of(base), frame).energy, abs=1e-5)


# ---------------------------------------------------------------- seeds, and stopped trainings


@there
def test_another_seed_gives_another_model(base, dataset, tmp_path):
    other = train(dataset, SMALL.model_copy(update={"epochs": 1}), 6, tmp_path)
    assert curve.read(other.parent)[0] != curve.read(base.parent)[0]


def kill_after_an_epoch(dataset_file, directory):
    """Train in a process that is killed when at least one epoch is behind it."""
    code = (
        "from pathlib import Path; from ilforge.labelling.datasets.dataset import Dataset\n"
        "from ilforge.training import train; from ilforge.training.nequip.settings import NequipModelSettings\n"
        f"settings = NequipModelSettings.model_validate_json({SMALL.model_dump_json()!r})\n"
        f"train(Dataset.read(Path({str(dataset_file)!r})), settings, 5, Path({str(directory)!r}))\n"
    )
    kill_in_the_middle(code, directory, (directory / "resume.pt").is_file)


@there
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one_of_its_seed(base, dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    kill_after_an_epoch(tmp_path / "dataset", tmp_path / "run")
    assert KIND.progress(tmp_path / "run")[1] == 4 * -(-len(dataset.train) // 2)
    again = train(Dataset.read(tmp_path / "dataset"), SMALL, 5, tmp_path / "run")
    said = (tmp_path / "run" / "nequip.log").read_text()
    assert "epoch 1:" not in said and "epoch 4:" in said, "the first epoch was not made again"
    assert curve.read(again.parent) == curve.read(base.parent)
    answers = [ask(spec_of(model), dataset.stop[0]) for model in (base, again)]
    assert answers[0].energy == answers[1].energy
    np.testing.assert_array_equal(answers[0].forces, answers[1].forces)


def test_the_program_needs_nothing_of_ilforge():
    for path in (SESSION, SESSION.parents[1] / "outside_session.py"):
        assert "import ilforge" not in path.read_text() and "from ilforge" not in path.read_text()

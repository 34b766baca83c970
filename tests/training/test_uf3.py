"""UF3: what is fitted, that a stopped fit goes on, and that its file is what was fitted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from ilforge import environments, frames
from ilforge.cli.potential_option import parse_potential
from ilforge.errors import SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.potentials.learned.uf3 import INTERACTIONS
from ilforge.training import TRAINERS, Tuning, curve, train
from ilforge.training.uf3 import KIND, MODEL, SESSION
from ilforge.training.uf3.settings import PRESETS, Uf3ModelSettings
from support.models import UF3_SMALL as SMALL
from support.models import ask, force_rmse

there = pytest.mark.environment("uf3")


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    return train(dataset, SMALL, 5, tmp_path_factory.mktemp("base"))


def spec_of(model):
    return KIND.spec(model.parent, file_digest(model))


# ---------------------------------------------------------------- what is said, without the environment


def test_presets_are_whole_and_differ_in_their_terms():
    found = {name: Uf3ModelSettings(preset=name) for name in PRESETS}
    assert found["quick"].bodies == 3 and found["pairs"].bodies == 2
    assert Uf3ModelSettings() == found["quick"] and Uf3ModelSettings(intervals=8).intervals == 8


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"preset": "liquid"}, "Input should be 'quick' or 'pairs'"),
        ({"bodies": 4}, "Input should be 2 or 3"),
        ({"intervals": 50}, "less than or equal to 40"),
        ({"cutoff_3body_A": 7.0}, "each must be smaller than the next"),
        ({"shortest_3body_A": 3.5}, "each must be smaller than the next"),
        ({"regularization": []}, "at least 1 item"),
        ({"committee": 3}, "members would be the same: write bootstrap = true"),
    ],
)
def test_keys_that_it_cannot_use_are_refused(keys, says):
    with pytest.raises(ValueError, match=says):
        Uf3ModelSettings(**keys)


def test_members_of_a_committee_may_differ_by_their_frames():
    assert Uf3ModelSettings(committee=3, bootstrap=True).committee == 3


def test_it_is_trained_from_scratch_only(dataset, tmp_path):
    assert not TRAINERS["uf3"].fine_tunes
    with pytest.raises(SettingsError, match="UF3 is trained from scratch only"):
        train(dataset, SMALL, 1, tmp_path, start_from=tmp_path / MODEL, tuning=Tuning("0" * 64))


def test_the_command_line_knows_its_file(tmp_path):
    found = parse_potential(str(tmp_path / "mine.uf3"), "0" * 64)
    assert found == {"kind": "uf3", "path": str(tmp_path / "mine.uf3"), "sha256": "0" * 64}


def test_snippets_can_be_filled_in():
    spec = json.dumps({"kind": "uf3", "path": MODEL, "sha256": "0" * 64})
    words = {"file": MODEL, "spec": spec, "elements": "B F", "temperature_K": 423}
    compile(KIND.snippets["run_ase.py"].format(**words), "run_ase.py", "exec")
    assert f"pair_coeff * * {MODEL} B F\n" in KIND.snippets["in.lammps"].format(**words)


def test_more_work_is_expected_of_more_triangles():
    pairs, quick, wide = (
        KIND.seconds_per_step(Uf3ModelSettings(**keys), 70) for keys in ({"bodies": 2}, {}, {"cutoff_3body_A": 5.0})
    )
    assert 0 < pairs < quick < wide


# ---------------------------------------------------------------- what is fitted


@there
def test_it_learns_and_its_file_has_the_errors_of_the_curve(base, dataset):
    points = curve.read(base.parent)
    assert [point.step for point in points] == [1, 2]
    best = min(points, key=lambda point: point.stop_loss)
    rms = np.sqrt(np.mean([np.mean(frame.arrays[frames.FORCES] ** 2) for frame in dataset.stop]))
    assert best.force_rmse_eV_A < 0.3 * rms
    assert force_rmse(spec_of(base), dataset.stop) == pytest.approx(best.force_rmse_eV_A, rel=1e-6)
    assert {path.name for path in base.parent.iterdir()} == {
        MODEL, "learning_curve.csv", "training.json", "uf3.log",
    }  # fmt: skip


@there
def test_its_own_labels_are_learnt_again(base, dataset, tmp_path):
    """The fit is linear: labels that the splines can make are met, but for the regularization."""

    def labelled(frame):
        answer, copy = ask(spec_of(base), frame), frame.copy()
        copy.info[frames.ENERGY], copy.arrays[frames.FORCES] = answer.energy, answer.forces
        return copy

    own = Dataset(train=tuple(map(labelled, dataset.train)), stop=tuple(map(labelled, dataset.stop)))
    atoms = dict(zip(own.elements, (0.0, 0.0, 0.0), strict=True))
    energies = base.read_text().split("# ENERGIES eV: ")[1].split("\n")[0].split()
    atoms |= dict(zip(energies[::2], map(float, energies[1::2]), strict=True))
    train(own, SMALL.model_copy(update={"regularization": [1e-12]}), 1, tmp_path, isolated_atoms=atoms)
    (point,) = curve.read(tmp_path)
    best = min(one.force_rmse_eV_A for one in curve.read(base.parent))
    assert point.force_rmse_eV_A < 0.02 * best and point.energy_rmse_eV_atom < 1e-3


@there
def test_isolated_atoms_are_what_energies_are_counted_from(dataset, tmp_path):
    """Atoms without neighbours have the energies that were given, and nothing of the splines."""
    atoms = {"Li": -3.0, "B": -70.5, "F": -650.25}
    model = train(dataset, SMALL.model_copy(update={"bodies": 2}), 5, tmp_path, isolated_atoms=atoms)
    assert "\n3B " not in model.read_text()
    apart = dataset.stop[0][[0, 2, 3]]  # Li, B, F
    apart.set_cell(np.eye(3) * 60.0)
    apart.positions = np.array([[0.0, 0.0, 0.0], [20.0, 20.0, 20.0], [40.0, 40.0, 40.0]])
    assert sorted(apart.get_chemical_symbols()) == sorted(atoms)
    assert ask(spec_of(model), apart).energy == pytest.approx(sum(atoms.values()), abs=1e-9)


@there
def test_triangles_make_it_better_than_pairs(base, dataset, tmp_path):
    pairs = train(dataset, SMALL.model_copy(update={"bodies": 2}), 5, tmp_path)
    best = [min(point.force_rmse_eV_A for point in curve.read(model.parent)) for model in (pairs, base)]
    assert best[1] < best[0]


@there
def test_its_features_are_those_of_uf3(tmp_path, one_pair):
    """UF3's own featurizer, which sums over all periodic images, on a frame that is smaller than twice the cutoff."""
    one_pair[[0, 1, 2, 3, 30, 31, 32]].write(tmp_path / "frame.json", format="json")
    (tmp_path / "own.py").write_text(OWN_FEATURES)
    command = [environments.interpreter("uf3"), "own.py", SESSION, INTERACTIONS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    energy, force, largest = json.loads(done.stdout.splitlines()[-1])
    assert energy < 1e-9 and force < 1e-9 and largest > 0.1


OWN_FEATURES = """
import ase.io, importlib.util, json, sys
import numpy as np
from uf3.data.geometry import get_supercell
from uf3.representation.process import BasisFeaturizer

spec = importlib.util.spec_from_file_location("session", sys.argv[1])
session = importlib.util.module_from_spec(spec)
spec.loader.exec_module(session)
atoms = ase.io.read("frame.json")
atoms.set_cell([5.0, 5.5, 6.0], scale_atoms=False)
elements = sorted(set(atoms.get_chemical_symbols()))
settings = {
    "elements": elements, "bodies": 3, "shift": dict.fromkeys(elements, 0.0),
    "pairs": {"cutoff": 4.0, "intervals": 8},
    "triangles": {"cutoff": 2.5, "shortest": 0.5, "intervals": 4, "intervals_between": 5},
}
basis = session.Basis(settings, session.module_of(sys.argv[2]))
mine = basis.features(atoms).toarray()
theirs = BasisFeaturizer(basis.uf3)
images = get_supercell(atoms, r_cut=basis.uf3.r_cut)
energy = np.concatenate([theirs.featurize_energy_2B(atoms, images), theirs.featurize_energy_3B(atoms, images)])
forces = np.concatenate([theirs.featurize_force_2B(atoms, images), theirs.featurize_force_3B(atoms, images)], axis=-1)
free = basis.free
apart = [np.abs(mine[0] - energy)[free].max(), np.abs(mine[1:] - forces.reshape(-1, basis.count))[:, free].max()]
print(json.dumps([*map(float, apart), float(np.abs(forces[..., free]).max())]))
"""


# ---------------------------------------------------------------- seeds, and stopped fits


@there
def test_seeds_differ_by_the_frames_that_are_drawn(base, dataset, tmp_path):
    again = train(dataset, SMALL, 6, tmp_path / "again")
    assert again.read_bytes() == base.read_bytes()
    drawn = [train(dataset, SMALL.model_copy(update={"bootstrap": True}), k, tmp_path / f"{k}") for k in (1, 2)]
    assert len({file_digest(model) for model in (base, *drawn)}) == 3


@there
def test_frames_that_are_drawn_twice_count_twice(dataset, tmp_path):
    """A draw of all frames is the fit to a dataset in which they are as often as they were drawn."""
    seed, count = 3, len(dataset.train)
    numbers = np.random.default_rng(seed).integers(count, size=count)
    drawn = replace(dataset, train=tuple(dataset.train[number] for number in sorted(numbers)))
    atoms = {"Li": -3.0, "B": -70.5, "F": -650.25}
    settings = SMALL.model_copy(update={"bodies": 2})
    models = [
        train(dataset, settings.model_copy(update={"bootstrap": True}), seed, tmp_path / "a", isolated_atoms=atoms),
        train(drawn, settings, seed, tmp_path / "b", isolated_atoms=atoms),
    ]
    answers = [ask(spec_of(model), dataset.stop[0]) for model in models]
    assert answers[0].energy == pytest.approx(answers[1].energy, abs=1e-6)
    np.testing.assert_allclose(answers[0].forces, answers[1].forces, atol=1e-5)


def kill_after_a_frame(dataset_file, directory):
    """Train in a process that is killed when the sums of a frame are written."""
    code = (
        "from pathlib import Path; from ilforge.labelling.datasets.dataset import Dataset\n"
        "from ilforge.training import train; from ilforge.training.uf3.settings import Uf3ModelSettings\n"
        f"settings = Uf3ModelSettings.model_validate_json({SMALL.model_dump_json()!r})\n"
        f"train(Dataset.read(Path({str(dataset_file)!r})), settings, 5, Path({str(directory)!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and not (directory / "resume.npz").is_file():
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"


@there
def test_a_killed_fit_goes_on_and_ends_as_an_undisturbed_one(base, dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    kill_after_a_frame(tmp_path / "dataset", tmp_path / "run")
    assert KIND.progress(tmp_path / "run")[1] == len(dataset.train)
    again = train(Dataset.read(tmp_path / "dataset"), SMALL, 5, tmp_path / "run")
    assert "going on after frame" in (tmp_path / "run" / "uf3.log").read_text()
    answers = [ask(spec_of(model), dataset.stop[0]) for model in (base, again)]
    assert answers[0].energy == pytest.approx(answers[1].energy, abs=1e-9)
    np.testing.assert_allclose(answers[0].forces, answers[1].forces, atol=1e-9)


def test_the_program_needs_nothing_of_ilforge():
    for path in (SESSION, INTERACTIONS, INTERACTIONS.with_name("load.py")):
        assert "import ilforge" not in path.read_text() and "from ilforge" not in path.read_text()

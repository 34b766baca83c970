"""A model that is fine-tuned in an environment of its own, as part of a plan: what it starts from, needs and costs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest
from rich.console import Console

from ilforge import environments, trust
from ilforge.errors import SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.published import open_published
from ilforge.potentials import create
from ilforge.potentials.learned.sevennet import Sevennet
from ilforge.potentials.learned.sevennet.models import MODELS
from ilforge.potentials.quantum.dispersion import d3bj
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.models import model_spec
from ilforge.workflow.store import ResultStore, write_json
from ilforge.workflow.study_run import check_study, run_study
from support import studies

DATASET = Path(__file__).parents[2] / "data" / "pyr14bf4-pbe-d3"

STUDY = f"""
name = "tuned"
dataset = "{DATASET}"
[liquid]
ions = {{ PYR14 = 2, BF4 = 2 }}
temperature_K = 423.0
density_g_cm3 = 1.04
[reference]
potential = "gpaw"
[potentials.clp]
cutoff_A = 4.0
[potentials.several]
kind = "sevennet"
model = "7net-mf-0"
modality = "PBE"
[models.tuned]
kind = "sevennet"
start = "START"
[models.mace]
kind = "mace"
[learning]
iterations = 0
"""


def study(folder, start="sevennet"):
    path = folder / "study.toml"
    path.write_text(STUDY.replace("START", start))
    return load_study(path)


@pytest.fixture
def plan(tmp_path):
    return make_plan(study(tmp_path), ResultStore(tmp_path / "store"))


def test_it_starts_from_the_weights_by_their_digest_and_is_validated_beside_its_start(plan):
    (stage,) = plan.trained[0, "tuned"]
    assert stage.name == "fine-tune tuned, iteration 0" and stage.computes_with == ("sevennet",)
    assert stage.settings["start"]["sha256"] == MODELS["7net-0"].sha256
    assert stage.settings["start"]["dispersion"] == "D3(BJ)"
    assert not {"channels", "layers"} & set(stage.settings["training"]), "the network is that of the start"
    assert {name for _, name, _ in plan.validations} >= {"tuned", "sevennet", "mace"}


def test_validation_of_a_trained_model_costs_what_its_frames_cost(plan):
    frames = len(open_published(DATASET).frames("validation"))
    cost = {name: stage.task_seconds for (_, name, _), stage in plan.validations.items()}
    assert cost["tuned"] - cost["mace"] == pytest.approx(frames * (Sevennet().seconds_per_frame(70) - 0.05))
    assert cost["tuned"] == cost["sevennet"]


def test_check_says_that_the_environment_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "none"))
    found = check_study(study(tmp_path), Machine(store=str(tmp_path / "store")))
    assert "ilforge env create sevennet" in {error.package for error in found.missing}


def test_a_start_of_several_levels_of_theory_is_refused_while_planning(tmp_path):
    with pytest.raises(SettingsError, match=r"SevenNet-MF-0 \(PBE\) has weights for several levels"):
        make_plan(study(tmp_path, "several"), ResultStore(tmp_path / "store"))


def test_a_trained_model_is_run_with_what_lies_beside_it(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"weights")
    (tmp_path / "potential.json").write_text('{"dispersion": "D3(BJ)", "functional": "PBE"}')
    write_json(tmp_path / "manifest.json", trust.signed({"kind": "sevennet", "files": {"model.pth": "0" * 64}}))
    spec = model_spec(tmp_path)
    assert spec == {
        "kind": "sevennet", "path": str(tmp_path / "model.pth"), "sha256": "0" * 64,
        "dispersion": "D3(BJ)", "functional": "PBE",
    }  # fmt: skip
    assert Sevennet(**{key: value for key, value in spec.items() if key != "kind"}).added_dispersion == "PBE"


SMALL = """
[models.scratch]
kind = "sevennet"
channels = 4
lmax = 1
layers = 1
r_max_A = 3.5
epochs = 2
[models.tuned]
kind = "sevennet"
start = "scratch"
epochs = 1
dispersion = "D3(BJ)"
functional = "PBE"
"""


@pytest.mark.environment("sevennet")
def test_a_study_trains_fine_tunes_and_hands_over_models_that_run_as_they_are(tmp_path):
    """The handed-over script gives the energy of the model with D3(BJ), which the network alone does not have."""
    path = studies.of_models(tmp_path, "small", SMALL)
    machine = Machine(store=str(tmp_path / "store"), workers=1)
    outcome, folder = run_study(load_study(path), machine, Console(file=io.StringIO()), quiet=True)
    assert outcome.complete, outcome.failed
    tuned, scratch = folder / "models" / "tuned", folder / "models" / "scratch"
    assert not (scratch / "potential.json").exists()
    card = (tuned / "README.md").read_text()
    assert "energies aligned by a least-squares fit" in card and "without D3(BJ) of PBE, which is added" in card
    assert "sevenn (environment sevennet) 0.13.0" in card and "dispersion" in card.lower()
    done = subprocess.run([sys.executable, "run_ase.py"], cwd=tuned, capture_output=True, text=True, check=True)
    printed = float(done.stdout.split()[-2])
    frame = ase.io.read(tuned / "frame.xyz")
    network = create({"kind": "sevennet", "path": str(tuned / "model.pth"), "sha256": file_digest(tuned / "model.pth")})
    alone = network.calculator().get_potential_energy(frame)
    assert printed == pytest.approx(alone + d3bj(frame, "PBE")[0], abs=1e-3) and abs(printed - alone) > 0.05
    python = environments.interpreter("sevennet")
    done = subprocess.run([python, "run_sevennet.py"], cwd=tuned, capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-2]) == pytest.approx(alone, abs=1e-3)

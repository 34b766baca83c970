"""NequIP and Allegro as potentials: which files, which elements, what is added, and boxes beside molecules."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ilforge import environments
from ilforge.dynamics import choose_engine
from ilforge.errors import SettingsError
from ilforge.files import file_digest
from ilforge.labelling.label import evaluate, forget
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials import create, digest
from ilforge.potentials.learned.nequip import ENVIRONMENT, KIND, NequipSettings, elements_of
from ilforge.potentials.quantum.dispersion import d3bj

NOBODY = "0" * 64
there = pytest.mark.environment("nequip")


@pytest.fixture(autouse=True, scope="module")
def cold():
    yield
    forget()


def packaged(path, listed):
    """The part of a packaged model that names its elements, as NequIP writes it."""
    with zipfile.ZipFile(path, "w") as package:
        lines = "".join(f"  {number}: {name}\n" for number, name in enumerate(listed))
        package.writestr("m/model/package_metadata.txt", f"atom_types:\n{lines}available_models:\n- eager\n")
    return path


def test_elements_are_read_from_the_text_of_a_package(tmp_path):
    path = packaged(tmp_path / "m.nequip.zip", ["H", "C", "'N'", "B", "F", "'Y'", "'No'"])
    assert elements_of(path) == ("H", "C", "N", "B", "F", "Y", "No")
    (tmp_path / "m.ckpt").write_bytes(b"a checkpoint")
    with zipfile.ZipFile(tmp_path / "other.nequip.zip", "w") as package:
        package.writestr("a.txt", "a")
    assert [elements_of(tmp_path / name) for name in ("m.ckpt", "gone.nequip.zip", "other.nequip.zip")] == [None] * 3


def test_an_element_that_a_package_lacks_is_refused_before_anything_is_started(tmp_path, one_pair, topology_of):
    path = packaged(tmp_path / "m.nequip.zip", ["H", "C", "B", "F"])
    potential = create({"kind": "nequip", "path": str(path), "sha256": file_digest(path)})
    with pytest.raises(SettingsError, match=r"NequIP model m\.nequip\.zip does not know N: it knows H, C, B, F"):
        potential.calculator(topology_of(one_pair))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"path": "model.nequip.pt2"}, r"is a packaged model \(\*\.nequip\.zip\) or a checkpoint"),
        ({"sha256": "12"}, "is not a SHA-256 digest"),
        ({"sha256": ""}, "needs its digest beside its path"),
        ({"dispersion": "D3(BJ)"}, "functional"),
        ({"dispersion": "D3(BJ)", "functional": "LDA9"}, "functional is 'LDA9'"),
    ],
)
def test_keys_that_it_cannot_use_are_refused(keys, says, tmp_path):
    path = packaged(tmp_path / "m.nequip.zip", ["H"])
    with pytest.raises(SettingsError, match=says):
        create({"kind": "nequip", "path": str(path), "sha256": NOBODY, **keys})


def test_its_description_is_of_the_weights_and_of_what_is_added(tmp_path):
    one, other = ({"kind": "nequip", "path": str(tmp_path / name), "sha256": NOBODY} for name in ("a.ckpt", "b.ckpt"))
    assert digest(create(one)) == digest(create(other)) and one["path"] not in json.dumps(create(one).describe())
    with_it = create({**one, "dispersion": "D3(BJ)", "functional": "PBE"})
    assert digest(with_it) != digest(create(one)) and with_it.describe()["of"] == "PBE"
    title = NequipSettings(path="oam.nequip.zip", sha256=NOBODY, dispersion="D3(BJ)", functional="PBE").title
    assert title == "PBE-D3(BJ) with NequIP model oam.nequip.zip"
    assert KIND.environment is ENVIRONMENT and not KIND.pretrained


@there
def test_the_versions_in_the_environment_are_those_that_were_tested():
    found = environments.versions(ENVIRONMENT)
    assert found["nequip"] == "0.19.1" and found["nequip-allegro"] == "0.8.3" and found["torch"].startswith("2.13.0")
    assert environments.prove(ENVIRONMENT, environments.interpreter("nequip")).startswith("a water molecule has")


def spec_of(path):
    return {"kind": "nequip", "path": str(path), "sha256": file_digest(path)}


@there
@pytest.mark.parametrize("architecture", ["nequip", "allegro"])
def test_an_ion_in_a_vacuum_is_that_in_a_large_box(architecture, tiny_nequip_models):
    spec, alone = spec_of(tiny_nequip_models[architecture]), in_vacuum(Liquid.of({"PYR14": 1}, vacuum=True), seed=1)
    boxed = alone.copy()
    boxed.set_cell([40.0, 40.0, 40.0])
    boxed.set_pbc(True)
    calculator = create(spec).calculator()
    energy, forces = calculator.get_potential_energy(alone), calculator.get_forces(alone)
    assert "stress" not in calculator.results
    assert calculator.get_potential_energy(boxed) == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(calculator.get_forces(boxed), forces, atol=1e-5)


@there
def test_dispersion_is_added_to_the_network_once(one_pair, tiny_nequip_models):
    spec = spec_of(tiny_nequip_models["allegro"])
    with_it = create({**spec, "dispersion": "D3(BJ)", "functional": "PBE"}).calculator()
    without, (energy, forces, stress) = create(spec).calculator(), d3bj(one_pair, "PBE")
    assert with_it.get_potential_energy(one_pair) - without.get_potential_energy(one_pair) == pytest.approx(energy)
    np.testing.assert_allclose(with_it.get_forces(one_pair) - without.get_forces(one_pair), forces, atol=1e-9)
    np.testing.assert_allclose(with_it.get_stress(one_pair) - without.get_stress(one_pair), stress, atol=1e-9)


@there
def test_its_numbers_are_those_of_nequips_own_calculator(one_pair, tiny_nequip_models, tmp_path):
    """NequIP evaluated in its own process, by its own calculator class, from the same file."""
    path = tiny_nequip_models["allegro"]
    one_pair.write(tmp_path / "frame.json", format="json")
    (tmp_path / "own.py").write_text(
        "import ase.io, json, sys\n"
        "from nequip.integrations.ase import NequIPCalculator\n"
        "atoms = ase.io.read('frame.json')\n"
        "atoms.calc = NequIPCalculator._from_saved_model(sys.argv[1], chemical_species_to_atom_type_map=True)\n"
        "found = [atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()]\n"
        "print(json.dumps([each.tolist() for each in found]))\n"
    )
    python = environments.interpreter("nequip")
    done = subprocess.run([python, "own.py", path], cwd=tmp_path, capture_output=True, text=True, check=True)
    energy, forces, stress = json.loads(done.stdout.splitlines()[-1])
    answer = evaluate(one_pair, spec_of(path))
    assert answer.energy == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-8)
    np.testing.assert_allclose(answer.stress, stress, atol=1e-10)


@there
def test_a_checkpoint_is_read_too_and_a_strange_element_is_refused_when_it_is_loaded(one_pair, topology_of, tmp_path):
    """A checkpoint says its elements only when it is loaded; NequIP's own training module writes this one."""
    path = tmp_path / "mine.ckpt"
    (tmp_path / "write.py").write_text(
        "import torch, lightning\n"
        "from nequip.train import NequIPLightningModule\n"
        "from nequip.utils import get_current_code_versions\n"
        "from nequip.utils.global_state import set_global_state\n"
        "set_global_state()\n"
        "network = {'_target_': 'nequip.model.NequIPGNNModel', 'seed': 1, 'model_dtype': 'float64', 'r_max': 4.0,\n"
        "    'type_names': ['H', 'C', 'N', 'B', 'F'], 'num_layers': 1, 'num_features': 4, 'avg_num_neighbors': 10.0}\n"
        "of = {'versions': get_current_code_versions(), 'training_module':\n"
        "    {'_target_': 'nequip.train.NequIPLightningModule', 'model': network}}\n"
        "counts = {'train': 1, 'val': 1, 'test': 0, 'predict': 0}\n"
        "own = NequIPLightningModule(model=network, num_datasets=counts, info_dict=of)\n"
        "torch.save({'state_dict': own.state_dict(), 'hyper_parameters': dict(own.hparams), 'hparams_name': 'kwargs',\n"
        "    'pytorch-lightning_version': lightning.__version__}, 'mine.ckpt')\n"
    )
    subprocess.run([environments.interpreter("nequip"), "write.py"], cwd=tmp_path, check=True, capture_output=True)
    potential = create(spec_of(path))
    assert potential.known_elements is None
    calculator = potential.calculator(topology_of(one_pair))
    assert np.isfinite(calculator.get_potential_energy(one_pair)) and np.abs(calculator.get_forces(one_pair)).max() > 0
    radium = replace(topology_of(one_pair), symbols=("Ra", *topology_of(one_pair).symbols[1:]))
    with pytest.raises(SettingsError, match=r"NequIP model mine\.ckpt does not know Ra"):
        potential.calculator(radium)


@there
def test_md_runs_in_the_engine_of_the_package(one_pair, tiny_nequip_models):
    assert choose_engine(create(spec_of(tiny_nequip_models["nequip"])), one_pair) == "builtin"

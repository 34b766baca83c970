"""SevenNet: which model with which dispersion, and its numbers against sevenn's own calculator and against DFT."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest

from ilforge import environments
from ilforge.api import validate
from ilforge.dynamics import MdProtocol, choose_engine, run_md
from ilforge.errors import MissingEnvironment, SettingsError
from ilforge.labelling.datasets.published import open_published
from ilforge.labelling.label import evaluate, forget
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials import create, digest, known_names
from ilforge.potentials.kind import Context
from ilforge.potentials.learned.sevennet import SevennetSettings
from ilforge.potentials.learned.sevennet.models import MODELS
from ilforge.potentials.quantum.dispersion import d3bj

DATASET = Path(__file__).parents[2] / "data" / "pyr14bf4-pbe-d3"
there = pytest.mark.environment("sevennet")

OWN = """
import json, sys
import ase.io
import sevenn
from pathlib import Path
from sevenn.calculator import SevenNetCalculator
import torch

torch.set_num_threads(1)
file, modality, frames = json.loads(sys.argv[1])
calculator = SevenNetCalculator(str(Path(sevenn.__file__).parent / file), device="cpu", **modality)
for atoms in ase.io.read(frames, ":"):
    atoms.calc = calculator
    print("FOUND", json.dumps([atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.get_stress().tolist()]))
"""


@pytest.fixture(autouse=True, scope="module")
def cold():
    yield
    forget()


# ---------------------------------------------------------------- what is said, without the environment


def test_d3_is_added_to_pretrained_models_and_not_to_a_file(tmp_path):
    assert create({"kind": "sevennet"}).added_dispersion == "PBE"
    assert create({"kind": "sevennet", "dispersion": "none"}).added_dispersion is None
    (tmp_path / "mine.pth").write_bytes(b"weights")
    mine = {"kind": "sevennet", "path": str(tmp_path / "mine.pth"), "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert create(mine).added_dispersion is None
    assert create({**mine, "dispersion": "D3(BJ)", "functional": "PBE"}).added_dispersion == "PBE"
    with pytest.raises(SettingsError, match="depends on the functional .* functional is not given"):
        create({**mine, "dispersion": "D3(BJ)"})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": "7net-9"}, "model is '7net-9'; it may be 7net-0, 7net-l3i5, 7net-mf-0"),
        ({"modality": "PBE"}, "modality is 'PBE'; with SevenNet-0 it may be left out"),
        ({"model": "7net-mf-0"}, "modality is None; with SevenNet-MF-0 it may be 'PBE' or 'R2SCAN'"),
        ({"model": "7net-0", "path": "x.pth"}, "has one of them"),
        ({"sha256": "0" * 64}, "keys of a checkpoint"),
        ({"dispersion": "D4"}, "dispersion is 'D4'; it may be 'D3"),
        ({"path": "nowhere.pth"}, "could not be read"),
    ],
)
def test_keys_that_do_not_fit_are_refused_in_words(keys, words):
    with pytest.raises(SettingsError, match=words):
        create({"kind": "sevennet", **keys})


def test_it_says_functional_and_dispersion_in_its_title():
    assert SevennetSettings().title == "PBE-D3(BJ) with SevenNet-0"
    assert SevennetSettings(dispersion="none").title == "PBE with SevenNet-0"
    keys = {"model": "7net-mf-0", "modality": "R2SCAN"}
    assert SevennetSettings(**keys).title == "r2SCAN-D3(BJ) with SevenNet-MF-0 (R2SCAN)"
    assert known_names()["sevennet"] == {"kind": "sevennet"}
    for name, model in MODELS.items():
        assert "MIT" in model.words and "89 elements" in model.words and "D3(BJ) is added" in model.words, name


def test_what_changes_numbers_changes_the_digest_and_nothing_else_does():
    specs = [{}, {"model": "7net-l3i5"}, {"dispersion": "none"}, {"model": "7net-mf-0", "modality": "PBE"},
             {"model": "7net-mf-0", "modality": "R2SCAN"}]  # fmt: skip
    made = [digest(create({"kind": "sevennet", **spec})) for spec in specs]
    assert len(set(made)) == len(specs)
    assert digest(create({"kind": "sevennet", "model": "7net-0", "dispersion": "D3(BJ)"})) == made[0]
    spec = SevennetSettings().spec(Context(Path("/somewhere")))
    assert digest(create(spec)) == made[0]


def test_elements_are_refused_without_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    seven = create({"kind": "sevennet"})
    with pytest.raises(SettingsError, match="SevenNet-0 does not know At, Rn: it knows H, He, Li"):
        seven.refuse_elements(["H", "Rn", "At"])
    with pytest.raises(MissingEnvironment, match="Make it with: ilforge env create sevennet"):
        seven.calculator()


# ---------------------------------------------------------------- its numbers


@there
@pytest.mark.parametrize(("model", "modality"), [("7net-0", None), ("7net-l3i5", None), ("7net-mf-0", "R2SCAN")])
def test_numbers_are_those_of_sevenns_own_calculator(model, modality, one_pair, tmp_path):
    """Asked directly in its environment, without ilforge; D3 is added to neither."""
    strained = one_pair.copy()
    strained.set_cell(one_pair.cell.array @ [[1, 0.02, 0], [0, 1.01, 0], [0.03, 0, 0.99]], scale_atoms=True)
    both = [one_pair, strained]
    ase.io.write(tmp_path / "frames.xyz", [frame[range(len(frame))] for frame in both])
    given = json.dumps([MODELS[model].file, {"modal": modality} if modality else {}, str(tmp_path / "frames.xyz")])
    python = environments.interpreter("sevennet")
    said = subprocess.run([python, "-I", "-c", OWN, given], capture_output=True, text=True, check=True).stdout
    own = [json.loads(line.removeprefix("FOUND ")) for line in said.splitlines() if line.startswith("FOUND ")]
    keys = {"model": model, "dispersion": "none", **({"modality": modality} if modality else {})}
    calculator = create({"kind": "sevennet", **keys}).calculator()
    assert set(calculator.elements) == set(MODELS[model].elements)
    written = ase.io.read(tmp_path / "frames.xyz", ":")  # with the digits that a file has
    for frame, (energy, forces, stress) in zip(written, own, strict=True):
        assert calculator.get_potential_energy(frame) == pytest.approx(energy, abs=2e-4)  # summed in single precision
        np.testing.assert_allclose(calculator.get_forces(frame), forces, rtol=0, atol=1e-6)
        np.testing.assert_allclose(calculator.get_stress(frame), stress, rtol=0, atol=1e-8)


@there
def test_a_checkpoint_of_ones_own_is_asked_for_its_elements(one_pair, tmp_path, topology_of):
    """The one in the wheel, as a file of the user's."""
    wheel = next(environments.interpreter("sevennet").parents[1].glob("lib/python*/site-packages/sevenn"))
    path = tmp_path / "mine.pth"
    path.write_bytes((wheel / MODELS["7net-0"].file).read_bytes())
    mine = create({"kind": "sevennet", "path": str(path), "sha256": MODELS["7net-0"].sha256})
    named = create({"kind": "sevennet", "dispersion": "none"})
    assert digest(mine) == digest(named), "the same weights give the same labels"
    calculator = mine.calculator(topology_of(one_pair))
    assert calculator.get_potential_energy(one_pair) == named.calculator().get_potential_energy(one_pair)
    radium = replace(topology_of(one_pair), symbols=("Ra", *topology_of(one_pair).symbols[1:]))
    with pytest.raises(SettingsError, match="SevenNet model mine.pth does not know Ra"):
        mine.calculator(radium)
    path.write_bytes(b"other weights")
    with pytest.raises(SettingsError, match="is not the one that sha256"):
        mine.calculator()


@there
def test_dispersion_is_that_of_the_functional_once(one_pair):
    with_it, without = (create({"kind": "sevennet", "dispersion": word}).calculator() for word in ("D3(BJ)", "none"))
    energy, forces, stress = d3bj(one_pair, "PBE")
    assert with_it.get_potential_energy(one_pair) - without.get_potential_energy(one_pair) == pytest.approx(energy)
    np.testing.assert_allclose(with_it.get_forces(one_pair) - without.get_forces(one_pair), forces, atol=1e-9)
    np.testing.assert_allclose(with_it.get_stress(one_pair) - without.get_stress(one_pair), stress, atol=1e-9)


@there
@pytest.mark.slow
def test_forces_are_as_close_to_dft_as_is_known_of_it():
    """PBE-D3(BJ) labels of GPAW, of frames that it never saw: measured 0.12 (EQ) and 0.19 eV/Å (nEQ) on 23 frames."""
    dataset = open_published(DATASET)
    labelled = dataset.frames("validation")[::16]
    found = validate({"kind": "sevennet"}, labelled)
    errors = {of: each.value for quantity, species, of, each in found if quantity == "force_rmse" and species is None}
    assert 0.08 < errors["EQ"] < 0.15 and 0.14 < errors["nEQ"] < 0.24


@there
def test_it_labels_and_its_ion_in_a_vacuum_is_that_in_a_large_box(one_pair):
    label = evaluate(one_pair, {"kind": "sevennet"})
    assert label.error is None and label.converged and label.stress is not None
    alone = in_vacuum(Liquid.of({"PYR14": 1}, vacuum=True), seed=1)
    boxed = alone.copy()
    boxed.set_cell([40.0, 40.0, 40.0])
    boxed.set_pbc(True)
    calculator = create({"kind": "sevennet", "dispersion": "none"}).calculator()
    energy, forces = calculator.get_potential_energy(alone), calculator.get_forces(alone)
    assert "stress" not in calculator.results
    assert calculator.get_potential_energy(boxed) == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(calculator.get_forces(boxed), forces, atol=1e-5)


@there
def test_md_conserves_energy_and_says_what_evaluated_it(one_pair, tmp_path):
    """20 fs of NVE: the total energy stays within 1 meV an atom while the kinetic energy changes by far more."""
    seven, liquid = create({"kind": "sevennet"}), Liquid.of_frame(one_pair)
    assert choose_engine(seven, one_pair) == "builtin"
    protocol = MdProtocol("NVE", temperature_K=300, timestep_fs=0.5, length_ps=0.02, interval_ps=0.001, seed=3)
    trajectory = run_md(seven, one_pair, liquid, protocol, tmp_path / "md")
    thermo = trajectory.thermo()
    kinetic, total = thermo["kinetic_energy_eV"], thermo["kinetic_energy_eV"] + thermo["potential_energy_eV"]
    assert np.ptp(total) < 1e-3 * len(one_pair) < 0.2 * np.ptp(kinetic)
    assert "sevenn 0.13.0" in trajectory.info()["engine"]["evaluated_by"]

"""What MACE counts energies from: a fit, or isolated atoms out of a dataset or by the reference program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ilforge.errors import SettingsError
from ilforge.labelling.datasets.published import Entry, open_published
from ilforge.labelling.datasets.publishing import publish
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.label import evaluate
from ilforge.potentials import create, settings
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.atoms import read_atoms
from support import studies

GPAW = Path(__file__).parents[1] / "data" / "datasets" / "gpaw-pair"
STUDY = """
name = "user"
dataset = "DATASET"
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 3.9

[sampling]
potential = "clp"
[reference]
potential = "gpaw"
[models.deepmd]
[models.mace]
atom_energies = "isolated atoms"
[learning]
iterations = 0
"""


def plan_of(folder: Path, dataset: Path = GPAW, *changes: tuple[str, str]):
    text = STUDY.replace("DATASET", str(dataset))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "user.toml").write_text(text)
    return make_plan(load_study(folder / "user.toml"))


def test_a_dataset_brings_its_isolated_atoms(tmp_path):
    plan = plan_of(tmp_path)
    (model,) = plan.trained[0, "mace"]
    assert model.inputs["atoms"] is plan.atoms
    store, outcome = studies.run([plan.atoms], tmp_path / "store")
    assert outcome.complete
    energies = read_atoms(store.path(plan.atoms))
    assert energies == open_published(GPAW).isolated_atoms and set(energies) == {"H", "B", "C", "N", "F"}
    fitted = plan_of(tmp_path, GPAW, ('atom_energies = "isolated atoms"', ""))
    assert fitted.atoms is None and "atoms" not in fitted.trained[0, "mace"][0].inputs
    assert fitted.trained[0, "mace"][0].key != model.key


def test_energies_that_are_not_there_are_named(tmp_path):
    shutil.copytree(GPAW, tmp_path / "copy")
    manifest = json.loads((GPAW / "manifest.json").read_text())
    del manifest["isolated_atoms_eV"]["B"]
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SettingsError, match="has no energies of isolated B. Set it to"):
        plan_of(tmp_path, tmp_path / "copy")
    with pytest.raises(
        SettingsError, match="kind 'xtb' gives no energies of isolated, spin-polarised atoms; gpaw and pyscf do"
    ):
        plan_of(tmp_path, GPAW, (f'dataset = "{GPAW}"', ""), ('potential = "gpaw"', 'potential = "gfn1"'))


def test_labels_of_another_version_of_the_program_are_not_mixed_with_its_own(tmp_path, one_pair):
    spec, entries = {"kind": "xtb", "method": "GFN1-xTB"}, []
    for number, purpose in enumerate(("training", "training", "validation")):
        frame = one_pair.copy()
        frame.rattle(0.01, seed=number)
        frame.info.update(parent=f"{purpose}-{number}")
        entries.append(Entry(evaluate(frame, spec), purpose))
    publish(
        tmp_path / "xtb", "xtb", entries, title="GFN1-xTB", settings=settings(create(spec)), study="",
        gate=GateSettings(), isolated_atoms={}, programs={},
    )  # fmt: skip
    changes = (
        ('potential = "gpaw"', 'potential = "gfn1"'),
        ('atom_energies = "isolated atoms"', ""),
        ("iterations = 0", "iterations = 1"),
    )
    assert len(plan_of(tmp_path, tmp_path / "xtb", *changes).datasets) == 2, "the same version may go on"
    path = tmp_path / "xtb" / "manifest.json"
    path.write_text(path.read_text().replace(create(spec).describe()["tblite"], "0.1"))
    with pytest.raises(SettingsError, match="are of tblite 0.1, but tblite .* is here: .* by another method"):
        plan_of(tmp_path, tmp_path / "xtb", *changes)
    assert plan_of(tmp_path, tmp_path / "xtb", *changes[:2]).datasets, "without new labels nothing is mixed"

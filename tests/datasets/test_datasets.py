"""Every dataset that comes with ilforge, and a small one of the tests: imported, and every label judged again."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import census
from ilforge.labelling.datasets.published import PURPOSES, is_published, open_published
from ilforge.labelling.datasets.publishing import faults
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.reading.outputs import import_labels
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.study.load import load_study
from ilforge.workflow.steps.structures import reference_spec

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests" / "data" / "datasets" / "gpaw-pair"
SHIPPED = sorted(path.parent for path in (ROOT / "data").glob("*/manifest.json"))
GATE = GateSettings(max_net_force_eV_A=0.05)


def test_datasets_are_shipped():
    if not SHIPPED:
        pytest.skip("data/ holds no dataset yet")
    for folder in (path for path in (ROOT / "data").iterdir() if path.is_dir()):
        assert is_published(folder), f"{folder} is no dataset"


@pytest.fixture(scope="module", params=[SMALL, *SHIPPED], ids=lambda path: path.name)
def dataset(request):
    return open_published(request.param)


@pytest.fixture(scope="module")
def entries(dataset):
    return dataset.entries()


@pytest.fixture(scope="module")
def labelled(entries):
    """Accepted frames with their labels, by purpose."""
    return {
        purpose: [e.label.on(e.label.frame) for e in entries if e.purpose == purpose and e.rejected is None]
        for purpose in PURPOSES
    }


def topology_of(frame):
    return Liquid.of_frame(frame).topology


def test_digests_hold_and_every_label_bears_a_second_look(dataset):
    """Converged, finite, net force below 0.05 eV/Å, whole molecules, no repeats, no box in both sets, counts."""
    dataset.require_whole()
    assert faults(dataset, GATE, topology_of) == ()


def test_it_says_what_a_reader_must_know(dataset):
    manifest = dataset.manifest
    assert manifest["title"] and manifest["programs"]["ilforge"] and manifest["finished_date"]
    assert dataset.versions, "of the program that made the labels"
    study = load_study(dataset.directory / "study.toml")
    asked = potentials.settings(potentials.create(reference_spec(study)))
    assert asked.items() <= dataset.method.items(), "study.toml asks for the method that labelled"
    assert {kind.split("/")[0] for purpose in PURPOSES for kind in dataset.counts(purpose)} <= {"EQ", "nEQ"}


def test_its_card_counts_what_is_there(dataset, labelled):
    """README.md of those that come with ilforge: rows of the table against the frames, read by ASE alone."""
    if dataset.directory == SMALL:
        pytest.skip("of the tests, without a card")
    card = (dataset.directory / "README.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line.startswith("| ")]
    for purpose in PURPOSES:
        found = ase.io.read(dataset.directory / f"{purpose}.xyz.gz", ":", format="extxyz")
        assert sum(int(row[4]) for row in rows if row[0] == purpose) == len(found) == len(labelled[purpose])
        low, high = zip(*(row[3].split(" to ") for row in rows if row[0] == purpose), strict=True)
        masses = [1.66053907 * frame.get_masses().sum() / frame.get_volume() for frame in found]
        assert min(map(float, low)) == pytest.approx(min(masses), abs=0.0051)
        assert max(map(float, high)) == pytest.approx(max(masses), abs=0.0051)
    assert dataset.manifest["title"] in card and "## Licence" in card and "## What to cite" in card


def test_no_label_is_missing_or_all_zero(labelled):
    for members in labelled.values():
        counted = census(members)
        for name in ("energy", "forces"):
            assert counted[name] == {"present": len(members), "missing": 0, "zero": 0}
        for frame in members:
            assert all(key in frame.info for key in ("ions", "kind", "recipe", "parent", "seed"))


def test_rejected_labels_keep_their_reasons(dataset, entries):
    for purpose in PURPOSES:
        refused = [e.rejected.split(":")[0] for e in entries if e.purpose == purpose and e.rejected]
        assert dict(Counter(refused)) == dataset.manifest["rejected"][purpose]


def test_units_are_those_of_a_method_that_is_known(labelled):
    """GFN1-xTB is some tenths of eV/Å from density functionals: a slope of 1 tells eV/Å from any other unit."""
    chosen = [*labelled["training"][:3], *labelled["validation"][:2]]
    of = Liquid.of_frame(chosen[0]).label
    chosen = [frame for frame in chosen if frame.info["ions"] == of]
    calculator = potentials.create({"kind": "xtb"}).calculator(topology_of(chosen[0]))
    expected = []
    for frame in chosen:
        calculator.calculate(frame, ["energy", "forces"])
        expected.append(calculator.results["forces"].copy())
    found, known = np.concatenate([frame.arrays[FORCES] for frame in chosen]), np.concatenate(expected)
    slope = float(np.sum(found * known) / np.sum(known**2))
    assert 0.8 < slope < 1.25
    assert np.corrcoef(found.ravel(), known.ravel())[0, 1] > 0.9


def test_atoms_bind_by_a_few_ev_where_isolated_ones_are_known(dataset, labelled):
    energies = dataset.isolated_atoms
    if not energies:
        pytest.skip("this dataset has no isolated atoms")
    for frame in labelled["training"]:
        apart = sum(energies[symbol] for symbol in frame.get_chemical_symbols())
        assert 3.0 < (apart - frame.info[ENERGY]) / len(frame) < 7.0, "eV per atom"


def test_import_takes_all_of_it_into_a_store(dataset, entries, tmp_path):
    found = import_labels([dataset.directory])
    assert len(found.labels) == len(entries) and found.unstated == 0 and not found.endings
    with LabelStore(tmp_path / "labels") as store:
        store.add_many(found.labels)
        assert store.census()["labels"] == len(entries)
        assert list(store.methods().values()) == [dataset.method]
        for entry in entries:
            held = store.get(entry.label.frame_digest, entry.label.method_digest)
            assert held.energy == entry.label.energy and held.converged == entry.label.converged


def test_the_command_imports_it(dataset, labelled, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ilforge", "import", str(dataset.directory), "--out", "labelled.xyz"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(frames.read(tmp_path / "labelled.xyz")) == sum(map(len, labelled.values()))


@pytest.fixture
def copy(tmp_path):
    """The small dataset, to spoil; and how to make its manifest agree with the spoilt files."""
    folder = tmp_path / "copy"
    shutil.copytree(SMALL, folder)

    def spoil(purpose, change):
        import hashlib

        path = folder / f"{purpose}.xyz.gz"
        members = frames.read(path)
        frames.write(folder / "spoilt.xyz", change(members))
        path.write_bytes(gzip.compress((folder / "spoilt.xyz").read_bytes(), mtime=0))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return faults(open_published(folder), GATE, topology_of)

    return spoil


def pushed(members):
    members[0].arrays[FORCES] = members[0].arrays[FORCES] + 0.01
    return members


def undecided(members):
    members[0].info["converged"] = False
    return members


def broken(members):
    members[0].positions[3] += 2.0
    return members


def zeroed(members):
    members[0].arrays[FORCES] = np.zeros_like(members[0].arrays[FORCES])
    return members


def infinite(members):
    members[0].info[ENERGY] = np.nan
    return members


def elsewhere(members):
    for member in members:
        member.info["parent"] = "validation-nvt-000"
    return members


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pushed, "net force"),
        (undecided, "not converged"),
        (broken, "fragmented"),
        (zeroed, "only zeros"),
        (infinite, "not finite"),
        (elsewhere, "in training and in validation"),
        (lambda members: [*members, members[0]], "occurs 2 times"),
        (lambda members: members[1:], "numbers of training frames"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_found(copy, change, words):
    found = copy("training", change)
    assert any(words in fault for fault in found), found


def test_a_dataset_of_a_later_format_is_refused(tmp_path):
    manifest = json.loads((SMALL / "manifest.json").read_text()) | {"format": "ilforge dataset 2"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SettingsError, match="upgrade ilforge"):
        open_published(tmp_path)

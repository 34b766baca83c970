"""import, export-labels, store merge and atoms: real files, and errors in the user's words."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.labelling import label
from ilforge.labelling.atoms import held_atoms
from ilforge.labelling.datasets.exchange import import_deepmd
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.store import LabelStore

DATA = Path(__file__).parents[1] / "data"
OUTPUTS = DATA / "outputs"
GPAW, UNCONVERGED = OUTPUTS / "gpaw_two_frames.txt", OUTPUTS / "gpaw_unconverged.txt"
CP2K, CP2K_UNCONVERGED = OUTPUTS / "cp2k_lithium_pair.out", OUTPUTS / "cp2k_unconverged.out"
CLP = {"kind": "clp", "cutoff_A": 4.0}


@pytest.fixture
def labelled(tmp_path, two_pairs):
    """Three frames with labels by CL&P."""
    members = []
    for number in range(3):
        frame = two_pairs.copy()
        frame.rattle(0.01, seed=number)
        frames.quantize(frame)
        members.append(evaluate(frame, CLP).on(frame))
    frames.write(tmp_path / "labelled.xyz", members)
    return members


def held(root: Path) -> dict[str, int]:
    with LabelStore(root / "labels") as store:
        return store.census()


def test_import_of_a_real_output_of_gpaw(ilforge, tmp_path):
    code, out, _ = ilforge("import", GPAW, "--store", "store")
    assert code == 0 and "2 accepted. Wrote the accepted ones to labelled.xyz" in out
    assert "energy  2 present, 0 missing, 0 zero" in out and "stress  0 present, 2 missing" in out
    assert "Warning: bonds were not checked, because the ions are unknown: name them with --ions" in out
    first, second = frames.read(tmp_path / "labelled.xyz")
    assert first.info[frames.ENERGY] != second.info[frames.ENERGY]
    assert np.abs(first.arrays[frames.FORCES].sum(axis=0)).max() < 0.05
    assert held(tmp_path / "store")["results"] == 2
    assert ilforge("import", GPAW, "--store", "store")[0] == 0
    assert held(tmp_path / "store")["results"] == 2, "the same labels are there once"


def test_import_of_what_did_not_converge_accepts_nothing_and_says_why(ilforge, tmp_path):
    for output in (UNCONVERGED, CP2K_UNCONVERGED):
        code, out, err = ilforge("import", output, "--store", "store", "--out", "none.xyz")
        assert code == 4 and f"rejected {output}#0: not converged" in out
        assert "No label was accepted: 1 not converged" in err
        assert frames.read(tmp_path / "none.xyz") == []
    with LabelStore(tmp_path / "store" / "labels") as store:
        assert not any(label.converged for label in store), "kept as what it is"


def test_import_of_a_good_and_a_bad_file_takes_the_good_frames(ilforge, tmp_path):
    torn = tmp_path / "torn.txt"
    text = GPAW.read_text()
    torn.write_text(text[: text.rindex("\nForces") + 60])
    code, out, _ = ilforge("import", torn, "--ions", "1 Li, 1 BF4")
    assert code == 0 and "1 accepted, 1 truncated" in out
    assert f"Warning: {torn}: truncated: the file ends in the middle of frame 1" in out
    assert len(frames.read(tmp_path / "labelled.xyz")) == 1


def test_import_checks_bonds_by_the_ions(ilforge):
    code, out, _ = ilforge("import", CP2K, "--ions", "1 Li, 1 BF4")
    assert code == 0 and "1 accepted" in out and "bonds were not checked" not in out
    code, out, err = ilforge("import", CP2K, "--ions", "2 PYR14, 2 BF4")
    assert code == 4 and "fragmented: the frame has 6 atoms, the liquid 70" in out and "1 fragmented" in err


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["no.txt"], "There is no file no.txt"),
        (["diary.txt"], "Supported are vasprun.xml, OUTCAR, CP2K's output"),
        (["."], "neither vasprun.xml nor OUTCAR nor a DeePMD system"),
        ([GPAW, CP2K], "were not made by the same method; they differ in"),
        ([CP2K, "--ions", "Li BF4"], 'such as "2 PYR14, 2 BF4"'),
        ([CP2K, "--ions", "1 Li, 1 BF5"], "Did you mean BF4"),
    ],
)
def test_import_refuses_in_words(ilforge, tmp_path, files, words):
    (tmp_path / "diary.txt").write_text("Dear diary,\n")
    code, _, err = ilforge("import", *files)
    assert code == 2 and words in " ".join(err.split())


def test_import_of_different_methods_when_asked_for(ilforge, tmp_path):
    code, out, _ = ilforge("import", GPAW, CP2K, "--mixed-methods")
    assert code == 0 and "3 accepted" in out


def test_import_finds_wrong_units(ilforge, tmp_path, two_pairs):
    from ilforge.potentials import create

    calculator = create(CLP).calculator(frames_topology(two_pairs))
    step = np.random.default_rng(1).normal(size=(70, 3)) * 0.004
    trajectory = []
    for number in range(6):
        frame = two_pairs.copy()
        frame.positions += number * step
        calculator.calculate(frame, ["energy", "forces"])
        frame.info["energy"] = float(calculator.results["energy"]) / 27.211386
        frame.arrays["forces"] = calculator.results["forces"].copy()
        trajectory.append(frame)
    ase.io.write(tmp_path / "hartree.xyz", trajectory, format="extxyz")
    code, _, err = ilforge("import", "hartree.xyz")
    assert code == 2 and "It looks like energies in Hartree with forces in eV/Å" in " ".join(err.split())
    assert not (tmp_path / "labelled.xyz").exists()


def frames_topology(frame):
    from ilforge.liquid.liquid import Liquid

    return Liquid.of_frame(frame).topology


def test_import_says_what_it_left_out_changed_or_could_not_check(ilforge, tmp_path, labelled):
    order = np.argsort(labelled[0].get_chemical_symbols(), kind="stable")
    frames.write(tmp_path / "sorted.xyz", [frame[order] for frame in labelled])
    code, out, _ = ilforge("import", "sorted.xyz")
    assert code == 0 and "3 accepted" in out
    assert "Warning: sorted.xyz: the atoms of 3 frames were put in the order of their ions" in out
    assert (
        "Warning: sorted.xyz: forces agree with GFN1-xTB, so they are in eV/Å, but it could not be checked that" in out
    )


def test_label_says_that_bonds_were_not_checked(ilforge, tmp_path, two_pairs):
    ions = two_pairs.info.pop("ions")
    frames.write(tmp_path / "bare.xyz", [two_pairs])
    code, out, _ = ilforge("label", "bare.xyz")
    assert code == 0 and "Warning: bonds were not checked, because the ions are unknown: name them with --ions" in out
    two_pairs.positions[-1] += 3.0
    frames.write(tmp_path / "torn.xyz", [two_pairs])
    code, out, err = ilforge("label", "torn.xyz", "--ions", ions)
    assert code == 4 and "bonds were not checked" not in out and "No label was accepted: 1 f" in err
    assert "rejected torn.xyz#0: f" in out


def test_export_to_extxyz_has_the_names_that_ase_knows(ilforge, tmp_path, labelled):
    code, out, _ = ilforge("export-labels", "labelled.xyz", "--format", "extxyz", "--out", "plain.xyz")
    assert code == 0 and "Wrote 3 frames to plain.xyz" in out
    for read, frame in zip(ase.io.read(tmp_path / "plain.xyz", ":"), labelled, strict=True):
        assert read.get_potential_energy() == pytest.approx(frame.info[frames.ENERGY], abs=1e-6)
        np.testing.assert_allclose(read.get_forces(), frame.arrays[frames.FORCES], atol=1e-6)
        np.testing.assert_allclose(read.get_stress(), frame.info[frames.STRESS], atol=1e-8)


@pytest.mark.parametrize("virials", [True, False])
def test_export_to_deepmd_and_import_again(ilforge, tmp_path, labelled, virials):
    options = () if virials else ("--no-virials",)
    code, out, _ = ilforge("export-labels", "labelled.xyz", "--format", "deepmd", *options, "--out", "deepmd")
    assert code == 0 and "Wrote 3 frames in 1 system to deepmd; types: B C F H N" in out
    back = import_deepmd(tmp_path / "deepmd")
    for read, frame in zip(back, labelled, strict=True):
        assert read.info[frames.ENERGY] == pytest.approx(frame.info[frames.ENERGY])
        assert (frames.STRESS in read.info) == virials
    code, out, _ = ilforge("import", "deepmd", "--ions", "2 PYR14, 2 BF4", "--method", "CL&P", "--out", "again.xyz")
    assert code == 0 and "3 accepted" in out and "the files of 3 labels do not say whether" in out


def test_export_to_deepmd_in_hdf5_and_import_again(ilforge, tmp_path, labelled):
    code, out, _ = ilforge("export-labels", "labelled.xyz", "--format", "deepmd-hdf5", "--out", "labels.hdf5")
    assert code == 0 and "Wrote 3 frames in 1 system to labels.hdf5; types: B C F H N" in out
    code, out, _ = ilforge("import", "labels.hdf5", "--ions", "2 PYR14, 2 BF4", "--out", "again.xyz")
    assert code == 0 and "3 accepted" in out
    for read, frame in zip(frames.read(tmp_path / "again.xyz"), labelled, strict=True):
        np.testing.assert_allclose(read.arrays[frames.FORCES], frame.arrays[frames.FORCES], atol=1e-8)


def test_export_refuses_in_words(ilforge, tmp_path, two_pairs):
    frames.write(tmp_path / "bare.xyz", [two_pairs])
    (tmp_path / "empty.xyz").write_text("")
    (tmp_path / "study.toml").write_text('name = "x"\n')

    def said(*arguments):
        code, _, err = ilforge("export-labels", *arguments, "--out", "out")
        assert code == 2 and not (tmp_path / "out").exists()
        return " ".join(err.split())

    assert "1 of 1 frames of bare.xyz have no labels: label them first" in said("bare.xyz", "--format", "extxyz")
    assert "0 of 0 frames" in said("empty.xyz", "--format", "deepmd")
    assert "There is no file no.xyz" in said("no.xyz", "--format", "deepmd")
    assert "--format dataset takes a study file (.toml); found bare.xyz" in said("bare.xyz", "--format", "dataset")
    assert "takes a file of labelled frames, not a study" in said("study.toml", "--format", "extxyz")


def test_stores_are_merged_with_failures_and_methods(ilforge, tmp_path, two_pairs, one_pair):
    with LabelStore(tmp_path / "theirs" / "labels") as store:
        store.add(evaluate(two_pairs, CLP))
        store.add(evaluate(one_pair, {"kind": "xtb", "max_iterations": 2}))
    code, out, _ = ilforge("store", "merge", "ours", "theirs")
    assert code == 0 and "Added 2 labels (1 failures with their reasons); 0 were there already." in out
    assert re.search(r"1 results +0 failures +clp", out) and re.search(r"0 results +1 failures +xtb GFN1-xTB", out)
    code, out, _ = ilforge("store", "merge", "ours", "theirs")
    assert code == 0 and "Added 0 labels (0 failures with their reasons); 2 were there already." in out
    assert held(tmp_path / "ours")["labels"] == 2


def test_a_method_that_changed_under_its_name_is_found_when_stores_are_merged(ilforge, tmp_path, two_pairs):
    label = evaluate(two_pairs, CLP)
    for name, energy in (("ours", label.energy), ("theirs", label.energy + 0.25)):
        with LabelStore(tmp_path / name / "labels") as store:
            store.add(replace(label, energy=energy))
    code, _, err = ilforge("store", "merge", "ours", "theirs")
    assert code == 4 and "the method was probably changed" in err and "ours, which were kept" in " ".join(err.split())
    with LabelStore(tmp_path / "ours" / "labels") as store:
        assert store.get(label.frame_digest, label.method_digest).energy == label.energy


def test_merge_refuses_in_words(ilforge, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = ilforge("store", "merge", "ours", "empty")
    assert code == 2 and "empty holds no labels: expected empty/labels/labels.sqlite" in err
    dataset = DATA / "datasets" / "gpaw-pair"
    code, _, err = ilforge("store", "merge", "ours", dataset)
    assert code == 2 and f"is a dataset, not a store. Import it with: ilforge import {dataset} --store ours" in err
    (tmp_path / "broken" / "labels").mkdir(parents=True)
    (tmp_path / "broken" / "labels" / "labels.sqlite").write_bytes(b"SQLite format 3\0" + bytes(5000))
    code, _, err = ilforge("store", "merge", "ours", "broken")
    assert code == 2 and "broken" in err
    assert not (tmp_path / "ours" / "labels" / "labels.sqlite").exists() or held(tmp_path / "ours")["labels"] == 0


def test_a_dataset_is_taken_into_a_store(ilforge, tmp_path):
    code, out, _ = ilforge("import", DATA / "datasets" / "gpaw-pair", "--store", "store")
    assert code == 0 and "5 accepted" in out and "Warning" not in out
    assert held(tmp_path / "store")["results"] == 5 + len("HBCNF"), "frames and isolated atoms"


def test_isolated_atoms_of_a_dataset_are_taken_into_a_store_with_it(ilforge, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(DATA / "datasets" / "gpaw-pair", copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | {"isolated_atoms_eV": {"H": -1.1, "C": -1.4}}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert ilforge("import", copy, "--store", "store")[0] == 0
    with LabelStore(tmp_path / "store" / "labels") as store:
        found = held_atoms(store, manifest["method"], ["H", "C", "N"])
    assert {element: label.energy for element, label in found.items()} == {"H": -1.1, "C": -1.4}
    assert not any(label.failed for label in found.values())


def test_atoms_are_kept_and_not_paid_for_twice(ilforge, tmp_path):
    code, out, _ = ilforge("atoms", "H", "--potential", "pyscf", "--store", "store")
    assert code == 0 and re.search(r"H +-1[23]\.\d+ eV", out), "about half a Hartree"
    with LabelStore(tmp_path / "store" / "labels") as store:
        (label,) = store
        assert label.method["isolated_atom"] and label.method["kind"] == "pyscf"
    made = label.time
    code, again, _ = ilforge("atoms", "H", "--potential", "pyscf", "--store", "store")
    assert (code, again) == (0, out)
    with LabelStore(tmp_path / "store" / "labels") as store:
        assert [label.time for label in store] == [made]


def test_atoms_refuse_in_words(ilforge):
    code, _, err = ilforge("atoms", "Xy", "--potential", "pyscf")
    assert code == 2 and "Xy is not an element" in err
    code, _, err = ilforge("atoms", "H", "--potential", "GFN1-xTB")
    assert code == 2 and "gives no energies of isolated, spin-polarised atoms; gpaw and pyscf do" in err


def test_label_tries_again_what_lacked_memory_and_says_that_it_is_outstanding(
    ilforge, tmp_path, two_pairs, monkeypatch
):
    frames.write(tmp_path / "box.xyz", [two_pairs])
    arguments = ("label", "box.xyz", "--potential", "clp:4.0", "--out", "out.xyz")
    real = label._ask

    def short(*_):
        raise MemoryError

    monkeypatch.setattr(label, "_ask", short)
    code, _, err = ilforge(*arguments)
    assert code == 4 and "1 of 1 frames have no label yet" in err and "MemoryError" in err
    monkeypatch.setattr(label, "_ask", real)
    code, out, err = ilforge(*arguments)
    assert code == 0 and "1 accepted" in out, err


def test_label_tries_again_what_was_given_up_only_when_asked(ilforge, tmp_path, two_pairs):
    frames.write(tmp_path / "box.xyz", [two_pairs])
    method = potentials.create(CLP).describe()
    given_up = "GivenUp: killed 12 times, in 3 runs; the last time: a worker process died twice"
    with LabelStore(tmp_path / "ilforge-store" / "labels") as store:
        store.add(Label(frame=two_pairs, method=method, error=given_up))
    asked = ("label", "box.xyz", "--potential", "clp:4.0", "--max-force", "500")
    code, out, _ = ilforge(*asked)
    assert code == 4 and "killed 12 times, in 3 runs" in out
    code, out, _ = ilforge(*asked, "--retry")
    assert code == 0 and "Trying 1 frames again that failed before" in out and "1 accepted" in out
    code, out, _ = ilforge(*asked, "--retry")
    assert code == 0 and "Trying 0 frames again" in out


def test_label_of_nothing_and_over_its_own_file_is_an_error(ilforge, tmp_path, two_pairs):
    frames.write(tmp_path / "box.xyz", [two_pairs])
    code, _, err = ilforge("label", "box.xyz", "--potential", "clp:4.0", "--out", "./box.xyz")
    assert code == 2 and "--out box.xyz is also the input file" in err
    two_pairs.positions[0] = two_pairs.positions[1] + 0.2
    frames.write(tmp_path / "bad.xyz", [two_pairs])
    code, _, err = ilforge("label", "bad.xyz", "--potential", "clp:4.0", "--out", "out.xyz")
    assert code == 4 and "No label was accepted: 1 " in err

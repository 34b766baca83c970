"""Labels and models of DP-GEN: the same numbers as in its files, judged by the gate, and no model trusted."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from ilforge import frames
from ilforge.dpgen.move import Wishes, import_dpgen
from ilforge.errors import SettingsError
from ilforge.labelling.labels import method_digest
from ilforge.labelling.refusals import read_refusals
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.settings import IonSettings
from ilforge.study.load import load_study
from support import dpgen_runs


def raw(system):
    """Arrays of a system as they are in its files, and the elements."""
    types = np.loadtxt(system / "type.raw", dtype=int)
    names = np.array((system / "type_map.raw").read_text().split())
    arrays = {path.stem: np.load(path) for path in (system / "set.000").glob("*.npy")}
    return names[types], arrays


def test_energies_forces_and_virials_are_those_of_the_files(vasp_run, moved_vasp):
    accepted = frames.read(moved_vasp.out / "labels.xyz")
    assert len(accepted) == 12
    by_source = {frame.info["source"]: frame for frame in accepted}
    systems = sorted(raw.parent for raw in vasp_run.rglob("type.raw"))
    assert len(systems) == 3
    for system in systems:
        elements, arrays = raw(system)
        for number, energy in enumerate(arrays["energy"].ravel()):
            frame = by_source[f"{system}#{number}"]
            assert frame.info[frames.ENERGY] == pytest.approx(energy, abs=1e-9)
            positions = arrays["coord"][number].reshape(-1, 3)
            # the file lists the atoms by element, the frame by ion
            order = [np.linalg.norm(positions - position, axis=1).argmin() for position in frame.positions]
            assert sorted(order) == list(range(12)) and order != list(range(12))
            assert frame.get_chemical_symbols() == elements[order].tolist()
            np.testing.assert_allclose(frame.positions, positions[order], atol=1e-7)
            np.testing.assert_allclose(
                frame.arrays[frames.FORCES], arrays["force"][number].reshape(-1, 3)[order], atol=1e-7
            )
            virial = arrays["virial"][number].reshape(3, 3)
            stress = frame.info[frames.STRESS]
            np.testing.assert_allclose(np.diag(virial), -stress[:3] * frame.get_volume(), atol=1e-6)


def test_all_labels_are_in_the_store(moved_vasp):
    accepted = frames.read(moved_vasp.out / "labels.xyz")
    with LabelStore(moved_vasp.out / "ilforge-store" / "labels", read_only=True) as store:
        (method,) = store.methods().values()
        kept = [store.get(frames.digest(frame), method_digest(method)) for frame in accepted]
    assert all(label is not None for label in kept)
    assert [label.energy for label in kept] == pytest.approx([frame.info[frames.ENERGY] for frame in accepted])
    assert method["method"] == "vasp by DP-GEN in vasp-run"


def test_frames_of_one_system_of_one_iteration_have_one_parent(moved_vasp):
    parents = {frame.info["parent"] for frame in frames.read(moved_vasp.out / "labels.xyz")}
    assert parents == {"init/salt/deepmd", "iter.000000/data.000", "iter.000001/data.000"}


def test_bad_labels_are_refused_with_their_reasons(tmp_path, salts):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts)
    forces = run / "iter.000000/02.fp/data.000/set.000/force.npy"
    values = np.load(forces)
    values[1] += 0.5  # all forces: their sum is 6 eV/Å
    values[2, 0] = np.nan
    np.save(forces, values)
    moved = import_dpgen(run, tmp_path / "out")
    assert len(moved.labels.accepted) == 10
    refused = {refusal.source.rpartition("/")[2]: refusal.reason for refusal in read_refusals(moved.out / "labels.xyz")}
    assert refused["data.000#1"].startswith("net force")
    assert "finite" in refused["data.000#2"]


def test_models_are_copied_and_no_study_loads_them(vasp_run, moved_vasp):
    text = (moved_vasp.out / "study.toml").read_text()
    assert sorted(load_study(moved_vasp.out / "study.toml").settings.potentials) == ["clp", "vasp"]
    for number in range(3):
        copied = (moved_vasp.out / f"models/graph.{number:03d}.pb").read_bytes()
        assert copied == (vasp_run / f"iter.000001/00.train/{number:03d}/frozen_model.pb").read_bytes()
        assert f'# sha256 = "{hashlib.sha256(copied).hexdigest()}"' in text


def test_models_are_there_where_the_user_says_so(moved_vasp, tmp_path):
    text = (moved_vasp.out / "study.toml").read_text()
    head, models = text.split("# [potentials.dpgen-0]")
    said = "# [potentials.dpgen-0]" + models
    (tmp_path / "study.toml").write_text(head + said.replace("# [", "[").replace("\n# ", "\n"))
    assert {"dpgen-0", "dpgen-1", "dpgen-2"} <= set(load_study(tmp_path / "study.toml").settings.potentials)


def test_nothing_is_written_outside_the_new_folder(tmp_path, vasp_run):
    run = tmp_path / "run"
    shutil.copytree(vasp_run, run, symlinks=True)
    before = _digests(tmp_path)
    import_dpgen(run, tmp_path / "out")
    after = _digests(tmp_path)
    assert {path: digest for path, digest in after.items() if path.parts[0] != "out"} == before


def test_nothing_is_overwritten(tmp_path, vasp_run):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="not empty"):
        import_dpgen(vasp_run, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, salts):
    param = {**dpgen_runs.vasp_param(), "model_devi_f_trust_hi": 0.01}
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts[:3])
    with pytest.raises(SettingsError, match="model_devi_f_trust_lo"):
        import_dpgen(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ions_of_the_user_and_two_compositions(tmp_path, salts, one_pair):
    """Ethylammonium nitrate is not in the catalogue by this name; the second composition is PYR14BF4."""
    from ilforge.labelling.label import evaluate

    type_map = ["B", "F", "Li", "C", "H", "N"]
    param = {**dpgen_runs.vasp_param(), "type_map": type_map, "mass_map": "auto"}
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts[:6])
    pairs = []
    for seed in range(2):
        pair = one_pair.copy()
        pair.rattle(0.02, seed=seed)
        frames.quantize(pair)
        pairs.append(evaluate(pair, {"kind": "xtb"}).on(pair))
    sorted_, _ = dpgen_runs.by_element(pairs)
    dpgen_runs.write_system(run / "iter.000001/02.fp/data.001", sorted_, type_map)
    wishes = Wishes(define={"MYCAT": IonSettings(smiles="CCCC[N+]1(C)CCCC1")})
    settings = load_study(import_dpgen(run, tmp_path / "out", wishes).out / "study.toml").settings
    assert [one.ions for one in settings.liquid.compositions] == [{"Li": 2, "BF4": 2}, {"MYCAT": 1, "BF4": 1}]
    assert settings.sampling.potential == "gfn1"  # CL&P has no parameters of MYCAT
    assert settings.learning.explorer == "deepmd"


def test_molecules_that_are_no_known_ions_are_named(tmp_path, salts):
    """A box of methane."""
    from ase import Atoms
    from ase.build import molecule

    box = Atoms(cell=np.eye(3) * 8, pbc=True)
    for corner in ([1, 1, 1], [5, 5, 5]):
        methane = molecule("CH4")
        methane.translate(corner)
        box += methane
    box.info.update({frames.ENERGY: -1.0, frames.STRESS: np.zeros(6)})
    box.arrays[frames.FORCES] = np.random.default_rng(1).normal(size=(10, 3))
    param = {**dpgen_runs.vasp_param(), "type_map": ["H", "C"], "init_data_sys": []}
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts[:2])
    for iteration in (0, 1):
        shutil.rmtree(run / f"iter.{iteration:06d}/02.fp")
    dpgen_runs.write_system(run / "iter.000000/02.fp/data.000", [box], ["H", "C"])
    with pytest.raises(SettingsError, match="ilforge does not know the ions 2 CH4. Define each with --define"):
        import_dpgen(run, tmp_path / "out")


def test_labels_that_dpgen_paid_but_did_not_collect_are_named(tmp_path, salts):
    run = dpgen_runs.write_run(
        tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:6], record="1 7"
    )
    shutil.rmtree(run / "iter.000001/02.fp/data.000")
    for number in range(3):
        task = run / f"iter.000001/02.fp/task.000.{number:06d}"
        task.mkdir()
        (task / "OUTCAR").write_text("")
    moved = import_dpgen(run, tmp_path / "out")
    assert moved.found.progress.finished == 1
    assert any("3 calculations" in note and "task.*/OUTCAR" in note for note in moved.notes)


def test_initial_data_that_are_elsewhere_are_named(tmp_path, salts):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:6])
    shutil.rmtree(run / "init")
    moved = import_dpgen(run, tmp_path / "out")
    assert len(moved.labels.accepted) == 4
    assert any("init/salt were not found" in note and "init_data_prefix" in note for note in moved.notes)


def test_a_damaged_system_is_named_and_the_others_are_imported(tmp_path, salts):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:6])
    (run / "iter.000000/02.fp/data.000/set.000/force.npy").unlink()
    moved = import_dpgen(run, tmp_path / "out")
    assert len(moved.labels.accepted) == 4
    assert any("has no force" in note and "left out" in note for note in moved.notes)


def test_hdf5_is_read_too(tmp_path, salts):
    from ilforge.labelling.datasets.exchange_hdf5 import export_deepmd_hdf5

    param = {**dpgen_runs.vasp_param(), "init_data_sys": ["all.hdf5"]}
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts[:6])
    shutil.rmtree(run / "init")
    (run / "init").mkdir()
    export_deepmd_hdf5(run / "init" / "all.hdf5", salts[6:8], dpgen_runs.TYPE_MAP)
    assert len(import_dpgen(run, tmp_path / "out").labels.accepted) == 2 + 4


@pytest.mark.parametrize("iterations", [0, 1])
def test_a_study_trains_on_them_on_the_users_word(tmp_path, salts, iterations):
    """With ``--same-method`` the labels are the dataset of the study; without it, no study takes them for its own."""
    from ilforge.labelling.datasets.publishing import faults
    from ilforge.workflow.plan import make_plan
    from ilforge.workflow.steps.published import dataset_of

    param = {**dpgen_runs.vasp_param(), "fp_style": "abacus"}  # GFN1-xTB stands for it, and is the truth here
    run = dpgen_runs.write_run(tmp_path / "run", param, dpgen_runs.slurm_machine(), salts)
    moved = import_dpgen(run, tmp_path / "out", Wishes(same_method=True))
    path = moved.out / "study.toml"
    path.write_text(path.read_text().replace("iterations = 1 ", f"iterations = {iterations} "))
    study = load_study(path)
    dataset = dataset_of(study)
    assert dataset is not None and sum(dataset.counts("training").values()) == 8
    assert sum(dataset.counts("validation").values()) == 4
    assert not faults(dataset, study.settings.gate, lambda frame: moved_topology(frame))
    names = [stage.name for stage in make_plan(study).stages]
    assert any("take training frames" in name for name in names)
    assert not any(name.startswith(("label training", "label validation")) for name in names)


def moved_topology(frame):
    from ilforge.liquid.liquid import Liquid

    return Liquid.of_frame(frame).topology


def _digests(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }

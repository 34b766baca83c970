"""A store or a study from elsewhere runs no code: results are signed, and who looks starts nothing."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ilforge import files, potentials, trust
from ilforge.errors import SettingsError
from ilforge.files import file_digest
from ilforge.training.mace import MODEL as MACE_FILE
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.models import model_spec
from ilforge.workflow.store import MANIFEST, ResultStore, sign
from support import studies
from support.hostile import evil_model, trained
from support.patience import PATIENCE_S


def used(model: Stage, number: int = 1) -> Stage:
    """A stage that loads the model of another."""

    def work(job):
        spec = model_spec(job.trusted_input("model"))
        potentials.create(spec).calculator()

    return Stage("use", "md", 1, {"number": number}, {"model": model}, work)


def forge(store: ResultStore, stage: Stage, trace: Path) -> None:
    """Put an evil model into a result, and make its manifest fit, as whoever made the store can."""
    directory = store.path(stage)
    evil_model(directory / MACE_FILE, trace)
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["files"][MACE_FILE] = file_digest(directory / MACE_FILE)
    (directory / MANIFEST).write_text(json.dumps(manifest))
    assert store.fault(stage) is None


def run_error(stage: Stage, root: Path) -> str:
    with pytest.raises(SettingsError) as error:
        studies.run([stage], root)
    return str(error.value)


def test_a_model_of_a_store_from_elsewhere_is_not_loaded(tmp_path):
    """With the signature of another result, one of another user's, an empty one and none."""
    trace, model = tmp_path / "trace", trained()
    store, _ = studies.run([model], tmp_path / "store")
    forge(store, model, trace)
    manifest = store.path(model) / MANIFEST
    forged = json.loads(manifest.read_text())
    for signature in (forged["signature"], "0" * 64, "", None, 7, []):
        forged["signature"] = signature
        manifest.write_text(json.dumps(forged))
        said = run_error(used(model), tmp_path / "store")
        assert "was not made by you" in said and "--trust" in said and "ilforge store trust" in said
    del forged["signature"]
    manifest.write_text(json.dumps(forged))
    assert "was not made by you" in run_error(used(model), tmp_path / "store")
    assert not trace.exists()
    store.trust = True
    with pytest.raises(SettingsError, match="could not be loaded"):
        potentials.create(model_spec(store.require_trusted(model))).calculator()
    assert trace.exists(), "the user's word counts: this file does run code"


def test_a_model_of_ones_own_is_loaded_and_another_users_is_not(tmp_path, monkeypatch):
    model = trained()
    store, _ = studies.run([model], tmp_path / "store")
    assert store.require_trusted(model) == store.path(model)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other user"))
    with pytest.raises(SettingsError, match="was not made by you"):
        store.require_trusted(model)
    assert sign(store.path(model)) is None
    store.require_trusted(model)


def test_a_signed_result_whose_file_changed_is_not_loaded(tmp_path):
    model = trained()
    store, _ = studies.run([model], tmp_path / "store")
    (store.path(model) / MACE_FILE).write_bytes(b"other")
    with pytest.raises(SettingsError, match="damaged"):
        store.require_trusted(model)
    assert "is not what was stored" in sign(store.path(model))


def test_stages_that_end_together_sign_with_one_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    together = threading.Barrier(8)

    def key(_):
        together.wait(PATIENCE_S)
        return trust.user_key()

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(key, range(8)))) == 1
    assert [path.name for path in (tmp_path / "ilforge").iterdir()] == ["key"], "nothing half written is left"


def test_the_key_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key = trust.user_key()
    path = tmp_path / "ilforge" / "key"
    assert path.stat().st_mode & 0o777 == 0o600 and len(key) == 32 and trust.user_key() == key
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="others can read it"):
        trust.user_key()
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SettingsError, match="damaged"):
        trust.user_key()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="XDG_CONFIG_HOME"):
        trust.user_key()
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/nowhere")
    with pytest.raises(SettingsError, match="XDG_CONFIG_HOME"):
        trust.user_key()


@pytest.mark.parametrize("how", ["file", "folder", "result", "outside"])
def test_links_in_a_result_are_not_followed(tmp_path, how):
    def work(job):
        (job.directory / "sub").mkdir(exist_ok=True)
        files.write_text(job.directory / "sub" / "a.txt", "1")

    stage = Stage("one", "one", 1, {}, {}, work)
    store, _ = studies.run([stage], tmp_path / "store")
    directory = store.path(stage)
    shutil.copytree(directory, tmp_path / "elsewhere")
    if how == "file":
        (directory / "sub" / "a.txt").unlink()
        (directory / "sub" / "a.txt").symlink_to(tmp_path / "elsewhere" / "sub" / "a.txt")
    elif how == "folder":
        shutil.rmtree(directory / "sub")
        (directory / "sub").symlink_to(tmp_path / "elsewhere" / "sub")
    elif how == "result":
        shutil.rmtree(directory)
        directory.symlink_to(tmp_path / "elsewhere")
    else:
        manifest = json.loads((directory / MANIFEST).read_text())
        manifest["files"]["../../../elsewhere/sub/a.txt"] = manifest["files"]["sub/a.txt"]
        (directory / MANIFEST).write_text(json.dumps(manifest))
    assert "link" in store.fault(stage)
    assert studies.run([stage], tmp_path / "store")[1].computed == [stage]
    assert store.fault(stage) is None and (tmp_path / "elsewhere" / "sub" / "a.txt").read_text() == "1"


@pytest.mark.parametrize("folder", ["results", "scratch", "labels", "locks"])
def test_links_in_the_place_of_a_stores_folders_are_refused(tmp_path, folder):
    (tmp_path / "precious").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / folder).symlink_to(tmp_path / "precious")
    with pytest.raises(SettingsError, match="is a link"):
        ResultStore(tmp_path / "store").prepare()
    assert not list((tmp_path / "precious").iterdir())


def test_a_lock_that_is_a_link_leaves_what_it_leads_to(tmp_path):
    stage = trained()
    store = ResultStore(tmp_path / "store")
    store.prepare()
    (tmp_path / "victim").write_text("precious")
    (store.locks / f"{stage.key}.lock").symlink_to(tmp_path / "victim")
    assert "is a link" in run_error(stage, tmp_path / "store")
    assert (tmp_path / "victim").read_text() == "precious" and not store.at_work(stage)


def test_what_is_shown_is_what_was_stored(tmp_path):
    stage = trained()
    store, _ = studies.run([stage], tmp_path / "store")
    assert ResultStore(tmp_path / "store", verify=True).holds(stage)
    (store.path(stage) / MACE_FILE).write_bytes(b"a nicer number")
    looking = ResultStore(tmp_path / "store", verify=True)
    assert not looking.holds(stage) and "is not what was stored" in looking.faults[stage.key]

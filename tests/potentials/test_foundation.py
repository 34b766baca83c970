"""MACE foundation models by name: found where mace-torch keeps them, trusted by digest, dispersion added once."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ilforge.dynamics import choose_engine
from ilforge.errors import SettingsError
from ilforge.potentials import create, digest
from ilforge.potentials.force_evaluator import evaluator_of
from ilforge.potentials.kind import Context
from ilforge.potentials.learned.mace import MaceFileSettings
from ilforge.potentials.learned.mace.foundation import MODELS, path_of
from ilforge.potentials.quantum.dispersion import d3bj


@pytest.fixture
def cached(tiny_mace_model, tmp_path, monkeypatch):
    """A cache in which a small model of our own stands for MPA-0; gives its digest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path_of("medium-mpa-0").parent.mkdir()
    shutil.copy(tiny_mace_model, path_of("medium-mpa-0"))
    return hashlib.sha256(Path(tiny_mace_model).read_bytes()).hexdigest()


def spec(**keys):
    return MaceFileSettings(**keys).spec(Context(Path("/study")))


def test_files_are_those_that_mace_torch_keeps(monkeypatch):
    from mace.calculators import foundations_models as own

    for name, model in MODELS.items():
        if model.fetch == "mace_mp":
            file = os.path.basename(own.mace_mp_urls[name])
            assert model.file == "".join(letter for letter in file if letter.isalnum() or letter == "_")
        else:
            assert model.file == os.path.basename(own.mace_off_urls[name.removeprefix("off23-")])
    assert path_of("medium").parent == own.get_cache_dir()


def test_a_model_by_name_is_that_file_with_dispersion(cached, tiny_mace_model, one_pair, topology_of):
    named = create(spec(model="medium-mpa-0", sha256=cached))
    plain = create({"kind": "mace", "path": str(tiny_mace_model), "sha256": cached})
    energy, forces, stress = d3bj(one_pair, "PBE")
    with_it, without = named.calculator(), plain.calculator()
    assert with_it.get_potential_energy(one_pair) == pytest.approx(without.get_potential_energy(one_pair) + energy)
    np.testing.assert_allclose(with_it.get_forces(one_pair), without.get_forces(one_pair) + forces, atol=1e-7)
    np.testing.assert_allclose(with_it.get_stress(one_pair), without.get_stress(one_pair) + stress, atol=1e-9)
    topology = topology_of(one_pair)
    run = evaluator_of(named, topology).evaluate(one_pair.positions, one_pair.cell.array)
    assert run.energy == pytest.approx(with_it.get_potential_energy(one_pair), abs=1e-6)
    np.testing.assert_allclose(run.forces, with_it.get_forces(one_pair), atol=1e-6)
    assert choose_engine(named, one_pair) == "builtin"
    bare = create(spec(model="medium-mpa-0", sha256=cached, dispersion="none"))
    assert digest(bare) == digest(plain) != digest(named), "labels and results keep their names"


def test_only_the_file_with_the_digest_is_loaded_and_a_missing_one_says_how_to_fetch_it(cached):
    with pytest.raises(SettingsError, match="is not the one that sha256 = 0000"):
        create(spec(model="medium-mpa-0", sha256="0" * 64)).calculator()
    with pytest.raises(
        SettingsError, match=r"'off23-small' is not in the cache .*import mace_off; mace_off\(\"small\"\)"
    ):
        create(spec(model="off23-small", sha256="0" * 64)).calculator()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sha256": "0" * 64}, "give path, a model file, or model"),
        ({"sha256": "0" * 64, "path": "a.model", "model": "medium"}, "one of them"),
        ({"sha256": "0" * 64, "model": "off23-small", "dispersion": "D3(BJ)"}, "which would count twice"),
        ({"sha256": "0" * 64, "path": "a.model", "dispersion": "D3(BJ)"}, "functional is not given"),
        ({"sha256": "0" * 64, "path": "a.model", "dispersion": "D3(BJ)", "functional": "LDA"}, "functional is 'LDA'"),
        ({"sha256": "0" * 64, "model": "medium", "functional": "PBE"}, "leave it out"),
        ({"model": "medium"}, "sha256"),
    ],
)
def test_keys_that_do_not_fit_are_refused_in_words(keys, words):
    with pytest.raises(ValidationError, match=words):
        MaceFileSettings(**keys)


def test_titles_say_what_is_added():
    trust = {"sha256": "0" * 64}
    assert MaceFileSettings(model="medium-mpa-0", **trust).title == "PBE-D3(BJ) with MACE medium-mpa-0"
    assert MaceFileSettings(model="mace-matpes-r2scan-0", **trust).title.startswith("r2SCAN-D3(BJ)")
    assert MaceFileSettings(model="off23-small", **trust).title == "MACE off23-small"
    assert MaceFileSettings(path="a/b.model", **trust).title == "MACE model b.model"
    assert spec(path="a.model", **trust) == {"kind": "mace", "path": "/study/a.model", **trust}

"""`ilforge import-dpgen` as a user calls it: what it says, and that `ilforge check` accepts what it wrote."""

from __future__ import annotations

import pytest

from support import dpgen_runs


@pytest.fixture
def vasp_here(tmp_path, monkeypatch):
    """Programs with the names of VASP and of a launcher, which are only looked for."""
    for name in ("vasp_std", "mpirun"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_a_run_with_vasp_becomes_a_study_that_check_accepts(ilforge, tmp_path, vasp_here):
    pytest.importorskip("parsl")
    salts = [dpgen_runs.salt(number) for number in range(3)]
    dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts)
    code, out, err = ilforge("import-dpgen", "run", "--out", "moved")
    assert code == 0, err
    assert "labels: 3 accepted, 0 refused" in out
    assert "iteration 1 has ended its step 8 (post_fp)" in out
    assert "3 copied to moved/models; not trusted" in out
    code, out, err = ilforge("check", "moved/study.toml")
    assert code == 0, err
    assert "explore, iteration 1" in out and "labelling" in out
    code, out, err = ilforge("import-dpgen", "run", "--out", "moved")
    assert code == 2 and "Nothing is overwritten" in err


def test_errors_name_the_file(ilforge, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "param.json").write_text('{\n"a": 1, // mine\n"b": 2}')
    code, _, err = ilforge("import-dpgen", "run", "--out", "moved")
    assert code == 2 and "param.json, line 2" in err and "JSON has no comments" in err
    assert not (tmp_path / "moved").exists()

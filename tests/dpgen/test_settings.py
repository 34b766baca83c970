"""Every value that is taken over from DP-GEN's settings, against the file that it was written to by hand."""

from __future__ import annotations

import json
import re

import pytest

from ilforge.study.load import load_study
from support import dpgen_runs


@pytest.fixture
def vasp(moved_vasp):
    return load_study(moved_vasp.out / "study.toml").settings


@pytest.fixture
def cp2k(moved_cp2k):
    return load_study(moved_cp2k.out / "study.toml").settings


def test_liquid_is_that_of_the_labels(vasp):
    assert vasp.liquid.ions == {"Li": 2, "BF4": 2}
    mass = 2 * 6.94 + 2 * (10.81 + 4 * 18.998)  # amu
    assert vasp.liquid.density_g_cm3 == pytest.approx(mass * 1.66054 / 8.0**3, abs=1e-3)
    assert vasp.liquid.pressure_bar == 1.0


def test_exploration_is_that_of_the_iterations_to_come(vasp):
    learning = vasp.learning
    assert vasp.explorer == "deepmd"
    assert learning.iterations == 1  # of three, two are done
    assert learning.temperatures_K == [600.0]
    assert learning.ensembles == ["NVT"] and learning.pressures_bar is None
    assert learning.timestep_fs == 2.0  # 0.002 ps
    assert learning.length_ps == pytest.approx(4000 * 0.002)
    assert learning.interval_ps == pytest.approx(20 * 0.002)
    assert learning.starts == 6  # folders 01.model_devi/task.*
    assert (learning.deviation_low_eV_A, learning.deviation_high_eV_A) == (0.12, 0.45)
    assert learning.max_candidates == 25
    assert learning.stop.candidates == pytest.approx(0.03)  # 1 - fp_accurate_threshold
    assert [run.ensemble for run in vasp.md] == ["NVT"]
    assert vasp.md[0].temperatures_K == [600.0] and vasp.md[0].timestep_fs == 2.0


def test_all_temperatures_are_there_before_the_first_iteration_ended(tmp_path, salts):
    from ilforge.dpgen.move import import_dpgen

    run = dpgen_runs.write_run(
        tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:6], record="0 7"
    )
    settings = load_study(import_dpgen(run, tmp_path / "out").out / "study.toml").settings
    assert settings.learning.iterations == 3
    learning = settings.learning
    assert settings.liquid.temperature_K == 300.0 and learning.temperatures_K == [300.0, 400.0, 500.0, 600.0]
    assert learning.ensembles == ["NPT", "NVT"] and learning.pressures_bar == [1.0, 5000.0]
    assert learning.starts == 4 * 2 + 4, "a start for each state"
    assert settings.md[0].temperatures_K == [300.0, 400.0, 500.0, 600.0]
    assert settings.md[0].ensemble == "NPT"


def test_network_and_training_of_deepmd_2(vasp):
    deepmd = vasp.models["deepmd"]
    assert deepmd.committee == 3
    assert (deepmd.r_cut_A, deepmd.r_smooth_A) == (7.0, 0.6)
    assert (deepmd.embedding, deepmd.axis_neurons, deepmd.fitting) == ([25, 50, 100], 12, [240, 240, 200])
    assert deepmd.one_side_embedding and deepmd.dtype == "float64"
    assert (deepmd.steps, deepmd.batch_size) == (100000, 2)
    assert (deepmd.learning_rate_start, deepmd.learning_rate_stop) == (2e-3, 5e-8)
    assert deepmd.energy_prefactor == (0.03, 2.0)
    assert deepmd.force_prefactor == (900.0, 1.5)
    assert deepmd.virial_prefactor == (0.01, 0.5)
    assert deepmd.retrain_fraction == pytest.approx(0.4)
    assert deepmd.retrain_learning_rate_start == 1e-4


def test_network_and_training_in_the_words_of_deepmd_0_12(cp2k):
    deepmd = cp2k.models["deepmd"]
    assert deepmd.committee == 4
    assert (deepmd.r_cut_A, deepmd.r_smooth_A) == (6.5, 1.0)
    assert (deepmd.embedding, deepmd.axis_neurons, deepmd.fitting) == ([10, 20, 30], 6, [100, 100, 100])
    assert (deepmd.steps, deepmd.batch_size) == (40000, 1)
    assert deepmd.learning_rate_stop == pytest.approx(0.001 * 0.95**200, rel=1e-5)  # 40000 steps in parts of 200
    assert deepmd.energy_prefactor == (0.02, 2.0)
    assert deepmd.retrain_fraction == 1.0 and deepmd.retrain_learning_rate_start == 0.001


def test_vasp_by_its_incar(vasp, moved_vasp):
    reference = vasp.potential(vasp.reference.potential)
    assert reference.kind == "vasp"
    assert (reference.functional, reference.dispersion) == ("PBE", "D3(BJ)")
    assert (reference.cutoff_eV, reference.energy_tolerance_eV, reference.smearing_eV) == (500.0, 1e-5, 0.1)
    assert reference.max_iterations == 80
    for name, title in (("B", "B"), ("F", "F"), ("Li", "Li_sv")):
        copied = (moved_vasp.out / "paw" / title / "POTCAR").read_text()
        assert dpgen_runs.POTCARS[name] in copied


def test_cp2k_by_its_sections(cp2k):
    reference = cp2k.potential(cp2k.reference.potential)
    assert reference.kind == "cp2k"
    assert (reference.basis, reference.dispersion) == ("DZVP", "D3(BJ)")
    assert (reference.cutoff_Ry, reference.scf_tolerance) == (450.0, 1e-6)
    assert (reference.max_iterations, reference.max_restarts) == (30, 9)
    assert (cp2k.learning.deviation_low_eV_A, cp2k.learning.deviation_high_eV_A) == (0.05, 0.4)  # the widest


def test_the_key_of_each_value_is_behind_it(moved_vasp):
    text = (moved_vasp.out / "study.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("r_cut_A"))
    assert line.endswith("# param.json: default_training_param.model.descriptor.rcut")
    assert re.search(r"cutoff_eV = 500.0 +# INCAR_salt: ENCUT = 500", text)


@pytest.mark.parametrize(
    ("incar", "key", "value"),
    [
        ("ENCUT=400\nISMEAR=0\nMETAGGA=SCAN\nKSPACING=2", "functional", "SCAN"),
        ("ENCUT=400\nIVDW=11", "dispersion", "D3(0)"),
        ("ENCUT=400", "dispersion", "none"),
        ("ENCUT=800", "stress", True),
    ],
)
def test_other_incars(tmp_path, salts, incar, key, value):
    settings, _ = _moved(tmp_path, salts, incar=incar)
    assert getattr(settings.potentials["vasp"], key) == value


def test_what_ilforge_s_vasp_cannot_do_is_said(tmp_path, salts):
    incar = "ENCUT=400\nGGA=RP\nIVDW=20\nISMEAR=1\nSIGMA=0.2\nKSPACING=0.2"
    settings, moved = _moved(tmp_path, salts, incar=incar)
    said = " ".join(moved.notes)
    assert "GGA = RP" in said and "IVDW = 20" in said
    assert "KSPACING = 0.2 gives 4 k-points" in said  # 2 pi / 8 Å / 0.2
    assert settings.potentials["vasp"].smearing_eV == 0.05
    left = (moved.out / "from-dpgen.md").read_text().split("not taken over")[2]
    assert all(f"`{tag}`" in left for tag in ("GGA", "IVDW", "ISMEAR", "SIGMA", "KSPACING"))


def test_older_fp_params_of_vasp(tmp_path, salts):
    params = {
        "ecut": 450,
        "ediff": 1e-6,
        "kspacing": 2,
        "smearing": "gauss",
        "sigma": 0.03,
        "metagga": "NONE",
        "npar": 4,
    }
    settings, _ = _moved(tmp_path, salts, param={"fp_params": params}, without=("fp_incar",))
    vasp = settings.potentials["vasp"]
    assert (vasp.cutoff_eV, vasp.energy_tolerance_eV, vasp.smearing_eV) == (450.0, 1e-6, 0.03)
    assert vasp.functional == "PBE"


def test_input_file_of_cp2k(tmp_path, salts):
    text = """&GLOBAL
  PROJECT x
&END GLOBAL
&FORCE_EVAL
  &DFT
    &MGRID
      CUTOFF 600   ! Ry
    &END MGRID
    &SCF
      EPS_SCF 1.0D-7
    &END SCF
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND B
      BASIS_SET TZV2P-MOLOPT-GTH
    &END KIND
    &KIND F
      BASIS_SET TZV2P-MOLOPT-GTH
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
    base = {key: value for key, value in dpgen_runs.cp2k_param().items() if key != "user_fp_params"}
    settings, moved = _moved(
        tmp_path, salts, param={**base, "external_input_path": "template.inp"}, files={"template.inp": text}
    )
    cp2k = settings.potentials["cp2k"]
    assert (cp2k.cutoff_Ry, cp2k.scf_tolerance, cp2k.basis, cp2k.dispersion) == (600.0, 1e-7, "TZV2P", "none")
    assert "| `GLOBAL.PROJECT` |" in (moved.out / "from-dpgen.md").read_text()


def test_a_style_that_ilforge_does_not_run_is_said(tmp_path, salts):
    settings, moved = _moved(tmp_path, salts, param={"fp_style": "abacus"})
    assert settings.reference.potential == "gfn1"
    assert any("abacus" in note and "must not be mixed" in note for note in moved.notes)


def test_yaml_says_the_same(tmp_path, salts, vasp):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts)
    yaml = pytest.importorskip("yaml")
    (run / "param.json").unlink()
    (run / "param.yaml").write_text(yaml.safe_dump(dpgen_runs.vasp_param()))
    from ilforge.dpgen.move import import_dpgen

    moved = load_study(import_dpgen(run, tmp_path / "out").out / "study.toml").settings
    assert moved.models == vasp.models and moved.learning == vasp.learning


def _moved(tmp_path, salts, param=None, incar=None, files=None, without=()):
    """A moved run with other settings; gives the study's settings and what was said."""
    from ilforge.dpgen.move import import_dpgen

    settings = {**dpgen_runs.vasp_param(), **(param or {})}
    run = dpgen_runs.write_run(tmp_path / "run", settings, dpgen_runs.slurm_machine(), salts[:6])
    if incar is not None:
        (run / "INCAR_salt").write_text(incar)
    for name, text in (files or {}).items():
        (run / name).write_text(text)
    kept = {key: value for key, value in settings.items() if key not in without}
    if param and param.get("fp_style") == "cp2k":
        kept = param
    (run / "param.json").write_text(json.dumps(kept))
    moved = import_dpgen(run, tmp_path / "out")
    return load_study(moved.out / "study.toml").settings, moved

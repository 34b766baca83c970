"""Labels for work directories that look like DP-GEN's."""

from __future__ import annotations

import pytest

from support import dpgen_runs


@pytest.fixture(scope="session")
def salts():
    """12 frames of 2 Li+ and 2 BF4-, labelled by GFN1-xTB, in the order of the ions."""
    return [dpgen_runs.salt(number) for number in range(12)]


@pytest.fixture(scope="session")
def vasp_run(tmp_path_factory, salts):
    """VASP and Slurm by dpdispatcher, two of three iterations done."""
    folder = tmp_path_factory.mktemp("dpgen") / "vasp-run"
    return dpgen_runs.write_run(folder, dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts)


@pytest.fixture(scope="session")
def cp2k_run(tmp_path_factory, salts):
    """CP2K, DeePMD-kit 0.12 and PBS in the layout before dpdispatcher."""
    folder = tmp_path_factory.mktemp("dpgen") / "cp2k-run"
    return dpgen_runs.write_run(folder, dpgen_runs.cp2k_param(), dpgen_runs.pbs_machine(), salts)


@pytest.fixture(scope="session")
def moved_vasp(tmp_path_factory, vasp_run):
    """The first of them, moved."""
    from ilforge.dpgen.move import import_dpgen

    return import_dpgen(vasp_run, tmp_path_factory.mktemp("moved") / "vasp")


@pytest.fixture(scope="session")
def moved_cp2k(tmp_path_factory, cp2k_run):
    """The second, moved."""
    from ilforge.dpgen.move import import_dpgen

    return import_dpgen(cp2k_run, tmp_path_factory.mktemp("moved") / "cp2k")

"""Environments of their own: made whole or not at all, found without being named, and broken ones are said to be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pytest

from ilforge import environments, machine_programs
from ilforge.environments import Environment
from ilforge.errors import DidNotFinish, MissingEnvironment, SettingsError
from ilforge.machine_programs import MachinePrograms

PROOF = "import ilforge_peg; print('the peg has', ilforge_peg.CORNERS, 'corners')"


def wheel(folder, version, corners):
    """A package of one module, so that pip has something to install and nothing to download."""
    name = f"ilforge_peg-{version}"
    path = folder / f"{name}-py3-none-any.whl"
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: ilforge-peg\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ilforge_peg.py", f"CORNERS = {corners}\n")
        for file, text in info.items():
            archive.writestr(f"{name}.dist-info/{file}", text)
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return path


@pytest.fixture
def peg(tmp_path, monkeypatch):
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "environments"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "constraints.txt").write_text("ilforge-peg==1.0\n")
    return Environment(
        name="peg",
        title="pegs",
        packages=(str(wheel(tmp_path, "1.0", 4)),),
        constraints=tmp_path / "constraints.txt",
        shown=("ilforge-peg",),
        proof=("-c", PROOF),
        disk_GB=0.01,
    )


def test_an_environment_is_made_tried_found_and_renewed(peg, tmp_path):
    with pytest.raises(MissingEnvironment, match="peg has not been made yet. Make it with: ilforge env create peg"):
        environments.interpreter("peg")
    said = []
    python = environments.create(peg, said.append)
    assert environments.interpreter("peg") == python and python.is_relative_to(environments.folder())
    assert any("pip install" in line for line in said) and any("the peg has 4 corners" in line for line in said)
    assert environments.look("peg").versions == {"ilforge-peg": "1.0"}
    again = []
    assert environments.create(peg, again.append) == python
    assert not any("pip install" in line for line in again) and any("4 corners" in line for line in again)
    found = subprocess.run([python, "-c", "import numpy"], capture_output=True)
    assert found.returncode != 0, "it has packages of its own alone"
    machine_programs.use(MachinePrograms(environments={"peg": sys.executable}))
    assert str(environments.interpreter("peg")) == sys.executable != str(python)
    machine_programs.use(MachinePrograms())
    assert not environments.is_outdated(peg)
    (tmp_path / "constraints.txt").write_text("ilforge-peg==2.0\n")
    newer = replace(peg, packages=(str(wheel(tmp_path, "2.0", 6)),))
    assert environments.is_outdated(newer)
    environments.create(newer, said.append, renew=True)
    assert any("6 corners" in line for line in said) and not environments.is_outdated(newer)


def test_what_is_lost_makes_it_broken_and_the_cure_is_named(peg):
    python = environments.create(peg, lambda line: None)
    module = next(environments.folder().glob("peg/lib/python*/site-packages/ilforge_peg.py"))
    module.write_text("raise ImportError('half a file')\n")
    with pytest.raises(DidNotFinish, match="(?s)peg does not work.*ilforge env create peg --renew.*half a file"):
        environments.create(peg, lambda line: None)
    python.rename(python.with_name("away"))
    with pytest.raises(MissingEnvironment, match="peg is broken: .*python is missing or is not a program"):
        environments.interpreter("peg")
    python.with_name("away").rename(python)
    next(module.parent.glob("ilforge_peg-*.dist-info")).rename(module.parent / "gone")
    with pytest.raises(MissingEnvironment, match="peg is broken: ilforge-peg 1.0 is missing in .*peg"):
        environments.interpreter("peg")
    assert environments.remove("peg") and not environments.remove("peg")
    assert environments.look("peg").fault == "has not been made yet"


def test_what_cannot_be_installed_leaves_nothing_that_is_taken_for_an_environment(peg):
    bad = replace(peg, packages=("ilforge-no-such-package",))
    with pytest.raises(DidNotFinish, match="(?s)peg could not pip install ilforge-no-such-package.*--renew"):
        environments.create(bad, lambda line: None)
    with pytest.raises(MissingEnvironment, match="peg was not finished"):
        environments.interpreter("peg")


MAKE = """
import json, sys
from pathlib import Path
from ilforge import environments
given = json.loads(sys.argv[1])
environments.create(environments.Environment(**{**given, "constraints": Path(given["constraints"])}))
"""


def test_a_kill_in_the_middle_leaves_nothing_that_is_taken_for_an_environment(peg):
    sleeping = {**vars(peg), "constraints": str(peg.constraints), "proof": ["-c", "import time; time.sleep(10_000)"]}
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", MAKE, json.dumps(sleeping)], stdout=subprocess.PIPE, text=True
    )
    while "Testing it" not in child.stdout.readline():
        assert child.poll() is None
    with pytest.raises(SettingsError, match="Another ilforge is making the environment peg"):
        environments.create(peg, lambda line: None)
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(MissingEnvironment, match="peg was not finished"):
        environments.interpreter("peg")
    environments.create(peg, lambda line: None)
    assert environments.interpreter("peg").is_file()


def test_a_wrong_path_in_machine_toml_is_named(peg):
    machine_programs.use(MachinePrograms(environments={"peg": "/nowhere/python"}))
    with pytest.raises(SettingsError, match="environments.peg in machine.toml is '/nowhere/python', and no such"):
        environments.interpreter("peg")


def test_a_folder_of_the_user_is_left_alone(peg):
    (environments.folder() / "peg").mkdir(parents=True)
    (environments.folder() / "peg" / "thesis.tex").write_text("mine")
    for work in (lambda: environments.create(peg, lambda line: None), lambda: environments.remove("peg")):
        with pytest.raises(SettingsError, match="ilforge did not make it"):
            work()
    assert (environments.folder() / "peg" / "thesis.tex").read_text() == "mine"


def test_a_full_disk_is_said_before_anything_is_installed(peg):
    with pytest.raises(SettingsError, match="GB of free disk, and the environment peg takes 1e.08 GB or more"):
        environments.create(replace(peg, disk_GB=1e8), lambda line: None)
    assert environments.look("peg").fault == "has not been made yet"

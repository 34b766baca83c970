"""SO3LR: its numbers against its package's own calculator, and what it does not know."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import ase.io
import numpy as np
import pytest

from ilforge import environments, frames
from ilforge.errors import MissingEnvironment, SettingsError
from ilforge.labelling.label import forget
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials import create, known_names
from ilforge.potentials.learned.so3lr import So3lrSettings
from ilforge.potentials.learned.so3lr.models import MODEL

DATA = Path(__file__).parents[1] / "data"
there = pytest.mark.environment("so3lr")

OWN = """
import json, sys
import ase.io, torch
from so3krates_torch.calculator.so3 import SO3LRCalculator

torch.set_num_threads(1)
calculator = SO3LRCalculator(compute_stress=True, default_dtype="float64")
for atoms in ase.io.read(sys.argv[1], ":"):
    atoms.info["charge"] = 0.0
    calculator.calculate(atoms)
    found = calculator.results
    print("FOUND", json.dumps([found["energy"], found["forces"].tolist(), found["stress"].tolist()]))
"""


@pytest.fixture(autouse=True, scope="module")
def cold():
    yield
    forget()


@pytest.fixture
def pair():
    """One PYR14+ and one TFSI-, 45 atoms."""
    return frames.read(DATA / "one_pair_tfsi.xyz")[0]


def test_it_has_dispersion_of_its_own_and_none_is_added():
    potential = create({"kind": "so3lr"})
    assert potential.added_dispersion is None and MODEL.has_dispersion
    assert "has dispersion" in MODEL.words and "MIT" in MODEL.words and "8 elements" in MODEL.words
    assert So3lrSettings().title == "PBE0+MBD with SO3LR" and known_names()["so3lr"] == {"kind": "so3lr"}


def test_boron_and_lithium_are_refused_without_the_environment(monkeypatch, tmp_path):
    """Its own calculator would give numbers for them."""
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    potential = create({"kind": "so3lr"})
    with pytest.raises(SettingsError, match="SO3LR does not know B, Li: it knows H, C, N, O, F, P, S, Cl"):
        potential.refuse_elements(["C", "Li", "B"])
    potential.refuse_elements(["H", "C", "N", "O", "F", "P", "S", "Cl"])
    with pytest.raises(MissingEnvironment, match="Make it with: ilforge env create so3lr"):
        potential.calculator()


@there
def test_numbers_are_those_of_its_own_calculator(pair, tmp_path):
    """Asked directly in its environment, without ilforge, in a box and in one that is strained."""
    strained = pair.copy()
    strained.set_cell(pair.cell.array @ [[1, 0.02, 0], [0, 1.01, 0], [0.03, 0, 0.99]], scale_atoms=True)
    ase.io.write(tmp_path / "frames.xyz", [frame[range(len(frame))] for frame in (pair, strained)])
    python = environments.interpreter("so3lr")
    asked = [str(python), "-I", "-c", OWN, str(tmp_path / "frames.xyz")]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    own = [json.loads(line.removeprefix("FOUND ")) for line in said.splitlines() if line.startswith("FOUND ")]
    calculator = create({"kind": "so3lr"}).calculator()
    assert set(calculator.elements) == set(MODEL.elements)
    written = ase.io.read(tmp_path / "frames.xyz", ":")
    for frame, (energy, forces, stress) in zip(written, own, strict=True):
        assert calculator.get_potential_energy(frame) == pytest.approx(energy, abs=1e-5)
        np.testing.assert_allclose(calculator.get_forces(frame), forces, rtol=0, atol=1e-5)
        np.testing.assert_allclose(calculator.get_stress(frame), stress, rtol=0, atol=1e-7)


@there
def test_an_ion_in_a_vacuum_is_that_in_a_large_box_and_has_its_charge():
    """The box is wider than ion and cutoff; the charge of the ion changes its energy."""
    liquid = Liquid.of({"PYR14": 1}, vacuum=True)
    alone = in_vacuum(liquid, seed=1)
    boxed = alone.copy()
    boxed.set_cell([40.0, 40.0, 40.0])
    boxed.set_pbc(True)
    calculator = create({"kind": "so3lr"}).calculator(liquid.topology)
    energy, forces = calculator.get_potential_energy(alone), calculator.get_forces(alone)
    assert "stress" not in calculator.results
    assert calculator.get_potential_energy(boxed) == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(calculator.get_forces(boxed), forces, atol=1e-6)
    neutral = create({"kind": "so3lr"}).calculator()
    assert abs(neutral.get_potential_energy(alone) - energy) > 0.1

"""CHGNet: its numbers are those of chgnet's own calculator, in boxes and in a vacuum, which it does not know itself."""

from __future__ import annotations

import json
import subprocess

import ase.io
import numpy as np
import pytest

from ilforge import environments
from ilforge.errors import SettingsError
from ilforge.potentials import create, digest
from ilforge.potentials.learned.chgnet import ChgnetSettings

OWN = """
import json, sys
import ase.io
from chgnet.model import CHGNet, CHGNetCalculator

name, file = json.loads(sys.argv[1])
atoms = ase.io.read(file)
atoms.calc = CHGNetCalculator(CHGNet.load(model_name=name, use_device="cpu"), use_device="cpu")
found = [float(atoms.get_potential_energy()), atoms.get_forces().tolist(), atoms.get_stress().tolist()]
print("FOUND", json.dumps(found))
"""


def test_what_it_says_without_its_environment():
    assert ChgnetSettings().title == "PBE-D3(BJ) with CHGNet 0.3.0"
    assert ChgnetSettings(model="r2scan", dispersion="none").title == "r2SCAN with CHGNet r2SCAN"
    assert create({"kind": "chgnet", "model": "r2scan"}).added_dispersion == "r2SCAN"
    assert (
        len({digest(create({"kind": "chgnet", **keys})) for keys in ({}, {"model": "r2scan"}, {"dispersion": "none"})})
        == 3
    )
    with pytest.raises(SettingsError, match="model is '0.1'; it may be 0.3.0, r2scan"):
        create({"kind": "chgnet", "model": "0.1"})
    with pytest.raises(SettingsError, match="CHGNet 0.3.0 does not know Po"):
        create({"kind": "chgnet"}).refuse_elements(["Po", "O"])


@pytest.mark.environment("chgnet")
@pytest.mark.parametrize("model", ["0.3.0", "r2scan"])
def test_numbers_are_those_of_chgnets_own_calculator(model, one_pair, tmp_path):
    ase.io.write(tmp_path / "frame.xyz", one_pair[range(len(one_pair))])
    python, given = environments.interpreter("chgnet"), json.dumps([model, str(tmp_path / "frame.xyz")])
    said = subprocess.run([python, "-I", "-c", OWN, given], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("FOUND ")]
    energy, forces, stress = json.loads(line.removeprefix("FOUND "))
    written = ase.io.read(tmp_path / "frame.xyz")  # with the digits that a file has
    calculator = create({"kind": "chgnet", "model": model, "dispersion": "none"}).calculator()
    assert calculator.get_potential_energy(written) == pytest.approx(energy, abs=1e-4)
    np.testing.assert_allclose(calculator.get_forces(written), forces, rtol=0, atol=1e-5)
    np.testing.assert_allclose(calculator.get_stress(written), stress, rtol=0, atol=1e-7)


@pytest.mark.environment("chgnet")
def test_a_molecule_in_a_vacuum_is_that_in_a_large_box(one_pair):
    alone = one_pair[:30]
    alone.set_pbc(False)
    alone.set_cell(None)
    boxed = alone.copy()
    boxed.set_cell([45.0, 45.0, 45.0])
    boxed.set_pbc(True)
    calculator = create({"kind": "chgnet", "dispersion": "none"}).calculator()
    energy, forces = calculator.get_potential_energy(alone), calculator.get_forces(alone)
    assert "stress" not in calculator.results
    assert calculator.get_potential_energy(boxed) == pytest.approx(energy, abs=1e-3)
    np.testing.assert_allclose(calculator.get_forces(boxed), forces, atol=5e-4)  # coordinates in parts of the box

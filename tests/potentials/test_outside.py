"""Models in another environment: their process answers, dies, hangs and runs out of memory, and all of it is said."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

from ilforge import machine_programs
from ilforge.errors import DidNotConverge, DidNotFinish, LacksMemory, MissingEnvironment, SettingsError
from ilforge.labelling.labels import in_words, is_cut_short
from ilforge.machine_programs import MachinePrograms
from ilforge.potentials.learned.dispersed import DispersedCalculator
from ilforge.potentials.learned.outside.calculator import OutsideCalculator
from ilforge.potentials.quantum.dispersion import d3bj
from ilforge.workflow.executors.executor import is_out_of_memory

LOADER = """
import os, time
from ase.calculators.lj import LennardJones

class Argon(LennardJones):
    def calculate(self, atoms, properties, system_changes):
        print("a package that talks on the standard output")
        super().calculate(atoms, properties, system_changes)
        {fault}

def load(settings):
    {at_start}
    return Argon(sigma=3.4, epsilon=0.01, rc=7.0), ["Ar"]
"""


@pytest.fixture
def argon():
    atoms = Atoms("Ar8", np.random.default_rng(1).normal(scale=0.2, size=(8, 3)), cell=[8.0, 8.0, 8.0], pbc=True)
    atoms.positions += [[x, y, z] for x in (0, 4) for y in (0, 4) for z in (0, 4)]
    return atoms


@pytest.fixture
def outside(tmp_path):
    """Makes calculators of a loader that runs in the environment ``far``: this interpreter, without ilforge."""
    machine_programs.use(MachinePrograms(environments={"far": sys.executable}))
    made = []

    def calculator(fault="pass", at_start="pass", **keys):
        (tmp_path / "load.py").write_text(LOADER.format(fault=fault, at_start=at_start))
        settings = {"loader": str(tmp_path / "load.py"), **keys.pop("settings", {})}
        made.append(OutsideCalculator("far", "Argon", settings, **keys))
        return made[-1]

    yield calculator
    for each in made:
        each.close()


def test_it_gives_what_the_calculator_gives_here(outside, argon):
    far, here = outside(), LennardJones(sigma=3.4, epsilon=0.01, rc=7.0)
    for shift in (0.0, 0.3):
        argon.positions[0] += shift
        here.calculate(argon, ["energy", "forces", "stress"])
        assert far.get_potential_energy(argon) == pytest.approx(here.results["energy"], abs=1e-12)
        np.testing.assert_allclose(far.get_forces(argon), here.results["forces"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(far.get_stress(argon), here.results["stress"], rtol=0, atol=1e-12)
    assert far.elements == ["Ar"]
    argon.set_pbc(False)
    argon.set_cell(None)
    here.calculate(argon, ["energy", "forces"])
    assert far.get_potential_energy(argon) == pytest.approx(here.results["energy"], abs=1e-12)
    assert "stress" not in far.results


def test_the_process_stays_and_ends_with_its_calculator(outside, argon):
    far = outside()
    assert far.pid is None, "nothing runs before the first frame"
    far.get_forces(argon)
    pid = far.pid
    argon.positions += 0.1
    far.get_forces(argon)
    assert far.pid == pid
    far.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    far.reset()
    assert far.get_forces(argon).shape == (8, 3), "another is started where one is needed"


def test_dispersion_is_added_once(outside, argon):
    far, plain = outside(dispersion="PBE"), outside()
    energy, forces, stress = d3bj(argon, "PBE")
    assert abs(energy) > 0.01
    other = DispersedCalculator(LennardJones(sigma=3.4, epsilon=0.01, rc=7.0), "PBE")
    for calculator in (far, other):
        assert calculator.get_potential_energy(argon) == pytest.approx(plain.get_potential_energy(argon) + energy)
        np.testing.assert_allclose(calculator.get_forces(argon), plain.get_forces(argon) + forces, atol=1e-12)
        np.testing.assert_allclose(calculator.get_stress(argon), plain.get_stress(argon) + stress, atol=1e-12)


def test_nothing_around_a_study_reaches_the_other_interpreter(outside, argon, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the folder of the study')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert np.isfinite(outside().get_potential_energy(argon))


def test_an_error_about_one_frame_is_said_and_the_process_goes_on(outside, argon):
    far = outside(fault="if len(atoms) == 7: raise ValueError('seven is odd')")
    with pytest.raises(DidNotConverge, match="Argon: ValueError: seven is odd"):
        far.get_forces(argon[:7])
    pid = far.pid
    assert far.get_forces(argon).shape == (8, 3) and far.pid == pid


@pytest.mark.parametrize(
    "fault", ["raise MemoryError('no room')", "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')"]
)
def test_too_little_memory_is_a_state(outside, argon, fault):
    with pytest.raises(LacksMemory, match="Argon ran out of memory") as error:
        outside(fault=fault).get_forces(argon)
    assert is_out_of_memory(error.value) and is_cut_short(in_words(error.value))


def test_a_process_that_is_killed_counts_as_out_of_memory_and_the_next_frame_starts_another(outside, argon):
    far = outside(fault="if len(atoms) == 7: os.kill(os.getpid(), 9)")
    with pytest.raises(LacksMemory, match=r"Argon \(environment far\) was killed by signal 9 \(probably out of memory"):
        far.get_forces(argon[:7])
    assert far.get_forces(argon).shape == (8, 3)
    os.kill(far.pid, signal.SIGKILL)
    with pytest.raises(LacksMemory):
        far.get_forces(argon[:6])


def test_a_process_that_ends_or_hangs_is_said(outside, argon):
    with pytest.raises(DidNotFinish, match="Argon .* ended with exit code 3 in the middle of an answer"):
        outside(fault="os._exit(3)").get_forces(argon)
    slow = outside(fault="time.sleep(60)", patience_s=0.5)
    with pytest.raises(DidNotFinish, match="Argon .* gave no answer within 0 s|Argon .* gave no answer within 1 s"):
        slow.get_forces(argon)
    assert slow.pid is None


def test_what_cannot_be_loaded_names_the_environment_and_what_to_do(outside, argon):
    missing = outside(at_start="import a_package_that_is_not_there")
    with pytest.raises(MissingEnvironment, match="far cannot run Argon .*a_package_that_is_not_there.*env create far"):
        missing.get_forces(argon)
    with pytest.raises(SettingsError, match="Argon cannot be loaded: KeyError: 'no such head'"):
        outside(at_start="raise KeyError('no such head')").get_forces(argon)


def test_a_model_file_is_loaded_only_if_it_is_what_its_digest_says(outside, argon, tmp_path):
    (tmp_path / "weights").write_text("other weights")
    settings = {"path": str(tmp_path / "weights"), "sha256": "0" * 64}
    with pytest.raises(SettingsError, match="has the digest .*, and not 0000"):
        outside(settings=settings).get_forces(argon)

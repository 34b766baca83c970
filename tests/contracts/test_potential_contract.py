"""What every potential owes: each registered one passes all of these, and a new one is a line in ``CASES``."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ilforge import environments, frames, programs
from ilforge.errors import MissingProgram
from ilforge.potentials import POTENTIALS, Potential, create, digest
from ilforge.potentials.classical.clp_files import ion_parameters
from support import exp6

DIGESTS = """
import json, sys
from ilforge.potentials import create, digest
print(json.dumps([digest(create(spec)) for spec in json.load(sys.stdin)]))
"""


@dataclass(frozen=True)
class Case:
    """How to make a potential, and how exact it is.

    Attributes
    ----------
    spec
        For ``create``; ``"MACE"``, ``"DEEPMD0"``, ``"DEEPMD1"``, ``"nequip"``, ``"allegro"`` and ``"uf3"`` as paths
        stand for small model files.
    energy, force
        Largest difference between numbers that should be equal, eV and eV/Å.
    step
        Displacement of central differences, Å.
    gradient, stress
        Largest difference from a central difference, eV/Å and eV/Å^3.
    liquid
        Which frames it is tried on: ``"pyr14_bf4"`` (35 and 70 atoms), without boron ``"pyr14_tfsi"`` (45 and 90
        atoms) or, where a frame takes long, ``"li_cl"`` (2 and 4 atoms).
    vacuum
        Whether frames are tried without a box.
    memory
        Largest trace of an earlier frame in a result, eV and eV/Å: none, but for methods that start from the
        last frame's wavefunctions.
    """

    spec: dict
    energy: float
    force: float
    step: float
    gradient: float
    stress: float
    liquid: str = "pyr14_bf4"
    memory: float = 0.0
    vacuum: bool = False


DATA = Path(__file__).parents[1] / "data"
FILES = {
    "pyr14_bf4": ("one_pair.xyz", "two_pairs.xyz"),
    "pyr14_tfsi": ("one_pair_tfsi.xyz", "two_pairs_tfsi.xyz"),
    "li_cl": ("lithium_chloride.xyz", "two_lithium_chlorides.xyz"),
}
PROGRAMS = {"gpaw": "gpaw", "cp2k": "cp2k.psmp"}
ZMAT = DATA / "clandp/c4c1pyrr.zmat"

CASES = {
    # a mesh is not moved along with the atoms: energies vary by its tolerance
    "clp": Case({"kind": "clp", "cutoff_A": 4.0}, 1e-5, 2e-4, 1e-3, 1e-4, 1e-6),
    "clp-own-ion": Case(
        {"kind": "clp", "cutoff_A": 4.0, "ions": {"PYR14": ion_parameters("PYR14", ZMAT)}}, 1e-5, 2e-4, 1e-3, 1e-4, 1e-6
    ),
    "clpol": Case({"kind": "clpol", "cutoff_A": 4.0}, 1e-5, 2e-4, 1e-3, 1e-4, 1e-6),
    "exp6": Case(exp6.SPEC, 1e-5, 2e-4, 1e-3, 1e-4, 1e-6),
    "xtb": Case({"kind": "xtb", "method": "GFN1-xTB"}, 1e-5, 1e-3, 5e-3, 2e-3, 1e-5),
    "gfn2": Case({"kind": "xtb", "method": "GFN2-xTB"}, 1e-5, 1e-3, 5e-3, 2e-3, 1e-5, "li_cl"),
    # self-consistency ends at its tolerance, and the grid of the exchange-correlation energy stays where it is
    "gpaw": Case({"kind": "gpaw"}, 2e-3, 1e-2, 1e-2, 1e-2, 1e-4, "li_cl", 5e-3),
    "cp2k": Case({"kind": "cp2k"}, 5e-4, 1e-2, 1e-2, 1e-2, 1e-4, "li_cl", 1e-3),
    "vasp": Case({"kind": "vasp"}, 5e-4, 1e-2, 1e-2, 1e-2, 1e-4, "li_cl", 1e-3),
    "pyscf": Case({"kind": "pyscf"}, 1e-4, 1e-3, 1e-2, 2e-3, 0.0, "li_cl", 1e-4, vacuum=True),
    # single precision, and a lattice sum of D3 that ends at a distance
    "sevennet": Case({"kind": "sevennet"}, 2e-4, 2e-4, 2e-2, 2e-3, 2e-5),
    "chgnet": Case({"kind": "chgnet"}, 5e-4, 5e-4, 2e-2, 4e-3, 4e-5),
    "so3lr": Case({"kind": "so3lr"}, 1e-6, 1e-6, 2e-3, 1e-3, 1e-6, "pyr14_tfsi"),
    "nequip-float32": Case({"kind": "nequip", "path": "nequip"}, 1e-4, 1e-4, 5e-3, 5e-4, 2e-5),
    "allegro-float64": Case({"kind": "nequip", "path": "allegro"}, 1e-8, 1e-8, 1e-3, 1e-6, 1e-8),
    "uf3": Case({"kind": "uf3", "path": "uf3"}, 1e-8, 1e-8, 1e-3, 1e-4, 1e-6),
    "mace-float32": Case({"kind": "mace", "path": "MACE"}, 1e-5, 1e-5, 1e-2, 1e-4, 1e-6),
    "mace-float64": Case({"kind": "mace", "path": "MACE", "dtype": "float64"}, 1e-8, 1e-8, 1e-3, 1e-6, 1e-8),
    "deepmd": Case({"kind": "deepmd", "path": "DEEPMD0"}, 1e-8, 1e-8, 1e-3, 1e-6, 1e-8),
    "committee": Case(
        {"kind": "committee", "members": [{"kind": "deepmd", "path": f"DEEPMD{k}"} for k in (0, 1)]},
        1e-8, 1e-8, 1e-3, 1e-6, 1e-8,
    ),
}  # fmt: skip


def filled(value, files):
    """The spec with model files in the place of the names that stand for them, and their digests."""
    if isinstance(value, list):
        return [filled(item, files) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: filled(item, files) for key, item in value.items()}
    if "path" in value:
        path = files(value["path"])
        value |= {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return value


@pytest.fixture(scope="module")
def files(request):
    """Model file of a name; models are made when they are first wanted."""

    def find(name):
        if name == "MACE":
            return request.getfixturevalue("tiny_mace_model")
        if name in ("nequip", "allegro"):
            return request.getfixturevalue("tiny_nequip_models")[name]
        if name == "uf3":
            return request.getfixturevalue("tiny_uf3_model")
        return request.getfixturevalue("tiny_deepmd_models")[int(name[-1])]

    return find


MARKS = {
    "gpaw": pytest.mark.program(PROGRAMS["gpaw"]),
    "cp2k": pytest.mark.program(PROGRAMS["cp2k"]),
    "pyscf": pytest.mark.slow,
    **{name: pytest.mark.environment(name) for name in ("sevennet", "chgnet", "so3lr", "uf3")},
    **{name: pytest.mark.environment("nequip") for name in ("nequip-float32", "allegro-float64")},
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in CASES])
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def potential(case, files):
    return create(filled(case.spec, files))


@pytest.fixture
def one_pair(case):
    return frame_of(case, 0)


@pytest.fixture
def two_pairs(case):
    return frame_of(case, 1)


def frame_of(case, number):
    frame = frames.read(DATA / FILES[case.liquid][number])[0]
    if case.vacuum:
        frame.set_cell(None)
        frame.set_pbc(False)
    return frame


@pytest.fixture(scope="module")
def calculator_for(potential, topology_of):
    """The potential's calculator for a frame, one for each composition."""
    made = {}

    def get(frame):
        ions = frame.info["ions"]
        if ions not in made:
            made[ions] = or_skip(potential.calculator, topology_of(frame), threads=1)
        return made[ions]

    return get


def or_skip(work, *args, **kwargs):
    """The result, or a skipped test where the program that it needs is not installed."""
    try:
        return work(*args, **kwargs)
    except MissingProgram as error:
        pytest.skip(str(error))


def is_installed(kind):
    """False where the program that a potential describes itself by, or that makes its model, is missing."""
    try:
        programs.find(PROGRAMS[kind]) if kind in PROGRAMS else None
        environments.interpreter(kind) if kind in ("nequip", "uf3") else None
    except MissingProgram:
        return False
    return True


def displaced(frame, displacements):
    copy = frame.copy()
    copy.positions += displacements
    return copy


def strained(frame, strain):
    copy = frame.copy()
    copy.set_cell(frame.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def test_every_registered_potential_is_tested():
    assert {case.spec["kind"] for case in CASES.values()} == set(POTENTIALS)


def test_it_is_a_potential(potential, case):
    assert isinstance(potential, Potential)
    assert potential.kind == case.spec["kind"]
    assert 0 < potential.seconds_per_frame(70) < potential.seconds_per_frame(350) < 1e5


def test_forces_are_minus_the_gradient(one_pair, calculator_for, case):
    calculator, rng = calculator_for(one_pair), np.random.default_rng(5)
    forces = calculator.get_forces(one_pair)
    together = rng.normal(size=forces.shape) / np.sqrt(forces.size)
    moves = [together] + [np.zeros_like(forces) for _ in range(min(3, len(one_pair)))]
    for move, atom in zip(moves[1:], rng.choice(len(one_pair), min(3, len(one_pair)), replace=False), strict=True):
        move[atom, rng.integers(3)] = 1.0
    for move in moves:
        ahead, behind = (
            calculator.get_potential_energy(displaced(one_pair, sign * case.step * move)) for sign in (1, -1)
        )
        assert np.sum(forces * move) == pytest.approx((behind - ahead) / (2 * case.step), abs=case.gradient)


def test_stress_is_the_strain_derivative(one_pair, calculator_for, case, potential):
    if not potential.has_stress:
        pytest.skip(f"{potential.kind} gives no stress")
    calculator, step = calculator_for(one_pair), case.step / 20
    stress = calculator.get_stress(one_pair)
    assert stress.shape == (6,)
    for seed in (1, 2):
        strain = np.random.default_rng(seed).normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        ahead, behind = (calculator.get_potential_energy(strained(one_pair, sign * step * strain)) for sign in (1, -1))
        xx, yy, zz, yz, xz, xy = stress
        work = np.sum(strain * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        difference = (ahead - behind) / (2 * step) / one_pair.get_volume()
        assert work == pytest.approx(difference, abs=case.stress)


def test_it_does_not_matter_where_the_box_begins(one_pair, calculator_for, case):
    calculator, rng = calculator_for(one_pair), np.random.default_rng(3)
    energy, forces = calculator.get_potential_energy(one_pair), calculator.get_forces(one_pair)
    images = rng.integers(-1, 2, size=(len(one_pair), 3)) @ one_pair.cell.array
    moved = displaced(one_pair, images + rng.uniform(-5, 5, size=3))
    assert calculator.get_potential_energy(moved) == pytest.approx(energy, abs=case.energy)
    np.testing.assert_allclose(calculator.get_forces(moved), forces, atol=case.force)


def test_the_same_lattice_by_skewed_vectors(one_pair, calculator_for, case):
    if case.vacuum:
        pytest.skip("no lattice in a vacuum")
    calculator, a, b, c = calculator_for(one_pair), *one_pair.cell.array
    skewed = one_pair.copy()
    skewed.set_cell([a, b + a, c - b])
    expected = calculator.get_potential_energy(one_pair), calculator.get_forces(one_pair)
    assert calculator.get_potential_energy(skewed) == pytest.approx(expected[0], abs=case.energy)
    np.testing.assert_allclose(calculator.get_forces(skewed), expected[1], atol=case.force)


def test_identical_ions_can_be_exchanged(two_pairs, topology_of, calculator_for, case):
    calculator, topology = calculator_for(two_pairs), topology_of(two_pairs)
    energy, forces = calculator.get_potential_energy(two_pairs), calculator.get_forces(two_pairs)
    order = np.concatenate([topology.atoms_of(molecule) for molecule in (1, 0, 3, 2)])
    exchanged = two_pairs.copy()
    exchanged.positions = two_pairs.positions[order]
    assert calculator.get_potential_energy(exchanged) == pytest.approx(energy, abs=case.energy)
    np.testing.assert_allclose(calculator.get_forces(exchanged), forces[order], atol=case.force)


def test_results_do_not_depend_on_earlier_frames(one_pair, calculator_for, potential, topology_of, case):
    calculator = calculator_for(one_pair)
    calculator.get_forces(displaced(one_pair, 0.1))
    used = calculator.get_potential_energy(one_pair), calculator.get_forces(one_pair)
    fresh = potential.calculator(topology_of(one_pair), threads=1)
    assert fresh.get_potential_energy(one_pair) == pytest.approx(used[0], rel=1e-13, abs=max(1e-12, case.memory))
    np.testing.assert_allclose(fresh.get_forces(one_pair), used[1], rtol=0, atol=max(1e-10, case.memory))


def test_frames_are_left_as_they_are(one_pair, calculator_for, potential):
    one_pair.info["note"] = "kept"
    one_pair.arrays["mark"] = np.arange(len(one_pair))
    before, calculator = one_pair.copy(), calculator_for(one_pair)
    calculator.get_forces(one_pair)[:] = 0.0
    if potential.has_stress:
        calculator.get_stress(one_pair)
    assert one_pair.calc is None
    assert one_pair.info == before.info
    assert (one_pair.cell.array == before.cell.array).all() and (one_pair.pbc == before.pbc).all()
    assert set(one_pair.arrays) == set(before.arrays)
    for key, values in before.arrays.items():
        np.testing.assert_array_equal(one_pair.arrays[key], values)


def test_it_crosses_to_another_process(potential):
    copy = pickle.loads(pickle.dumps(potential))
    assert copy == potential
    assert or_skip(digest, copy) == or_skip(digest, potential)


def test_its_description_is_json_and_its_digest_the_same_in_every_process(files):
    specs = [filled(case.spec, files) for case in CASES.values() if is_installed(case.spec["kind"])]
    potentials = [create(spec) for spec in specs]
    for each in potentials:
        assert json.loads(json.dumps(each.describe())) == each.describe()
    said = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        input=json.dumps(specs),
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = [digest(each) for each in potentials]
    assert json.loads(said.stdout) == ours
    assert len(set(ours)) == len(ours)

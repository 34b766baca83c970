"""UF3 potentials: what their file says, and that environment and LAMMPS compute the same from it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from ilforge import environments, frames, programs
from ilforge.dynamics import choose_engine, run_md
from ilforge.dynamics.lammps import program as lammps_program
from ilforge.errors import SettingsError
from ilforge.files import file_digest
from ilforge.labelling.label import evaluate, forget
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials import create, digest
from ilforge.potentials.learned.uf3 import ENVIRONMENT, KIND, energies_of
from support import md

NOBODY = "0" * 64
BAR_PER_EV_A3 = 1602176.634
there = pytest.mark.environment("uf3")


@pytest.fixture(autouse=True, scope="module")
def cold():
    yield
    forget()


def spec_of(path):
    return {"kind": "uf3", "path": str(path), "sha256": file_digest(path)}


def written(path, energies="H -13.5 C -150.25"):
    path.write_text(f"# UNITS: metal\n# ENERGIES eV: {energies}\n#UF3 POT UNITS: metal\n2B H H 0 3 uk\n")
    return path


# ---------------------------------------------------------------- what is said, without the environment


def test_elements_and_their_energies_are_read_from_the_comment(tmp_path):
    path = written(tmp_path / "m.uf3")
    assert energies_of(path.read_text()) == {"H": -13.5, "C": -150.25}
    assert create(spec_of(path)).known_elements == ("H", "C")
    assert create({"kind": "uf3", "path": str(tmp_path / "gone.uf3"), "sha256": NOBODY}).known_elements is None


def test_an_element_that_it_lacks_is_refused_before_anything_is_started(tmp_path, one_pair, topology_of):
    potential = create(spec_of(written(tmp_path / "m.uf3")))
    for refused in (lambda: potential.calculator(topology_of(one_pair)), lambda: potential.lammps_pair(["H", "N"])):
        with pytest.raises(SettingsError, match=r"UF3 model m\.uf3 does not know .*N: it knows H, C"):
            refused()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"path": "model.json"}, r"a file that ends with \.uf3"),
        ({"sha256": "12"}, "is not a SHA-256 digest"),
        ({"sha256": ""}, "needs its digest beside its path"),
    ],
)
def test_keys_that_it_cannot_use_are_refused(keys, says, tmp_path):
    path = written(tmp_path / "m.uf3")
    with pytest.raises(SettingsError, match=says):
        create({"kind": "uf3", "path": str(path), "sha256": NOBODY, **keys})


def test_a_file_without_energies_of_atoms_is_refused(tmp_path):
    path = tmp_path / "other.uf3"
    path.write_text("#UF3 POT UNITS: metal\n2B W W 0 3 nk\n")
    with pytest.raises(SettingsError, match="no line that begins with '# ENERGIES eV:'"):
        create(spec_of(path)).lammps_pair(["W"])


def test_a_changed_file_is_not_given_to_lammps(tmp_path):
    path = written(tmp_path / "m.uf3")
    potential = create(spec_of(path))
    written(path, "H -13.6 C -150.25")
    with pytest.raises(SettingsError, match="is not the one that sha256"):
        potential.lammps_pair(["H"])


def test_its_description_is_of_the_file_and_not_of_its_place(tmp_path):
    one, other = ({"kind": "uf3", "path": str(tmp_path / name), "sha256": NOBODY} for name in ("a.uf3", "b.uf3"))
    assert digest(create(one)) == digest(create(other)) and one["path"] not in json.dumps(create(one).describe())
    assert KIND.environment is ENVIRONMENT and KIND.computes_with is None


def test_lammps_runs_one_potential_and_no_committee(tmp_path, one_pair):
    one, other = spec_of(written(tmp_path / "a.uf3")), spec_of(written(tmp_path / "b.uf3", "H -1.0 C -2.0"))
    assert choose_engine(create(one), one_pair) == "lammps"
    assert choose_engine(create({"kind": "committee", "members": [one, other]}), one_pair) == "ase"


# ---------------------------------------------------------------- what is computed


@there
def test_the_versions_in_the_environment_are_those_that_were_tested():
    assert environments.versions(ENVIRONMENT)["uf3"] == "0.4.0"
    assert environments.prove(ENVIRONMENT, environments.interpreter("uf3")).startswith("a water molecule has")


@there
def test_a_gpu_that_was_chosen_for_others_does_not_concern_it(one_pair, tiny_uf3_model, monkeypatch):
    from ilforge import devices

    monkeypatch.setattr(devices, "_chosen", devices.Devices.parse("cuda"))
    assert np.isfinite(create(spec_of(tiny_uf3_model)).calculator().get_potential_energy(one_pair))


@there
def test_an_ion_in_a_vacuum_is_that_in_a_large_box(tiny_uf3_model):
    alone = in_vacuum(Liquid.of({"PYR14": 1}, vacuum=True), seed=1)
    boxed = alone.copy()
    boxed.set_cell([40.0, 40.0, 40.0])
    boxed.set_pbc(True)
    calculator = create(spec_of(tiny_uf3_model)).calculator()
    energy, forces = calculator.get_potential_energy(alone), calculator.get_forces(alone)
    assert "stress" not in calculator.results
    assert calculator.get_potential_energy(boxed) == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(calculator.get_forces(boxed), forces, atol=1e-9)


@there
def test_its_numbers_are_those_of_uf3s_own_calculator(one_pair, tiny_uf3_model, tmp_path):
    """UF3's own classes make a model from the numbers in the file; its own calculator sums over periodic images."""
    one_pair.write(tmp_path / "frame.json", format="json")
    (tmp_path / "own.py").write_text(OWN)
    python, loader = environments.interpreter("uf3"), create(spec_of(tiny_uf3_model)).worker_settings()["loader"]
    done = subprocess.run(
        [python, "own.py", tiny_uf3_model, loader], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    energy, forces = json.loads(done.stdout.splitlines()[-1])
    answer = evaluate(one_pair, spec_of(tiny_uf3_model))
    assert answer.energy == pytest.approx(energy, abs=1e-7)
    np.testing.assert_allclose(answer.forces, forces, atol=1e-7)


OWN = """
import ase.io, importlib.util, json, sys
import numpy as np
from pathlib import Path
from ase.data import chemical_symbols as symbols
from uf3.data.composition import ChemicalSystem
from uf3.forcefield.calculator import UFCalculator
from uf3.regression.least_squares import WeightedLinearModel
from uf3.representation.bspline import BSplineBasis

spec = importlib.util.spec_from_file_location("load", sys.argv[2])
load = importlib.util.module_from_spec(spec)
spec.loader.exec_module(load)
held = load.read(Path(sys.argv[1]))
terms = {tuple(symbols[z] for z in kind): part for kind, part in (held.pairs | held.trios).items()}
system = ChemicalSystem(list(held.energies), degree=3)
knots = {kind: part[0] if len(kind) == 3 else part[0][0] for kind, part in terms.items()}
least = {kind: [one[0] for one in part[0]] if len(kind) == 3 else part[0][0][0] for kind, part in terms.items()}
most = {kind: [one[-1] for one in part[0]] if len(kind) == 3 else part[0][0][-1] for kind, part in terms.items()}
steps = {kind: [len(one) - 7 for one in part[0]] if len(kind) == 3 else len(part[0][0]) - 7
         for kind, part in terms.items()}
basis = BSplineBasis(system, r_min_map=least, r_max_map=most, resolution_map=steps)
assert all(np.allclose(own, read) for kind in knots for own, read in zip(np.atleast_2d(basis.knots_map[kind])
           if len(kind) == 2 else basis.knots_map[kind], np.atleast_2d(knots[kind]) if len(kind) == 2 else knots[kind]))
parts = [np.array([held.energies[element]]) for element in system.element_list]
for kind in system.interactions_map[2]:
    parts.append(terms[kind][1])
for kind in system.interactions_map[3]:
    grid, mask = terms[kind][1], basis.template_mask[kind]
    double = 2.0 if basis.symmetry[kind] == 2 else 1.0  # exchanged places of the grid have one coefficient
    same = np.array([double if a == b else 1.0 for a, b, _ in zip(*np.unravel_index(mask, grid.shape))])
    parts.append(grid.flat[mask] / same / basis.flat_weights[kind])
model = WeightedLinearModel(basis)
model.coefficients = np.concatenate(parts)
atoms, calculator = ase.io.read("frame.json"), UFCalculator(model)
print(json.dumps([float(calculator.get_potential_energy(atoms)), calculator.get_forces(atoms).tolist()]))
"""


@there
@pytest.mark.program("lmp")
def test_lammps_computes_the_same_from_the_file(one_pair, tiny_uf3_model, tmp_path):
    elements, spec = sorted(set(one_pair.get_chemical_symbols())), spec_of(tiny_uf3_model)
    write_data(one_pair, elements, tmp_path / "start.data")
    lines = [
        "units metal",
        "atom_style atomic",
        "atom_modify map yes",
        "read_data start.data",
        *create(spec).lammps_pair(elements),
        "thermo_style custom step pe pxx pyy pzz pyz pxz pxy",
        'fix said all print 1 "$(pe:%.16g) $(pxx:%.16g) $(pyy:%.16g) $(pzz:%.16g) $(pyz:%.16g) $(pxz:%.16g) '
        '$(pxy:%.16g)" file said.txt screen no title ""',
        "dump forces all custom 1 forces.dump id fx fy fz",
        "dump_modify forces sort id format float %.16g",
        "run 0",
    ]
    (tmp_path / "in.lammps").write_text("\n".join(lines) + "\n")
    program, variables = lammps_program.executable()
    programs.run([program, "-in", "in.lammps", "-log", "none"], tmp_path, log="log", environment=variables)
    energy, *pressure = map(float, (tmp_path / "said.txt").read_text().split())
    table = [line.split() for line in (tmp_path / "forces.dump").read_text().splitlines()[9:]]
    answer = evaluate(one_pair, spec)
    assert answer.energy == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(np.array(table, dtype=float)[:, 1:], answer.forces, atol=1e-8)
    np.testing.assert_allclose(-np.array(pressure) / BAR_PER_EV_A3, answer.stress, rtol=1e-6, atol=1e-9)


def write_data(frame, elements, path):
    """LAMMPS's data file of a frame in an orthorhombic box."""
    lines = ["frame", "", f"{len(frame)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0 {length:.16g} {axis}lo {axis}hi" for axis, length in zip("xyz", frame.cell.lengths(), strict=True)]
    lines += ["", "Masses", "", *(f"{number} 1.0" for number in range(1, len(elements) + 1))]
    lines += ["", "Atoms # atomic", ""]
    for number, atom in enumerate(frame, 1):
        x, y, z = atom.position
        lines.append(f"{number} {elements.index(atom.symbol) + 1} {x:.16g} {y:.16g} {z:.16g}")
    path.write_text("\n".join(lines) + "\n")


@there
@pytest.mark.program("lmp")
def test_energies_of_md_in_lammps_are_those_of_the_potential(one_pair, tiny_uf3_model, tmp_path):
    """With the energies of single atoms, at the end of a few steps from a frame that the potential was fitted to."""
    potential = create(spec_of(tiny_uf3_model))
    protocol = md.short(ensemble="NVE", temperature_K=20.0, timestep_fs=0.1, length_ps=0.002, interval_ps=0.001)
    protocol = replace(protocol, equilibration_ps=0.0, minimise_steps=0)
    run = run_md(potential, one_pair, Liquid.from_label(one_pair.info["ions"]), protocol, tmp_path)
    last = frames.read(run.directory / "last.xyz")[0]
    energies = np.genfromtxt(run.thermo_file, delimiter=",", names=True)["potential_energy_eV"]
    assert energies[-1] == pytest.approx(potential.calculator().get_potential_energy(last), abs=1e-5)

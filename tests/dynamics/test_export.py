"""Export: other programs run what is written, as it is, and get the same energies."""

from __future__ import annotations

from dataclasses import replace

import MDAnalysis
import numpy as np
import pytest
from click.testing import CliRunner

from ilforge import programs
from ilforge.cli.export import export as command
from ilforge.dynamics.export import export
from ilforge.dynamics.lammps.program import executable
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.classical.clpol import Clpol
from ilforge.potentials.classical.clpol import forces as clpol_forces
from ilforge.potentials.classical.clpol.parameters import assign
from ilforge.potentials.classical.lammps_molecules import KJ_PER_KCAL
from ilforge.potentials.quantum.xtb import Xtb
from ilforge.units import KJ_PER_MOL
from support import md
from support.boxes import large_box
from support.clp_terms import EWALD_PER_NM, MESH, openmm_clpol_terms, openmm_terms

POINT = f"""kspace_modify gewald {EWALD_PER_NM / 10} mesh {MESH} {MESH} {MESH} order 6
thermo_style custom step ebond eangle edihed evdwl etail ecoul elong
thermo_modify format float %.12g
run 0
"""


@pytest.fixture(scope="module")
def job():
    """Four pairs of PYR14 and BF4, to be run for a tenth of a picosecond."""
    liquid = Liquid.of({"PYR14": 4, "BF4": 4})
    protocol = md.short(ensemble="NPT", timestep_fs=2.0, equilibration_ps=0.05, length_ps=0.05, interval_ps=0.01)
    return Job(Clp(4.6), pack(liquid, 1.0, 1), liquid.topology, protocol)


def lammps(script, directory):
    """Run LAMMPS itself without its DeePMD plugin, which takes seconds to load."""
    program, environment = executable()
    environment = {**environment, "LAMMPS_PLUGIN_PATH": ""}
    programs.run([program, "-in", script, "-log", "none"], directory, log="log", environment=environment)


def lammps_terms(directory):
    """Energies of what was exported at its first positions, eV; LAMMPS counts springs among the bonds."""
    (directory / "in.point").write_text((directory / "in.lammps").read_text().split("thermo_style")[0] + POINT)
    lammps("in.point", directory)
    lines = [line.split() for line in (directory / "log").read_text().splitlines()]
    head = next(index for index, words in enumerate(lines) if "E_bond" in words)
    kcal = KJ_PER_KCAL * KJ_PER_MOL
    found = {key: float(value) * kcal for key, value in zip(lines[head], lines[head + 1], strict=True)}
    return {
        "bond": found["E_bond"],
        "angle": found["E_angle"],
        "torsion": found["E_dihed"],
        "lj": found["E_vdwl"] - found["E_tail"],
        "tail": found["E_tail"],
        "coulomb": found["E_coul"] + found["E_long"],
    }


def move_drude_particles(path, n_atoms, off):
    """Move the Drude particles of a data file ``(m, 3)`` Å off their atoms."""
    lines = path.read_text().splitlines()
    first = lines.index("Atoms # full") + 2 + n_atoms
    for k, shift in enumerate(off, first):
        words = lines[k].split()
        place = [f"{float(word) + step:.12g}" for word, step in zip(words[4:], shift, strict=True)]
        lines[k] = " ".join([*words[:4], *place])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.program("lmp")
@pytest.mark.parametrize("name", ["PYR14BF4", "Li2PYR14_18TFSI20"])
def test_lammps_and_openmm_agree_term_by_term(name, tmp_path):
    liquid, atoms = large_box(name)
    job = Job(Clp(10.0), atoms, liquid.topology, md.short())
    export(job, "lammps", tmp_path)
    found = lammps_terms(tmp_path)
    expected = openmm_terms(job.potential, job.topology, atoms.cell.array, job.start_positions, switched=False)
    # measured: 5e-11, Coulomb 7e-7
    for term, tolerance in (("bond", 1e-8), ("angle", 1e-8), ("torsion", 1e-8), ("coulomb", 2e-5), ("tail", 0.01)):
        assert found[term] == pytest.approx(expected[term], rel=tolerance), term
    assert found["lj"] == pytest.approx(expected["lj"] + expected["lj_1_4"], rel=1e-8)


@pytest.mark.program("lmp")
@pytest.mark.parametrize("name", ["PYR14BF4", "PYR14TFSI"])
def test_lammps_and_openmm_agree_on_drude_particles_off_their_atoms(name, tmp_path, monkeypatch):
    monkeypatch.setattr(clpol_forces, "SWITCH", 1.0 - 1e-9)  # LAMMPS has no switch
    liquid, atoms = large_box(name)
    job = Job(Clpol(10.0), atoms, liquid.topology, md.short())
    export(job, "lammps", tmp_path)
    off = np.random.default_rng(5).normal(scale=0.05, size=(len(assign(liquid.topology).hosts), 3))
    move_drude_particles(tmp_path / "start.data", liquid.topology.n_atoms, off)
    found = lammps_terms(tmp_path)
    expected = openmm_clpol_terms(job.potential, liquid.topology, atoms.cell.array, job.start_positions, off)
    # measured: 1e-10; LAMMPS's erfc is a polynomial, multiplied here by the charges of a spring that is 0.1 Å long
    assert found.pop("coulomb") == pytest.approx(expected.pop("coulomb"), rel=5e-4)
    for term, energy in found.items():
        assert energy == pytest.approx(expected[term], rel=1e-8), term


@pytest.mark.program("lmp")
@pytest.mark.parametrize("potential", [Clp(4.6), Clpol(4.6)], ids=["clp", "clpol"])
def test_lammps_runs_what_is_written(potential, job, tmp_path):
    export(replace(job, potential=potential), "lammps", tmp_path)
    lammps("in.lammps", tmp_path)
    dump = (tmp_path / "trajectory.lammpsdump").read_text()
    assert dump.count("ITEM: TIMESTEP") == 6 and f"ITEM: NUMBER OF ATOMS\n{job.topology.n_atoms}\n" in dump
    assert (tmp_path / "end.data").is_file()
    assert "shake 1e-5" in (tmp_path / "in.lammps").read_text()


@pytest.mark.program("gmx")
def test_gromacs_runs_what_is_written(job, tmp_path):
    export(job, "gromacs", tmp_path)
    script = tmp_path / "run.sh"
    script.write_text(script.read_text().replace("mdrun", "mdrun -ntmpi 1 -ntomp 1 -pin off"))
    programs.run(["sh", "run.sh"], tmp_path, log="log")
    assert (tmp_path / "run.gro").is_file() and (tmp_path / "run.trr").stat().st_size > 5 * 24 * job.topology.n_atoms


@pytest.mark.parametrize("potential", [Clp(4.6), Clpol(4.6)], ids=["clp", "clpol"])
def test_openmm_runs_what_is_written(potential, job, tmp_path):
    export(replace(job, potential=potential), "openmm", tmp_path)
    programs.run(["python", "run.py"], tmp_path, log="log", environment={"OPENMM_CPU_THREADS": "1"})
    assert len((tmp_path / "thermo.csv").read_text().splitlines()) == 6
    universe = MDAnalysis.Universe(tmp_path / "start.pdb", tmp_path / "trajectory.dcd")
    assert len(universe.trajectory) == 5 and universe.atoms.n_atoms == job.topology.n_atoms
    assert (tmp_path / "end.xml").is_file()


def test_openmm_comes_to_its_temperature_before_it_keeps_its_energy(job, tmp_path):
    """After a minimisation half of the heat of the first velocities goes into vibrations.

    What is kept then is the energy of one moment, which differs by 5 %, and 7 % of the heat are still to come.
    """
    protocol = replace(job.protocol, ensemble="NVE", timestep_fs=1.0, equilibration_ps=2.0, length_ps=0.2)
    export(replace(job, protocol=protocol), "openmm", tmp_path)
    programs.run(["python", "run.py"], tmp_path, log="log", environment={"OPENMM_CPU_THREADS": "1"})
    table = np.genfromtxt(tmp_path / "thermo.csv", delimiter=",", names=True, deletechars="")
    temperature = table[next(name for name in table.dtype.names if name.startswith("Temperature"))]
    assert temperature.mean() == pytest.approx(423.0, rel=0.3)
    assert (tmp_path / "integrator-nve.xml").is_file()


def test_gromacs_needs_a_box_that_has_its_density(job, tmp_path):
    protocol = replace(job.protocol, equilibration_ps=0.0)
    with pytest.raises(SettingsError, match="such as --equilibration 100"):
        export(replace(job, protocol=protocol), "gromacs", tmp_path)


def test_a_potential_without_terms_is_refused(job, tmp_path):
    other = Job(Xtb(), job.atoms, job.topology, job.protocol)
    with pytest.raises(SettingsError, match="xtb cannot be exported to gromacs"):
        export(other, "gromacs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.program("packmol")
def test_the_command_packs_and_writes(tmp_path):
    arguments = ["--ion", "PYR14=2", "--ion", "BF4=2", "--density", "1.0", "--potential", "clp:4.5"]
    found = CliRunner().invoke(command, [*arguments, "--format", "gromacs", "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert "topol.top, start.gro" in found.output
    assert (tmp_path / "out" / "run.mdp").read_text().count("Parrinello-Rahman") == 1


@pytest.mark.parametrize("arguments", [[], ["--ion", "PYR14=2"], ["--box", "a.xyz", "--density", "1.0"]])
def test_a_box_is_packed_or_read(tmp_path, arguments):
    found = CliRunner().invoke(command, [*arguments, "--format", "openmm", "--out", str(tmp_path / "out")])
    assert isinstance(found.exception, SettingsError) and "--box FILE, or --ion" in str(found.exception)

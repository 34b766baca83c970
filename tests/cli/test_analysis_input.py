"""`ilforge analyse` on a topology with extended XYZ or LAMMPS dumps, and on numbers that make no sense."""

import json

import numpy as np
import pytest
from ase import Atoms
from click.testing import CliRunner

from ilforge import frames
from ilforge.cli import ilforge, load_commands
from ilforge.errors import SettingsError
from ilforge.folders import MARKER
from ilforge.liquid.liquid import Liquid
from ilforge.properties.reading.reader import open_trajectory
from support.motion import tumbling_ions

N_FRAMES = 6


@pytest.fixture(scope="module")
def ions():
    return tumbling_ions(N_FRAMES, np.random.default_rng(1))


def call(*arguments):
    load_commands()
    return CliRunner().invoke(ilforge, [str(word) for word in arguments], catch_exceptions=False)


def write_data(path, topology, positions, cell):
    """LAMMPS data of style full: types, molecules and bonds, no names and all charges zero."""
    from ase.data import atomic_masses, atomic_numbers

    kinds = list(dict.fromkeys(topology.symbols))
    lines = ["ions", "", f"{topology.n_atoms} atoms", f"{len(topology.bonds)} bonds", f"{len(kinds)} atom types"]
    lines += ["1 bond types", ""]
    lines += [f"0 {side:.4f} {axis}lo {axis}hi" for axis, side in zip("xyz", np.diag(cell), strict=True)]
    lines += ["", "Masses", ""]
    lines += [f"{k} {atomic_masses[atomic_numbers[kind]]:.3f}" for k, kind in enumerate(kinds, 1)]
    lines += ["", "Atoms # full", ""]
    for k, (x, y, z) in enumerate(positions):
        kind, molecule = kinds.index(topology.symbols[k]) + 1, topology.molecules[k] + 1
        lines.append(f"{k + 1} {molecule} {kind} 0.0 {x:.5f} {y:.5f} {z:.5f}")
    lines += ["", "Bonds", ""]
    lines += [f"{k} 1 {i + 1} {j + 1}" for k, (i, j) in enumerate(topology.bonds, 1)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_dump(path, positions, cells, velocity=None):
    """A LAMMPS dump, every hundred steps."""
    lines = []
    for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
        lines += ["ITEM: TIMESTEP", str(100 * index), "ITEM: NUMBER OF ATOMS", str(len(frame))]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *[f"0.0 {side:.5f}" for side in np.diag(cell)]]
        lines.append("ITEM: ATOMS id type x y z" + (" vx vy vz" if velocity is not None else ""))
        for k, point in enumerate(frame):
            moving = "" if velocity is None else " " + " ".join(f"{v:.6f}" for v in velocity[index, k])
            lines.append(f"{k + 1} 1 " + " ".join(f"{x:.5f}" for x in point) + moving)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pdb(path, topology, positions, cell):
    from ilforge.dynamics.recording import pdb_text

    path.write_text(pdb_text(topology, positions, cell))
    return path


def extended(ions, part=slice(None)):
    system, positions, cells = ions
    return [
        Atoms(system.topology.symbols, frame, cell=cell, pbc=True)
        for frame, cell in zip(positions[part], cells[part], strict=True)
    ]


def density(done):
    assert done.exit_code == 0, done.output
    return next(record for record in json.loads(done.output) if record["quantity"] == "density")


def curves(paths, **about):
    from ilforge.properties import measure

    return measure(open_trajectory(paths, **about), ["rdf"])["rdf"].curves


def test_topology_with_extended_xyz_in_pieces(ions, tmp_path):
    system, positions, cells = ions
    top = write_pdb(tmp_path / "top.pdb", system.topology, positions[0], cells[0])
    frames.write(tmp_path / "whole.xyz", extended(ions))
    frames.write(tmp_path / "a.extxyz", extended(ions, slice(0, 2)))
    frames.write(tmp_path / "b.extxyz", extended(ions, slice(2, None)))
    asked = ("--frame-interval", 1, "--property", "density", "--json")
    one = density(call("analyse", top, tmp_path / "whole.xyz", *asked))
    assert one["liquid"] == "6 PYR14, 6 BF4"
    assert density(call("analyse", top, tmp_path / "a.extxyz", tmp_path / "b.extxyz", *asked)) == one
    truth = frames.read(tmp_path / "whole.xyz")
    for frame in truth:
        frame.info["ions"] = "6 PYR14, 6 BF4"
    frames.write(tmp_path / "named.xyz", truth)
    assert density(call("analyse", tmp_path / "named.xyz", *asked)) == one
    frames.write(tmp_path / "named-a.xyz", truth[:2])
    assert density(call("analyse", tmp_path / "named-a.xyz", tmp_path / "b.extxyz", *asked)) == one
    with pytest.raises(SettingsError, match="give a topology with bonds before the frames"):
        call("analyse", tmp_path / "whole.xyz", *asked)
    with pytest.raises(SettingsError, match="top.pdb is not extended XYZ"):
        call("analyse", tmp_path / "named.xyz", top, *asked)


def test_atoms_of_extended_xyz_go_where_those_of_the_topology_go(ions, tmp_path):
    """A topology whose molecules are mixed."""
    import MDAnalysis

    system, positions, cells = ions
    topology = system.topology
    order = np.random.default_rng(2).permutation(topology.n_atoms)
    mixed = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=12, atom_resindex=topology.molecules[order], trajectory=True
    )
    mixed.add_TopologyAttr("elements", np.array(topology.symbols)[order])
    mixed.add_TopologyAttr("names", np.array(topology.names)[order])
    mixed.add_TopologyAttr("bonds", [tuple(bond) for bond in np.argsort(order)[topology.bonds].tolist()])
    mixed.atoms.positions, mixed.dimensions = positions[0][order], [19.0, 19.0, 19.0, 90, 90, 90]
    mixed.atoms.write(str(tmp_path / "mixed.pdb"), bonds="all")
    frames.write(tmp_path / "mixed.extxyz", [frame[order] for frame in extended(ions)])
    found = curves([tmp_path / "mixed.pdb", tmp_path / "mixed.extxyz"], frame_interval_ps=1.0)
    top = write_pdb(tmp_path / "top.pdb", topology, positions[0], cells[0])
    frames.write(tmp_path / "t.extxyz", extended(ions))
    expected = curves([top, tmp_path / "t.extxyz"], frame_interval_ps=1.0)
    np.testing.assert_allclose(found["rdf PYR14-BF4"].y, expected["rdf PYR14-BF4"].y, atol=1e-6)


@pytest.mark.parametrize("name", ["dump.lammpstrj", "run.dump", "dump.nvt"])
def test_topology_with_a_lammps_dump(ions, tmp_path, name):
    """Data without names of residues and with charges that are all zero."""
    system, positions, cells = ions
    top = write_data(tmp_path / "system.data", system.topology, positions[0], cells[0])
    dump = write_dump(tmp_path / name, positions, cells)
    asked = ("--frame-interval", 1, "--temperature", 423, "--property", "density", "--json")
    found = density(call("analyse", top, dump, *asked))
    assert found["liquid"] == "6 PYR14, 6 BF4"
    volumes = np.prod(np.diagonal(cells, axis1=1, axis2=2), axis=1)
    liquid = Liquid.of({"PYR14": 6, "BF4": 6})
    assert found["value"] == pytest.approx(np.mean(liquid.mass * 1.66053907 / volumes), rel=1e-4)
    later = write_dump(tmp_path / f"later-{name}", positions + 0.5, cells)
    source = open_trajectory([top, dump, later], frame_interval_ps=1.0)
    assert source.system.n_frames == 2 * N_FRAMES and source.system.topology.charges == (1,) * 6 + (-1,) * 6
    with pytest.raises(SettingsError, match="--frame-interval, in ps"):
        call("analyse", top, dump, "--property", "density")


def test_velocities_of_a_lammps_dump_need_their_units(ions, tmp_path):
    system, positions, cells = ions[0], *(np.concatenate([part] * 12) for part in ions[1:])
    velocity = np.random.default_rng(3).normal(size=positions.shape) * 1e-3
    top = write_data(tmp_path / "system.data", system.topology, positions[0], cells[0])
    dump = write_dump(tmp_path / "run.dump", positions, cells, velocity)
    first = open_trajectory([top, dump], 1.0)
    assert first.frame(2).velocities is None
    for units, unit in (("real", 1000.0), ("metal", 1.0)):
        found = open_trajectory([top, dump], 1.0, lammps_units=units).frame(2).velocities
        np.testing.assert_allclose(found, unit * velocity[2], atol=2e-6 * unit)
    asked = ("analyse", top, dump, "--frame-interval", 1, "--temperature", 423, "--property", "conductivity")
    done = call(*asked)
    assert "conductivity_green_kubo" not in done.output
    assert "No Green-Kubo conductivity: the LAMMPS dump does not contain the unit of its velocities" in done.output
    assert "conductivity_green_kubo" in call(*asked, "--lammps-units", "real").output
    frames.write(tmp_path / "t.extxyz", extended(ions))
    with pytest.raises(SettingsError, match="not a LAMMPS dump"):
        call("analyse", top, tmp_path / "t.extxyz", "--frame-interval", 1, "--lammps-units", "real")


def test_a_topology_without_positions_alone(ions, tmp_path):
    topology = ions[0].topology
    lines = ["PSF", "", "       1 !NTITLE", " REMARKS none", "", f"{topology.n_atoms:8d} !NATOM"]
    for k, symbol in enumerate(topology.symbols):
        atom = f"{symbol:<4s} {symbol:<4s} {0:10.6f} {1:13.4f} {0:11d}"
        lines.append(f"{k + 1:8d} A    {topology.molecules[k] + 1:<4d} ION  {atom}")
    lines += ["", f"{0:8d} !NBOND: bonds", ""]
    (tmp_path / "top.psf").write_text("\n".join(lines) + "\n")
    with pytest.raises(SettingsError, match="contains no positions: give a trajectory file after it"):
        call("analyse", tmp_path / "top.psf")


@pytest.mark.parametrize(
    ("option", "values"),
    [("--temperature", (0,)), ("--temperature", (-5,)), ("--frame-interval", (0,)), ("--frame-interval", (-1,)),
     ("--viscosity", (0, 0.1)), ("--viscosity", (-1, 0.1)), ("--viscosity", (0.1, -1))],
)  # fmt: skip
def test_numbers_that_make_no_sense(tmp_path, option, values):
    done = call("analyse", tmp_path, option, *values)
    assert done.exit_code == 2 and f"Invalid value for '{option}'" in done.output


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_numbers_that_make_no_sense_from_python(ions, value):
    from ilforge.properties.reading.reader import source_of

    about = {"topology": ions[0].topology}
    with pytest.raises(SettingsError, match=r"--temperature.*greater than 0"):
        source_of(extended(ions), **about, frame_interval_ps=1.0, temperature_K=value)
    with pytest.raises(SettingsError, match=r"--frame-interval.*greater than 0"):
        source_of(extended(ions), **about, frame_interval_ps=value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pressure-units", "real"), "--pressure-units is the unit of the file in --pressure"),
        (("--pressure", "p.csv", "--property", "density"), "--pressure is for the viscosity"),
        (("--viscosity", 0.01, 0.001, "--property", "density"), "--viscosity corrects the diffusion"),
        (("--lammps-units", "real", "--replicas"), "--lammps-units belongs to one run"),
    ],
)
def test_options_that_nothing_would_look_at(tmp_path, words, said):
    with pytest.raises(SettingsError, match=said):
        call("analyse", tmp_path, *words)


def test_units_of_a_table_that_has_them(tmp_path):
    from ilforge.properties.reading.pressure_table import read_pressure

    (tmp_path / "p.csv").write_text("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n1,1,2,3\n2,1,2,3\n")
    assert read_pressure(tmp_path / "p.csv").interval_ps == 1.0
    with pytest.raises(SettingsError, match="is a CSV table, in ps and bar.*leave them out"):
        read_pressure(tmp_path / "p.csv", "real")


@pytest.fixture
def named(ions, tmp_path):
    """Frames that say which ions they hold."""
    truth = extended(ions)
    for frame in truth:
        frame.info["ions"] = "6 PYR14, 6 BF4"
    frames.write(tmp_path / "named.xyz", truth)
    return ("analyse", tmp_path / "named.xyz", "--frame-interval", 1, "--property", "density")


@pytest.mark.parametrize("options", [(), ("--replicas",)])
def test_folder_that_cannot_be_written_is_refused_before_anything_is_measured(named, tmp_path, monkeypatch, options):
    import ilforge.properties
    from ilforge.properties.combining import replicas

    def measured(*_, **__):
        raise AssertionError("measured")

    monkeypatch.setattr(ilforge.properties, "measure", measured)
    monkeypatch.setattr(replicas, "measure_replicas", measured)
    (tmp_path / "afile").write_text("")
    runs = (named[0], named[1], tmp_path / "copy.xyz", *named[2:], *options) if options else named
    frames.write(tmp_path / "copy.xyz", frames.read(tmp_path / "named.xyz")[::-1])
    for folder in (tmp_path / "afile" / "sub", "/proc/res"):
        with pytest.raises(
            SettingsError, match=f"--out {folder}: nothing can be written there.*Give a writable folder"
        ):
            call(*runs, "--out", folder)
    with pytest.raises(AssertionError, match="measured"):
        call(*runs, "--out", tmp_path / "new" / "sub")
    assert list((tmp_path / "new" / "sub").iterdir()) == []


def test_numbers_are_printed_though_files_cannot_be_written(named, tmp_path, ilforge):
    (tmp_path / "out" / "results.csv").mkdir(parents=True)
    (tmp_path / "out" / MARKER).touch()
    for options, shown in (((), "density "), (("--json",), '"quantity": "density"')):
        code, out, err = ilforge(*named, "--out", tmp_path / "out", *options)
        assert code == 2 and shown in out
        assert "not all files could be written" in err and "results.csv" in err and "fault of ilforge" not in err


def test_files_are_written_though_nobody_reads_the_numbers(named, tmp_path, monkeypatch):
    """As `ilforge analyse ... | head` ends."""

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("ilforge.cli.analysis._print", closed)
    with pytest.raises(BrokenPipeError):
        call(*named, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "results.csv").is_file()

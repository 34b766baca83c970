"""Files of others in their own forms: boxes, images, columns and atoms that are none."""

import warnings
from dataclasses import replace

import MDAnalysis
import numpy as np
import pytest

from ilforge import frames as xyz
from ilforge.errors import SettingsError
from ilforge.properties import measure
from ilforge.properties.kernels.displacement import unwrap
from ilforge.properties.reading.dump_reader import read_box
from ilforge.properties.reading.excerpt import Excerpt
from ilforge.properties.reading.reader import open_trajectory, source_of
from support.motion import estimate, tumbling_ions

DATA = """LAMMPS data

{n} atoms
2 atom types
0 20 xlo xhi
0 20 ylo yhi
0 20 zlo zhi

Masses

1 22.99
2 35.45

Atoms # {style}

{atoms}
"""


def salt(path, style="charge", n=4):
    """A LAMMPS data file of a molten salt, without bonds."""
    columns = {"charge": "{i} {t} {q} {x} 1 1", "atomic": "{i} {t} {x} 1 1", "full": "{i} {i} {t} {q} {x} 1 1"}[style]
    atoms = [columns.format(i=i + 1, t=1 + i % 2, q=(-1) ** i, x=4.5 * i) for i in range(n)]
    path.write_text(DATA.format(n=n, style=style, atoms="\n".join(atoms)))
    return path


def dump(path, bounds, header, columns, frames):
    """A text dump of LAMMPS with these rows of numbers in each frame, one step apart."""
    with path.open("w") as file:
        for step, rows in enumerate(frames):
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS {header}\n")
            file.write("\n".join(bounds) + f"\nITEM: ATOMS {columns}\n")
            file.writelines(" ".join(map(str, row)) + "\n" for row in rows)
    return path


@pytest.mark.parametrize("style", ["charge", "atomic", "full"])
def test_a_salt_of_single_atoms_needs_no_bonds(tmp_path, style):
    topology = salt(tmp_path / "salt.data", style)
    rows = [[(i + 1, 1 + i % 2, 4.5 * i + 0.1 * k, 1, 1) for i in range(4)] for k in range(5)]
    trajectory = dump(tmp_path / "salt.lammpstrj", ["0 20"] * 3, "pp pp pp", "id type x y z", rows)
    source = open_trajectory([topology, trajectory], 1.0)
    assert sorted(source.liquid.split(", ")) == ["2 Cl", "2 Na"]
    assert source.frame(4).positions[:, 0] == pytest.approx(4.5 * np.arange(4) + 0.4)


def test_molecules_without_bonds_are_still_refused():
    universe = MDAnalysis.Universe.empty(2, trajectory=True)
    universe.add_TopologyAttr("elements", ["C", "Na"])
    with pytest.raises(SettingsError, match="no bonds"):
        source_of(universe, None, 1.0)


CELL = np.array([[20.0, 0.0, 0.0], [4.0, 19.0, 0.0], [-3.0, 2.0, 18.0]])


def rotation():
    axis, angle = np.array([0.3, -0.5, 0.8]) / np.sqrt(0.98), 0.7
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


@pytest.mark.parametrize("scaled", [False, True])
def test_a_general_box_is_the_restricted_one_turned(tmp_path, scaled):
    """Same ions in the same cell: written as a restricted box, and turned and moved as a general one."""
    fractional = np.random.default_rng(1).random((4, 3)) * 0.2 + np.arange(4)[:, None] * 0.2
    topology, turn, origin = salt(tmp_path / "salt.data"), rotation(), np.array([-3.0, 1.0, 7.0])
    low = [min(0, 4, -3, 1), min(0, 2), 0]
    high = [20 + max(0, 4, -3, 1), 19 + max(0, 2), 18]
    restricted = [f"{a} {b} {tilt}" for a, b, tilt in zip(low, high, (4, -3, 2), strict=True)]
    general = [f"{a} {b} {c} {o}" for (a, b, c), o in zip(CELL @ turn.T, origin, strict=True)]
    names, found = "id type " + ("xs ys zs" if scaled else "x y z"), []
    for label, bounds, header, places in (
        ("restricted", restricted, "xy xz yz pp pp pp", fractional @ CELL),
        ("general", general, "abc origin pp pp pp", fractional @ CELL @ turn.T + origin),
    ):
        rows = [[(i + 1, 1 + i % 2, *(fractional if scaled else places)[i]) for i in (2, 0, 3, 1)]] * 3
        path = dump(tmp_path / f"{label}.dump", bounds, header, names, rows)
        found.append(open_trajectory([topology, path], 1.0).frame(1))
    assert np.allclose(found[0].positions, fractional @ CELL, atol=1e-4)
    assert np.allclose(found[1].positions, found[0].positions, atol=1e-4)
    assert np.allclose(found[1].cell, CELL, atol=1e-4) and np.allclose(found[0].cell, CELL, atol=1e-4)


def test_restricted_bounds_are_those_of_mdanalysis():
    box = read_box(["ITEM: BOX BOUNDS xy xz yz pp pp pp", "-3 24 4", "0 21 -3", "0 18 2"])
    assert np.allclose(box.cell, CELL) and np.allclose(box.origin, 0)


def jumps(rng, n_frames=60):
    """Fractional coordinates of four ions that move by up to 1.5 cells between frames: no nearest image tells."""
    return np.cumsum(rng.uniform(-1.5, 1.5, (n_frames, 4, 3)), axis=0) + 0.5


@pytest.mark.parametrize("kind", ["x y z ix iy iz", "xu yu zu", "xs ys zs ix iy iz"])
def test_images_of_a_dump_follow_ions_through_a_skewed_box(tmp_path, kind):
    fractional = jumps(np.random.default_rng(2))
    images = np.floor(fractional).astype(int)
    topology = salt(tmp_path / "salt.data")
    places = {"xu yu zu": fractional @ CELL, "x y z": (fractional - images) @ CELL, "xs ys zs": fractional - images}
    columns = places[kind.removesuffix(" ix iy iz")]
    rows = [
        [(i + 1, 1 + i % 2, *columns[t, i], *(images[t, i] if "ix" in kind else ())) for i in range(4)]
        for t in range(60)
    ]
    bounds = ["-3 24 4", "0 21 -3", "0 18 2"]
    path = dump(tmp_path / "far.dump", bounds, "xy xz yz pp pp pp", f"id type {kind}", rows)
    source = open_trajectory([topology, path], 1.0)
    assert source.system.images
    centres = np.array([source.frame(k).centres.copy() for k in range(60)])
    unwrapped, longest = unwrap(centres, np.broadcast_to(CELL, (60, 3, 3)), source.system.images)
    truth = (fractional - fractional[0]) @ CELL
    assert longest == 0.0 and np.allclose(unwrapped - unwrapped[0], truth, atol=1e-2)
    lost, longest = unwrap(centres, np.broadcast_to(CELL, (60, 3, 3)))
    assert longest > 0.45 and not np.allclose(lost - lost[0], truth, atol=1.0)


def test_counts_of_images_that_begin_anew_do_no_harm():
    """A run that went on from a data file without image flags: positions jump by a cell, ions do not."""
    path = 5.0 + np.cumsum(0.1 * np.random.default_rng(1).normal(size=(40, 3, 3)), axis=0)
    begun = path.copy()
    begun[20:] += [10.0, 0.0, -20.0]
    found, _ = unwrap(begun, np.broadcast_to(10.0 * np.eye(3), (40, 3, 3)), images=True)
    assert np.allclose(found - found[0], path - path[0])


@pytest.mark.parametrize("name", ["tiny.exyz", "TINY.EXTXYZ", "bom.xyz"])
def test_extended_xyz_by_other_names_and_with_a_byte_order_mark(tmp_path, name):
    path = tmp_path / name
    text = '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T" ions="1 Li, 1 Cl"\n'
    mark = "\ufeff" if "bom" in name else ""
    path.write_text(mark + "".join(f"{text}Li 1 1 {1 + 0.1 * k}\nCl 5 5 5\n" for k in range(3)), encoding="utf-8")
    source = open_trajectory([path], 1.0)
    assert source.liquid == "1 Li, 1 Cl" and source.system.n_frames == 3
    assert len(xyz.read(path)) == 3


def water(n, site, rigid):
    """Rigid water of four sites (or three), with a bond that holds H and H apart, and virtual sites without bonds."""
    size, spots = 4 if site else 3, 9.0 * np.arange(n)[:, None] * [1.0, 0, 0]
    shape = np.array([[0, 0, 0], [0.757, 0.586, 0], [-0.757, 0.586, 0], [0, 0.15, 0]])[:size]
    universe = MDAnalysis.Universe.empty(
        n * size, n, atom_resindex=np.repeat(np.arange(n), size), trajectory=True, velocities=False
    )
    pick = slice(None, size)
    for attribute, values in (
        ("names", ["O", "H1", "H2", "M"]),
        ("elements", ["O", "H", "H", ""]),
        ("masses", [15.999, 1.008, 1.008, 0.0]),
        ("charges", [0.0, 0.52, 0.52, -1.04] if site else [-1.04, 0.52, 0.52, 0.0]),
    ):
        universe.add_TopologyAttr(attribute, np.array(values[pick] * n))
    universe.add_TopologyAttr("resnames", ["SOL"] * n)
    pairs = [(0, 1), (0, 2)] + ([(1, 2)] if rigid else [])
    universe.add_TopologyAttr("bonds", [(size * k + a, size * k + b) for k in range(n) for a, b in pairs])
    universe.atoms.positions = (spots[:, None] + shape).reshape(-1, 3)
    universe.dimensions = [9.0 * n, 20, 20, 90, 90, 90]
    return universe


@pytest.mark.parametrize("site", [False, True])
def test_virtual_sites_and_the_third_bond_of_rigid_water_are_left_out(site):
    plain = source_of(water(3, False, False), None, 1.0)
    found = source_of(water(3, site, True), None, 1.0)
    assert found.system.topology.symbols == ("O", "H", "H") * 3
    assert found.liquid == plain.liquid and found.system.topology.charges == plain.system.topology.charges
    assert np.array_equal(found.system.topology.bonds, plain.system.topology.bonds)
    assert np.allclose(found.frame(0).positions, plain.frame(0).positions)


@pytest.fixture(scope="module")
def floating():
    """A run of floating ions, as a source."""
    system, positions, cells = tumbling_ions(60, np.random.default_rng(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ilforge.properties.property import Snapshot
        from ilforge.properties.reading.reader import Source

        return Source(system, lambda k: Snapshot(system, k, float(k), positions[k], cells[k]), "12 ions")


def test_a_part_of_a_run_is_that_part(floating):
    interval = floating.system.frame_interval_ps
    part = Excerpt(10 * interval, 50 * interval, 4).of(floating)
    assert part.system.n_frames == 11 and part.system.frame_interval_ps == 4 * interval
    assert np.array_equal(part.frame(3).positions, floating.frame(22).positions)
    assert part.frame(3).index == 3 and part.frame(3).time_ps == 12 * interval
    found = measure(part, ["density"])["density"]
    volumes = [floating.frame(k).volume for k in range(10, 51, 4)]
    assert found.curves["density"].y[5] / found.curves["density"].y[0] == pytest.approx(volumes[0] / volumes[5])
    assert found.notes == ["Measured from 10 to 50 ps of 59 ps: 11 of 60 frames."]
    assert estimate(found, "density").n_eff <= 11


def test_a_part_without_frames_is_refused(floating):
    for part in (Excerpt(100.0), Excerpt(20.0, 10.0)):
        with pytest.raises(SettingsError, match="No frame is between"):
            part.of(floating)


def test_the_pressure_tensor_is_cut_with_the_frames(floating):
    from ilforge.properties import PressureSeries

    tensor = PressureSeries(0.5, np.arange(120.0)[:, None] * np.ones(3), np.ones((120, 3)))
    source = replace(floating, system=replace(floating.system, pressure=tensor))
    kept = Excerpt(10.0, 20.0, 2).of(source).system.pressure
    assert kept.interval_ps == 0.5 and kept.off_diagonal[[0, -1], 0].tolist() == [20.0, 40.0]
    assert len(kept.diagonal) == 21

"""Packed boxes: density, distances, order, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import DidNotConverge, MissingProgram, SettingsError
from ilforge.liquid.connectivity import contacts, fragmentation, whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import atomic_radii, pack

AMU_IN_G = 1.66053906660e-24


@pytest.fixture(scope="module")
def salt():
    return Liquid.of({"PYR14": 2, "BF4": 2})


@pytest.mark.program("packmol")
@pytest.mark.parametrize("density", [0.8, 1.04, 1.3])
def test_molecules_keep_apart_across_the_boundary_at_every_density(salt, density):
    box = pack(salt, density, seed=1)
    closest = contacts(box, salt.topology, 6.0)[2].min()
    assert closest >= (1.97 if density < 1.2 else 1.57)
    assert fragmentation(box, salt.topology, 1.25) is None
    assert box.get_masses().sum() * AMU_IN_G / (box.get_volume() * 1e-24) == pytest.approx(density, rel=1e-5)


@pytest.mark.program("packmol")
def test_box_is_what_a_frame_should_be(salt):
    box = pack(salt, 1.0, seed=2)
    assert tuple(box.get_chemical_symbols()) == salt.topology.symbols
    assert box.info == {"ions": "2 PYR14, 2 BF4"} and box.pbc.all()
    assert box.cell.array == pytest.approx(np.eye(3) * box.cell[0, 0])
    assert np.array_equal(box.positions, np.round(box.positions, 6))
    assert whole_molecules(box.positions, box.cell.array, salt.topology) == pytest.approx(box.positions, abs=1e-9)


@pytest.mark.program("packmol")
def test_seed_decides_everything(salt, tmp_path):
    first, again = pack(salt, 1.04, seed=3, directory=tmp_path / "kept"), pack(salt, 1.04, seed=3)
    assert np.array_equal(first.positions, again.positions)
    assert frames.digest(first) != frames.digest(pack(salt, 1.04, seed=4))
    side = f"{first.cell[0, 0]:.6f}"
    assert f"pbc {side} {side} {side}" in (tmp_path / "kept" / "packmol.inp").read_text()


@pytest.mark.program("packmol")
def test_flexible_ions_come_in_several_conformers():
    liquid = Liquid.of({"PYR14": 4, "Cl": 4})
    box = pack(liquid, 0.9, seed=1)
    shapes = [box.positions[liquid.topology.atoms_of(m)] for m in range(4)]
    ends = [np.linalg.norm(shape[26] - shape[5]) for shape in shapes]
    assert len({round(end, 2) for end in ends}) >= 2


@pytest.mark.program("packmol")
def test_lithium_salt_keeps_its_order_and_its_sulfurs_apart():
    liquid = Liquid.of({"Li": 2, "PYR14": 2, "TFSI": 4})
    box = pack(liquid, 1.3, seed=5)
    assert tuple(box.get_chemical_symbols()) == liquid.topology.symbols
    i, j, distance, _ = contacts(box, liquid.topology, 4.0)
    sulfur = (box.numbers[i] == 16) & (box.numbers[j] == 16)
    assert np.min(distance[sulfur], initial=np.inf) > 1.25 * 2.10
    assert fragmentation(box, liquid.topology, 1.25) is None


@pytest.mark.parametrize("density", [0.0, -1.0, 0.04, 4.1, 1040.0])
def test_absurd_densities_are_refused(salt, density):
    with pytest.raises(SettingsError, match="0.05 to 4"):
        pack(salt, density, seed=1)


@pytest.mark.program("packmol")
def test_what_cannot_be_packed_is_said_honestly():
    liquid = Liquid.of({"BF4": 1, "Na": 1})
    with pytest.raises(DidNotConverge, match=r"1 BF4, 1 Na at 4 g/cm\^3 \(side 3.57 Å\)"):
        pack(liquid, 4.0, seed=1)


def test_missing_packmol_is_named(salt, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(MissingProgram, match="pip install packmol"):
        pack(salt, 1.0, seed=1)


def test_radii_are_half_the_tolerance_except_for_large_atoms_and_squeezed_hydrogens():
    radii = atomic_radii(("C", "F", "H", "Li", "S", "Br"), 2.0)
    assert radii == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.365, 1.56])
    assert atomic_radii(("H", "C"), 2.0, 0.8) == pytest.approx([0.8, 1.0])

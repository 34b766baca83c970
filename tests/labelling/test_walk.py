"""Labels that are known, written as other programs write them, and imported again: the same labels come back."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.reading.outputs import import_labels
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from support import vasp_runs

IONS = "1 Choline, 1 Cl, 2 Urea"
N_FRAMES = 5


@pytest.fixture(scope="module")
def labelled():
    """A cation, an anion and two neutral molecules in a skewed box that changes, with invented labels."""
    liquid, rng = Liquid.from_label(IONS), np.random.default_rng(1)
    start = pack(liquid, 0.8, seed=2)
    found = []
    for number in range(N_FRAMES):
        frame = start.copy()
        shear = np.eye(3) + np.array([[0.0, 0.0, 0.0], [0.05, 0.01 * number, 0.0], [-0.03, 0.04, 0.0]])
        frame.set_cell(frame.cell.array @ shear, scale_atoms=False)
        frame.positions += 0.01 * rng.normal(size=(len(frame), 3))
        forces = rng.normal(size=(len(frame), 3))
        frame.arrays[FORCES] = forces - forces.mean(axis=0)
        frame.info = {ENERGY: -2000.0 + 0.02 * number, STRESS: 0.002 * rng.normal(size=6)}
        found.append(frame)
    return found


def came_back(found, labelled, count=N_FRAMES):
    """Positions, up to periodic images and equal atoms of a molecule, and what belongs to them."""
    good = [label for label in found.labels if not label.failed]
    assert len(good) == count
    for label, frame in zip(good, labelled, strict=False):
        assert label.energy == pytest.approx(frame.info[ENERGY], abs=1e-7)
        np.testing.assert_allclose(label.stress, frame.info[STRESS], atol=1e-8)
        assert label.frame.get_chemical_symbols() == frame.get_chemical_symbols()
        apart = label.frame.positions[:, None] - frame.positions
        apart -= np.round(apart @ np.linalg.inv(frame.cell.array)) @ frame.cell.array
        same = np.linalg.norm(apart, axis=2) < 1e-3
        assert np.all(same.sum(axis=1) == 1) and len(set(same.argmax(axis=1))) == len(frame)
        np.testing.assert_allclose(label.forces, frame.arrays[FORCES][same.argmax(axis=1)], atol=1e-6)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_a_run_of_vasp_6(tmp_path, labelled, name, newline):
    write = {"OUTCAR": vasp_runs.outcar, "vasprun.xml": vasp_runs.vasprun}[name]
    (tmp_path / name).write_bytes(write(labelled).replace("\n", newline).encode())
    found = import_labels([tmp_path / name], ions=IONS)
    came_back(found, labelled)
    assert found.endings == {} and "put in the order of their ions" in str(found.remarks)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    came_back(import_labels([tmp_path / f"{name}.gz"], ions=IONS), labelled)


@pytest.mark.parametrize("write", [vasp_runs.outcar, vasp_runs.vasprun])
def test_a_run_of_vasp_6_that_was_cut(tmp_path, labelled, write):
    text = write(labelled)
    (tmp_path / "cut").write_text(text[: int(0.7 * len(text))])
    found = import_labels([tmp_path / "cut"], ions=IONS)
    came_back(found, labelled, len(found.labels))
    assert 2 <= len(found.labels) < N_FRAMES and "truncated" in str(found.endings)


def test_an_outcar_that_a_second_run_was_appended_to(tmp_path, labelled):
    (tmp_path / "OUTCAR").write_text(vasp_runs.outcar(labelled) + vasp_runs.outcar(labelled[3:]))
    found = import_labels([tmp_path / "OUTCAR"], ions=IONS)
    came_back(found, labelled)
    assert [label.error.split(":")[0] for label in found.labels[N_FRAMES:]] == ["duplicate"] * 2

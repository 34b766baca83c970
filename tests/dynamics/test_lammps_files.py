"""Reading what LAMMPS wrote, also when it stopped in the middle of a line."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.dynamics.lammps.files import data_file, read_dump, read_force_deviation, read_thermo
from ilforge.dynamics.simulation import Job
from ilforge.potentials.classical.clp import Clp
from support import md

DUMP = """ITEM: TIMESTEP
10
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
2.5000000000000000e-01 8.7500000000000000e+00
2.5000000000000000e-01 8.7500000000000000e+00
2.5000000000000000e-01 8.7500000000000000e+00
ITEM: ATOMS id xu yu zu vx vy vz
1 1.25 -2.75 9.5 10 0 -1.5
2 0.25 0.5 0.75 0 0 2
"""
THERMO = "10 401.5 -12.25 1.5\n20 399.5 -12.5 1.25\n"
DEVIATION = """#  step  max_devi_v  min_devi_v  avg_devi_v  max_devi_f  min_devi_f  avg_devi_f
   0  6.378e-02  2.106e-02  4.162e-02  9.9e-01  1.1e-02  4.2e-02
  10  6.378e-02  2.106e-02  4.162e-02  7.5e-01  1.1e-02  4.2e-02
  10  6.378e-02  2.106e-02  4.162e-02  1.5e-01  1.1e-02  4.2e-02
  20  6.3"""


def test_a_dump_gives_positions_from_the_corner_of_the_cell(tmp_path):
    path = tmp_path / "dump"
    path.write_text(DUMP)
    (frame,) = read_dump(path, 2)
    assert frame.step == 10
    np.testing.assert_allclose(frame.cell, np.eye(3) * 8.5)
    np.testing.assert_allclose(frame.positions[0], [1.0, -3.0, 9.25])
    np.testing.assert_allclose(frame.velocities[0], [0.01, 0, -0.0015])


@pytest.mark.parametrize("kept", [0, 20, 150, 280, -1])
def test_a_torn_frame_does_not_count(tmp_path, kept):
    path = tmp_path / "dump"
    path.write_text(DUMP + DUMP.replace("\n10\n", "\n20\n")[:kept])
    assert [frame.step for frame in read_dump(path, 2)] == [10]


def test_thermo_and_deviations_by_step(tmp_path):
    (tmp_path / "thermo").write_text(THERMO + "30 39")
    (tmp_path / "deviation").write_text(DEVIATION)
    assert read_thermo(tmp_path / "thermo") == {10: (401.5, -12.25, 1.5), 20: (399.5, -12.5, 1.25)}
    assert read_force_deviation(tmp_path / "deviation") == {0: 0.99, 10: 0.15}
    assert read_dump(tmp_path / "none", 2) == [] and read_thermo(tmp_path / "none") == {}
    assert read_force_deviation(tmp_path / "none") == {}


def test_the_data_file_says_the_start_digit_by_digit():
    job = Job(Clp(4.0), md.packed_box(), md.liquid().topology, md.short())
    lines = data_file(job).splitlines()
    atoms = lines.index("Atoms # atomic") + 2
    fields = lines[atoms + 69].split()
    assert fields[:2] == ["70", "3"]  # fluorine, of B, C, F, H, N
    np.testing.assert_array_equal(np.array(fields[2:], dtype=float), job.start_positions[69])


@pytest.mark.program("lmp")
def test_a_folder_lammps_of_the_user_is_left_alone(tiny_deepmd_model, tmp_path):
    own = tmp_path / "lammps" / "in.lammps"
    own.parent.mkdir()
    own.write_text("of a user")
    protocol = md.short(equilibration_ps=0.0, length_ps=0.005)
    md.run(md.deepmd(tiny_deepmd_model), "lammps", md.warm_box(), protocol, tmp_path)
    assert own.read_text() == "of a user" and (tmp_path / "ilforge-lammps" / "in.lammps").is_file()

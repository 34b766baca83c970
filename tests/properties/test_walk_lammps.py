"""A liquid that LAMMPS moves in a skewed box: every dump gives the displacements and distributions of LAMMPS."""

import csv
import re

import numpy as np
import pytest
from click.testing import CliRunner

from ilforge import programs
from ilforge.cli import ilforge, load_commands
from ilforge.dynamics.lammps.program import executable
from ilforge.properties.kernels.displacement import mean_squared_displacement, unwrap
from ilforge.properties.reading.reader import open_trajectory

pytestmark = [pytest.mark.program("lmp"), pytest.mark.slow]

N, EVERY, STEPS = 8, 20, 800
MOTION = """
change_box all triclinic
change_box all xy final 3.0 xz final -2.0 yz final 2.5 remap units box
kspace_style pppm 1e-4
minimize 0.0 1.0 300 3000
reset_timestep 0
timestep 1
velocity all create 900 4711 mom yes dist gaussian
fix move all nvt temp 900 900 100
run 300
reset_timestep 0
compute mol all chunk/atom molecule
compute com all com/chunk mol
fix com all ave/time {every} 1 {every} c_com[*] file com.txt mode vector
compute rdf all rdf 60 {pair} cutoff 6.0
fix rdf all ave/time {every} 1 {every} c_rdf[*] file rdf.txt mode vector ave running overwrite
dump 1 all custom {every} wrapped.lammpstrj id type x y z
dump 2 all custom {every} images.dump type id ix iy iz xs ys zs
dump 3 all custom {every} unwrapped.lammpstrj id type xu yu zu
dump_modify 3 sort id units yes time yes
dump 4 all custom {every} scaled.out id element xsu ysu zsu
dump 5 all atom {every} atom.dump
dump 6 all dcd {every} wrapped.dcd
dump 7 all dcd {every} unwrapped.dcd
dump_modify 7 unwrap yes
dump 8 all xtc {every} wrapped.xtc
dump 9 all extxyz {every} run.extxyz
dump_modify 9 sort id element {elements}
run {steps}
write_data end.data
"""
DUMPS = {  # file, and the difference of displacements in Å^2 that its decimals allow
    "wrapped.lammpstrj": 1e-4,
    "images.dump": 1e-4,
    "unwrapped.lammpstrj": 1e-4,
    "scaled.out": 1e-4,
    "atom.dump": 1e-4,
    "wrapped.dcd": 1e-4,
    "unwrapped.dcd": 1e-4,
    "wrapped.xtc": 5e-3,
    "run.extxyz": 1e-4,
}


def columns(path):
    """The vectors of ``fix ave/time``: one array per time."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    blocks, place = [], 0
    while place < len(rows):
        length = int(rows[place][1])
        blocks.append(np.array(rows[place + 1 : place + 1 + length], dtype=float))
        place += 1 + length
    return blocks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("lammps") / "run"
    load_commands()
    liquid = ["--ion", f"EMIM={N}", "--ion", f"DCA={N}", "--density", "1.0", "--potential", "clp:6.0"]
    done = CliRunner().invoke(
        ilforge,
        ["export", *liquid, "--format", "lammps", "--timestep", "1", "--out", str(made)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    script = (made / "in.lammps").read_text()
    head = [line for line in script[: script.index("neighbor")].splitlines() if not line.startswith("kspace_style")]
    types = re.findall(r"^(\d+) [\d.]+  # ([A-Z][a-z]?)_", (made / "start.data").read_text(), re.MULTILINE)
    of_hydrogen = [number for number, element in types if element == "H"]
    hydrogens = f"{of_hydrogen[0]}*{of_hydrogen[-1]}"
    carbon = [number for number, element in types if element == "C"][-1]  # only DCA has this type
    (made / "walk.lammps").write_text(
        "\n".join(head)
        + MOTION.format(every=EVERY, steps=STEPS, pair=f"{hydrogens} {carbon}", elements=" ".join(e for _, e in types))
    )
    program, environment = executable()
    environment = {**environment, "LAMMPS_PLUGIN_PATH": ""}
    programs.run([program, "-in", "walk.lammps", "-nocite"], made, log="screen", environment=environment)
    return made


@pytest.mark.parametrize("name", DUMPS)
def test_displacements_of_every_dump_are_those_of_lammps(folder, name):
    """Centres of mass by ``compute com/chunk``, which LAMMPS unwraps by its image flags."""
    truth = np.stack([block[:, 1:4] for block in columns(folder / "com.txt")])
    source = open_trajectory([folder / "end.data", folder / name], frame_interval_ps=1e-3 * EVERY)
    assert source.system.n_frames == len(truth) == STEPS // EVERY + 1
    seen = list(source.snapshots())
    centres, cells = np.stack([one.centres for one in seen]), np.stack([one.cell for one in seen])
    found, longest = unwrap(centres, cells, source.system.images)
    assert longest < 0.45
    lags = len(truth) // 2
    difference = mean_squared_displacement(found, lags) - mean_squared_displacement(truth, lags)
    assert np.abs(difference).max() < DUMPS[name]
    assert mean_squared_displacement(truth, lags).mean() > 0.3  # Å^2


def test_dumps_that_say_their_times_need_no_interval(folder):
    for name in ("unwrapped.lammpstrj", "wrapped.xtc"):
        source = open_trajectory([folder / "end.data", folder / name])
        assert source.system.frame_interval_ps == pytest.approx(1e-3 * EVERY)


def test_distributions_are_those_of_lammps(folder, tmp_path):
    """H of EMIM around C of DCA; single precision moves a pair in a thousand into the next bin."""
    truth = columns(folder / "rdf.txt")[-1]
    measured = CliRunner().invoke(
        ilforge,
        [
            *("analyse", str(folder / "end.data"), str(folder / "wrapped.dcd"), "--frame-interval", str(1e-3 * EVERY)),
            *("--property", "rdf", "--pairs", "H:EMIM", "C:DCA", "--out", str(tmp_path / "out")),
        ],
        catch_exceptions=False,
    )
    assert measured.exit_code == 0, measured.output
    for name, column, allowed in (("rdf", 2, 1e-2), ("coordination", 3, 5e-3)):
        with (tmp_path / "out" / "rdf" / f"{name}-H-EMIM-C-DCA.csv").open() as file:
            found = np.array([[float(row[key]) for key in ("r_A", KEYS[name])] for row in csv.DictReader(file)])
        n = min(len(found), len(truth))
        ends = found[:n, 0] if name == "coordination" else found[:n, 0] + 0.05
        assert n >= 45 and np.allclose(ends, truth[:n, 1] + 0.05)
        assert np.abs(found[:n, 1] - truth[:n, column]).max() < allowed * truth[:n, column].max()


KEYS = {"rdf": "g_r", "coordination": "n_r"}

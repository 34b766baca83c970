"""`ilforge analyse --out`, `--study`, and `ilforge compare`, on a small trajectory on disk."""

import csv

import numpy as np
import pytest
from ase import Atoms
from click.testing import CliRunner

from ilforge import frames
from ilforge.cli import ilforge, load_commands
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    """Ions at random, eight frames, as extended XYZ."""
    liquid = Liquid.of({"Li": 2, "PYR14": 4, "TFSI": 6})
    topology, rng = liquid.topology, np.random.default_rng(1)
    shapes = np.concatenate([ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)])
    made = []
    for _ in range(8):
        positions = shapes + (20.0 * rng.random((topology.n_molecules, 3)))[topology.molecules]
        frame = Atoms(topology.symbols, positions, cell=20.0 * np.eye(3), pbc=True)
        frame.info.update(ions=liquid.label, kind="EQ", recipe="random", seed=1, parent="none")
        made.append(frame)
    path = tmp_path_factory.mktemp("trajectory") / "frames.xyz"
    frames.write(path, made)
    return path


def call(*arguments):
    load_commands()
    return CliRunner().invoke(ilforge, [str(word) for word in arguments], catch_exceptions=False)


def test_every_number_and_table_is_written(trajectory, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "x"\n[liquid]\nions = { PYR14 = 1, BF4 = 1 }\ndensity_g_cm3 = 1.0\n'
        '[analysis]\nproperties = ["clusters", "shapes"]\n[analysis.clusters]\ncutoff_A = 4.0\n'
        '[analysis.shapes]\nscans = ["scan.xyz"]\n'
    )
    scan = [in_vacuum(Liquid.of({"TFSI": 1}, vacuum=True), seed) for seed in (1, 2)]
    for energy, frame in enumerate(scan):
        frame.info["REF_energy"] = float(energy)
    frames.write(tmp_path / "scan.xyz", scan)
    out = tmp_path / "out"
    done = call("analyse", trajectory, "--frame-interval", 1, "--temperature", 423, "--study", study, "--out", out)
    assert done.exit_code == 0 and "within 4.00 Å (as given)" in done.output
    with (out / "results.csv").open() as file:
        quantities = {row["quantity"] for row in csv.DictReader(file)}
    assert {"cluster_population", "near_population", "shape_population"} <= quantities
    with (out / "clusters" / "populations-Li.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["liquid"] == "2 Li, 4 PYR14, 6 TFSI" and float(rows[0]["x_LiTFSI"]) == pytest.approx(1 / 3)
    assert (out / "shapes" / "map-TFSI.csv").is_file() and (out / "shapes" / "map-PYR14.csv").is_file()
    assert len((out / "shapes" / "scan-TFSI.csv").read_text().splitlines()) == 3
    same = call("compare", out, out)
    assert same.exit_code == 0 and "shape_divergence" in same.output and "TFSI" in same.output
    with pytest.raises(SettingsError, match="holds no measurements.json"):
        call("compare", out, tmp_path)


@pytest.mark.parametrize(("potential", "length"), [("clp", 1.0), ("GFN1-xTB", 0.03)])
def test_shapes_of_one_ion_in_a_vacuum_from_packing_to_tables(tmp_path, potential, length):
    ion, run, out = tmp_path / "tfsi.xyz", tmp_path / "md", tmp_path / "out"
    assert call("pack", "--ion", "TFSI=1", "--vacuum", "--out", ion).exit_code == 0
    short = ("--timestep", 0.5, "--minimise", 20, "--length", length, "--interval", length / 30, "--out", run)
    assert call("md", ion, "--potential", potential, *short).exit_code == 0
    done = call("analyse", run, "--property", "shapes", "--out", out)
    assert done.exit_code == 0 and "TFSI aTrans" in done.output
    with (out / "numbers" / "shape_population.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["shape_population_percent"]) for row in rows) == pytest.approx(100.0)
    with (out / "shapes" / "map-TFSI.csv").open() as file:
        rows = list(csv.DictReader(file))
    area = 10.0 * 10.0  # degrees^2 of a bin
    assert sum(float(row["density"]) * area for row in rows) == pytest.approx(1.0)
    assert all(float(row["F_kJ_mol"]) >= 0.0 for row in rows) and {row["liquid"] for row in rows} == {"1 TFSI"}


def test_cores_share_the_frames(trajectory):
    asked = ("analyse", trajectory, "--frame-interval", 1, "--property", "rdf", "--json", "--cores")
    done = [call(*asked, cores) for cores in (1, 2)]
    assert done[0].output == done[1].output and "rdf_first_peak" in done[0].output


def test_each_row_says_what_it_is_of_and_a_reason_stands_once(trajectory):
    asked = ("--property", "diffusion", "--frame-interval", 1, "--temperature", 423)
    rows = call("analyse", trajectory, *asked).output.splitlines()
    assert all("2 Li, 4 PYR14, 6 TFSI, 423 K" in row for row in rows if row.startswith("self_diffusion"))
    assert [row.count("too few to follow ions") for row in rows[:3]] == [1, 0, 0]
    assert all(row.endswith("not converged, for the same reason") for row in rows[1:3])


def test_a_part_of_a_run_and_pairs_of_sites_are_asked_for_by_options(trajectory):
    part = ("--start", 2, "--stop", 6, "--stride", 2)
    done = call("analyse", trajectory, "--frame-interval", 1, "--property", "rdf", *part, "--pairs", "Li", "O:TFSI")
    assert "note Measured from 2 to 6 ps of 7 ps: 3 of 8 frames." in done.output
    assert [row.split()[1] for row in done.output.splitlines() if row.startswith("rdf")] == ["Li-O:TFSI"]
    with pytest.raises(SettingsError, match="No frame is between 9 ps"):
        call("analyse", trajectory, "--frame-interval", 1, "--property", "rdf", "--start", 9)
    with pytest.raises(SettingsError, match="--pairs is for g"):
        call("analyse", trajectory, "--frame-interval", 1, "--property", "density", "--pairs", "Li", "B")

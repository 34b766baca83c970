"""Files of the pressure tensor: what they are is told, and what is none is refused by its name."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.properties.reading.pressure_table import read_pressure

VALUES = np.random.default_rng(1).normal(size=(6, 7)).round(6)
NAMES = "time_ps,pxx_bar,pxy_bar,pxz_bar,pyy_bar,pyz_bar,pzz_bar"
XVG = """# This file was created by gmx energy
@    title "GROMACS Energies"
@ s0 legend "Pres-XX"
@ s1 legend "Pres-XY"
    0.000000  5435.958007  -2497.800537
    0.010000  2575.831787  -1116.913818
"""


def table(names=NAMES, separator=",", extra=()):
    rows = [[0.01 * index, *values[1:], *extra] for index, values in enumerate(VALUES)]
    lines = [names.replace(",", separator), *(separator.join(f"{value:.6f}" for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        table().encode("utf-8-sig"),
        table(f"{NAMES},Größe", extra=[1.0]).encode("latin-1"),
        table().replace("\n", "\r\n").encode(),
    ],
    ids=["byte-order mark", "latin-1", "CRLF"],
)
def test_tables_of_spreadsheets_are_read(tmp_path, content):
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    found = read_pressure(path)
    assert found.interval_ps == pytest.approx(0.01)
    np.testing.assert_allclose(found.off_diagonal, VALUES[:, [2, 3, 5]], atol=1e-6)
    np.testing.assert_allclose(found.diagonal, VALUES[:, [1, 4, 6]], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (XVG.encode(), "is a GROMACS .xvg file: docs/properties/viscosity.md"),
        (b"\xff\xff\x26\xfd\0\0\0\x05\0\0\0\x2e\0\0\0\x04Bond", "binary file, such as GROMACS's .edr"),
        (table(separator=";").encode(), "separated by semicolons: separate them by commas"),
        (table(separator="\t").encode(), "separated by tabs: separate them by commas"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
    ],
)
def test_other_files_are_told_what_they_are(tmp_path, content, said):
    path = tmp_path / "p.dat"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"p.dat .*{said}.*Supported are CSV, columns time_ps.* and LAMMPS output"):
        read_pressure(path)


def test_what_lammps_prints_goes_to_its_reader(tmp_path):
    rows = "".join(f"{5 * index} {' '.join(map(str, values[1:4]))}\n" for index, values in enumerate(VALUES))
    path = tmp_path / "fix.dat"
    path.write_text("# time pxy pxz pyz\n" + rows)
    np.testing.assert_allclose(read_pressure(path, "metal").off_diagonal, VALUES[:, 1:4])


def run_gromacs(folder):
    """Argon of fifty steps, energies every fifth: an ``ener.edr``."""
    sites = 0.4 * np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
    lines = [f"{k:5d}Ar      Ar{k:5d}{x:8.3f}{y:8.3f}{z:8.3f}" for k, (x, y, z) in enumerate(sites, 1)]
    (folder / "conf.gro").write_text("\n".join(["argon", "64", *lines, "1.6 1.6 1.6"]) + "\n")
    (folder / "topol.top").write_text(
        "[ defaults ]\n1 2\n[ atomtypes ]\nAr 39.948 0.0 A 0.34 1.0\n[ moleculetype ]\nAr 1\n"
        "[ atoms ]\n1 Ar 1 Ar Ar 1\n[ system ]\nargon\n[ molecules ]\nAr 64\n"
    )
    (folder / "grompp.mdp").write_text(
        "integrator = md\ndt = 0.002\nnsteps = 50\nnstenergy = 5\nnstcalcenergy = 5\nrvdw = 0.7\nrcoulomb = 0.7\n"
        "rlist = 0.7\ngen_vel = yes\ngen_temp = 100\n"
    )
    gmx = programs.find("gmx")
    for command in ("grompp -maxwarn 5", "mdrun -ntmpi 1 -ntomp 1 -s topol.tpr"):
        subprocess.run([gmx, *command.split()], cwd=folder, check=True, capture_output=True)
    return gmx


@pytest.mark.program("gmx")
def test_the_documented_commands_turn_an_edr_file_into_a_table(tmp_path):
    gmx = run_gromacs(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "properties" / "viscosity.md").read_text()
    commands = re.search(r"^\S+ [^\n]*\| gmx energy .*?> pressure.csv$", text, re.DOTALL | re.MULTILINE)[0]
    shell = ["bash", "-ec", commands.replace("gmx energy", f"{gmx} energy")]
    subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True)
    found = read_pressure(tmp_path / "pressure.csv")
    assert found.interval_ps == pytest.approx(0.01)
    assert (found.off_diagonal.std(axis=0) > 0).all() and found.diagonal.shape == found.off_diagonal.shape == (11, 3)
    with pytest.raises(SettingsError, match="is a GROMACS .xvg file"):
        read_pressure(tmp_path / "p.xvg")
    with pytest.raises(SettingsError, match="binary"):
        read_pressure(tmp_path / "ener.edr")

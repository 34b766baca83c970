"""The pressure tensor from LAMMPS's own output, made by LAMMPS, and refusals in words."""

import numpy as np
import pytest
from click.testing import CliRunner

from ilforge import programs
from ilforge.cli import ilforge, load_commands
from ilforge.dynamics.lammps.program import executable
from ilforge.errors import SettingsError
from ilforge.properties.reading.pressure_table import read_pressure

# of each unit style: 0.2379 kcal/mol (argon), a fs, an Å and a g/mol
ENERGY = {"real": 0.2379, "metal": 0.2379 / 23.060548, "electron": 0.2379 / 627.509, "si": 0.2379 * 4184 / 6.02214e23}
TIME = {"real": 1.0, "metal": 1e-3, "electron": 1.0, "si": 1e-15}
LENGTH = {"real": 1.0, "metal": 1.0, "electron": 1 / 0.5291772, "si": 1e-10}
MASS = {"real": 1.0, "metal": 1.0, "electron": 1.0, "si": 1e-3 / 6.02214e23}
COLUMNS = "pxx pyy pzz pxy pxz pyz"
SCRIPT = """
units {units}
atom_style atomic
timestep {step}
lattice fcc {lattice}
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 {mass}
pair_style lj/cut {cutoff}
pair_coeff 1 1 {energy} {sigma}
neighbor {skin} bin
variable dx atom {moved}*sin(7*id)
variable dy atom {moved}*sin(11*id)
variable dz atom {moved}*sin(13*id)
displace_atoms all move v_dx v_dy v_dz units box
fix move all nve
thermo_style custom step temp {columns}
thermo 7
run 20
fix recorded all print 5 "$(time:%.10g) {values}" file fix.dat screen no title "# time {columns}"
thermo 5
thermo_style custom step time temp {columns} vol
thermo_modify line {form} format float %.10g
run 52
"""


def run_lammps(folder, units="real", form="one", columns=COLUMNS):
    """An argon crystal whose atoms are moved, at rest: 20 steps, and 52 that are recorded every 5 fs."""
    folder.mkdir(exist_ok=True)
    values = " ".join(f"$({name}:%.10g)" for name in columns.split())
    physics = {"units": units, "step": TIME[units], "energy": ENERGY[units], "mass": 39.95 * MASS[units]}
    lengths = {"lattice": 5.4, "cutoff": 8.0, "sigma": 3.4, "skin": 2.0, "moved": 0.54}
    physics |= {name: length * LENGTH[units] for name, length in lengths.items()}
    script = SCRIPT.format(form=form, columns=columns, values=values, **physics)
    (folder / "in.lammps").write_text(script)
    program, environment = executable()
    environment = {**environment, "LAMMPS_PLUGIN_PATH": ""}  # the DeePMD plugin takes seconds to load
    command = [program, "-in", "in.lammps", "-log", "log.lammps", "-nocite"]
    programs.run(command, folder, log="screen", environment=environment)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return run_lammps(tmp_path_factory.mktemp("real"))


@pytest.mark.program("lmp")
def test_log_screen_and_fix_print_say_the_same(real):
    """Outputs at steps 20, 25, ..., 70; the one at 72, where the run ends, is no part of the series."""
    log, screen = read_pressure(real / "log.lammps"), read_pressure(real / "screen")
    printed = read_pressure(real / "fix.dat", "real")
    assert log.interval_ps == pytest.approx(0.005) and log.off_diagonal.shape == log.diagonal.shape == (11, 3)
    for other in (screen, printed):
        assert other.interval_ps == pytest.approx(0.005)
        np.testing.assert_allclose(other.off_diagonal, log.off_diagonal, rtol=1e-8)
        np.testing.assert_allclose(other.diagonal, log.diagonal, rtol=1e-8)
    assert np.abs(log.off_diagonal).max() > 1.0


@pytest.mark.program("lmp")
@pytest.mark.parametrize(("units", "form"), [("metal", "yaml"), ("electron", "one"), ("si", "one")])
def test_every_style_of_units_is_the_same_pressure(real, units, form, tmp_path):
    """The same motion in fs and atm, ps and bar, fs and Pa, s and Pa; one of them as YAML."""
    expected = read_pressure(real / "log.lammps")
    found = read_pressure(run_lammps(tmp_path, units, form) / "screen")
    assert found.interval_ps == pytest.approx(0.005)
    np.testing.assert_allclose(found.off_diagonal, expected.off_diagonal, rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(found.diagonal, expected.diagonal, rtol=1e-4, atol=0.01)


@pytest.mark.program("lmp")
def test_a_log_that_ends_in_the_middle(real, tmp_path):
    """As a killed run leaves it, with a warning in between: whole lines count."""
    text = (real / "log.lammps").read_text()
    row = next(line for line in text.splitlines() if line.split()[:1] == ["45"] and len(line.split()) == 10)
    cut = text[: text.index(row) + len(row) // 2]
    warned = cut.replace("\n        40", "\nWARNING: something happened (../pair.cpp:1)\n        40")
    assert warned != cut
    (tmp_path / "log.lammps").write_text(warned)
    np.testing.assert_array_equal(
        read_pressure(tmp_path / "log.lammps").off_diagonal, read_pressure(real / "log.lammps").off_diagonal[:5]
    )


@pytest.mark.program("lmp")
def test_without_the_diagonal(tmp_path):
    found = read_pressure(run_lammps(tmp_path, columns="pxy pxz pyz") / "log.lammps")
    assert found.diagonal is None and found.off_diagonal.shape == (11, 3)


@pytest.mark.program("lmp")
def test_what_is_missing_is_asked_for(real, tmp_path):
    with pytest.raises(SettingsError, match="does not contain its units.*--pressure-units"):
        read_pressure(real / "fix.dat")
    with pytest.raises(SettingsError, match="is in units real, not in units metal"):
        read_pressure(real / "log.lammps", "metal")
    text = (real / "log.lammps").read_text()
    for old, new, said in (
        ("Pxy", "Pfoo", "no table with the columns.*has thermo output of step.*pfoo.*thermo_style custom step time"),
        ("\nunits real", "\nunits lj", "is in units lj.*follow from units real, metal"),
    ):
        (tmp_path / "log").write_text(text.replace(old, new))
        with pytest.raises(SettingsError, match=said):
            read_pressure(tmp_path / "log")
    (tmp_path / "fix").write_text("# step pxy pxz pyz\n0 1 2 3\n5 1 2 3\n10 1 2 3\n")
    with pytest.raises(SettingsError, match="contains steps.*have LAMMPS print the time"):
        read_pressure(tmp_path / "fix", "real")
    (tmp_path / "fix").write_text("# time pxy pxz pyz\n" + "".join(f"{t} 1 2 3\n" for t in (0, 5, 10, 20, 25, 30)))
    with pytest.raises(SettingsError, match="sample 4: times must be evenly spaced"):
        read_pressure(tmp_path / "fix", "real")
    (tmp_path / "fix").write_text("# time pxy pxz pyz\n0 1 2 3\n5 nan 2 3\n10 1 2 3\n")
    with pytest.raises(SettingsError, match="not a finite number"):
        read_pressure(tmp_path / "fix", "real")


@pytest.mark.program("lmp")
def test_the_command_takes_a_log(real):
    """Eleven samples say nothing of a viscosity, but they are read."""
    from pathlib import Path

    load_commands()
    frame = Path(__file__).parents[1] / "data" / "two_pairs.xyz"
    arguments = ["analyse", frame, "--property", "viscosity", "--temperature", 423, "--pressure"]
    for more in ([real / "log.lammps"], [real / "fix.dat", "--pressure-units", "real"]):
        done = CliRunner().invoke(ilforge, [str(word) for word in [*arguments, *more]])
        assert done.exit_code == 0 and "11 samples of the pressure tensor are too few" in done.output

"""What a protocol refuses, and how many frames it records."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ilforge import potentials
from ilforge.cli import ilforge, load_commands
from ilforge.dynamics import time_step_warning
from ilforge.errors import SettingsError
from ilforge.frames import write
from support import exp6, md

BAD = [
    ("timestep_fs", 0.0, r"timestep_fs \(--timestep\) is 0.0: expected a number above 0, in fs"),
    ("timestep_fs", -1.0, r"timestep_fs \(--timestep\) is -1.0"),
    ("interval_ps", 0.0, r"interval_ps \(--interval\) is 0.0: expected a number above 0, in ps"),
    ("temperature_K", -5.0, r"temperature_K \(--temperature\) is -5.0: expected a number above 0, in K"),
    ("temperature_K", float("nan"), "is nan"),
    ("length_ps", -5.0, r"length_ps \(--length\) is -5.0"),
    ("length_ps", float("inf"), "is inf"),
    ("pressure_bar", float("nan"), r"pressure_bar \(--pressure\) is nan: expected a finite number, in bar"),
    ("equilibration_ps", -0.1, r"equilibration_ps \(--equilibration\) is -0.1: expected a number, 0 or more, in ps"),
    ("constant_volume_ps", -0.1, r"\(--constant-volume\) is -0.1"),
    ("pressure_interval_ps", 0.0, r"\(--pressure-interval\) is 0.0"),
    ("start_temperature_K", 0.0, "start_temperature_K is 0.0"),
    ("seed", -1, r"seed \(--seed\) is -1: expected a whole number, 0 or more\."),
    ("minimise_steps", -1, r"\(--minimise\) is -1"),
    ("checkpoint_steps", 0, "checkpoint_steps is 0: expected a whole number above 0"),
    ("ensemble", "NPH", r"ensemble \(--ensemble\) is 'NPH': it may be NVE, NVT or NPT"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD, ids=[f"{name}={value}" for name, value, _ in BAD])
def test_a_number_that_no_run_can_have_is_refused_by_its_name_and_option(name, value, said):
    with pytest.raises(SettingsError, match=said):
        md.short(**{name: value})


@pytest.mark.parametrize("option", ["timestep", "interval", "temperature", "length"])
def test_the_command_refuses_it_before_a_folder_is_made(option, tmp_path):
    load_commands()
    write(tmp_path / "box.xyz", [md.packed_box()])
    options = {"length": "1"} | {option: "-5"}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    out = tmp_path / "out"
    found = CliRunner().invoke(
        ilforge, ["md", str(tmp_path / "box.xyz"), "--potential", "clp:4", "--out", str(out), *words]
    )
    assert found.exit_code == 2 and f"'--{option}': -5" in found.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("timestep_fs", "interval_ps", "length_ps", "n_frames"),
    [
        (2.0, 0.001, 10.0, 5000),  # an interval below a step is a step
        (1.0, 0.0014, 10.0, 10000),
        (2.0, 0.5, 500.0, 1000),
        (1.5, 0.5, 500.0, 1000),  # 333 steps: 499.5 ps, and the number of frames that was asked for
        (0.7, 1.0, 3000.0, 3000),
        (1.0, 0.001, 0.099, 99),
        (1.0, 1.0, 0.4, 1),
    ],
)
def test_a_run_is_as_long_as_it_was_asked_to_be(timestep_fs, interval_ps, length_ps, n_frames):
    protocol = md.short(timestep_fs=timestep_fs, interval_ps=interval_ps, length_ps=length_ps)
    assert protocol.n_frames == n_frames


def test_later_settings_leave_the_name_of_an_earlier_run_as_it_was():
    assert set(md.short().as_dict()) == {
        "ensemble", "temperature_K", "timestep_fs", "length_ps", "interval_ps", "seed", "pressure_bar",
        "equilibration_ps", "constant_volume_ps", "minimise_steps", "start_temperature_K", "constrain_hydrogens",
        "checkpoint_steps",
    }  # fmt: skip


@pytest.mark.parametrize("changes", [{"minimise_steps": 5}, {"start_temperature_K": 300.0}])
def test_velocities_are_not_kept_where_they_would_mean_nothing(changes):
    with pytest.raises(SettingsError, match=r"\(--keep-velocities\) cannot be combined with"):
        md.short(keep_velocities=True, **changes)


@pytest.mark.parametrize(
    ("kind", "engine", "timestep_fs", "free_in"),
    [
        ("clp", "openmm", 2.0, None),
        ("clp", "gromacs", 2.0, None),
        ("clp", "ase", 2.0, "clp in ase"),
        ("clp", "ase", 1.0, None),
        ("clpol", None, 1.5, None),
        ("exp6", "openmm", 2.0, "exp6 in openmm"),
        ("mace", None, 2.0, "mace in builtin"),
        ("deepmd", None, 2.0, "deepmd in lammps"),
    ],
)
def test_a_long_step_with_free_bonds_to_hydrogen_is_warned_of(kind, engine, timestep_fs, free_in, request):
    if kind in ("mace", "deepmd"):
        spec = getattr(md, kind)(request.getfixturevalue(f"tiny_{kind}_model"))
    else:
        spec = {"clp": md.CLP, "clpol": md.CLPOL, "exp6": exp6.SPEC}[kind]
    protocol = md.short(timestep_fs=timestep_fs)
    said = time_step_warning(potentials.create(spec), md.packed_box(), md.liquid(), protocol, engine)
    if free_in is None:
        assert said is None
    else:
        assert f"(--timestep) is 2, and bonds to H, whose period is 11 fs, are not constrained with {free_in}" in said
        assert said.endswith("Advised: 2 fs with clp, 1.5 fs with clpol, 0.5 fs with learned models.")


def test_the_command_says_that_a_run_broke(tmp_path):
    load_commands()
    ion = md.lone_ion()
    ion.rattle(0.2, seed=1)
    write(tmp_path / "ion.xyz", [ion])
    words = ["--potential", "clp", "--temperature", "1", "--length", "0.1", "--interval", "0.01"]
    run = CliRunner().invoke(ilforge, ["md", str(tmp_path / "ion.xyz"), *words, "--out", str(tmp_path / "md")])
    assert run.exit_code == 0 and "The run failed and ended early. At 0.0" in run.stderr and "1 K was set" in run.stderr


def test_the_command_warns_and_its_help_advises(tmp_path):
    load_commands()
    write(tmp_path / "ion.xyz", [md.lone_ion()])
    words = ["--potential", "clp", "--engine", "ase", "--timestep", "1.5", "--length", "0.0015", "--interval", "0.0015"]
    run = CliRunner().invoke(ilforge, ["md", str(tmp_path / "ion.xyz"), *words, "--out", str(tmp_path / "md")])
    assert run.exit_code == 0 and "Warning: timestep_fs (--timestep) is 1.5, and bonds to H" in run.stderr
    help_text = " ".join(CliRunner().invoke(ilforge, ["md", "--help"]).output.split())
    assert (
        "With time steps above 1 fs, OpenMM and GROMACS constrain the bonds to H of clp and clpol" in help_text
        and "With other potentials" in help_text
    )
    assert "2 with clp, 1.5 with clpol, 0.5 with learned models" in help_text

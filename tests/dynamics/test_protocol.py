"""What a protocol refuses, and how many frames it records."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ilforge.cli import ilforge, load_commands
from ilforge.errors import SettingsError
from ilforge.frames import write
from support import md

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
    assert isinstance(found.exception, SettingsError) and f"(--{option}) is -5.0" in str(found.exception)
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
    with pytest.raises(SettingsError, match=r"\(--keep-velocities\) goes neither with"):
        md.short(keep_velocities=True, **changes)

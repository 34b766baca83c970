"""A box that evaporates or collapses: the run ends, says so, and keeps the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilforge import frames
from ilforge.dynamics import lammps, motion
from ilforge.properties import measure
from support import md

CASES = [
    "openmm",
    pytest.param("gromacs", marks=pytest.mark.program("gmx")),
    pytest.param("lammps", marks=[pytest.mark.program("lmp"), pytest.mark.slow]),
]
TENSION = md.short(ensemble="NPT", timestep_fs=1.0, length_ps=2.0, interval_ps=0.02, checkpoint_steps=1000)
PRESSURE_BAR = {"openmm": -1e6, "gromacs": -3e4, "lammps": -1e5}


def _spec(engine, request):
    if engine == "lammps":
        return md.deepmd(request.getfixturevalue("tiny_deepmd_model"))
    return md.WIDE_CLP


def _density(frame):
    """g/cm^3, by ASE's masses and CODATA's atomic mass unit."""
    return frame.get_masses().sum() * 1.66053906660 / frame.get_volume()


@pytest.mark.parametrize("engine", CASES)
@pytest.mark.parametrize("equilibration_ps", [0.0, 2.0])
def test_a_box_that_is_torn_apart_ends_the_run_and_is_kept(engine, equilibration_ps, request, monkeypatch, tmp_path):
    monkeypatch.setattr("ilforge.dynamics.openmm.BAROSTAT_STEPS", 2)  # Monte Carlo moves of the volume begin small
    protocol = replace(TENSION, equilibration_ps=equilibration_ps, pressure_bar=PRESSURE_BAR[engine])
    box = md.warm_box(0.8)
    trajectory = md.run(_spec(engine, request), engine, box, protocol, tmp_path / "run")
    fault = trajectory.fault
    assert "the box grew from" in fault["what"] and "Start from an equilibrated box" in fault["what"]
    start, went = _density(box), fault["density"]
    assert went["start_g_cm3"] == pytest.approx(start, rel=1e-6)
    assert fault["what"].startswith(f"the density fell from {start:.2f} to ")
    assert (fault["time_ps"] is None) == bool(equilibration_ps)
    assert (trajectory.info()["n_frames"] == 0) == bool(equilibration_ps)
    (broken,) = frames.read(trajectory.broken_file)
    assert broken.get_volume() > 2 * box.get_volume()
    assert went["reached_g_cm3"] == pytest.approx(_density(broken), rel=1e-4) and went["reached_g_cm3"] < 0.5 * start
    assert went["within_ps"] == pytest.approx(equilibration_ps + (fault["time_ps"] or 0.0))
    found = measure(trajectory, ["health", "density"])
    said = f"the density fell from {start:.2f} to {went['reached_g_cm3']:.2f} g/cm3 within {went['within_ps']:.3g} ps"
    assert str(found["health"].liquid) == f"does not hold the liquid: {said}"
    assert not any(estimate.converged for _, _, estimate in found["density"].estimates)
    assert (trajectory.thermo()["volume_A3"] <= 2.3 * box.get_volume()).all()  # LAMMPS records the frame itself


def test_half_to_twice_the_volume_is_no_burst():
    assert motion.burst(500.0, 1000.0) is None and motion.burst(2000.0, 1000.0) is None
    assert motion.burst(800.0, 1000.0) is None  # a box packed at 0.8 of its density
    assert motion.burst(499.0, 1000.0).startswith("the box shrank from 1000 to 499 Å^3")
    assert motion.burst(2001.0, 1000.0).startswith("the box grew from 1000 to 2001 Å^3")
    assert "no longer finite" in motion.burst(np.nan, 1000.0)


def test_with_its_mass_a_burst_is_said_as_density():
    mass = 1000.0 / 1.66053906660  # of 1 g/cm^3 in 1000 Å^3
    assert motion.burst(2500.0, 1000.0, mass).startswith(
        "the density fell from 1.00 to 0.40 g/cm3: the box grew from 1000 to 2500 Å^3"
    )
    assert motion.burst(400.0, 1000.0, mass).startswith("the density rose from 1.00 to 2.50 g/cm3: the box shrank")
    assert motion.burst(1500.0, 1000.0, mass) is None


def test_lammps_tells_a_halt_before_the_recorded_run_from_one_in_it():
    halt = "ERROR on proc 0: Fix halt condition for fix-id guard met on step 40 with value 1 (src/fix_halt.cpp:310)\n"
    before, within = f"Step\n{halt}\nRECORDING\nStep\n", f"Step\n\nRECORDING\nStep\n{halt}"
    assert not lammps._recording_had_begun(before) and not lammps._recording_had_begun(before + halt)
    assert lammps._recording_had_begun(within) and lammps._halt(within)[2] == "40"


@pytest.mark.program("lmp")
def test_lammps_names_no_time_for_an_explosion_before_the_recorded_run(tiny_deepmd_model, tmp_path):
    protocol = md.short(temperature_K=1.0, equilibration_ps=0.1, interval_ps=0.001, length_ps=0.05)
    trajectory = md.run(md.deepmd(tiny_deepmd_model), "lammps", md.packed_box(), protocol, tmp_path / "run")
    assert trajectory.fault["time_ps"] is None and trajectory.fault["message"].startswith("During equilibration")
    assert trajectory.info()["n_frames"] == 0 and "1 K was set" in trajectory.fault["what"]
    assert trajectory.broken_file.is_file()

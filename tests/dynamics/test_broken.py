"""A potential that gives numbers that are none: the run ends, keeps what was good and the frame that broke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from ilforge import frames
from ilforge.dynamics import run_md
from ilforge.dynamics.motion import fastest_atoms
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.learned.calculator_system import system_of
from ilforge.units import ASE_TIME_IN_FS
from support import md

ATOM = 7
LAST_GOOD = 45


@dataclass(frozen=True)
class Brittle:
    """CL&P up to an evaluation from which on the energy, or the force on one atom as well, is no number."""

    spoil_forces: bool
    kind: ClassVar[str] = "brittle"
    has_stress: ClassVar[bool] = False

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "spoil_forces": self.spoil_forces}

    def calculator(self, topology=None, threads: int = 1) -> Calculator:
        return _BrittleCalculator(Clp().calculator(topology), self.spoil_forces)


class BrittleInOpenMM(Brittle):
    def openmm_system(self, topology, cell, constrain_hydrogens=False, threads=1):
        return system_of(self.calculator(topology), topology, cell, constrain_hydrogens)


class _BrittleCalculator(Calculator):
    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, sound: Calculator, spoil_forces: bool):
        super().__init__()
        self._sound, self._spoil_forces, self._count = sound, spoil_forces, 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = self._sound.get_potential_energy(self.atoms), self._sound.get_forces(self.atoms)
        self._count += 1
        if self._count > LAST_GOOD:
            energy = np.nan
            if self._spoil_forces:
                forces = forces.copy()
                forces[ATOM] = np.nan
        self.results = {"energy": energy, "forces": forces}


@pytest.mark.parametrize("potential", [Brittle, BrittleInOpenMM], ids=["ase", "openmm"])
@pytest.mark.parametrize("spoil_forces", [True, False], ids=["forces", "energy"])
def test_the_run_ends_and_the_frame_that_broke_is_kept(potential, spoil_forces, tmp_path):
    start = md.lone_ion()
    ion = Liquid.of_frame(start)
    protocol = md.short(equilibration_ps=0.0, checkpoint_steps=10**6)  # frames of ten steps
    trajectory = run_md(potential(spoil_forces), start, ion, protocol, tmp_path / "run")
    fault = trajectory.fault
    assert "no longer finite" in fault["message"] and 0.005 < fault["time_ps"] < 0.1
    assert all(name.endswith("of PYR14 #1") for name in fault["atoms"]) and len(fault["atoms"]) == 3
    n_frames = trajectory.info()["n_frames"]
    assert 1 <= n_frames == len(trajectory.thermo()["time_ps"]) == trajectory.universe().trajectory.n_frames
    assert n_frames * 0.005 - 1e-9 <= fault["time_ps"] <= (n_frames + 1) * 0.005 + 1e-9
    assert np.isfinite(trajectory.thermo()["potential_energy_eV"]).all()
    last, broken = frames.read(trajectory.last_file)[0], frames.read(trajectory.broken_file)[0]
    assert np.isfinite(last.positions).all() and np.isfinite(broken.positions).all()
    assert broken.info["fault"] == fault["message"]
    moved = np.abs(broken.positions - last.positions).max()
    if spoil_forces:
        # ten steps later no atom has a position: what can be looked at is what was before
        assert moved < 1e-6
        velocities = broken.get_velocities() / ASE_TIME_IN_FS
        assert tuple(fault["atoms"]) == fastest_atoms(velocities, ion.topology)
    else:
        assert 1e-3 < moved < 1.0

"""Runs of the package's engine: the same after a stop whatever its choices, longer steps, and what is refused."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.dynamics import builtin, choose_engine, openmm, run_md, time_step_warning
from ilforge.dynamics.motion import State, kinetic_energy
from ilforge.dynamics.simulation import Job
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.force_evaluator import EvaluatorCalculator, has_force_evaluator
from ilforge.potentials.learned.committee import Committee
from ilforge.potentials.learned.mace import Mace
from ilforge.units import KB
from support import md, soft

CHOICES = [
    {"ensemble": "NVE", "equilibration_ps": 0.02},
    {"ensemble": "NVT", "thermostat": "nose-hoover"},
    {"ensemble": "NPT", "constant_volume_ps": 0.02},
    {"ensemble": "NPT", "barostat": "cell-rescaling"},
    {"ensemble": "NPT", "thermostat": "nose-hoover", "barostat": "cell-rescaling"},
    {"ensemble": "NPT", "thermostat": "nose-hoover", "inner_steps": 2},
]


def job_of(potential, inner=None, **choices):
    liquid, box = soft.ions()
    usual = {"timestep_fs": 1.0, "length_ps": 0.2, "interval_ps": 0.02, "checkpoint_steps": 60, "equilibration_ps": 0.1}
    protocol = md.short(**{**usual, "pressure_bar": 3000.0, **choices})
    return Job(potential, box, liquid.topology, protocol, inner=inner)


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(map(str, choices.values())))
def test_a_run_goes_on_from_any_checkpoint_and_ends_the_same(choices):
    inner = soft.Soft(height_eV=0.15) if "inner_steps" in choices else None
    job = job_of(soft.Soft(), inner, **choices)
    every = list(builtin.frames(job, None, 0))
    last, states = every[-1][0], [state for _, state in every if state is not None]
    assert len(states) > 3
    for state in states:
        found = list(builtin.frames(job, state, 0))[-1][0]
        np.testing.assert_array_equal(found.positions, last.positions)
        np.testing.assert_array_equal(found.velocities, last.velocities)
        np.testing.assert_array_equal(found.cell, last.cell)


def test_checkpoints_of_before_can_be_read():
    """Without what thermostats and barostats remember, which came later."""
    import io

    state = State(np.ones((2, 3)), np.ones((2, 3)), np.eye(3), step=7)
    kept = {key: value for key, value in vars(state).items() if key not in ("thermostat", "barostat")}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    found = State.from_bytes(buffer.getvalue())
    assert found.step == 7 and len(found.thermostat) == len(found.barostat) == 0
    chain = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(State.from_bytes(replace(state, thermostat=chain).to_bytes()).thermostat, chain)


class Spy:
    """A potential that counts, and that has no answer above a volume."""

    kind, has_stress = "spy", True

    def __init__(self, largest: float):
        self._largest, self._soft, self.refused = largest, soft.Soft(), 0

    def force_evaluator(self, topology, threads=1):
        self._inner = self._soft.force_evaluator(topology)
        return self

    def evaluate(self, positions, cell):
        if cell[0, 0] ** 3 > self._largest:
            self.refused += 1
            raise DidNotConverge("atoms are closer than it knows")
        return self._inner.evaluate(positions, cell)


def test_a_volume_that_the_potential_has_no_answer_for_is_not_taken(monkeypatch):
    monkeypatch.setattr(builtin, "MONTE_CARLO_STEPS", 2)
    spy = Spy(largest=1662.0)  # it begins with 1660.4
    moving = soft.simulation(spy, ensemble="NPT", pressure_bar=0.0)
    moving.step(100)
    assert spy.refused > 3 and moving.sample().volume <= 1662.0


def test_no_answer_within_a_step_ends_the_run_with_a_frame(tmp_path):
    liquid, box = soft.ions()

    class Described(Spy):
        def describe(self):
            return {"kind": self.kind}

    protocol = md.short(ensemble="NPT", barostat="cell-rescaling", pressure_bar=-5000.0, equilibration_ps=0.0)
    trajectory = run_md(Described(1670.0), box, liquid, replace(protocol, length_ps=2.0), tmp_path / "run")
    assert "gave no energy (atoms are closer than it knows)" in trajectory.fault["message"]
    assert trajectory.broken_file.is_file()


@pytest.mark.parametrize("ensemble", ["NVE", "NVT"])
def test_an_inner_potential_that_is_the_potential_makes_short_steps(ensemble):
    """Then nothing is left for the long steps: four in one are four."""
    usual = {"ensemble": ensemble, "equilibration_ps": 0.0}
    whole = builtin.Simulation(job_of(soft.Soft(), timestep_fs=0.5, **usual), ensemble)
    job = job_of(soft.Soft(), soft.Soft(), timestep_fs=2.0, inner_steps=4, **usual)
    divided = builtin.Simulation(job, ensemble)
    for moving, steps in ((whole, 80), (divided, 20)):
        moving.restore(State(job.start_positions, job.start_velocities, job.cell))
        moving.step(steps)
    np.testing.assert_allclose(divided.state().positions, whole.state().positions, atol=1e-9)


def spread_of_energy(start: State, inner=None, **choices) -> float:
    """Standard deviation of the total energy over 480 fs at constant energy, eV."""
    moving = builtin.Simulation(job_of(soft.Soft(), inner, ensemble="NVE", **choices), "NVE")
    moving.restore(start)
    seen = []
    for _ in range(60):
        moving.step(round(8 / choices["timestep_fs"]))
        sample = moving.sample()
        seen.append(sample.potential_energy + sample.kinetic_energy)
    return float(np.std(seen))


def test_divided_steps_conserve_energy_to_second_order_in_the_long_step():
    warm = soft.simulation(soft.Soft(), timestep_fs=0.5)
    warm.step(1000)
    start = warm.state()
    inner = soft.Soft(height_eV=0.1)  # has the stiff springs, and half of the repulsion
    spread = {
        step: spread_of_energy(start, inner, timestep_fs=step, inner_steps=round(4 * step)) for step in (8.0, 4.0)
    }
    assert spread[8.0] < spread_of_energy(start, timestep_fs=4.0) / 3
    assert spread[4.0] < spread[8.0] / 2.5


def test_heavy_hydrogens_take_their_mass_from_their_neighbours():
    topology = md.liquid().topology
    job = Job(Clp(4.0), md.warm_box(), topology, md.short(hydrogen_mass_amu=3.0))
    hydrogen = np.array(topology.symbols) == "H"
    assert job.masses[hydrogen] == pytest.approx(3.0)
    assert job.masses.sum() == pytest.approx(topology.masses.sum(), abs=1e-9)
    methyl = topology.names.index("C1")
    attached = sum(hydrogen[a] for bond in topology.bonds.tolist() if methyl in bond for a in bond)
    assert job.masses[methyl] == pytest.approx(12.011 - attached * (3.0 - 1.008))
    assert np.array_equal(Job(Clp(4.0), md.warm_box(), topology, md.short()).masses, topology.masses)
    velocities = job.start_velocities
    assert kinetic_energy(job.masses, velocities) == pytest.approx(207 / 2 * KB * 423.0)


@pytest.mark.parametrize("kind", ["clp", "clpol"])
def test_openmm_moves_heavy_hydrogens_too(kind):
    from openmm import unit

    spec = {"clp": md.CLP, "clpol": md.CLPOL}[kind]
    job = Job(potentials.create(spec), md.warm_box(), md.liquid().topology, md.short(hydrogen_mass_amu=3.0))
    system = openmm.system_for(job, "NVT")
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
    assert sum(masses) == pytest.approx(job.topology.masses.sum(), abs=0.05)
    hydrogen = np.array(job.topology.symbols) == "H"
    assert np.array(masses[: len(hydrogen)])[hydrogen] == pytest.approx(3.0, abs=1e-3)


def test_heavy_hydrogens_make_long_steps_conserve_energy_better():
    spread = {}
    for mass in (None, 3.0):
        job = Job(Clp(4.0), md.warm_box(), md.liquid().topology, md.short(timestep_fs=1.5, hydrogen_mass_amu=mass))
        moving = openmm.Simulation(replace(job, protocol=replace(job.protocol, constrain_hydrogens=False)), "NVE")
        moving.restore(State(job.start_positions, job.start_velocities, job.cell))
        samples = []
        for _ in range(60):
            moving.step(4)
            sample = moving.sample()
            samples.append(sample.potential_energy + sample.kinetic_energy)
        spread[mass] = np.std(samples)
    assert spread[3.0] < 0.6 * spread[None]


def test_long_steps_with_heavy_hydrogens_are_warned_of_later():
    box, liquid, potential = md.warm_box(), md.liquid(), Clp(4.0)
    said = {
        (step, mass): time_step_warning(
            potential, box, liquid, md.short(timestep_fs=step, hydrogen_mass_amu=mass), "ase"
        )
        for step, mass in ((1.4, None), (1.4, 3.0), (2.0, 3.0))
    }
    assert said[1.4, 3.0] is None
    assert "whose period is 11 fs" in said[1.4, None] and "whose period is 16 fs" in said[2.0, 3.0]
    assert time_step_warning(potential, box, liquid, md.short(timestep_fs=2.0, inner_steps=4), "ase") is None


REFUSED = [
    ({"thermostat": "nose-hoover"}, "thermostat is 'nose-hoover', which engine openmm cannot run with clp"),
    ({"barostat": "cell-rescaling", "ensemble": "NPT"}, "barostat is 'cell-rescaling', which engine openmm"),
    ({"inner_steps": 2}, "inner_steps is 2, which engine openmm cannot run with clp"),
]


@pytest.mark.parametrize(("choices", "said"), REFUSED, ids=lambda value: str(value)[:20])
def test_an_engine_without_the_choice_says_so(choices, said, tmp_path):
    inner = Clp(4.0) if "inner_steps" in choices else None
    with pytest.raises(SettingsError, match=said):
        run_md(Clp(4.0), md.warm_box(), md.liquid(), md.short(**choices), tmp_path / "run", inner_potential=inner)


def test_openmm_runs_what_it_has_when_it_is_named(tmp_path):
    protocol = md.short(ensemble="NPT", thermostat="langevin", barostat="monte-carlo", length_ps=0.005)
    assert run_md(Clp(4.0), md.warm_box(), md.liquid(), protocol, tmp_path / "run").fault is None


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"thermostat": "andersen"}, r"thermostat \(--thermostat\) is 'andersen': it may be langevin or nose-hoover"),
        ({"barostat": "monte-carlo"}, "ensemble NVT has no pressure"),
        (
            {"hydrogen_mass_amu": 9.0},
            r"\(--hydrogen-mass\) is 9.0: expected a number from 1.008 to 4",
        ),
        ({"inner_steps": 0}, r"inner_steps \(--inner-steps\) is 0"),
    ],
)
def test_a_protocol_refuses_what_no_engine_can_run(choices, said):
    with pytest.raises(SettingsError, match=said):
        md.short(**choices)


def test_what_a_run_cannot_be_is_refused_in_words():
    liquid, box = soft.ions()
    with pytest.raises(SettingsError, match="and the reverse: give both, or neither"):
        Job(soft.Soft(), box, liquid.topology, md.short(inner_steps=2))
    job = Job(soft.Soft(), box, liquid.topology, md.short(constrain_hydrogens=True))
    with pytest.raises(SettingsError, match="constrain_hydrogens: the builtin engine"):
        builtin.Simulation(job, "NVT")

    class WithoutStress(soft.Soft):
        has_stress = False

    job = Job(WithoutStress(), box, liquid.topology, md.short(ensemble="NPT", barostat="cell-rescaling"))
    with pytest.raises(SettingsError, match='"cell-rescaling" needs a stress'):
        builtin.Simulation(job, "NPT")


def test_run_json_says_what_moved_the_atoms():
    job = job_of(
        soft.Soft(), soft.Soft(), ensemble="NPT", thermostat="nose-hoover", barostat="cell-rescaling", inner_steps=2
    )
    assert builtin.details(job) == {
        "name": "builtin",
        "version": builtin.details(job)["version"],
        "thermostat": "Nosé-Hoover chain, 0.1 ps",
        "barostat": "stochastic cell rescaling, isotropic, molecules whole, 0.5 ps",
        "inner": "soft, 2 steps of 0.5 fs",
        "bonds_to_H": "free",
    }


@pytest.mark.slow
def test_mace_and_its_committees_run_here_and_others_where_they_did(tiny_mace_model, tiny_deepmd_model):
    mace, deepmd = (potentials.create(spec) for spec in (md.mace(tiny_mace_model), md.deepmd(tiny_deepmd_model)))
    box = md.warm_box()
    chosen = {
        choose_engine(potential, box)
        for potential in (mace, Committee((mace, Mace(mace.path, mace.sha256, dtype="float64"))))
    }
    assert chosen == {"builtin"}
    assert choose_engine(deepmd, box) == choose_engine(Committee((deepmd, deepmd)), box) == "lammps"
    assert choose_engine(Committee((mace, deepmd)), box) == "ase" and not has_force_evaluator(Committee((mace, deepmd)))
    assert choose_engine(Clp(4.0), box) == "openmm"


def test_an_evaluator_says_what_the_calculator_says(tiny_mace_model):
    mace = Mace(tiny_mace_model, md.mace(tiny_mace_model)["sha256"], dtype="float64")
    box, topology = md.warm_box(), md.liquid().topology
    evaluator = mace.force_evaluator(topology)
    for stretch in (1.0, 1.01):
        box.set_cell(box.cell * stretch, scale_atoms=True)
        found = evaluator.evaluate(box.positions, box.cell.array)
        box.calc = mace.calculator(topology)
        assert found.energy == pytest.approx(box.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found.forces, box.get_forces(), atol=1e-9)
        stress = box.get_stress(voigt=False)
        np.testing.assert_allclose(found.strain_derivative / box.get_volume(), stress, atol=1e-12)
    alone = evaluator.evaluate(box.positions, None)
    assert alone.strain_derivative is None and alone.energy != found.energy


class Counted(soft.Soft):
    """Soft molecules that count how often they are asked."""

    has_stress = False

    @functools.cached_property
    def asked(self):
        return []

    def force_evaluator(self, topology, threads=1):
        evaluator = super().force_evaluator(topology, threads)
        evaluate = evaluator.evaluate

        def counted(positions, cell):
            self.asked.append(1)
            return evaluate(positions, cell)

        evaluator.evaluate = counted
        return evaluator

    def calculator(self, topology=None, threads=1):
        return EvaluatorCalculator(self.force_evaluator(topology, threads))


def test_a_committee_moves_by_its_first_member_and_asks_the_others_at_recorded_frames(tmp_path):
    liquid, box = soft.ions()
    first, other = Counted(), Counted(stiffness_eV_A2=13.0)
    protocol = md.short(ensemble="NVE", timestep_fs=1.0, length_ps=0.2, interval_ps=0.02, equilibration_ps=0.0)
    together = run_md(Committee((first, other)), box, liquid, protocol, tmp_path / "together", engine="builtin")
    alone = run_md(soft.Soft(), box, liquid, protocol, tmp_path / "alone", engine="builtin")
    assert len(other.asked) == 10  # one for each recorded frame
    energies = [run.thermo()["potential_energy_eV"] for run in (together, alone)]
    np.testing.assert_array_equal(*energies)
    frame = frames.read(together.last_file)[0]
    forces = [
        potential.force_evaluator(liquid.topology).evaluate(frame.positions, frame.cell.array).forces
        for potential in (soft.Soft(), soft.Soft(stiffness_eV_A2=13.0))
    ]
    # of two members, half the distance between their forces
    half = np.linalg.norm(forces[0] - forces[1], axis=1).max() / 2
    assert together.thermo()["force_deviation_eV_A"][-1] == pytest.approx(half, rel=1e-4)


@pytest.mark.slow
def test_a_committee_records_its_deviation(tiny_mace_model, tmp_path):
    mace = Mace(tiny_mace_model, md.mace(tiny_mace_model)["sha256"], dtype="float64")
    committee = Committee((mace, Mace(mace.path, mace.sha256, dtype="float32")))
    ion = md.lone_ion()
    trajectory = run_md(committee, ion, Liquid.of_frame(ion), md.short(length_ps=0.01), tmp_path / "run")
    assert trajectory.info()["run_by"] == "builtin"
    deviations = trajectory.thermo()["force_deviation_eV_A"]
    assert (deviations > 0).all() and (deviations < 1e-3).all()


def test_a_run_that_another_engine_began_is_still_that_run(tiny_mace_model, tmp_path):
    """MACE ran in OpenMM before there was this engine; what was run then is not refused, and not run again."""
    ion, mace = md.lone_ion(), potentials.create(md.mace(tiny_mace_model))
    first = run_md(mace, ion, Liquid.of_frame(ion), md.short(length_ps=0.01), tmp_path / "run", engine="openmm")
    again = run_md(mace, ion, Liquid.of_frame(ion), md.short(length_ps=0.01), tmp_path / "run")
    assert again.info()["run_by"] == "openmm" and again.info() == first.info()
    with pytest.raises(SettingsError, match="contains a run with another"):
        run_md(mace, ion, Liquid.of_frame(ion), md.short(length_ps=0.01), tmp_path / "run", engine="builtin")


def test_minimisation_ends_at_rest_where_forces_are_small():
    job = job_of(soft.Soft(), minimise_steps=300)
    from ilforge.dynamics.simulation import minimised

    state = minimised(builtin.Simulation(job, "NVT"), job, 300)
    found = job.potential.force_evaluator(job.topology).evaluate(state.positions, state.cell)
    start = job.potential.force_evaluator(job.topology).evaluate(job.start_positions, job.cell)
    assert np.linalg.norm(found.forces, axis=1).max() < 0.06 and found.energy < start.energy
    assert not state.velocities.any()

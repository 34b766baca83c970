"""The chosen device reaches each program, and on a GPU the numbers are those of the processor."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch

from ilforge import devices, potentials
from ilforge.devices import CPU, Device
from ilforge.dynamics.extra_particles import ExtraParticles
from ilforge.dynamics.motion import State
from ilforge.dynamics.simulation import Job
from ilforge.potentials.classical.openmm_platform import platform_and_properties, platform_for_dynamics
from ilforge.potentials.learned.mace.cuequivariance import has_cuequivariance
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL
from support import exp6, md

PLATFORMS = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_openmm_gets_platform_precision_and_number_of_the_gpu():
    assert platform_and_properties(3, CPU) == ("CPU", {"Threads": "3", "DeterministicForces": "true"})
    same = {"Precision": "mixed", "DeterministicForces": "true"}
    assert platform_and_properties(3, Device("cuda")) == ("CUDA", same)
    assert platform_and_properties(3, Device("cuda", 1)) == ("CUDA", {**same, "DeviceIndex": "1"})
    assert platform_and_properties(3, Device("opencl", 0)) == ("OpenCL", {"Precision": "mixed", "DeviceIndex": "0"})


@pytest.mark.parametrize("device", ["cpu", "opencl", "cuda"])
def test_openmm_knows_the_properties_it_is_given(device):
    name, properties = platform_and_properties(1, Device(device, None if device == "cpu" else 0))
    if name not in PLATFORMS:
        pytest.skip(f"OpenMM has no platform {name} here")
    assert set(properties) <= set(openmm.Platform.getPlatformByName(name).getPropertyNames())


def test_forces_from_python_are_integrated_on_the_processor(tiny_mace_model):
    spec, liquid = md.mace(tiny_mace_model), md.liquid()
    system = potentials.create(spec).openmm_system(liquid.topology, md.packed_box().cell.array)
    devices.use("opencl")  # not looked for: Python computes
    assert platform_for_dynamics(system, 1)[0] == "CPU"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a model that goes to a GPU where none is")
def test_a_mace_model_goes_to_its_device(tiny_mace_model):
    from ilforge.potentials.learned.mace.calculator import MaceCalculator

    model = torch.load(tiny_mace_model, map_location="cpu", weights_only=False)
    with pytest.raises((AssertionError, RuntimeError), match="CUDA"):
        MaceCalculator(model, "float32", Device("cuda"))


def test_cuequivariance_is_for_cuda_alone():
    assert not has_cuequivariance(CPU)
    assert not has_cuequivariance(Device("opencl"))


@pytest.mark.parametrize("device", ["opencl", "cuda"])
@pytest.mark.parametrize("name", ["clp", "clpol", "exp6"])
def test_openmm_on_a_gpu_gives_the_numbers_of_the_reference_platform(name, device):
    """Forces to 1e-4 of the RMS force, 3e-4 where induced dipoles are iterated; energies of 70 atoms to 1e-3 eV."""
    platform, properties = platform_and_properties(1, Device(device))
    if platform not in PLATFORMS:
        pytest.skip(f"OpenMM has no platform {platform} here")
    potential = potentials.create({"clp": md.CLP, "clpol": md.CLPOL, "exp6": exp6.SPEC}[name])
    liquid, box = md.liquid(), md.warm_box()
    (e_ref, f_ref), (e_gpu, f_gpu) = (
        _point(potential, liquid, box, *where) for where in (("Reference", {}), (platform, properties))
    )
    assert e_gpu == pytest.approx(e_ref, abs=1e-3)
    tolerance = 1e-4 if name == "clp" else 3e-4
    assert np.sqrt(np.mean((f_gpu - f_ref) ** 2)) < tolerance * np.sqrt(np.mean(f_ref**2))


@pytest.mark.parametrize("device", ["opencl", "cuda"])
@pytest.mark.parametrize("spec", [md.CLP, md.CLPOL], ids=["clp", "clpol"])
def test_md_on_a_gpu_begins_as_on_the_processor(spec, device, tmp_path):
    if {"opencl": "OpenCL", "cuda": "CUDA"}[device] not in PLATFORMS:
        pytest.skip(f"OpenMM has no {device} here")
    protocol = md.MdProtocol("NVE", 423.0, 0.5, 0.01, 0.005, seed=1)
    runs = []
    for where in ("cpu", device):
        devices.use(where)
        runs.append(md.run(spec, "openmm", md.warm_box(), protocol, tmp_path / where))
    assert [run.info()["engine"]["platform"] for run in runs] == ["CPU", {"opencl": "OpenCL", "cuda": "CUDA"}[device]]
    one, other = (np.array([step.positions.copy() for step in run.universe().trajectory]) for run in runs)
    assert np.abs(one - other).max() < 1e-3  # Å, after 20 steps


@with_cuda
def test_mace_on_cuda_gives_the_numbers_of_the_processor(tiny_mace_model, two_pairs):
    found = []
    for where in ("cpu", "cuda"):
        devices.use(where)
        calculator = potentials.create(md.mace(tiny_mace_model)).calculator()
        found.append((calculator.get_potential_energy(two_pairs), calculator.get_forces(two_pairs)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=2e-5)


def _point(potential, liquid, box, platform, properties):
    """Energy in eV and forces on the atoms in eV/Å by one platform, with what rides on the atoms settled."""
    unit = openmm.unit
    job = Job(potential, box, liquid.topology, md.MdProtocol("NVE", 423.0, 0.5, 0.01, 0.005, seed=1))
    system = potential.openmm_system(liquid.topology, box.cell.array, constrain_hydrogens=False, threads=1)
    extra_particles = ExtraParticles(potential, liquid.topology, system)
    where = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, openmm.VerletIntegrator(1e-6), where, properties)
    context.setPeriodicBoxVectors(*(box.cell.array / ANGSTROM_PER_NM))
    state = State(job.start_positions, job.start_velocities, job.cell)
    context.setPositions(extra_particles.positions(state) / ANGSTROM_PER_NM)
    extra_particles.settle(context, state)
    now = context.getState(energy=True, forces=True)
    energy = now.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
    forces = now.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy, np.asarray(forces)[: liquid.topology.n_atoms] * (KJ_PER_MOL / ANGSTROM_PER_NM)

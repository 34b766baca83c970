"""nEQ frames: structures straight from packing, and molecules distorted by heat just below decomposition.

A model that has only seen equilibrium does not know what keeps it there.
"""

from __future__ import annotations

from ase import Atoms

from ilforge import dynamics
from ilforge.dynamics.motion import Exploded
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.errors import Unphysical
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.equilibrated import MINIMISE_STEPS
from ilforge.sampling.frame import make_frame

COOLER = 0.8
"""Factor on the temperature after a hot run in which a molecule came apart."""

_TRIES = 8  # down to a fifth of the temperature
_HEATING_PS = 0.5  # unrecorded: until the heat has spread over all vibrations


def relax_packed(box: Atoms, liquid: Liquid, potential: Potential, steps: int, threads: int = 1) -> Atoms:
    """The packed box after a few steps of minimisation, which take the worst contacts out of it.

    Returns
    -------
    frame
        Of kind ``nEQ``, recipe ``packed``; its seed is that of the box.
    """
    rest = MdProtocol("NVT", 1.0, 1.0, 1.0, 1.0, seed=0, constrain_hydrogens=False)  # nothing moves
    state = dynamics.minimise(Job(potential, box, liquid.topology, rest, threads), steps)
    seed = int(box.info.get("seed", 0))
    return make_frame(state.positions, state.cell, box, liquid, "nEQ", "packed", seed)


def sample_hot(
    box: Atoms,
    liquid: Liquid,
    potential: Potential,
    *,
    temperature_K: float,
    timestep_fs: float,
    interval_ps: float,
    n_frames: int,
    seed: int,
    bond_factor: float,
    threads: int = 1,
) -> list[Atoms]:
    """Frames of a hot run with long steps, as hot as the molecules endure.

    When a molecule comes apart, in any recorded frame, or the motion explodes, the run starts again at 0.8
    times the temperature.

    Parameters
    ----------
    temperature_K
        Where to begin.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.

    Returns
    -------
    frames
        ``n_frames`` of kind ``nEQ``, recipe ``hot``, none fragmented; ``info["temperature_K"]`` is the temperature
        they were taken at.

    Raises
    ------
    Unphysical
        When molecules come apart even at a fifth of the temperature, or without any heat.
    """
    cold = relax_packed(box, liquid, potential, MINIMISE_STEPS, threads)
    reason = fragmentation(cold, liquid.topology, bond_factor)
    if reason is not None:
        raise Unphysical(f"Even the minimised box counts as fragmented: {reason}. Raise gate.bond_factor.")
    for attempt in range(_TRIES):
        kelvin = temperature_K * COOLER**attempt
        protocol = MdProtocol(
            ensemble="NVT",
            temperature_K=kelvin,
            timestep_fs=timestep_fs,
            length_ps=n_frames * interval_ps,
            interval_ps=interval_ps,
            seed=seed,
            equilibration_ps=_HEATING_PS,
            start_temperature_K=2 * kelvin,
            constrain_hydrogens=False,
        )
        found = _unfragmented(Job(potential, cold, liquid.topology, protocol, threads), liquid, bond_factor)
        if not isinstance(found, str):
            return found
        reason = found
    raise Unphysical(
        f"Molecules come apart even at {kelvin:.0f} K with steps of {timestep_fs:g} fs: {reason}. Lower "
        "hot_timestep_fs or hot_temperature_K, or raise gate.bond_factor."
    )


def _unfragmented(job: Job, liquid: Liquid, bond_factor: float) -> list[Atoms] | str:
    """Frames of one hot run, or why it does not count."""
    seed, kelvin = job.protocol.seed, round(job.protocol.temperature_K, 3)
    found: list[Atoms] = []
    try:
        for sample in dynamics.samples(job):
            frame = make_frame(
                sample.positions, sample.cell, job.atoms, liquid, "nEQ", "hot", seed, temperature_K=kelvin
            )
            broken = fragmentation(frame, liquid.topology, bond_factor)
            if broken is not None:
                return broken
            found.append(frame)
    except Exploded as error:
        return str(error).rstrip(".")
    return found

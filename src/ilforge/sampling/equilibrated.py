"""EQ frames: the liquid in equilibrium, from NVT dynamics with a cheap potential."""

from __future__ import annotations

from ase import Atoms

from ilforge import dynamics
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.frame import make_frame

MINIMISE_STEPS = 200
"""Steps of minimisation: enough to remove the close contacts of a packed box; equilibration does the rest."""


def sample_equilibrated(
    box: Atoms,
    liquid: Liquid,
    potential: Potential,
    *,
    temperature_K: float,
    timestep_fs: float,
    equilibration_ps: float,
    interval_ps: float,
    n_frames: int,
    seed: int,
    threads: int = 1,
) -> list[Atoms]:
    """Frames of the box in equilibrium at constant volume.

    The box is minimised, equilibrated, and then recorded every ``interval_ps``. Bonds are not constrained, because a
    model must learn how they vibrate. The same arguments give the same frames, to the last digit.

    Returns
    -------
    frames
        ``n_frames`` frames of kind ``EQ``, recipe ``nvt``, with whole molecules.

    Raises
    ------
    Exploded
        When the motion explodes: the time step is too long or the box too dense for this potential.
    """
    protocol = MdProtocol(
        ensemble="NVT",
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        length_ps=n_frames * interval_ps,
        interval_ps=interval_ps,
        seed=seed,
        equilibration_ps=equilibration_ps,
        minimise_steps=MINIMISE_STEPS,
        constrain_hydrogens=False,
    )
    job = Job(potential, box, liquid.topology, protocol, threads)
    return [
        make_frame(sample.positions, sample.cell, box, liquid, "EQ", "nvt", seed) for sample in dynamics.samples(job)
    ]

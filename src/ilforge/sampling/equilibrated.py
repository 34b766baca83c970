"""EQ frames: the liquid in equilibrium, from NVT dynamics with a cheap potential."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from ilforge import dynamics
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.frame import make_frame
from ilforge.sampling.kind import Drawing, SamplerKind
from ilforge.settings import Count, Settings

MINIMISE_STEPS = 200
"""Steps of minimisation: enough to remove the close contacts of a packed box; equilibration does the rest."""
RUN = frozenset({"timestep_fs", "equilibration_ps", "interval_ps"})
"""Keys of ``[sampling]`` for runs at the temperature of the liquid."""
_EACH_RUN = 10  # frames of one run, about, where only their sum is given
_FEWEST_RUNS = 2  # a split into training and held-out frames needs two boxes


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


def run_of(drawing: Drawing) -> dict[str, Any]:
    """Arguments of :func:`sample_equilibrated` for a run at the temperature of the liquid."""
    lengths = {key: drawing.keys[key] for key in sorted(RUN)}
    own = {"temperature_K": drawing.temperature_K, "n_frames": drawing.n_frames, "seed": drawing.seed}
    return {**own, **lengths, "threads": drawing.threads}


def steps_of_run(sampling: Any, n_frames: int) -> float:
    """MD steps of such a run; ``sampling`` are the keys of ``[sampling]``."""
    return float(1000 * (sampling.equilibration_ps + n_frames * sampling.interval_ps) / sampling.timestep_fs)


class EquilibratedCounts(Settings):
    """Numbers of EQ frames."""

    eq_boxes: Count
    """Packed boxes in which EQ runs start, spread evenly over the density ratios."""
    eq_frames_per_box: Count
    """EQ starts taken from each of these runs."""


def _draw(drawing: Drawing) -> list[Atoms]:
    return sample_equilibrated(drawing.packed, drawing.liquid, drawing.potential, **run_of(drawing))


def _scaled(counts: EquilibratedCounts, number: int) -> dict[str, int]:
    boxes = min(number, max(_FEWEST_RUNS, round(number / _EACH_RUN)))
    return {"eq_boxes": boxes, "eq_frames_per_box": round(number / boxes) if boxes else 0}


KIND = SamplerKind(
    "nvt",
    "equilibrated",
    "EQ",
    EquilibratedCounts,
    _draw,
    uses=RUN,
    boxes=lambda counts, sampling: (counts.eq_boxes, counts.eq_frames_per_box),
    number=lambda counts: counts.eq_boxes * counts.eq_frames_per_box,
    scaled=_scaled,
    steps=steps_of_run,
)

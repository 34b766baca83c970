"""nEQ frames that teach the cohesion between ions: rigid molecules farther apart, separated, or around a cavity.

In equilibrated, packed and hot boxes all molecules are in contact. A model trained only on these does not know the
energy needed to separate molecules, and its liquid boils or has too low a density. Here molecules keep exactly the
shape that they have in MD, and only their distances change:

``scaled``  centres of mass and cell scaled together, to any density in a range
``parted``  an ion, an ion pair or half of all ions separated from the others by a gap on both sides, in a cell that
            is longer by two gaps
``cavity``  a sphere without nuclei, in a box with the density of the liquid or less

Frames are made in excess. Every recipe and every third of its densities has an equal share of the frames that are
taken; in each share, :mod:`ilforge.sampling.diversity` chooses those that differ most. Without shares it would take the
most crowded frames of one recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from ilforge.errors import DidNotConverge
from ilforge.liquid.arrangements import (
    Arrangement,
    cleared,
    contact_radii,
    cut_in_two,
    is_clear,
    parted,
    pulled_out,
    scaled,
    with_cavity,
)
from ilforge.liquid.connectivity import centres_of_mass, fragmentation, nearest_images, whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.potentials.potential import Potential
from ilforge.sampling.diversity import most_diverse
from ilforge.sampling.equilibrated import RUN, run_of, sample_equilibrated, steps_of_run
from ilforge.sampling.frame import make_frame
from ilforge.sampling.kind import Drawing, SamplerKind
from ilforge.settings import Count, DensityRatio, Settings

RECIPES = ("scaled", "parted", "cavity")
_GAPS_A = (0.5, 5.0)  # from slightly stretched contacts to almost no contacts within the cutoff of a model
_CAVITIES_A = (2.5, 4.0)  # radius, from an atom to a small ion
_CAVITY_DENSITIES = (0.6, 1.0)  # relative to the liquid; a denser box has no room for a cavity


def sample_intermolecular(
    box: Atoms,
    liquid: Liquid,
    potential: Potential,
    *,
    temperature_K: float,
    timestep_fs: float,
    equilibration_ps: float,
    interval_ps: float,
    n_frames: int,
    density_g_cm3: float,
    density_ratios: tuple[float, float],
    seed: int,
    bond_factor: float,
    threads: int = 1,
) -> list[Atoms]:
    """Candidate frames: from each frame of one NVT run, one of each recipe for which there is room.

    Parameters
    ----------
    n_frames
        Frames of the run, ``interval_ps`` apart.
    density_g_cm3
        Density of the liquid, to which all ratios refer.
    density_ratios
        Lowest and highest density of scaled frames. Frames with a cavity are also limited to 0.6 to 1.0.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.

    Returns
    -------
    frames
        Frames of kind ``nEQ``, recipes ``scaled``, ``parted`` and ``cavity``. None is fragmented, and no two atoms of
        different molecules are closer than the sum of their :func:`~ilforge.liquid.arrangements.contact_radii`.
        ``info`` contains ``density_ratio``, and ``gap_A`` or ``cavity_A``.
    """
    run = sample_equilibrated(
        box,
        liquid,
        potential,
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        equilibration_ps=equilibration_ps,
        interval_ps=interval_ps,
        n_frames=n_frames,
        seed=seed,
        threads=threads,
    )
    return rearranged(
        run,
        liquid,
        density_g_cm3=density_g_cm3,
        density_ratios=density_ratios,
        seed=seed,
        bond_factor=bond_factor,
    )


def rearranged(
    starts: Sequence[Atoms],
    liquid: Liquid,
    *,
    density_g_cm3: float,
    density_ratios: tuple[float, float],
    seed: int,
    bond_factor: float,
) -> list[Atoms]:
    """From each frame one of each recipe for which there is room: the second half of :func:`sample_intermolecular`.

    Parameters
    ----------
    starts
        Periodic frames of the liquid, such as those of MD; each frame that is made has the ``parent`` of its start.
    density_g_cm3, density_ratios, seed, bond_factor
        As there.
    """
    rng, volume = np.random.default_rng([seed, len(RECIPES)]), liquid.volume(density_g_cm3)
    radii, found = contact_radii(liquid.topology), []
    for frame in starts:
        start = Arrangement(whole_molecules(frame.positions, frame.cell.array, liquid.topology), frame.cell.array)
        start = cleared(start, liquid.topology, radii) or start
        for recipe, arrangement, more in _variants(start, liquid.topology, radii, volume, density_ratios, rng):
            more["density_ratio"] = round(volume / arrangement.volume, 6)
            made = make_frame(arrangement.positions, arrangement.cell, frame, liquid, "nEQ", recipe, seed, **more)
            if fragmentation(made, liquid.topology, bond_factor) is None:
                found.append(made)
    return found


def _variants(
    start: Arrangement,
    topology: Topology,
    radii: np.ndarray,
    volume: float,
    ratios: Sequence[float],
    rng: np.random.Generator,
) -> Iterator[tuple[str, Arrangement, dict[str, float]]]:
    """One arrangement of each recipe that has room: recipe, arrangement, and further entries of ``info``."""
    low, high = ratios
    spread = cleared(scaled(start, topology, volume / rng.uniform(low, high)), topology, radii)
    if spread is not None:
        yield "scaled", spread, {}
    gap = rng.uniform(*_GAPS_A)
    if topology.n_molecules > 1:
        around, upper, axis = _two_groups(start, topology, rng)
        apart = parted(around, topology, upper, axis, gap)
        if is_clear(apart, topology, radii):
            yield "parted", apart, {"gap_A": round(gap, 6)}
    radius = rng.uniform(*_CAVITIES_A)
    ratio = np.clip(rng.uniform(*_CAVITY_DENSITIES), low, high)
    hollow = with_cavity(scaled(start, topology, volume / ratio), topology, radius, radii, rng)
    if hollow is not None:
        yield "cavity", hollow[0], {"cavity_A": round(radius, 6)}


def _two_groups(
    start: Arrangement, topology: Topology, rng: np.random.Generator
) -> tuple[Arrangement, np.ndarray, int]:
    """Arguments of :func:`parted`: one ion and all others, an ion pair and all others, or two layers."""
    way = rng.integers(3)
    if way == 2 or topology.n_molecules == 2:
        axis = int(rng.integers(3))
        return cut_in_two(start, topology, axis, rng.uniform(0, start.cell[axis, axis]))
    charges, first = np.array(topology.charges), int(rng.integers(topology.n_molecules))
    chosen = np.arange(topology.n_molecules) == first
    opposite = np.flatnonzero(charges * charges[first] < 0)
    if way == 1 and len(opposite):
        centres = centres_of_mass(start.positions, topology)
        away = nearest_images(centres[opposite] - centres[first], start.cell)
        chosen[opposite[np.argmin(np.linalg.norm(away, axis=1))]] = True
    return pulled_out(start, topology, chosen)


class IntermolecularCounts(Settings):
    """Numbers of intermolecular frames."""

    intermolecular: Count = 0
    """nEQ frames of rigid molecules that are spread, pulled apart or placed around a cavity.
    `intermolecular_candidates` times as many are made, and the most diverse are taken. Models
    learn the cohesion of the liquid from them."""
    intermolecular_boxes: Annotated[int, Field(ge=1)] = 5
    """Packed boxes, with one run each, from which intermolecular frames are made."""


class IntermolecularSettings(Settings):
    """How molecules are moved apart."""

    intermolecular_density_ratios: tuple[DensityRatio, DensityRatio] = (0.5, 1.3)
    """Lowest and highest density of intermolecular frames, relative to `liquid.density_g_cm3`."""
    intermolecular_candidates: Annotated[float, Field(ge=1, le=1000)] = 10.0
    """Number of intermolecular frames that are made for each one that is taken."""

    @model_validator(mode="after")
    def _lowest_density_first(self) -> IntermolecularSettings:
        low, high = self.intermolecular_density_ratios
        if low >= high:
            raise ValueError(
                f"intermolecular_density_ratios is [{low:g}, {high:g}]: give the lowest ratio, then the highest"
            )
        return self


def _boxes(counts: IntermolecularCounts, sampling: IntermolecularSettings) -> tuple[int, int]:
    runs = min(counts.intermolecular, counts.intermolecular_boxes)
    made = sampling.intermolecular_candidates * counts.intermolecular
    return runs, math.ceil(made / (len(RECIPES) * max(1, runs)))


def _draw(drawing: Drawing) -> list[Atoms]:
    return sample_intermolecular(
        drawing.packed,
        drawing.liquid,
        drawing.potential,
        **run_of(drawing),
        density_g_cm3=drawing.density_g_cm3,
        density_ratios=drawing.keys["intermolecular_density_ratios"],
        bond_factor=drawing.bond_factor,
    )


def _chosen(made: list[Atoms], liquid: Liquid, number: int) -> list[Atoms]:
    """The frames that are taken, in the order in which they were made; see the module for the shares."""
    if len(made) < number:
        raise DidNotConverge(
            f"Only {len(made)} intermolecular frames of {liquid.label} could be made without overlaps, but "
            f"intermolecular is {number}. Raise sampling.intermolecular_candidates, or lower the densities of "
            "the runs or of sampling.intermolecular_density_ratios."
        )
    recipes = [[frame for frame in made if frame.info["recipe"] == recipe] for recipe in RECIPES]

    def different(alike: list[Atoms], share: int) -> list[Atoms]:
        return _in_shares(_thirds(alike), share, lambda group, number: most_diverse(group, liquid.topology, number))

    numbers = {id(frame) for frame in _in_shares(recipes, number, different)}
    return [frame for frame in made if id(frame) in numbers]


def _in_shares(groups: list[list[Atoms]], number: int, take: Callable[[list[Atoms], int], list[Atoms]]) -> list[Atoms]:
    """As many frames of each group; what a small group lacks is taken from the larger ones."""
    taken: list[Atoms] = []
    for index, group in enumerate(sorted(groups, key=len)):
        taken += take(group, (number - len(taken)) // (len(groups) - index))
    return taken


def _thirds(made: list[Atoms]) -> list[list[Atoms]]:
    """Frames in three parts of equal size: those with low, medium and high density."""
    order = np.argsort([frame.info["density_ratio"] for frame in made], kind="stable")
    return [[made[i] for i in part] for part in np.array_split(order, 3)]


KIND = SamplerKind(
    "intermolecular",
    "intermolecular",
    "nEQ",
    IntermolecularCounts,
    _draw,
    IntermolecularSettings,
    uses=RUN,
    boxes=_boxes,
    number=lambda counts: counts.intermolecular,
    scaled=lambda counts, number: {"intermolecular": number, "intermolecular_boxes": counts.intermolecular_boxes},
    chosen=_chosen,
    version=2,  # no close contacts, equal shares
    steps=steps_of_run,
    ratios=lambda sampling: sampling.intermolecular_density_ratios,
)

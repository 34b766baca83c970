"""One packed box and the frames it gives: tasks for workers, one function for each recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.errors import DidNotConverge
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.potential import Potential
from ilforge.sampling.distorted import sample_distorted
from ilforge.sampling.diversity import most_diverse
from ilforge.sampling.equilibrated import sample_equilibrated
from ilforge.sampling.intermolecular import RECIPES, sample_intermolecular
from ilforge.sampling.nonequilibrated import highest_stable_temperature, relax_packed, sample_hot
from ilforge.study.frame_counts import FrameCounts
from ilforge.workflow.store import write_json

Settings = Mapping[str, Any]
FRAMES, HOT = "frames.xyz", "hot.json"
INTERMOLECULAR = "intermolecular"
RUNS = ("nvt", INTERMOLECULAR)
"""Recipes that take their frames from a run at the temperature of the liquid."""


def of_each_box(
    first: str, counts: FrameCounts, ratios: Sequence[float], candidates: float
) -> dict[str, dict[str, Any]]:
    """Recipe, density ratio and number of frames of every box, by name; ratios are taken in turn.

    Parameters
    ----------
    first
        What names begin with.
    candidates
        So many intermolecular frames are made for each one that is taken.
    """
    runs = min(counts.intermolecular, counts.intermolecular_boxes)
    each_run = math.ceil(candidates * counts.intermolecular / (len(RECIPES) * max(1, runs)))
    kinds = {
        "nvt": (counts.eq_boxes, counts.eq_frames_per_box),
        "packed": (counts.packed, 1),
        "hot": (counts.hot_boxes, counts.hot_frames_per_box),
        "distorted": (counts.distorted, 1),
        INTERMOLECULAR: (runs, each_run),
    }
    return {
        f"{first}-{recipe}-{i:03d}": {
            "recipe": recipe,
            "density_ratio": ratios[i % len(ratios)],
            "frames": per_box,
        }
        for recipe, (count, per_box) in kinds.items()
        for i in range(count if per_box else 0)
    }


def chosen_frames(
    sampled: Mapping[str, Sequence[Atoms]], boxes: Mapping[str, Settings], liquid: Liquid, intermolecular: int
) -> list[Atoms]:
    """All frames of all boxes, but of the intermolecular ones only so many: those that differ most.

    Raises
    ------
    DidNotConverge
        When fewer could be made.
    """
    found = [frame for name, members in sampled.items() if boxes[name]["recipe"] != INTERMOLECULAR for frame in members]
    made = [frame for name, members in sampled.items() if boxes[name]["recipe"] == INTERMOLECULAR for frame in members]
    if len(made) < intermolecular:
        raise DidNotConverge(
            f"Only {len(made)} intermolecular frames of {liquid.label} could be made without overlaps, but "
            f"intermolecular is {intermolecular}. Raise sampling.intermolecular_candidates, or lower the densities of "
            "the runs or of sampling.intermolecular_density_ratios."
        )
    return [*found, *most_diverse(made, liquid.topology, intermolecular)] if intermolecular else found


def sample_box(
    directory: Path,
    liquid: Liquid,
    spec: Settings,
    box: Settings,
    settings: Settings,
    name: str,
    threads: int,
) -> None:
    """Pack one box and take its frames."""
    packed = pack(liquid, settings["density_g_cm3"] * box["density_ratio"], box["seed"], directory=directory)
    packed.info.update(parent=name, seed=box["seed"], density_ratio=box["density_ratio"])
    sampled = _SAMPLERS[box["recipe"]](packed, liquid, potentials.create(spec), box, settings, threads)
    frames.write(directory / FRAMES, sampled)


def _nvt(
    packed: Atoms, liquid: Liquid, potential: Potential, box: Settings, settings: Settings, threads: int
) -> list[Atoms]:
    return sample_equilibrated(packed, liquid, potential, **_run(box, settings), threads=threads)


def _packed(
    packed: Atoms, liquid: Liquid, potential: Potential, box: Settings, settings: Settings, threads: int
) -> list[Atoms]:
    return [relax_packed(packed, liquid, potential, settings["sampling"]["packed_steps"])]


def _hot(
    packed: Atoms, liquid: Liquid, potential: Potential, box: Settings, settings: Settings, threads: int
) -> list[Atoms]:
    return sample_hot(
        packed,
        liquid,
        potential,
        temperature_K=settings["hot"]["temperature_K"],
        timestep_fs=settings["hot"]["timestep_fs"],
        interval_ps=settings["sampling"]["hot_interval_ps"],
        n_frames=box["frames"],
        seed=box["seed"],
        bond_factor=settings["bond_factor"],
    )


def _distorted(
    packed: Atoms, liquid: Liquid, potential: Potential, box: Settings, settings: Settings, threads: int
) -> list[Atoms]:
    sampling = settings["sampling"]
    distorted = sample_distorted(
        relax_packed(packed, liquid, potential, sampling["packed_steps"]),
        liquid,
        bond_strain=sampling["distorted_bond_strain"],
        angle_deg=sampling["distorted_angle_deg"],
        torsion_deg=sampling["distorted_torsion_deg"],
        seed=box["seed"],
        bond_factor=settings["bond_factor"],
    )
    return [distorted]


def _intermolecular(
    packed: Atoms, liquid: Liquid, potential: Potential, box: Settings, settings: Settings, threads: int
) -> list[Atoms]:
    return sample_intermolecular(
        packed,
        liquid,
        potential,
        **_run(box, settings),
        density_g_cm3=settings["density_g_cm3"],
        density_ratios=settings["sampling"]["intermolecular_density_ratios"],
        bond_factor=settings["bond_factor"],
        threads=threads,
    )


def _run(box: Settings, settings: Settings) -> dict[str, Any]:
    """How a run at the temperature of the liquid goes."""
    lengths = {key: settings["sampling"][key] for key in ("timestep_fs", "equilibration_ps", "interval_ps")}
    return {"temperature_K": settings["temperature_K"], **lengths, "n_frames": box["frames"], "seed": box["seed"]}


_SAMPLERS: dict[str, Callable[..., list[Atoms]]] = {
    "nvt": _nvt,
    "packed": _packed,
    "hot": _hot,
    "distorted": _distorted,
    INTERMOLECULAR: _intermolecular,
}


def find_heat(directory: Path, liquid: Liquid, spec: Settings, settings: Settings, threads: int) -> None:
    """Search for the hottest run without bond breaking in a packed box at the density of the liquid."""
    sampling, seed = settings["sampling"], settings["seed"]
    packed = pack(liquid, settings["density_g_cm3"], seed, directory=directory)
    packed.info.update(parent="hot", seed=seed)
    found = highest_stable_temperature(
        packed,
        liquid,
        potentials.create(spec),
        temperature_K=sampling["hot_temperature_K"],
        timestep_fs=sampling["hot_timestep_fs"],
        interval_ps=sampling["hot_interval_ps"],
        n_frames=settings["frames"],
        seed=seed,
        bond_factor=settings["bond_factor"],
        threads=threads,
    )
    write_json(directory / HOT, asdict(found))

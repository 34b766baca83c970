"""One packed box and the frames it gives: tasks for workers, for all samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.sampling.kind import Drawing
from ilforge.sampling.registry import SAMPLERS
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.settings import SamplingSettings
from ilforge.workflow.store import write_json

Settings = Mapping[str, Any]
FRAMES = "frames.xyz"


def of_each_box(
    first: str, counts: FrameCounts, ratios: Sequence[float], sampling: SamplingSettings
) -> dict[str, dict[str, Any]]:
    """Recipe, density ratio and number of frames of every box, by name; ratios are taken in turn.

    Parameters
    ----------
    first
        What names begin with.
    """
    boxes = {}
    for recipe, kind in SAMPLERS.items():
        count, per_box = kind.boxes_of(counts, sampling)
        for i in range(count if per_box else 0):
            ratio = ratios[i % len(ratios)]
            boxes[f"{first}-{recipe}-{i:03d}"] = {"recipe": recipe, "density_ratio": ratio, "frames": per_box}
    return boxes


def chosen_frames(
    sampled: Mapping[str, Sequence[Atoms]], boxes: Mapping[str, Settings], liquid: Liquid, counts: FrameCounts
) -> list[Atoms]:
    """The frames of all boxes, in the order of samplers; a sampler may keep a part of them.

    Raises
    ------
    DidNotConverge
        When fewer could be made than were asked for.
    """
    found: list[Atoms] = []
    for recipe, kind in SAMPLERS.items():
        made = [frame for name, members in sampled.items() if boxes[name]["recipe"] == recipe for frame in members]
        number = kind.frames_of(counts)
        if kind.chosen is None:
            found += made
        elif number:
            found += kind.chosen(made, liquid, number)
    return found


def steps_of(box: Settings, sampling: SamplingSettings) -> float:
    """Expected number of MD steps of a box."""
    steps = SAMPLERS[box["recipe"]].steps
    return 0.0 if steps is None else steps(sampling, box["frames"])


def sample_box(
    directory: Path,
    liquid: Liquid,
    spec: Settings,
    box: Settings,
    settings: Settings,
    name: str,
    threads: int,
) -> None:
    """Pack one box and take its frames; ``settings["prepared"]`` is what was found first, by the recipe."""
    packed = pack(liquid, settings["density_g_cm3"] * box["density_ratio"], box["seed"], directory=directory)
    packed.info.update(parent=name, seed=box["seed"], density_ratio=box["density_ratio"])
    prepared = settings.get("prepared", {}).get(box["recipe"], {})
    drawing = _drawing(packed, liquid, spec, settings, box["frames"], box["seed"], prepared, threads)
    frames.write(directory / FRAMES, SAMPLERS[box["recipe"]].draw(drawing))


def prepare(directory: Path, recipe: str, liquid: Liquid, spec: Settings, settings: Settings, threads: int) -> None:
    """Make the preparation of a sampler in a packed box at the density of the liquid."""
    preparation, seed = SAMPLERS[recipe].preparation, settings["seed"]
    assert preparation is not None
    packed = pack(liquid, settings["density_g_cm3"], seed, directory=directory)
    packed.info.update(parent=recipe, seed=seed)
    drawing = _drawing(packed, liquid, spec, settings, settings["frames"], seed, {}, threads)
    write_json(directory / prepared_file(recipe), preparation.search(drawing))


def prepared_file(recipe: str) -> str:
    """File with the result of the preparation of a sampler."""
    return f"{recipe}.json"


def _drawing(
    packed: Atoms,
    liquid: Liquid,
    spec: Settings,
    settings: Settings,
    n_frames: int,
    seed: int,
    prepared: Mapping[str, Any],
    threads: int,
) -> Drawing:
    return Drawing(
        packed,
        liquid,
        potentials.create(spec),
        n_frames,
        seed,
        settings["temperature_K"],
        settings["density_g_cm3"],
        settings["bond_factor"],
        settings["sampling"],
        prepared,
        threads,
    )

"""What each kind of training frame does to the errors of a model: pressure, forces on ions and density per label.

Run ``python benchmarks/frames_that_teach.py FOLDER [--labels N] [--replaced N] [--seeds N] [--epochs N]
[--length PS]``. A cheap teacher (CL&P, or another potential by ``--teacher``) labels frames of two pairs of PYR14BF4.
All students learn from the same number of labels. The base set has frames of ``data/pyr14bf4-pbe-d3`` in the
proportions of that dataset. In each other set, a part of these, in the same proportions, is replaced by frames of one
kind:

``scaled``, ``parted``, ``cavity``  intermolecular frames of one recipe, the most diverse of those that are made
``mix``                             intermolecular frames of all recipes, as a study takes them
``diverse``                         the most diverse of the EQ frames that the base set does not have

Within a seed, all sets share the frames that stay, the frames for early stopping, and the seed of training. With
``--retrained``, a first model learns from the shared frames, and each student starts from it.

Students are tested on frames of the teacher's own liquid: ten pairs at 423 K and 1 bar, moved by CL&P. The volume of
some of these frames is scanned with rigid molecules. With ``--length``, each student then moves the last of them, and
the density is measured. What has been finished in FOLDER is not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import files, potentials, validate
from ilforge import frames as frame_files
from ilforge.dynamics import Trajectory, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.label import evaluate
from ilforge.labelling.volume_scan import pressures_by_energy, scan
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.properties import measure
from ilforge.sampling.diversity import most_diverse
from ilforge.sampling.frame import make_frame
from ilforge.sampling.intermolecular import KIND, RECIPES, rearranged
from ilforge.training import TRAINERS, train
from ilforge.units import AMU_PER_A3_IN_G_CM3

LIQUID = Liquid.of({"PYR14": 2, "BF4": 2})
CLP = {"kind": "clp", "cutoff_A": 4.0, "ewald_tolerance": 1e-4}  # what moved the atoms of the shipped frames
DENSITY = 1.04  # g/cm3
DENSITY_RATIOS = (0.5, 1.3)  # of intermolecular frames
KINDS = ("base", "mix", *RECIPES, "diverse")
TEMPERATURE_K = 423.0
STARTS = 3  # EQ frames for each frame that is replaced, from each of which one frame of each recipe is made
MAX_FORCE_EV_A = 30.0  # frames with a larger force by CL&P are left out, as the gate of a study refuses their labels
STOP = 8  # frames for early stopping
SCAN = (1.1, 1.05, 1.0, 0.95, 0.9)  # densities relative to that of the frame, from small to large volume
QUANTITIES = {
    "force_rmse": ("force RMSE, eV/Å", True),
    "ion_force_rmse": ("force RMSE on whole ions, eV/Å", True),
    "pressure_bias": ("pressure error, mean over the scans, GPa", False),
    "pressure_rms": ("RMS, GPa", True),
    "compression": ("error of dP/d(density ratio), GPa", False),
    "density": ("density, g/cm³", False),
}
"""Heading of each column, and whether it is an error that is better if it is smaller."""


def proportions(recipes: Sequence[str], number: int) -> dict[str, int]:
    """How many of ``number`` frames each recipe has if their shares are those among ``recipes``."""
    counts = Counter(recipes)
    exact = {recipe: number * count / len(recipes) for recipe, count in counts.items()}
    found = {recipe: int(value) for recipe, value in exact.items()}
    largest_rests = sorted(exact, key=lambda recipe: (found[recipe] - exact[recipe], recipe))
    for recipe in largest_rests[: number - sum(found.values())]:
        found[recipe] += 1
    return found


def drawn(pool: Sequence[Atoms], number: int, rng: np.random.Generator) -> list[Atoms]:
    """So many frames at random, with each recipe in the proportion that it has in the pool."""
    found: list[Atoms] = []
    for recipe, count in sorted(proportions([frame.info["recipe"] for frame in pool], number).items()):
        members = [frame for frame in pool if frame.info["recipe"] == recipe]
        found += [members[i] for i in sorted(rng.permutation(len(members))[:count])]
    return found


def without(frames: Sequence[Atoms], left_out: Sequence[Atoms]) -> list[Atoms]:
    """The frames that are not among the others."""
    known = {id(frame) for frame in left_out}
    return [frame for frame in frames if id(frame) not in known]


def intermolecular(starts: Sequence[Atoms], number: int, rng: np.random.Generator) -> dict[str, list[Atoms]]:
    """So many intermolecular frames of each recipe and of all recipes, made from frames at equilibrium."""
    seed = int(rng.integers(2**31))
    made = rearranged(starts, LIQUID, density_g_cm3=DENSITY, density_ratios=DENSITY_RATIOS, seed=seed, bond_factor=1.25)
    accepted = [frame for frame in made if np.abs(evaluate(frame, CLP).result[1]).max() < MAX_FORCE_EV_A]
    pools = {recipe: [frame for frame in accepted if frame.info["recipe"] == recipe] for recipe in RECIPES}
    for recipe, pool in pools.items():
        print(f"  {recipe}: {len(starts)} starts, {len(pool)} accepted", flush=True)
    found = {recipe: most_diverse(pool, LIQUID.topology, number) for recipe, pool in pools.items()}
    assert KIND.chosen is not None
    return {**found, "mix": KIND.chosen(accepted, LIQUID, number)}


def training_sets(shipped: Sequence[Atoms], labels: int, replaced: int, seed: int) -> dict[str, list[Atoms]]:
    """``shared`` frames, and for each of :data:`KINDS` a set of ``labels`` frames: these and ``replaced`` others."""
    rng = np.random.default_rng(seed)
    base = drawn(shipped, labels, rng)
    shared = without(base, drawn(base, replaced, rng))
    at_equilibrium = [frame for frame in shipped if frame.info["kind"] == "EQ"]
    order = rng.permutation(len(at_equilibrium))[: STARTS * replaced]
    others = intermolecular([at_equilibrium[i] for i in order], replaced, rng)
    others["diverse"] = most_diverse(without(at_equilibrium, base), LIQUID.topology, replaced)
    for kind, frames in others.items():
        made_of = Counter(frame.info["recipe"] for frame in frames)
        densities = np.quantile([LIQUID.volume(DENSITY) / frame.get_volume() for frame in frames], (0.1, 0.5, 0.9))
        print(f"  {kind}: {dict(made_of)}, density ratios (10, 50, 90 %) {densities.round(2)}", flush=True)
    return {"shared": shared, "base": base, **{kind: shared + frames for kind, frames in others.items()}}


def labelled(frames: Sequence[Atoms], teacher: Mapping[str, Any]) -> tuple[Atoms, ...]:
    """Copies with the energies and forces of the teacher."""
    found = []
    for frame in frames:
        energy, forces = evaluate(frame, teacher).result
        copy = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        copy.info = {key: value for key, value in frame.info.items() if key != ENERGY} | {ENERGY: energy}
        copy.arrays[FORCES] = forces
        found.append(copy)
    return tuple(found)


def labelled_sets(seed: int, arguments: argparse.Namespace) -> dict[str, tuple[Atoms, ...]]:
    """Training sets and frames for early stopping, with the labels of the teacher."""
    shipped = Dataset.open("pyr14bf4-pbe-d3")
    sets = training_sets(shipped.frames("training"), arguments.labels, arguments.replaced, seed)
    sets["stop"] = drawn(shipped.frames("validation"), STOP, np.random.default_rng(seed))
    different = list({id(frame): frame for frames in sets.values() for frame in frames}.values())
    by_frame = dict(zip(map(id, different), labelled(different, arguments.teacher), strict=True))
    return {name: tuple(by_frame[id(frame)] for frame in frames) for name, frames in sets.items()}


def liquid_of(arguments: argparse.Namespace) -> tuple[Liquid, Trajectory]:
    """The liquid that tests are made in, and its run with CL&P."""
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    protocol = MdProtocol("NPT", TEMPERATURE_K, timestep_fs=2.0, minimise_steps=500, constant_volume_ps=5.0,
                          equilibration_ps=10, length_ps=30.0, interval_ps=0.5, seed=1)  # fmt: skip
    start = pack(liquid, 0.95, seed=1)
    return liquid, run_md(potentials.create(CLP), start, liquid, protocol, arguments.folder / "teacher")


def tested_frames(liquid: Liquid, run: Trajectory, number: int) -> list[Atoms]:
    """Frames of the run, evenly spread over it."""
    universe, found = run.universe(), []
    box = Atoms(liquid.topology.symbols, pbc=True, info={"parent": "teacher"}, positions=universe.atoms.positions)
    for index in np.linspace(0, len(universe.trajectory) - 1, number).round().astype(int):
        step = universe.trajectory[index]
        cell = np.diag(step.dimensions[:3].astype(float))
        found.append(make_frame(step.positions.astype(float), cell, box, liquid, "EQ", "npt", 1))
    return found


def pressures(frames: Sequence[Atoms], liquid: Liquid, potential: Mapping[str, Any]) -> np.ndarray:
    """-dE/dV of rigid molecules at the inner densities of each scan, ``(n_frames, 3)`` GPa."""
    scans = [scan(frame, liquid.topology, SCAN) for frame in frames]
    return np.array([pressures_by_energy([evaluate(member, potential) for member in one]) for one in scans])


def errors_of(
    student: Mapping[str, Any], tested: Sequence[Atoms], truth: np.ndarray, liquid: Liquid, scans: int
) -> dict[str, float]:
    """Errors of a student on frames of the teacher's liquid and on scans of the first of them."""
    estimates = {
        name: value for name, element, kind, value in validate(student, tested) if element is None and kind == "all"
    }
    differences = pressures(tested[:scans], liquid, student) - truth
    slopes = (differences[:, 0] - differences[:, 2]) / (SCAN[1] - SCAN[3])
    return {
        **{name: estimates[name].value for name in ("force_rmse", "ion_force_rmse")},
        "pressure_bias": float(differences.mean()),
        "pressure_rms": float(np.sqrt(np.mean(differences**2))),
        "compression": float(slopes.mean()),
    }


def trained(dataset: Dataset, seed: int, folder: Path, arguments: argparse.Namespace, start: Path | None) -> Path:
    """The file of a model that was trained from scratch, or from ``start`` with a part of the epochs."""
    if (finished := folder / "model.model").is_file():  # written when a training ends
        return finished
    keys = {"epochs": arguments.epochs, "second_stage_epoch": round(0.7 * arguments.epochs)}
    if start is not None:
        keys["retrain_fraction"] = arguments.retrained
    settings = TRAINERS["mace"].settings(**{"preset": "liquid", **keys, **arguments.student})
    return train(dataset, settings, seed, folder, start_from=start)


def density_of(student: Mapping[str, Any], run: Trajectory, liquid: Liquid, seed: int, length: float, folder: Path):
    """Mean density of the second half of a run with the student from the last frame of the teacher, and a verdict."""
    protocol = MdProtocol("NPT", TEMPERATURE_K, timestep_fs=1.0, length_ps=length, interval_ps=0.1, seed=seed,
                          hydrogen_mass_amu=3.0, constrain_hydrogens=False)  # fmt: skip
    start = frame_files.read(run.last_file)[-1]
    moved = run_md(potentials.create(dict(student)), start, liquid, protocol, folder)
    return {"density": second_half(moved, liquid), "verdict": str(measure(moved, ["health"])["health"].liquid)}


def second_half(run: Trajectory, liquid: Liquid) -> float:
    """Mean density of the second half of a run, g/cm3."""
    volumes = run.thermo()["volume_A3"]
    grams = liquid.topology.masses.sum() * AMU_PER_A3_IN_G_CM3
    return float(np.mean(grams / volumes[len(volumes) // 2 :]))


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """The contents of a file, which is made if it does not exist."""
    if not file.is_file():
        files.write_text(file, json.dumps(make()))
    return json.loads(file.read_text())


def kept_frames(folder: Path, make: Callable[[], Mapping[str, Sequence[Atoms]]]) -> dict[str, tuple[Atoms, ...]]:
    """Frames by name, which are made if the folder does not have them."""
    listed = folder / "names.json"
    if not listed.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        for name, members in made.items():
            frame_files.write(folder / f"{name}.xyz", list(members))
        files.write_text(listed, json.dumps(list(made)))
    return {name: tuple(frame_files.read(folder / f"{name}.xyz")) for name in json.loads(listed.read_text())}


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Means over seeds with standard errors, and for all kinds but the base the mean difference from it, paired."""
    rows = ["| frames | seeds | " + " | ".join(title for title, _ in QUANTITIES.values()) + " |"]
    rows.append("|---" * (len(QUANTITIES) + 2) + "|")
    for kind, results in found.items():
        values = [text([one[name] for one in results if name in one]) for name in QUANTITIES]
        rows.append(f"| {kind} | {len(results)} | {' | '.join(values)} |")
    for kind, results in found.items():
        pairs = list(zip(results, found.get("base", []), strict=False))
        values = [text(differences(pairs, name, smaller)) for name, (_, smaller) in QUANTITIES.items()]
        if kind != "base" and pairs:
            rows.append(f"| {kind} less base | {len(pairs)} | {' | '.join(values)} |")
    return "\n".join(rows)


def differences(pairs: Sequence[tuple[Mapping, Mapping]], name: str, signless: bool) -> list[float]:
    """A quantity of each kind's student less that of the base's student of the same seed."""
    size = abs if signless else float
    return [size(one[name]) - size(base[name]) for one, base in pairs if name in one and name in base]


def text(values: Sequence[float]) -> str:
    """Mean and standard error over seeds."""
    if not values:
        return "-"
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def refuse_other(arguments: argparse.Namespace) -> None:
    """Stop if the folder has results of other arguments."""
    decisive = {
        key: value for key, value in vars(arguments).items() if key not in ("folder", "seeds", "kinds", "length")
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    begun = kept(arguments.folder / "arguments.json", lambda: decisive)
    if begun != decisive:
        raise SystemExit(f"{arguments.folder} was begun with {begun}: give these again, or name another folder.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--teacher", type=json.loads, default=CLP, help='as JSON: {"kind": "xtb"} is GFN1-xTB')
    parser.add_argument("--labels", type=int, default=100, help="in each training set")
    parser.add_argument("--replaced", type=int, default=40, help="of these, by frames of one kind")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--epochs", type=int, default=9, help="of the training on the shared frames")
    parser.add_argument("--retrained", type=float, default=0.0, help="share of these for a whole set; 0: from scratch")
    parser.add_argument("--student", type=json.loads, default={}, help="keys of a MACE model as JSON, beside liquid")
    parser.add_argument("--pairs", type=int, default=10, help="of the liquid in which students are tested")
    parser.add_argument("--tested", type=int, default=12, help="frames of this liquid")
    parser.add_argument("--scans", type=int, default=6, help="of the volume of these frames")
    parser.add_argument("--length", type=float, default=0.0, help="of the run of each student, ps; 0 for none")
    arguments = parser.parse_args()
    refuse_other(arguments)
    liquid, run = liquid_of(arguments)
    print(f"CL&P: {second_half(run, liquid):.3f} g/cm3 in {arguments.pairs} pairs", flush=True)
    tested = kept_frames(
        arguments.folder / "tested",
        lambda: {"tested": labelled(tested_frames(liquid, run, arguments.tested), arguments.teacher)},
    )["tested"]
    truth = np.array(
        kept(
            arguments.folder / "truth.json",
            lambda: pressures(tested[: arguments.scans], liquid, arguments.teacher).tolist(),
        )
    )
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in arguments.kinds}
    for seed in arguments.seeds:
        root = arguments.folder / f"seed-{seed}"
        sets = kept_frames(root / "sets", lambda: labelled_sets(seed, arguments))  # noqa: B023
        shared = Dataset(sets["shared"], sets["stop"])
        first = trained(shared, seed, root / "shared", arguments, None) if arguments.retrained else None
        for kind in arguments.kinds:
            here = root / kind
            npt = here / f"npt-{arguments.length:g}ps"
            path = trained(Dataset(sets[kind], sets["stop"]), seed, here, arguments, first)
            student = {"kind": "mace", "path": str(path), "sha256": files.file_digest(path)}
            own = kept(here / "errors.json", lambda: errors_of(student, tested, truth, liquid, arguments.scans))  # noqa: B023
            if arguments.length:
                own |= kept(
                    here / f"density-{arguments.length:g}ps.json",
                    lambda: density_of(student, run, liquid, seed, arguments.length, npt),  # noqa: B023
                )
            found[kind].append(own)
            print(f"seed {seed}, {kind}: {own}", flush=True)
        print(table(found), flush=True)


if __name__ == "__main__":
    main()

"""Compiled kernels of MACE against mace-torch in double precision, on random configurations.

Run ``PYTHONPATH=tests python benchmarks/mace_parity.py [--count N] [--seed N] [--model FILE]``. Models with random
weights take turns, with and without the repulsion of Ziegler, Biersack and Littmark; ``--model FILE`` takes that model
alone (files are run, so give only your own). A configuration is 2 to 40 atoms of random elements, in one of the kinds
of ``KINDS``. mace-torch gets many of them in one call. Ctrl-C ends the run with the table of what has been compared.

They agree where the largest difference of a force component is at most 2e-5 eV/Å or 1e-6 of the largest force, that of
the energy 1e-6 eV per atom, and that of the strain derivative 1e-5 eV per atom; for the last two, 1e-6 of the largest
force times 1 Å is allowed where it is more, and for the energy what the last digit of single precision is worth in the
energy per atom. A configuration may be refused: two atoms closer than 0.4 Å, or more than
512 neighbours; that this is true is checked as well. The exit status is 1 when one neither agrees nor is refused
rightly.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.neighborlist import primitive_neighbor_list

from ilforge.errors import DidNotConverge
from ilforge.potentials.learned.fast_mace.arrays import MOST_EDGES
from ilforge.potentials.learned.fast_mace.evaluation import FastEvaluator
from ilforge.potentials.learned.fast_mace.network import Network
from ilforge.potentials.learned.fast_mace.parity import ENERGY, FORCE, STRAIN
from support import models

RESPONSE = 1e-6
"""Share of the largest force that a difference may have, for what single precision resolves."""

MODELS: dict[str, dict[str, Any]] = {
    "4x0e+4x1o, r_max 4.5, with ZBL": {"channels": 4},
    "4x0e+4x1o, r_max 4.5, without": {"channels": 4, "pair_repulsion": False, "seed": 2},
    "16x0e+16x1o, r_max 4.5, with ZBL": {"channels": 16, "seed": 3},
    "16x0e+16x1o, r_max 4.5, without": {"channels": 16, "pair_repulsion": False, "seed": 4},
}
TURNS = (0, 1, 0, 1, 0, 1, 0, 1, 2, 3)
"""Which model each batch goes to: the larger ones cost mace-torch more."""

SCALE = 20.0
"""What the random models' energies are multiplied with, as those of trained models are with a number of their own."""

EDGES_IN_BATCH = 40_000


def scattered(rng: np.random.Generator, n: int, cell: np.ndarray, least: float) -> np.ndarray:
    """Positions in a cell, few of them closer than ``least``; some atoms lie outside the box."""
    fractions = rng.uniform(size=(n, 3))
    for k in range(1, n):
        for _ in range(20):
            apart = fractions[:k] - fractions[k]
            apart -= np.round(apart)
            if np.linalg.norm(apart @ cell, axis=1).min() > least:
                break
            fractions[k] = rng.uniform(size=3)
    return (fractions + rng.integers(-2, 3, size=(n, 3)) * (rng.uniform() < 0.3)) @ cell


def box(rng: np.random.Generator, volume: float, skew: float) -> np.ndarray:
    """A cell of a volume in Å3 whose sides differ, turned at random; left-handed as often as not."""
    sides = np.exp(rng.normal(scale=0.2, size=3))
    cell = np.diag(sides) + skew * np.tril(rng.uniform(-1, 1, size=(3, 3)), -1) * sides[:, None]
    cell *= (volume / abs(np.linalg.det(cell))) ** (1 / 3)
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return cell @ turned


def dense(rng: np.random.Generator, n: int, low: float, high: float, skew: float = 0.3) -> tuple[Any, Any]:
    """A box with between ``low`` and ``high`` Å3 for an atom."""
    space = np.exp(rng.uniform(np.log(low), np.log(high)))
    cell = box(rng, n * space, skew)
    return scattered(rng, n, cell, 0.55 * space ** (1 / 3)), cell


def flat(rng: np.random.Generator, n: int, r_max: float) -> tuple[Any, Any]:
    """A box that is about one cutoff high or lower along one, two or three directions."""
    heights = rng.uniform(0.5, 1.1, size=3) * r_max
    heights[rng.permutation(3)[: rng.integers(0, 3)]] *= rng.uniform(1, 3)
    least = 5.0 * n  # Å3
    heights *= max(1.0, (least / heights.prod()) ** (1 / 3)) if rng.uniform() < 0.5 else 1.0
    cell = np.diag(heights) + rng.uniform(-0.2, 0.2) * np.tril(rng.normal(size=(3, 3)), -1) * heights
    return scattered(rng, n, cell, 0.8), cell


def alone(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Atoms in a vacuum."""
    side = (n * np.exp(rng.uniform(np.log(3), np.log(60)))) ** (1 / 3)
    return scattered(rng, n, side * np.eye(3), 0.7), None


def contact(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """One pair of atoms 0.3 to 0.8 Å apart: nearer than any bond, about where the radial functions begin."""
    positions, cell = dense(rng, n, 6.0, 30.0)
    way = rng.normal(size=3)
    positions[1] = positions[0] + rng.uniform(0.3, 0.8) * way / np.linalg.norm(way)
    return positions, cell


def edge(rng: np.random.Generator, n: int, r_max: float) -> tuple[Any, Any]:
    """One pair of atoms at the cutoff, to a millionth of an Å or a tenth."""
    positions, cell = dense(rng, n, 8.0, 30.0, skew=0.0)
    way = rng.normal(size=3)
    apart = r_max + rng.choice([-1, 1]) * 10 ** rng.uniform(-9, -1)
    positions[1] = positions[0] + apart * way / np.linalg.norm(way)
    return positions, cell


KINDS: dict[str, Callable[[np.random.Generator, int, float], tuple[Any, Any]]] = {
    "liquid": lambda rng, n, r: dense(rng, n, 6.0, 15.0),
    "compressed": lambda rng, n, r: dense(rng, min(n, 12), 0.7, 6.0),
    "stretched": lambda rng, n, r: dense(rng, n, 15.0, 200.0),
    "skewed cell": lambda rng, n, r: dense(rng, n, 5.0, 30.0, skew=1.5),
    "about one cutoff high": lambda rng, n, r: flat(rng, n, r),
    "vacuum": lambda rng, n, r: alone(rng, n),
    "near contact": lambda rng, n, r: contact(rng, n),
    "at the cutoff": lambda rng, n, r: edge(rng, n, r),
}


def configuration(rng: np.random.Generator, elements: np.ndarray, r_max: float) -> Atoms:
    """A random one; ``info["kind"]`` says of which kind."""
    kind = str(rng.choice(list(KINDS)))
    n = int(np.exp(rng.uniform(np.log(2), np.log(41))))
    positions, cell = KINDS[kind](rng, n, r_max)
    numbers = rng.choice(elements, p=rng.dirichlet(np.ones(len(elements))), size=len(positions))
    return Atoms(numbers, positions, cell=cell, pbc=cell is not None, info={"kind": kind})


@dataclass
class Tested:
    """A model in both forms, and what has been found of it."""

    name: str
    network: Network
    model: Any
    agreed: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of_file(cls, name: str, path: Path, scale: float = 1.0) -> Tested:
        """Loads the file in both forms; ``scale`` multiplies the energy."""
        import torch

        from ilforge.potentials.learned.fast_mace.extraction import extract

        model = torch.load(path, map_location="cpu", weights_only=False).double()
        model.scale_shift.scale *= scale
        network = extract(model)
        for parameter in model.parameters():
            parameter.requires_grad = False
        return cls(name, network, model)

    def compare(self, members: list[Atoms], label: str) -> None:
        """Evaluate configurations in both ways."""
        answered = []
        for number, atoms in enumerate(members):
            try:
                evaluator = FastEvaluator([self.network], atoms.get_chemical_symbols())
                energies, forces, strain = evaluator.compute(
                    atoms.positions, atoms.cell.array if all(atoms.pbc) else None
                )
                answered.append((atoms, float(energies.sum()), forces[0].copy(), strain[0].copy(), number))
            except DidNotConverge as error:
                self._check_refusal(atoms, str(error), f"{label}, number {number}")
        if not answered:
            return
        found = by_torch(self.model, [atoms for atoms, *_ in answered])
        for (atoms, energy, forces, strain, number), true in zip(answered, found, strict=True):
            self._judge(atoms, (energy, forces, strain), true, f"{label}, number {number}")

    def _judge(self, atoms: Atoms, mine: tuple[Any, ...], true: tuple[Any, ...], label: str) -> None:
        kind, n = atoms.info["kind"], len(atoms)
        largest = float(np.abs(true[1]).max())
        differences = {
            "force, eV/Å": (float(np.abs(mine[1] - true[1]).max()), FORCE),
            "energy, eV/atom": (abs(mine[0] - true[0]) / n, ENERGY),
        }
        if all(atoms.pbc):
            differences["strain derivative, eV/atom"] = (float(np.abs(mine[2] - true[2]).max()) / n, STRAIN)
        agrees = True
        for quantity, (value, allowed) in differences.items():
            limit = max(allowed, RESPONSE * largest)
            if quantity.startswith("energy"):
                limit = max(limit, float(np.finfo(np.float32).eps) * abs(true[0]) / n)
            share = value / limit
            agrees &= share <= 1  # not a number is no agreement
            words = (
                f"{value:.1e} where {limit:.1e} is allowed ({kind}, {n} atoms, largest force {largest:.3g}; {label})"
            )
            if not share <= self.worst.get(quantity, (0.0, ""))[0]:
                self.worst[quantity] = (share, words)
            if not share <= 1:
                self.wrong.append(f"{quantity}: {words}")
        self.agreed[kind] += agrees

    def _check_refusal(self, atoms: Atoms, reason: str, label: str) -> None:
        """Whether what a refusal says is so."""
        r_max, r_min = self.network.r_max, self.network.r_min
        first, apart = primitive_neighbor_list("id", atoms.pbc, atoms.cell.array, atoms.positions, r_max)
        near = "closer than" in reason
        true = apart.min() < r_min if near else np.bincount(first).max() > MOST_EDGES
        self.refused["closer than 0.4 Å" if near else f"more than {MOST_EDGES} neighbours"] += 1
        if not true:
            self.wrong.append(f"refused without reason: {reason} ({label})")


def by_torch(model: Any, members: list[Atoms]) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Energy in eV, forces in eV/Å and strain derivative in eV of each, all in one call of mace-torch."""
    import torch
    from mace import data, tools
    from mace.tools import torch_geometric

    torch.set_default_dtype(torch.float64)
    table = tools.AtomicNumberTable([int(z) for z in model.atomic_numbers])
    graphs = [
        data.AtomicData.from_config(data.config_from_atoms(atoms), z_table=table, cutoff=float(model.r_max))
        for atoms in members
    ]
    batch = next(iter(torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)))
    out = model(batch.to_dict(), compute_force=True, compute_virials=True)
    ends = np.cumsum([len(atoms) for atoms in members])[:-1]
    energies = out["energy"].detach().numpy()
    forces = np.split(out["forces"].detach().numpy(), ends)
    return [(float(e), f, -v) for e, f, v in zip(energies, forces, out["virials"].detach().numpy(), strict=True)]


def batch_of(rng: np.random.Generator, network: Network, most: int) -> list[Atoms]:
    """Configurations enough for one call of mace-torch."""
    members: list[Atoms] = []
    n_edges = 0.0
    while len(members) < most and n_edges < EDGES_IN_BATCH:
        atoms = configuration(rng, network.elements, network.r_max)
        members.append(atoms)
        space = atoms.get_volume() / len(atoms) if all(atoms.pbc) else 20.0
        n_edges += len(atoms) * 4 / 3 * np.pi * network.r_max**3 / space
    return members


def summary(tested: list[Tested], count: int, seconds: float) -> None:
    """What was found, as tables."""
    print(f"\n{count} configurations, {seconds:.0f} s of processor time")
    for one in tested:
        refused = ", ".join(f"{reason} {n}" for reason, n in one.refused.items())
        counts = f"{one.agreed.total()} agree, {one.refused.total()} refused ({refused}), {len(one.wrong)} wrong"
        print(f"\n{one.name}: {counts}")
        print("  " + ", ".join(f"{kind} {one.agreed[kind]}" for kind in KINDS))
        for quantity, (_, words) in one.worst.items():
            print(f"  worst {quantity}: {words}")
        for words in one.wrong[:20]:
            print(f"  WRONG {words}")


def compare_all(tested: list[Tested], turns: Sequence[int], count: int, seed: int) -> int:
    """Compare so many configurations, or those before Ctrl-C; returns how many."""
    done, number, said = 0, 0, time.time()
    with contextlib.suppress(KeyboardInterrupt):
        while done < count:
            rng = np.random.default_rng([seed, number])
            one = tested[turns[number % len(turns)]]
            members = batch_of(rng, one.network, count - done)
            one.compare(members, f"seed {seed}, batch {number}")
            done, number = done + len(members), number + 1
            if time.time() - said > 60:
                said = time.time()
                print(f"{done} of {count}, {sum(len(one.wrong) for one in tested)} wrong", flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a MACE model file to compare instead of those with random weights")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model:
            tested, turns = [Tested.of_file(arguments.model.name, arguments.model)], (0,)
        else:
            files = {name: Path(folder) / f"{k}.model" for k, name in enumerate(MODELS)}
            for name, path in files.items():
                models.write_mace_model(path, **MODELS[name])
            tested, turns = [Tested.of_file(name, path, SCALE) for name, path in files.items()], TURNS
    for one in tested:
        elements = " ".join(chemical_symbols[z] for z in one.network.elements)
        print(f"{one.name}: r_max {one.network.r_max:g}, {elements}", flush=True)
    started = time.process_time()
    done = compare_all(tested, turns, arguments.count, arguments.seed)
    summary(tested, done, time.process_time() - started)
    return 1 if any(one.wrong for one in tested) else 0


if __name__ == "__main__":
    sys.exit(main())

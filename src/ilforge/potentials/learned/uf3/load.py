"""Reads a UF3 potential; :mod:`ilforge.potentials.learned.outside.worker` runs it in its environment.

The file is text, and is the potential file of LAMMPS's ``pair_style uf3``. Its comment ``# ENERGIES`` has the energies
of single atoms, which LAMMPS does not read. Splines are evaluated by ndsplines, as UF3's own calculator does. That
calculator makes every periodic image of every atom a centre; here only the atoms of the box are centres.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import atomic_numbers

ENERGIES = "# ENERGIES eV:"
BLOCK = "#UF3 POT"


class Potential(NamedTuple):
    """Contents of a file: energies of atoms in eV by element, and knots (Å) and coefficients (eV) by atomic numbers."""

    energies: dict[str, float]
    pairs: dict[tuple[int, ...], tuple[list[Any], Any]]
    trios: dict[tuple[int, ...], tuple[list[Any], Any]]


def load(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """Calculator of a file, and the elements that it knows.

    Without a ``path`` it is a repulsion of all pairs, which shows whether the packages work.
    """
    potential = read(Path(settings["path"])) if "path" in settings else repulsion(settings["elements"])
    return Uf3Calculator(potential), list(potential.energies)


def read(path: Path) -> Potential:
    """Read a potential file. No code in it can run: it holds only numbers and symbols."""
    lines = path.read_text().splitlines()
    words = next(line for line in lines if line.startswith(ENERGIES))[len(ENERGIES) :].split()
    energies = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    potential = Potential(energies, {}, {})
    for number, line in enumerate(lines):
        if line.startswith(BLOCK):
            body, kind = lines[number + 1 :], lines[number + 1].split()
            if kind[0] == "2B":
                potential.pairs[_numbers(kind[1:3])] = [_floats(body[2])], np.array(_floats(body[4]))
            else:
                potential.trios[_numbers(kind[1:4])] = _three_body(body)
    return potential


def _three_body(body: list[str]) -> tuple[list[Any], Any]:
    shape = [int(word) for word in body[5].split()]
    rows = [_floats(line) for line in body[6 : 6 + shape[0] * shape[1]]]
    between, to_k, to_j = (_floats(line) for line in body[2:5])
    return [to_j, to_k, between], np.array(rows).reshape(shape)


def _numbers(symbols: list[str]) -> tuple[int, ...]:
    return tuple(int(atomic_numbers[symbol]) for symbol in symbols)


def _floats(line: str) -> Any:
    return np.array(line.split(), dtype=float)


def repulsion(elements: list[str]) -> Potential:
    """A potential that pushes all atoms apart within 3 Å."""
    knots = np.concatenate([[0.0] * 3, np.linspace(0.0, 3.0, 7), [3.0] * 3])
    coefficients = np.array([0.8, 0.7, 0.5, 0.3, 0.15, 0.05, 0.0, 0.0, 0.0])
    numbers = sorted(atomic_numbers[element] for element in elements)
    kinds = [(a, b) for a in numbers for b in numbers if a <= b]
    return Potential(dict.fromkeys(elements, -1.0), {kind: ([knots], coefficients) for kind in kinds}, {})


class Uf3Calculator:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of a UF3 potential: what the worker needs of an ASE calculator."""

    def __init__(self, potential: Potential) -> None:
        self.results: dict[str, Any] = {}
        self.energies = {int(atomic_numbers[element]): energy for element, energy in potential.energies.items()}
        self.pairs = {kind: Spline(*parts) for kind, parts in potential.pairs.items()}
        self.trios = {kind: Spline(*parts) for kind, parts in potential.trios.items()}
        self.reach = max((spline.high[0] for spline in self.pairs.values()), default=0.0)
        self.reach_of_trios = max((spline.high[0] for spline in self.trios.values()), default=0.0)

    def calculate(self, atoms: Any, properties: Any = None, system_changes: Any = None) -> None:
        energy = sum((self.energies[int(number)] for number in atoms.numbers), 0.0)
        forces, virial = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        for value, slopes, parts in self._parts(atoms):
            energy += value
            for slope, edge in zip(slopes, parts, strict=True):
                pull = (slope / edge.lengths)[:, None] * edge.vectors
                for axis in range(3):
                    forces[:, axis] += np.bincount(edge.first, pull[:, axis], len(forces))
                    forces[:, axis] -= np.bincount(edge.second, pull[:, axis], len(forces))
                virial += pull.T @ edge.vectors
        self.results = {"energy": energy, "forces": forces}
        if atoms.pbc.all():
            self.results["stress"] = virial.flat[[0, 4, 8, 5, 2, 1]] / atoms.get_volume()

    def _parts(self, atoms: Any) -> Any:
        """Energy, its derivatives with respect to the lengths of edges, and these edges, for each kind of term."""
        near = _interactions.edges(atoms, self.reach)
        for pair, edge in _interactions.pairs(atoms, near):
            spline = self.pairs[pair]
            edge = edge.of(spline.within(edge.lengths[:, None]))
            yield spline.energy(edge.lengths[:, None]), spline.slopes(edge.lengths[:, None]), (edge,)
        if not self.trios:
            return
        near = near.of(near.lengths <= self.reach_of_trios)
        for trio, three in _interactions.triangles(atoms, near):
            spline = self.trios[trio]
            chosen = spline.within(three.lengths)
            parts = tuple(edge.of(chosen) for edge in three)
            lengths = three.lengths[chosen]
            yield spline.energy(lengths), spline.slopes(lengths), parts


class Spline:
    """A cubic spline of one or three distances, which is zero outside of its knots."""

    def __init__(self, knots: list[Any], coefficients: Any) -> None:
        import ndsplines

        self.spline = ndsplines.NDSpline(knots, coefficients, 3)
        self.low, self.high = np.array([[axis[0], axis[-1]] for axis in knots]).T

    def within(self, points: Any) -> Any:
        """Which points, of shape ``(n, axes)``, are between the first and the last knot of every axis."""
        return ((points >= self.low) & (points < self.high)).all(axis=1)

    def energy(self, points: Any) -> float:
        return float(np.sum(self.spline(points))) if len(points) else 0.0

    def slopes(self, points: Any) -> list[Any]:
        """The derivative with respect to each distance, each of shape ``(n,)``."""
        axes = np.eye(len(self.low), dtype=int)
        return [np.ravel(self.spline(points, nus=axis)) if len(points) else np.zeros(0) for axis in axes]


def _beside(name: str) -> Any:
    """A module that lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_interactions = _beside("interactions")

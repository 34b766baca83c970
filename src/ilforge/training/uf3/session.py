"""A program of its own: fits a UF3 potential in the environment that uf3 is installed in.

It imports nothing of ilforge. In its working directory ``session.json`` says what to do and ``frames.npz`` has the
frames. The result is a text file, which LAMMPS's ``pair_style uf3`` reads.

UF3 is linear in its coefficients c. With the features x of an energy or of a component of a force, the least squares
of all labels need only the sums of x x^T and of x y over the frames. These sums are what a fit that was stopped goes on
from. Basis, symmetry and regularizer are those of the package uf3. Its features are not used: it makes every periodic
image of every atom a centre, which took 70 s for the forces of 70 atoms; here only the atoms of the box are centres.
"""

import importlib.util
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse

MODEL = "model.uf3"
STATE = "resume.npz"
STATE_S = 60.0
AXES = np.arange(3)


def main() -> None:
    with open("session.json") as file:
        settings = json.load(file)
    outside = module_of(Path(__file__).parents[1] / "outside_session.py")
    interactions = module_of(settings["interactions"])
    train, stop = outside.Part("train"), outside.Part("stop")
    basis = Basis(settings, interactions)
    sums = Sums(basis, train, settings, outside)
    sums.add_up()
    best = chosen(basis, sums, [basis.design(stop, number) for number in range(len(stop))], settings, outside)
    with outside.replacing(MODEL) as partial, open(partial, "w") as file:
        file.writelines(f"{line}\n" for line in written(basis, best, settings["shift"]))


def module_of(path: Any) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- features


class Design(NamedTuple):
    """Features and labels of one frame.

    ``energy`` are the features of its energy, shape ``(features,)``; ``forces`` those of the components of the forces,
    shape ``(3 n_atoms, features)``, sparse. ``energy_label`` is the energy without that of single atoms, eV.
    """

    energy: Any
    forces: Any
    energy_label: float
    forces_label: Any
    atoms: int


class Basis:
    """UF3's basis of splines for the elements of the labels, and the place of each spline among the features."""

    def __init__(self, settings: dict[str, Any], interactions: Any) -> None:
        from ase.data import atomic_numbers
        from uf3.data.composition import ChemicalSystem
        from uf3.representation.bspline import BSplineBasis

        self.interactions, self.shift = interactions, settings["shift"]
        self.near, self.around = settings["pairs"], settings["triangles"]
        self.numbers = {int(atomic_numbers[element]): element for element in settings["elements"]}
        system = ChemicalSystem(settings["elements"], degree=settings["bodies"])
        pairs, trios = system.interactions_map[2], system.interactions_map.get(3, [])
        low, high, steps = (self.around[name] for name in ("shortest", "cutoff", "intervals"))
        self.uf3 = BSplineBasis(
            system,
            r_min_map=dict.fromkeys(pairs, 0.0) | {trio: [low] * 3 for trio in trios},
            # neighbours may be twice as far from each other: the only form that LAMMPS takes
            r_max_map=dict.fromkeys(pairs, self.near["cutoff"]) | {trio: [high, high, 2 * high] for trio in trios},
            resolution_map=dict.fromkeys(pairs, self.near["intervals"])
            | {trio: [steps, steps, self.around["intervals_between"]] for trio in trios},
            leading_trim=0,
            trailing_trim=3,
        )
        sizes, places = self.uf3.get_interaction_partitions()
        one_body = len(settings["elements"])  # energies of atoms are subtracted from the labels
        self.count = self.uf3.n_feats - one_body
        self.places = {kind: slice(places[kind] - one_body, places[kind] - one_body + sizes[kind]) for kind in sizes}
        self.pairs = {self._key(pair): pair for pair in pairs}
        self.trios = {self._key(trio): trio for trio in trios}
        self.spread = {trio: self._spread(trio) for trio in trios}
        self.free = np.ones(self.count, dtype=bool)
        self.free[np.asarray(self.uf3.col_idx, dtype=int) - one_body] = False  # they make the end of a spline smooth

    def _key(self, kind: tuple[str, ...]) -> tuple[int, ...]:
        """Atomic numbers as :mod:`interactions` orders them, which is UF3's order."""
        of = {element: number for number, element in self.numbers.items()}
        return tuple(of[element] for element in kind)

    def _spread(self, trio: tuple[str, ...]) -> Any:
        """UF3's symmetry as a sparse matrix: from the coefficients that are fitted to the whole grid of a trio."""
        places, weights = self.uf3.template_mask[trio], self.uf3.flat_weights[trio]
        shape = self.uf3.templates[trio].shape
        columns, whole = np.arange(len(places)), (math.prod(shape), len(places))
        spread = scipy.sparse.csr_matrix((weights, (places, columns)), shape=whole)
        if self.uf3.symmetry[trio] == 2:  # both neighbours are of one element
            j, k, between = np.unravel_index(places, shape)
            exchanged = np.ravel_multi_index((k, j, between), shape)
            spread = spread + scipy.sparse.csr_matrix((weights, (exchanged, columns)), shape=whole)
        return spread

    def design(self, part: Any, number: int) -> Design:
        """Features and labels of a frame."""
        atoms = part.atoms(number)
        energy, forces, _ = part.label(number)
        rows = self.features(atoms)
        alone = sum(self.shift[self.numbers[int(one)]] for one in atoms.numbers)
        return Design(rows[0].toarray().ravel(), rows[1:], energy - alone, forces.ravel(), len(atoms))

    def features(self, atoms: Any) -> Any:
        """Features of a frame, shape ``(1 + 3 n_atoms, features)``, sparse: the first row is the energy."""
        blocks: dict[tuple[str, ...], Any] = {}
        near = self.interactions.edges(atoms, self.near["cutoff"])
        for numbers, edge in self.interactions.pairs(atoms, near):
            pair = self.pairs[numbers]
            blocks[pair] = rows_of([Local(edge.lengths, self.uf3.knots_map[pair])], [edge], len(atoms))
        for trio, axes, three in self._triangles(atoms, near):
            blocks[trio] = rows_of(axes, three, len(atoms)) @ self.spread[trio]
        return self._joined(blocks, 1 + 3 * len(atoms))

    def seen(self, atoms: Any) -> Any:
        """Which coefficients of triangles a frame has features of, shape ``(features,)``."""
        found = np.zeros(self.count, dtype=bool)
        near = self.interactions.edges(atoms, self.around["cutoff"]) if self.trios else None
        for trio, axes, _ in self._triangles(atoms, near):
            shape = tuple(axis.size for axis in axes)
            grid = np.zeros(math.prod(shape))
            grid[np.unique(places(axes))] = 1.0
            found[self.places[trio]] = self.spread[trio].T @ grid > 0
        return found

    def _triangles(self, atoms: Any, near: Any) -> Iterator[tuple[tuple[str, ...], list["Local"], list[Any]]]:
        """The triangles of each three elements that count, with the splines of their edges."""
        if not self.trios:
            return
        near = near.of((near.lengths >= self.around["shortest"]) & (near.lengths < self.around["cutoff"]))
        for numbers, three in self.interactions.triangles(atoms, near):
            trio = self.trios[numbers]
            kept = [edge.of(three.between.lengths >= self.around["shortest"]) for edge in three]
            knots = self.uf3.knots_map[trio]
            yield trio, [Local(edge.lengths, own) for edge, own in zip(kept, knots, strict=True)], kept

    def _joined(self, blocks: dict[tuple[str, ...], Any], rows: int) -> Any:
        kinds = [*self.pairs.values(), *self.trios.values()]
        empty = {kind: scipy.sparse.csr_matrix((rows, self._size(kind))) for kind in kinds if kind not in blocks}
        return scipy.sparse.hstack([(blocks | empty)[kind] for kind in kinds], format="csr")

    def penalty(self, columns: Any) -> Any:
        """Sum of the squares of some coefficients and of their second differences along each axis, as a matrix."""
        blocks = [_second_differences((self._size(pair),)) for pair in self.pairs.values()]
        for trio in self.trios.values():
            spread = self.spread[trio]
            blocks.append(spread.T @ _second_differences(self.uf3.templates[trio].shape) @ spread)
        bent = scipy.sparse.block_diag(blocks, format="csr")[columns][:, columns].toarray()
        return bent + np.eye(len(columns))

    def _size(self, kind: tuple[str, ...]) -> int:
        return int(self.places[kind].stop - self.places[kind].start)


def _second_differences(shape: tuple[int, ...]) -> Any:
    """Sum of the squares of second differences along each axis of a grid, as a matrix."""
    total = scipy.sparse.csr_matrix((math.prod(shape), math.prod(shape)))
    for axis, size in enumerate(shape):
        own = scipy.sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(size - 2, size))
        before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        whole = scipy.sparse.kron(scipy.sparse.kron(scipy.sparse.identity(before), own), scipy.sparse.identity(after))
        total = total + whole.T @ whole
    return total


class Local:
    """The four cubic B-splines that are not zero at each of some distances: numbers of the first, values, slopes."""

    def __init__(self, points: Any, knots: Any) -> None:
        from scipy.interpolate import BSpline

        self.size = len(knots) - 4
        values = BSpline.design_matrix(points, knots, 3)
        self.first = values.indices.reshape(-1, 4)[:, 0]
        self.values = values.data.reshape(-1, 4)
        # dB_i/dr = 3 B'_i / (t_i+3 - t_i) - 3 B'_i+1 / (t_i+4 - t_i+1), B' of degree two
        lower = BSpline.design_matrix(points, knots[1:-1], 2).data.reshape(-1, 3)
        inner = self.first[:, None] + AXES
        lower = 3.0 * lower / (knots[inner + 4] - knots[inner + 1])
        none = np.zeros((len(points), 1))
        self.slopes = np.hstack([none, lower]) - np.hstack([lower, none])


def rows_of(axes: list[Local], edges: list[Any], atoms: int) -> Any:
    """Features of pairs (one axis) or triangles (three axes): the energy, and the components of the forces."""
    energy = scipy.sparse.csr_matrix(product(axes, None).sum(axis=0))
    forces = sum(pulls(edge, atoms) @ product(axes, number) for number, edge in enumerate(edges))
    return scipy.sparse.vstack([energy, forces], format="csr")


def product(axes: list[Local], slope_of: int | None) -> Any:
    """Products of splines of each axis, or of the slopes in one of them; sparse, shape ``(n, all splines)``."""
    count = len(axes[0].first)
    value = np.ones((count, 1))
    for number, axis in enumerate(axes):
        own = axis.slopes if number == slope_of else axis.values
        value = (value[:, :, None] * own[:, None, :]).reshape(count, -1)
    ends = np.arange(count + 1) * value.shape[1]
    shape = count, math.prod(axis.size for axis in axes)
    return scipy.sparse.csr_matrix((value.ravel(), places(axes).ravel(), ends), shape=shape)


def places(axes: list[Local]) -> Any:
    """Places of the products that are not zero in the flattened grid of all, shape ``(n, 4 ** axes)``."""
    count = len(axes[0].first)
    place = np.zeros((count, 1), dtype=np.int64)
    for axis in axes:
        place = (place[:, :, None] * axis.size + axis.first[:, None, None] + np.arange(4)).reshape(count, -1)
    return place


def pulls(edge: Any, atoms: int) -> Any:
    """Forces of a unit slope along each edge, on both of its atoms; sparse, shape ``(3 n_atoms, edges)``."""
    unit = (edge.vectors / edge.lengths[:, None]).ravel()
    rows = [(3 * end[:, None] + AXES).ravel() for end in (edge.first, edge.second)]
    columns = np.repeat(np.arange(len(edge.first)), 3)
    place = np.concatenate(rows), np.concatenate([columns, columns])
    return scipy.sparse.csr_matrix((np.concatenate([unit, -unit]), place), shape=(3 * atoms, len(edge.first)))


# ---------------------------------------------------------------- sums over the frames


class Sums:
    """Sums over the training frames: of the products of features, and of features and labels.

    Features that no frame has are left out; their coefficients are zero. Energies are those of an atom, and every kind
    of label is a mean, so that the weights do not depend on the number of frames.
    """

    def __init__(self, basis: Basis, part: Any, settings: dict[str, Any], outside: Any) -> None:
        self.basis, self.part, self.settings, self.outside = basis, part, settings, outside
        seen = np.zeros(basis.count, dtype=bool)
        for number in range(len(part)):
            seen |= basis.seen(part.atoms(number))
        for pair in basis.pairs.values():
            seen[basis.places[pair]] = True  # the penalty continues them to distances that no frame has
        self.columns = np.flatnonzero(seen & basis.free)
        self.weights = drawn(len(part), settings)
        self.done = 0
        self.products = np.zeros((len(self.columns), len(self.columns)))
        self.labels = np.zeros(len(self.columns))
        self.squares = 0.0
        print(f"{len(self.columns)} of {basis.count} coefficients are fitted", flush=True)

    def add_up(self) -> None:
        """Add all frames that are left."""
        self._put_back()
        components = 3 * len(self.part.held["numbers"])
        saved = time.monotonic()
        for number in range(self.done, len(self.part)):
            own = self.basis.design(self.part, number)
            each = self.weights[number]
            scales = (
                math.sqrt(each * self.settings["energy_weight"] / len(self.part)) / own.atoms,
                math.sqrt(each * self.settings["forces_weight"] / components),
            )
            rows = np.vstack([scales[0] * own.energy[self.columns], scales[1] * own.forces[:, self.columns].toarray()])
            self.products += rows.T @ rows
            labels = np.concatenate([[scales[0] * own.energy_label], scales[1] * own.forces_label])
            self.labels += rows.T @ labels
            self.squares += float(labels @ labels)
            self.done = number + 1
            self.outside.replace_text("progress.json", json.dumps([self.done, len(self.part)]))
            if self.done == 1 or time.monotonic() - saved > STATE_S:
                self._write_down()
                saved = time.monotonic()
        print(f"all {self.done} frames added", flush=True)

    def _write_down(self) -> None:
        with self.outside.replacing(STATE) as partial, open(partial, "wb") as file:
            np.savez(file, done=self.done, products=self.products, labels=self.labels, squares=self.squares)

    def _put_back(self) -> None:
        """Go on from the sums that were written, if they are whole."""
        if not os.path.isfile(STATE):
            return
        try:
            with np.load(STATE, allow_pickle=False) as held:
                done, products, labels = int(held["done"]), held["products"], held["labels"]
                squares = float(held["squares"])
            if products.shape != self.products.shape or labels.shape != self.labels.shape:
                raise ValueError("it is of another fit")
        except Exception as error:  # of a kill or of somebody who means harm: the sums begin anew
            print(f"{STATE} cannot be used, the training begins at its start: {error}", flush=True)
            return
        self.done, self.products, self.labels, self.squares = done, products, labels, squares
        print(f"going on after frame {done}", flush=True)


def drawn(count: int, settings: dict[str, Any]) -> Any:
    """How often each frame counts: once, or for a committee as often as it is drawn of all with replacement."""
    if not settings["bootstrap"]:
        return np.ones(count)
    numbers = np.random.default_rng(settings["seed"]).integers(count, size=count)
    return np.bincount(numbers, minlength=count).astype(float)


# ---------------------------------------------------------------- the fit


def chosen(basis: Basis, sums: Sums, stop: list[Design], settings: dict[str, Any], outside: Any) -> Any:
    """Coefficients for each weight of the penalty; those with the least loss on the ``stop`` frames are returned."""
    curve, best, least = [], None, math.inf
    penalty = basis.penalty(sums.columns)
    for step, weight in enumerate(settings["regularization"], 1):
        solved = scipy.linalg.solve(sums.products + weight * penalty, sums.labels, assume_a="pos")
        coefficients = np.zeros(basis.count)
        coefficients[sums.columns] = solved
        training = sums.squares + float(solved @ sums.products @ solved - 2 * solved @ sums.labels)
        loss, energy, force = errors(stop, coefficients, settings)
        curve.append([step, training, loss, energy, force])
        print(f"fit {step}: regularization {weight:g}, force RMSE {force:.4f} eV/Å", flush=True)
        if loss < least:
            best, least = coefficients, loss
    outside.replace_text("curve.json", json.dumps(curve))
    return np.zeros(basis.count) if best is None else best  # of labels that are not finite, which the curve shows


def errors(stop: list[Design], coefficients: Any, settings: dict[str, Any]) -> tuple[float, float, float]:
    """Loss, RMSE of energies per atom (eV) and RMSE of components of forces (eV/Å)."""
    energies = [(float(own.energy @ coefficients) - own.energy_label) / own.atoms for own in stop]
    forces = np.concatenate([own.forces @ coefficients - own.forces_label for own in stop])
    energy, force = float(np.mean(np.square(energies))), float(np.mean(np.square(forces)))
    loss = settings["energy_weight"] * energy + settings["forces_weight"] * force
    return loss, math.sqrt(energy), math.sqrt(force)


# ---------------------------------------------------------------- the file


def written(basis: Basis, coefficients: Any, shift: dict[str, float]) -> Iterator[str]:
    """Lines of LAMMPS's potential file, and of a comment with the energies of single atoms."""
    yield "# UNITS: metal CONTRIBUTOR: ilforge. UF3 potential; LAMMPS does not read the energies of atoms."
    yield "# ENERGIES eV: " + " ".join(f"{element} {energy!r}" for element, energy in shift.items())
    for pair in basis.pairs.values():
        knots, own = basis.uf3.knots_map[pair], coefficients[basis.places[pair]]
        yield from _head("2B", pair)
        yield f"{knots[-1]:g} {len(knots)}"
        yield _line(knots)
        yield str(len(own))
        yield _line(own)
        yield "#"
    for trio in basis.trios.values():
        axes = basis.uf3.knots_map[trio][::-1]  # LAMMPS begins with the edge between the neighbours
        grid = basis.uf3.decompress_3B(coefficients[basis.places[trio]], trio)
        yield from _head("3B", trio)
        yield " ".join([f"{knots[-1]:g}" for knots in axes] + [str(len(knots)) for knots in axes])
        yield from map(_line, axes)
        yield " ".join(map(str, grid.shape))
        yield from map(_line, grid.reshape(-1, grid.shape[2]))
        yield "#"


def _head(body: str, kind: tuple[str, ...]) -> list[str]:
    return ["#UF3 POT UNITS: metal DATE: - AUTHOR: ilforge CITATION: -", f"{body} {' '.join(kind)} 0 3 uk"]


def _line(numbers: Any) -> str:
    """Numbers in a line that LAMMPS can read: with more than 1023 characters it would cut one in two."""
    return " ".join(f"{number:.12g}" for number in numbers)


if __name__ == "__main__":
    main()

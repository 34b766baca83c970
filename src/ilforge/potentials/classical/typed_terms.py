"""Terms by type, for input files of other programs: equal parameters get one type."""

from __future__ import annotations

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.terms import Terms


def atom_types(topology: Topology, terms: Terms) -> list[str]:
    """Name of the type of each atom: its element, and a number for each different pair of sigma and epsilon."""
    known: dict[str, list[tuple[float, float]]] = {}
    names = []
    for symbol, sigma, epsilon in zip(topology.symbols, terms.sigmas.tolist(), terms.epsilons.tolist(), strict=True):
        of_element = known.setdefault(symbol, [])
        if (sigma, epsilon) not in of_element:
            of_element.append((sigma, epsilon))
        names.append(f"{symbol}_{of_element.index((sigma, epsilon)) + 1}")
    return names


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of an array ``(n, m)`` in order of appearance, and the index among them for each row."""
    known: dict[tuple[float, ...], int] = {}
    kinds = [known.setdefault(tuple(row), len(known)) for row in values.tolist()]
    return np.array(list(known)).reshape(-1, values.shape[1]), np.array(kinds, dtype=int)


def number(value: float) -> str:
    """A number with all significant digits, without rounding noise."""
    return f"{value:.12g}"

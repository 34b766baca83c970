"""Terms by type, as the input files of other programs want them: equal numbers get one type."""

from __future__ import annotations

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.terms import Terms


def atom_types(topology: Topology, terms: Terms) -> list[str]:
    """A name for the type of each atom: its element, and a number for each different sigma and epsilon."""
    known: dict[str, list[tuple[float, float]]] = {}
    names = []
    for symbol, sigma, epsilon in zip(topology.symbols, terms.sigmas.tolist(), terms.epsilons.tolist(), strict=True):
        of_element = known.setdefault(symbol, [])
        if (sigma, epsilon) not in of_element:
            of_element.append((sigma, epsilon))
        names.append(f"{symbol}_{of_element.index((sigma, epsilon)) + 1}")
    return names


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of ``(n, m)`` numbers in order of appearance, and the number of each row among them."""
    known: dict[tuple[float, ...], int] = {}
    kinds = [known.setdefault(tuple(row), len(known)) for row in values.tolist()]
    return np.array(list(known)).reshape(-1, values.shape[1]), np.array(kinds, dtype=int)


def number(value: float) -> str:
    """A number with all the digits that matter, without those of rounding."""
    return f"{value:.12g}"

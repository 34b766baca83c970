"""Energy, forces and strain derivative of MACE networks of one architecture, by compiled kernels in single precision.

Positions, distances and sums over atoms are in double precision. With one network, each thread takes a share of the
atoms. With a committee, each thread takes whole members, which need not wait for each other; all members share the list
of neighbours and the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from ilforge.errors import DidNotConverge
from ilforge.potentials.learned.fast_mace import arrays, compilation, neighbours, repulsion
from ilforge.potentials.learned.fast_mace.network import Network, NoFastForm

SKIN = 1.0
"""Distance by which the list of neighbours extends beyond the cutoff, Å. In a liquid at 423 K the list is renewed every
10 to 20 fs."""


class FastEvaluator:
    """Evaluates frames of the same atoms.

    Parameters
    ----------
    networks
        One network, or a committee: of one architecture, cutoff and order of elements.
    symbols
        Elements of the atoms.
    threads
        Threads to share the work.
    skin
        Distance by which the list of neighbours extends beyond the cutoff, Å.
    """

    def __init__(self, networks: Sequence[Network], symbols: Sequence[str], threads: int = 1, skin: float = SKIN):
        networks = list(networks)
        _refuse_mixed(networks)
        self._weights = arrays.weights_of(networks)
        self._species = _species(networks[0], symbols)
        self._net = networks[0].architecture
        self._module, n_rows = compilation.load(self._net)
        self._members, self._skin = len(networks), skin
        self._threads = max(1, min(threads, len(symbols)))
        self._scratch = [arrays.scratch_of(self._net, n_rows) for _ in range(self._threads)]
        self._closest = [np.zeros(3) for _ in range(self._threads)]
        self._pool = ThreadPoolExecutor(self._threads - 1) if self._threads > 1 else None
        self._list: neighbours.NeighbourList | None = None
        self._edges: arrays.Edges
        self._state: arrays.State
        self._pairs: arrays.Pairs
        self.lists_made = 0

    def compute(self, positions: np.ndarray, cell: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Evaluate one frame.

        Parameters
        ----------
        positions
            ``(n_atoms, 3)`` Å, wrapped or not.
        cell
            ``(3, 3)`` Å; None in a vacuum.

        Returns
        -------
        energies
            Energy of each atom by each member, including that of the isolated atom, ``(n_members, n_atoms)`` eV. The
            arrays belong to the evaluator, and the next evaluation overwrites them.
        forces
            ``(n_members, n_atoms, 3)`` eV/Å.
        strain_derivative
            dE/d(strain), ``(n_members, 3, 3)`` eV; the stress is this divided by the volume.

        Raises
        ------
        DidNotConverge
            When two atoms are closer than the shortest distance of the network, an atom has too many neighbours, or a
            position is not a finite number.
        """
        if not np.isfinite(positions).all():
            raise DidNotConverge("a position is no finite number")
        positions = np.ascontiguousarray(positions, dtype=float)
        self._update_list(positions, cell)
        self._find_edges(positions, cell)
        self._state.forces[:] = 0.0
        self._state.strain[:] = 0.0
        if self._members == 1:
            self._by_atoms()
            forces = self._state.forces.sum(axis=0)[None]
            strain = self._state.strain.sum(axis=0)[None]
        else:
            self._by_members()
            forces, strain = self._state.forces.copy(), self._state.strain
        return self._state.energies, forces, _tensor(strain)

    def _update_list(self, positions: np.ndarray, cell: np.ndarray | None) -> None:
        cutoff = self._weights.r_max
        if self._list is not None and self._list.holds(positions, cell, cutoff):
            return
        self._list = neighbours.find(positions, cell, cutoff + self._skin)
        self.lists_made += 1
        room = -(-self._list.most // 16) * 16 + 16
        if not hasattr(self, "_edges") or room > self._edges.room:
            self._edges = arrays.edges_of(self._species, room)
            slots = self._threads if self._members == 1 else self._members
            self._state = arrays.state_of(self._net, self._members, self._edges, slots)
        self._ranges = _even(self._list.starts, self._threads)

    def _find_edges(self, positions: np.ndarray, cell: np.ndarray | None) -> None:
        listed = self._list
        assert listed is not None
        shifts, folded = listed.shifts(cell), listed.folded(positions, cell)
        self._pairs = arrays.Pairs(folded, listed.starts, listed.listed, listed.image, shifts)

        def work(thread: int) -> int:
            found: int = self._module.find_edges(
                *self._ranges[thread], self._pairs, self._edges, self._weights, self._closest[thread]
            )
            return found

        for thread, status in enumerate(self._run(work)):
            if status == arrays.TOO_CLOSE:
                i, j, r = self._closest[thread]
                raise DidNotConverge(
                    f"atoms {int(i)} and {int(j)} are {r:.3f} Å apart, closer than the {self._weights.r_min:g} Å "
                    "down to which the model is evaluated"
                )
            if status == arrays.TOO_MANY:
                raise DidNotConverge(
                    f"an atom has more than {arrays.MOST_EDGES} neighbours within {self._weights.r_max:g} Å"
                )

    def _by_atoms(self) -> None:
        """One network: each thread takes a share of the atoms, and all wait between the stages."""
        module, shared = self._module, (self._weights, self._edges, self._state)
        slots = np.array([0, self._threads])
        self._run(lambda k: module.first_stage(*self._ranges[k], 0, *shared, self._scratch[k]))

        def second(k: int) -> None:
            module.second_stage(*self._ranges[k], 0, k, *shared, self._scratch[k])
            self._repel(*self._ranges[k], 0, k)

        self._run(second)
        self._run(lambda k: module.third_stage(*self._ranges[k], 0, k, slots, *shared, self._scratch[k]))

    def _by_members(self) -> None:
        """A committee: each thread takes whole members."""
        n_atoms, module = len(self._species), self._module
        shared = (self._weights, self._edges, self._state)

        def work(thread: int) -> None:
            for member in range(thread, self._members, self._threads):
                slots, scratch = np.array([member, member + 1]), self._scratch[thread]
                module.first_stage(0, n_atoms, member, *shared, scratch)
                module.second_stage(0, n_atoms, member, member, *shared, scratch)
                self._repel(0, n_atoms, member, member)
                module.third_stage(0, n_atoms, member, member, slots, *shared, scratch)

        self._run(work)

    def _repel(self, begin: int, end: int, member: int, slot: int) -> None:
        """Add the pair repulsion, if the networks have one, to energies of a range of atoms."""
        table = self._weights.repulsion
        if table.shape[1] > 0:
            repulsion.add_repulsion(begin, end, member, slot, table, self._pairs, self._edges, self._state)

    def _run(self, work: Callable[[int], Any]) -> list[Any]:
        """Results of a function of the thread's number, from all threads."""
        if self._pool is None:
            return [work(0)]
        others = [self._pool.submit(work, thread) for thread in range(1, self._threads)]
        return [work(0), *(other.result() for other in others)]


def _tensor(strain: np.ndarray) -> np.ndarray:
    xx, yy, zz, zy, zx, yx = strain.T
    return np.array([[xx, yx, zx], [yx, yy, zy], [zx, zy, zz]]).transpose(2, 0, 1)


def _species(network: Network, symbols: Sequence[str]) -> np.ndarray:
    order = {int(z): k for k, z in enumerate(network.elements)}
    return np.array([order[atomic_numbers[symbol]] for symbol in symbols])


def _even(starts: np.ndarray, threads: int) -> list[tuple[int, int]]:
    """Ranges of atoms with about equal numbers of pairs."""
    targets = starts[-1] * np.arange(1, threads) / threads
    ends = [0, *np.searchsorted(starts, targets).tolist(), len(starts) - 1]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _refuse_mixed(networks: list[Network]) -> None:
    first = networks[0]
    for other in networks[1:]:
        same = (
            other.r_max == first.r_max
            and np.array_equal(other.elements, first.elements)
            and (other.repulsion is None) == (first.repulsion is None)
            and compilation.source(other.architecture) == compilation.source(first.architecture)
        )
        if not same:
            raise NoFastForm("the models of the committee differ in architecture, cutoff or elements")

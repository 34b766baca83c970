"""Arrays that the stages of an evaluation share, in the form of named tuples for compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ilforge.potentials.learned.fast_mace.architecture import Architecture
from ilforge.potentials.learned.fast_mace.network import Network
from ilforge.potentials.learned.fast_mace.rows import EDGES
from ilforge.potentials.learned.fast_mace.vectors import LANES

MOST_EDGES = EDGES - LANES
"""Largest number of neighbours within the cutoff of one atom for which kernels have room."""

TOO_CLOSE, TOO_MANY = -1, -2
"""Why an atom has no edges: a neighbour is closer than the shortest distance, or there are more than the most."""


def aligned(size: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros whose address is a multiple of 64 bytes, because registers load such data fastest."""
    n_bytes = size * np.dtype(dtype).itemsize
    raw = np.zeros(n_bytes + 64, np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + n_bytes].view(dtype)


class Weights(NamedTuple):
    """Weights of all members of a committee, and the offset of each kind of weight from the first weight of its
    member."""

    values: np.ndarray
    member: int  # numbers of one member
    table_first: int  # numbers in the splines of one block of channels
    table_second: int
    n_elements: int
    splines_first: int
    splines_second: int
    embedding: int
    mix_first: int
    mix_first_back: int
    mix_second: int
    mix_second_back: int
    contraction_first: int
    contraction_second: int
    product_first: int
    product_first_back: int
    product_second: int
    product_second_back: int
    skip_first: int
    skip_second: int
    skip_second_back: int
    up: int
    up_back: int
    readout_first: int
    readout_inner: int
    readout_inner_back: int
    readout_outer: int
    isolated: np.ndarray  # (members, elements) eV
    scale: np.ndarray  # (members,) float32
    shift: np.ndarray  # (members,) eV
    repulsion: np.ndarray  # (members, elements, elements, 4), without elements where there is none
    r_max: float
    r_min: float
    per_step: float  # intervals of the splines in one Å


def weights_of(networks: list[Network]) -> Weights:
    """The weights of one network, or of several of one architecture that know the same elements."""
    net, first = networks[0].architecture, networks[0]
    width = (first.intervals + 1) * 4 * LANES
    places = {name: first.places[name] for name in Weights._fields if name in first.places}
    repulsion = [n.repulsion for n in networks if n.repulsion is not None]
    return Weights(
        values=_joined([n.weights for n in networks]),
        member=len(first.weights),
        table_first=width * (net.l_max + 1),
        table_second=width * len(net.paths),
        n_elements=len(first.elements),
        isolated=np.array([n.isolated for n in networks]),
        scale=np.array([n.scale for n in networks], np.float32),
        shift=np.array([n.shift for n in networks]),
        repulsion=np.array(repulsion) if repulsion else np.zeros((len(networks), 0, 0, 4)),
        r_max=first.r_max,
        r_min=first.r_min,
        per_step=first.intervals / (first.r_max - first.r_min),
        **places,
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    whole = aligned(sum(map(len, parts)))
    np.concatenate(parts, out=whole)
    return whole


class Pairs(NamedTuple):
    """A list of neighbours with the positions of one evaluation, in double precision."""

    positions: np.ndarray  # (atoms, 3) Å
    starts: np.ndarray  # (atoms + 1,): where the neighbours of each atom begin
    listed: np.ndarray  # (pairs,): neighbours
    image: np.ndarray  # (pairs,): row of ``shifts``
    shifts: np.ndarray  # (images, 3) Å, added to the position of a neighbour


class Edges(NamedTuple):
    """Neighbours within the cutoff. Each evaluation selects them from a list with a longer cutoff."""

    species: np.ndarray  # (atoms,)
    room: int  # edges that an atom has room for
    count: np.ndarray  # type: ignore[assignment]  # (atoms,); nobody counts in the tuple
    neighbour: np.ndarray
    neighbour_species: np.ndarray
    bins: np.ndarray  # interval of the splines that the distance lies in
    t: np.ndarray  # place in it, 0 to 1
    x: np.ndarray  # unit vector from the neighbour to the atom
    y: np.ndarray
    z: np.ndarray
    inverse: np.ndarray  # of the distance, 1/Å
    entry: np.ndarray  # place of the pair in the list of neighbours


def edges_of(species: np.ndarray, room: int) -> Edges:
    """Arrays for so many neighbours of each atom."""
    n = len(species) * room + 4 * LANES
    neighbour, neighbour_species, bins, entry = (aligned(n, np.int32) for _ in range(4))
    t, x, y, z, inverse = (aligned(n) for _ in range(5))
    count = np.zeros(len(species), np.int64)
    return Edges(species, room, count, neighbour, neighbour_species, bins, t, x, y, z, inverse, entry)


class State(NamedTuple):
    """Intermediate results that one stage passes to the next, for each member of a committee."""

    components: np.ndarray  # (members, atoms, harmonics, channels): input of the first contraction
    hidden: np.ndarray  # (members, atoms, components, channels): features between the layers
    raised: np.ndarray  # the same after the linear map that neighbours see
    skipped: np.ndarray  # (members, atoms, channels): skip connection around the second layer
    skipped_back: np.ndarray
    along_edges: np.ndarray  # (members, 4, atoms, room): derivatives by distance and direction
    raised_back: np.ndarray  # (slots, atoms, components, channels): derivatives by ``raised``
    energies: np.ndarray  # (members, atoms) eV
    forces: np.ndarray  # (slots, atoms, 3) eV/Å
    strain: np.ndarray  # (slots, 6) eV: xx yy zz zy zx yx


def state_of(net: Architecture, members: int, edges: Edges, slots: int) -> State:
    """Arrays for one evaluation; ``slots`` is the number of separate sums of each kind."""
    atoms = len(edges.species)
    n = members * atoms
    wide = net.n_hidden * net.channels
    return State(
        aligned(n * net.n_harmonics * net.channels),
        aligned(n * wide),
        aligned(n * wide),
        aligned(n * net.channels),
        aligned(n * net.channels),
        aligned(members * 4 * atoms * edges.room + 4 * LANES),
        aligned(slots * atoms * wide),
        np.zeros((members, atoms)),
        np.zeros((slots, atoms, 3)),
        np.zeros((slots, 6)),
    )


class Scratch(NamedTuple):
    """Work space of one thread for one atom."""

    rows: np.ndarray
    mid: np.ndarray
    components: np.ndarray
    components_back: np.ndarray
    sums: np.ndarray
    along_edges: np.ndarray
    wide: np.ndarray
    wide_back: np.ndarray
    units: np.ndarray
    narrow: np.ndarray


def scratch_of(net: Architecture, n_rows: int) -> Scratch:
    """Arrays for one thread."""
    c = net.channels
    mid = max(net.path_starts[-1], net.n_harmonics)
    return Scratch(
        aligned(n_rows * EDGES),
        aligned(mid * c),
        aligned(net.n_harmonics * c),
        aligned(net.n_harmonics * c),
        aligned(EDGES * 4 * LANES),
        aligned(4 * EDGES),
        aligned(net.n_hidden * c),
        aligned(net.n_hidden * c),
        aligned(2 * LANES),
        aligned(c),
    )

"""Select the neighbours within the cutoff, with their directions and distances.

Vectors are computed from positions in double precision. Directions and inverse distances are stored in single
precision.
"""


@compiled
def find_edges(begin, end, pairs, edges, weights, closest):
    """Edges of a range of atoms; 0, ``TOO_CLOSE`` or ``TOO_MANY``.

    ``closest`` gets the two atoms and their distance in the first case.
    """
    for i in range(begin, end):
        count, partner, square = select_neighbours(i, pairs, edges, weights.r_max)
        if square < weights.r_min * weights.r_min:
            closest[0], closest[1], closest[2] = i, partner, math.sqrt(square)
            return TOO_CLOSE
        if count > MOST_EDGES:
            return TOO_MANY
        edges.count[i] = count
        measure_edges(i * edges.room, count, edges, weights.r_min, weights.per_step)
    return 0


@inlined
def select_neighbours(i, pairs, edges, r_max):
    """Store vectors to the neighbours within the cutoff; how many there are, the nearest, and the square of its
    distance."""
    first = i * edges.room
    count = 0
    least, partner = r_max * r_max, -1
    x, y, z = pairs.positions[i, 0], pairs.positions[i, 1], pairs.positions[i, 2]
    for k in range(pairs.starts[i], pairs.starts[i + 1]):
        j = pairs.listed[k]
        s = pairs.image[k]
        dx = x - pairs.positions[j, 0] - pairs.shifts[s, 0]
        dy = y - pairs.positions[j, 1] - pairs.shifts[s, 1]
        dz = z - pairs.positions[j, 2] - pairs.shifts[s, 2]
        place = first + count
        square = dx * dx + dy * dy + dz * dz
        edges.neighbour[place] = j
        edges.neighbour_species[place] = edges.species[j]
        edges.entry[place] = k
        edges.x[place] = dx
        edges.y[place] = dy
        edges.z[place] = dz
        count += np.int64(square < r_max * r_max)  # without a branch: the next pair overwrites one beyond the cutoff
        if square < least:
            least, partner = square, j
    return count, partner, least


@inlined
def measure_edges(first, count, edges, r_min, per_step):
    """Turn the vectors of an atom's edges into unit vectors, inverse distances, and places in the splines."""
    per_angstrom = spread(per_step)
    origin = spread(-r_min * per_step)
    for e in range(first, first + count, 16):
        a = load(edges.x, e)
        b = load(edges.y, e)
        c = load(edges.z, e)
        r = root(fma(a, a, fma(b, b, mul(c, c))))
        q = reciprocal(r)
        store(edges.x, e, mul(a, q))
        store(edges.y, e, mul(b, q))
        store(edges.z, e, mul(c, q))
        store(edges.inverse, e, q)
        store_split(edges.bins, edges.t, e, fma(r, per_angstrom, origin))

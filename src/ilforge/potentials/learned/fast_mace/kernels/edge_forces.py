"""Forces and strain derivative from derivatives by distance and direction of an atom's edges."""


@inlined
def push(i, first, count, member, slot, weights, edges, state, along):
    """Add the forces of an atom's edges, and their strain derivative; ``along`` is overwritten."""
    row = len(edges.species) * edges.room
    second = state.along_edges[member * 4 * row + first :]
    fill_last_lanes(first, count, edges, second, row)
    derivatives_by_vectors(first, count, weights.per_step, edges, along, second, row)
    add_edge_forces(i, first, count, edges, along, state.forces[slot])
    add_edge_strain(first, count, edges, along, state.strain[slot])


@inlined
def fill_last_lanes(first, count, edges, second, row):
    """Finite numbers with the weight zero between the last edge and the end of its sixteen."""
    for e in range(count, (count + 15) // 16 * 16):
        place = first + e
        edges.x[place] = 1.0
        edges.y[place] = 0.0
        edges.z[place] = 0.0
        edges.inverse[place] = 1.0
        for k in range(4):
            second[k * row + e] = 0.0


@inlined
def derivatives_by_vectors(first, count, per_step, edges, along, second, row):
    """Derivatives by the three components of each edge, in the first three rows of ``along``."""
    per_angstrom = spread(per_step)
    for e in range(0, count, 16):
        place = first + e
        x = load(edges.x, place)
        y = load(edges.y, place)
        z = load(edges.z, place)
        inverse = load(edges.inverse, place)
        radial = mul(per_angstrom, add(load(along, e), load(second, e)))
        gx = add(load(along, EDGES + e), load(second, row + e))
        gy = add(load(along, 2 * EDGES + e), load(second, 2 * row + e))
        gz = add(load(along, 3 * EDGES + e), load(second, 3 * row + e))
        # the polynomials depend on the unit vector, so only the perpendicular component changes the direction
        radial = fnma(fma(gx, x, fma(gy, y, mul(gz, z))), inverse, radial)
        store(along, e, fma(radial, x, mul(gx, inverse)))
        store(along, EDGES + e, fma(radial, y, mul(gy, inverse)))
        store(along, 2 * EDGES + e, fma(radial, z, mul(gz, inverse)))


@inlined
def add_edge_forces(i, first, count, edges, along, forces):
    """Forces on an atom and its neighbours."""
    fx = zero()
    fy = zero()
    fz = zero()
    for e in range(0, count, 16):
        fx = add(fx, load(along, e))
        fy = add(fy, load(along, EDGES + e))
        fz = add(fz, load(along, 2 * EDGES + e))
    for e in range(count):
        j = edges.neighbour[first + e]
        forces[j, 0] += along[e]
        forces[j, 1] += along[EDGES + e]
        forces[j, 2] += along[2 * EDGES + e]
    forces[i, 0] -= total(fx)
    forces[i, 1] -= total(fy)
    forces[i, 2] -= total(fz)


@inlined
def add_edge_strain(first, count, edges, along, strain):
    """Strain derivative: products of the derivative by a vector and the vector."""
    xx = zero()
    yy = zero()
    zz = zero()
    zy = zero()
    zx = zero()
    yx = zero()
    for e in range(0, count, 16):
        place = first + e
        r = reciprocal(load(edges.inverse, place))
        x = mul(load(edges.x, place), r)
        y = mul(load(edges.y, place), r)
        z = mul(load(edges.z, place), r)
        dx = load(along, e)
        dy = load(along, EDGES + e)
        dz = load(along, 2 * EDGES + e)
        xx = fma(dx, x, xx)
        yy = fma(dy, y, yy)
        zz = fma(dz, z, zz)
        zy = fma(dz, y, zy)
        zx = fma(dz, x, zx)
        yx = fma(dy, x, yx)
    strain[0] += total(xx)
    strain[1] += total(yy)
    strain[2] += total(zz)
    strain[3] += total(zy)
    strain[4] += total(zx)
    strain[5] += total(yx)

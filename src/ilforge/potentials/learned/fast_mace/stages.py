"""The three stages of an evaluation; threads wait for each other between two stages.

This file is not imported: :mod:`.compilation` appends it to the kernels of an architecture, whose names it uses, and
compiles both together.

The first stage computes edges, the first layer, and the features that neighbours use. The second computes the second
layer, the energy, and derivatives by the features of neighbours. The third computes derivatives through the first
layer, forces and the strain derivative. The energy of an atom is a sum over its own edges, so a stage writes only to
its own atoms. Contributions to neighbours are summed in a slot that belongs to one thread.
"""


@compiled
def times(X, x, W, w, Y, y):
    """Y = X W for one component of all channels."""
    for b in range(0, CHANNELS, 16):
        even = zero()
        odd = zero()
        for k in range(0, CHANNELS, 2):
            even = fma(spread_from(X, x + k), load(W, w + k * CHANNELS + b), even)
            odd = fma(spread_from(X, x + k + 1), load(W, w + (k + 1) * CHANNELS + b), odd)
        store(Y, y + b, add(even, odd))


@compiled
def add_times(X, x, W, w, Y, y):
    """Y += X W for one component of all channels."""
    for b in range(0, CHANNELS, 16):
        even = load(Y, y + b)
        odd = zero()
        for k in range(0, CHANNELS, 2):
            even = fma(spread_from(X, x + k), load(W, w + k * CHANNELS + b), even)
            odd = fma(spread_from(X, x + k + 1), load(W, w + (k + 1) * CHANNELS + b), odd)
        store(Y, y + b, add(even, odd))


@compiled
def mix(M, W, w, path_l, path_start, A, a):
    """Sum over the paths that end in a degree; paths are ordered by it."""
    for p in range(len(path_l)):
        degree = path_l[p]
        for m in range(2 * degree + 1):
            source = (path_start[p] + m) * CHANNELS
            target = a + (degree * degree + m) * CHANNELS
            if p == 0 or path_l[p - 1] != degree:
                times(M, source, W, w + p * CHANNELS * CHANNELS, A, target)
            else:
                add_times(M, source, W, w + p * CHANNELS * CHANNELS, A, target)


@compiled
def mix_back(GA, W, w, path_l, path_start, M):
    """Derivatives by the output of each path."""
    for p in range(len(path_l)):
        degree = path_l[p]
        for m in range(2 * degree + 1):
            source = (degree * degree + m) * CHANNELS
            times(GA, source, W, w + p * CHANNELS * CHANNELS, M, (path_start[p] + m) * CHANNELS)


@compiled
def by_degree(X, x, W, w, Y, y):
    """A linear map of equivariant features: one matrix of channels for each degree."""
    for degree in range(L_HIDDEN + 1):
        matrix = w + degree * CHANNELS * CHANNELS
        for m in range(degree * degree, (degree + 1) * (degree + 1)):
            times(X, x + m * CHANNELS, W, matrix, Y, y + m * CHANNELS)


@compiled
def inner_units(X, W, w, units):
    """Sixteen hidden units of the second readout."""
    even = zero()
    odd = zero()
    for k in range(0, CHANNELS, 2):
        even = fma(spread_from(X, k), load(W, w + k * 16), even)
        odd = fma(spread_from(X, k + 1), load(W, w + (k + 1) * 16), odd)
    store(units, 0, add(even, odd))


@compiled
def inner_units_back(units, W, w, Y):
    """Derivatives by the features, from those by the sixteen units, ``units[16:]``."""
    for b in range(0, CHANNELS, 16):
        sum_ = zero()
        for k in range(16):
            sum_ = fma(spread_from(units, 16 + k), load(W, w + k * CHANNELS + b), sum_)
        store(Y, b, sum_)


@compiled
def activate(units, W, w, scale):
    """Energy of the units, times ``scale``, and in ``units[16:]`` its derivative by each; the activation is silu."""
    energy = 0.0
    for k in range(16):
        x = units[k]
        s = np.float32(1.0) / (np.float32(1.0) + math.exp(-x))
        energy += np.float64(W[w + k] * x * s)
        units[16 + k] = scale * W[w + k] * s * (np.float32(1.0) + x * (np.float32(1.0) - s))
    return energy * np.float64(scale)


@compiled
def find_edges(i, positions, starts, listed, image, shifts, edges, r_max, r_min, per_step, closest):
    """Neighbours of an atom within the cutoff; how many, or -1 when one is too close, -2 when there are too many.

    ``closest`` gets the two atoms and their distance in the first case.
    """
    first = i * edges.room
    count = 0
    least, partner = r_max * r_max, -1
    x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
    for k in range(starts[i], starts[i + 1]):
        j = listed[k]
        s = image[k]
        dx = x - positions[j, 0] - shifts[s, 0]
        dy = y - positions[j, 1] - shifts[s, 1]
        dz = z - positions[j, 2] - shifts[s, 2]
        place = first + count
        square = dx * dx + dy * dy + dz * dz
        edges.neighbour[place] = j
        edges.neighbour_species[place] = edges.species[j]
        edges.x[place] = dx
        edges.y[place] = dy
        edges.z[place] = dz
        edges.square[place] = square
        count += np.int64(square < r_max * r_max)  # without a branch: the next one takes the place otherwise
        if square < least:
            least, partner = square, j
    if least < r_min * r_min:
        closest[0], closest[1], closest[2] = i, partner, math.sqrt(least)
        return -1
    if count > MOST_EDGES:
        return -2
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
    return count


@compiled
def all_edges(begin, end, positions, starts, listed, image, shifts, edges, weights, closest):
    """Edges of a range of atoms; 0, or what :func:`find_edges` says is wrong."""
    for i in range(begin, end):
        count = find_edges(
            i, positions, starts, listed, image, shifts, edges, weights.r_max, weights.r_min, weights.per_step, closest
        )
        if count < 0:
            return count
        edges.count[i] = count
    return 0


@compiled
def first_stage(begin, end, member, weights, edges, state, scratch):
    """First layer of a range of atoms."""
    W = weights.values
    own = member * weights.member
    wide = N_HIDDEN * CHANNELS
    for i in range(begin, end):
        first = i * edges.room
        count = edges.count[i]
        element = edges.species[i]
        atom = member * len(edges.species) + i
        first_geometry(edges.x, edges.y, edges.z, first, count, scratch.rows)
        for block in range(BLOCKS):
            gather_first(
                scratch.rows, edges.neighbour_species, edges.bins, edges.t, first, count,
                W, own + weights.splines_first + block * weights.table_first,
                own + weights.embedding + block * weights.n_elements * 16, scratch.mid, block * 16,
            )  # fmt: skip
        components = atom * N_HARMONICS * CHANNELS
        mix(scratch.mid, W, own + weights.mix_first, PATH_L_FIRST, PATH_START_FIRST,
            state.components, components)  # fmt: skip
        for block in range(BLOCKS):
            terms = own + weights.contraction_first + (element * BLOCKS + block) * TERMS_FIRST
            contract_first(state.components, components, W, terms, scratch.wide, block * 16)
        h = atom * wide
        by_degree(scratch.wide, 0, W, own + weights.product_first, state.hidden, h)
        for b in range(0, CHANNELS, 16):
            skip = own + weights.skip_first + element * CHANNELS + b
            store(state.hidden, h + b, add(load(state.hidden, h + b), load(W, skip)))
        by_degree(state.hidden, h, W, own + weights.up, state.raised, h)
        times(
            state.hidden,
            h,
            W,
            own + weights.skip_second + element * CHANNELS * CHANNELS,
            state.skipped,
            atom * CHANNELS,
        )


@compiled
def repel(i, first, count, member, weights, edges, along):
    """Pair repulsion of an atom, and its derivative by the place in the intervals."""
    energy = 0.0
    for e in range(count):
        strength, length, cutoff, power = weights.repulsion[
            member, edges.neighbour_species[first + e], edges.species[i]
        ]
        r = math.sqrt(edges.square[first + e])
        if r >= cutoff:
            continue
        screening = 0.0
        slope = 0.0
        for share, rate in zip(ZBL_SHARES, ZBL_RATES):  # noqa: B905  numba knows no strict
            part = share * math.exp(-rate * r / length)
            screening += part
            slope -= rate / length * part
        x = r / cutoff
        a = (power + 1) * (power + 2) / 2
        b = power * (power + 2)
        c = power * (power + 1) / 2
        envelope = 1 - a * x**power + b * x ** (power + 1) - c * x ** (power + 2)
        steepness = (-a * power + b * (power + 1) * x - c * (power + 2) * x * x) * x ** (power - 1) / cutoff
        pair = strength / r * screening
        energy += pair * envelope
        derivative = strength / r * slope * envelope - pair / r * envelope + pair * steepness
        along[e] += derivative / weights.per_step
    return energy


@compiled
def second_stage(begin, end, member, slot, weights, edges, state, scratch):
    """Second layer and energy of a range of atoms, and back to the neighbours' features."""
    W = weights.values
    own = member * weights.member
    n_atoms = len(edges.species)
    row = n_atoms * edges.room
    wide = N_HIDDEN * CHANNELS
    features = member * n_atoms * wide
    gradients = slot * n_atoms * wide
    scale = weights.scale[member]
    for i in range(begin, end):
        first = i * edges.room
        count = edges.count[i]
        element = edges.species[i]
        atom = member * n_atoms + i
        along = state.along_edges[member * 4 * row + first :]
        for k in range(4):
            for e in range(count):
                along[k * row + e] = 0.0
        whole_geometry(edges.x, edges.y, edges.z, first, count, scratch.rows)
        for block in range(BLOCKS):
            gather_second(
                scratch.rows, edges.neighbour, edges.bins, edges.t, first, count,
                W, own + weights.splines_second + block * weights.table_second,
                state.raised, features, scratch.mid, block * 16,
            )  # fmt: skip
        mix(scratch.mid, W, own + weights.mix_second, PATH_L_SECOND, PATH_START_SECOND,
            scratch.components, 0)  # fmt: skip
        contraction = own + weights.contraction_second
        for block in range(BLOCKS):
            terms = contraction + (element * BLOCKS + block) * TERMS_SECOND
            contract_second(scratch.components, 0, W, terms, scratch.wide, block * 16)
        times(scratch.wide, 0, W, own + weights.product_second, scratch.narrow, 0)
        hidden = atom * wide
        linear = zero()
        for b in range(0, CHANNELS, 16):
            store(scratch.narrow, b, add(load(scratch.narrow, b), load(state.skipped, atom * CHANNELS + b)))
            linear = fma(load(state.hidden, hidden + b), load(W, own + weights.readout_first + b), linear)
        inner_units(scratch.narrow, W, own + weights.readout_inner, scratch.units)
        energy = activate(scratch.units, W, own + weights.readout_outer, scale)
        energy += np.float64(total(linear)) * np.float64(scale)
        if weights.repulsion.shape[1] > 0:
            energy += repel(i, first, count, member, weights, edges, along)
        state.energies[member, i] = energy + weights.shift[member] + weights.isolated[member, element]
        # and back
        inner_units_back(scratch.units, W, own + weights.readout_inner_back, scratch.narrow)
        skip = own + weights.skip_second_back + element * CHANNELS * CHANNELS
        times(scratch.narrow, 0, W, skip, state.skipped_back, atom * CHANNELS)
        times(scratch.narrow, 0, W, own + weights.product_second_back, scratch.wide, 0)
        for block in range(BLOCKS):
            terms = contraction + (element * BLOCKS + block) * TERMS_SECOND
            contract_second_back(scratch.components, 0, W, terms, scratch.wide, scratch.components_back, block * 16)
        mixing = own + weights.mix_second_back
        mix_back(scratch.components_back, W, mixing, PATH_L_SECOND, PATH_START_SECOND, scratch.mid)
        for block in range(BLOCKS):
            scatter_second(
                scratch.rows, edges.neighbour, edges.bins, edges.t, first, count,
                W, own + weights.splines_second + block * weights.table_second, state.raised, features,
                scratch.mid, block * 16, state.raised_back, gradients, scratch.sums, along, row,
            )  # fmt: skip


@compiled
def gather_slots(i, slots, state, n_atoms, wide, target):
    """Derivatives by an atom's features from all slots, which are emptied for the next evaluation."""
    for b in range(0, wide, 16):
        sum_ = zero()
        for slot in range(slots[0], slots[1]):
            place = (slot * n_atoms + i) * wide + b
            sum_ = add(sum_, load(state.raised_back, place))
            store(state.raised_back, place, zero())
        store(target, b, sum_)


@compiled
def third_stage(begin, end, member, slot, slots, weights, edges, state, scratch):
    """Back through the first layer of a range of atoms; forces and strain derivative."""
    W = weights.values
    own = member * weights.member
    n_atoms = len(edges.species)
    wide = N_HIDDEN * CHANNELS
    scale = spread(weights.scale[member])
    for i in range(begin, end):
        first = i * edges.room
        count = edges.count[i]
        element = edges.species[i]
        atom = member * n_atoms + i
        gather_slots(i, slots, state, n_atoms, wide, scratch.wide)
        by_degree(scratch.wide, 0, W, own + weights.up_back, scratch.wide_back, 0)
        for b in range(0, CHANNELS, 16):
            direct = fma(scale, load(W, own + weights.readout_first + b), load(state.skipped_back, atom * CHANNELS + b))
            store(scratch.wide_back, b, add(load(scratch.wide_back, b), direct))
        by_degree(scratch.wide_back, 0, W, own + weights.product_first_back, scratch.wide, 0)
        components = atom * N_HARMONICS * CHANNELS
        for block in range(BLOCKS):
            terms = own + weights.contraction_first + (element * BLOCKS + block) * TERMS_FIRST
            contract_first_back(
                state.components, components, W, terms, scratch.wide, scratch.components_back, block * 16
            )
        mixing = own + weights.mix_first_back
        mix_back(scratch.components_back, W, mixing, PATH_L_FIRST, PATH_START_FIRST, scratch.mid)
        first_geometry_back(edges.x, edges.y, edges.z, first, count, scratch.rows)
        along = scratch.along_edges
        for k in range(4):
            for e in range((count + 15) // 16 * 16):
                along[k * EDGES + e] = 0.0
        for block in range(BLOCKS):
            scatter_first(
                scratch.rows, edges.neighbour_species, edges.bins, edges.t, first, count,
                W, own + weights.splines_first + block * weights.table_first,
                own + weights.embedding + block * weights.n_elements * 16, scratch.mid, block * 16, along, EDGES,
            )  # fmt: skip
        push(i, first, count, member, slot, weights, edges, state, along)


@compiled
def push(i, first, count, member, slot, weights, edges, state, along):
    """Forces on an atom and its neighbours, from derivatives by distance and direction of its edges."""
    row = len(edges.species) * edges.room
    second = state.along_edges[member * 4 * row + first :]
    for e in range(count, (count + 15) // 16 * 16):  # the padding must be finite, with the weight zero
        place = first + e
        edges.x[place] = 1.0
        edges.y[place] = 0.0
        edges.z[place] = 0.0
        edges.inverse[place] = 1.0
        for k in range(4):
            second[k * row + e] = 0.0
    fx = zero()
    fy = zero()
    fz = zero()
    xx = zero()
    yy = zero()
    zz = zero()
    zy = zero()
    zx = zero()
    yx = zero()
    per_angstrom = spread(weights.per_step)
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
        dx = fma(radial, x, mul(gx, inverse))
        dy = fma(radial, y, mul(gy, inverse))
        dz = fma(radial, z, mul(gz, inverse))
        store(along, e, dx)
        store(along, EDGES + e, dy)
        store(along, 2 * EDGES + e, dz)
        fx = add(fx, dx)
        fy = add(fy, dy)
        fz = add(fz, dz)
        r = reciprocal(inverse)
        x = mul(x, r)
        y = mul(y, r)
        z = mul(z, r)
        xx = fma(dx, x, xx)
        yy = fma(dy, y, yy)
        zz = fma(dz, z, zz)
        zy = fma(dz, y, zy)
        zx = fma(dz, x, zx)
        yx = fma(dy, x, yx)
    forces = state.forces[slot]
    for e in range(count):
        j = edges.neighbour[first + e]
        forces[j, 0] += along[e]
        forces[j, 1] += along[EDGES + e]
        forces[j, 2] += along[2 * EDGES + e]
    forces[i, 0] -= total(fx)
    forces[i, 1] -= total(fy)
    forces[i, 2] -= total(fz)
    strain = state.strain[slot]
    strain[0] += total(xx)
    strain[1] += total(yy)
    strain[2] += total(zz)
    strain[3] += total(zy)
    strain[4] += total(zx)
    strain[5] += total(yx)

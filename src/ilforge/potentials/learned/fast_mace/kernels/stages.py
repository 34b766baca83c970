"""The three stages of an evaluation; threads wait for each other between two stages.

The first stage computes the first layer, and the features that neighbours use. The second computes the second layer,
the energy, and derivatives by the features of neighbours. The third computes derivatives through the first layer,
forces and the strain derivative. The energy of an atom is a sum over its own edges, so a stage writes only to its own
atoms. Contributions to neighbours are summed in a slot that belongs to one thread.
"""


@compiled
def first_stage(begin, end, member, weights, edges, state, scratch):
    """First layer of a range of atoms."""
    for i in range(begin, end):
        atom = member * len(edges.species) + i
        contract_first_layer(i, atom, member * weights.member, weights, edges, state, scratch)
        features_between(atom, edges.species[i], member * weights.member, weights, state, scratch)


@inlined
def contract_first_layer(i, atom, own, weights, edges, state, scratch):
    """Components of an atom, kept for the way back, and their contraction, in ``scratch.wide``."""
    W = weights.values
    first = i * edges.room
    count = edges.count[i]
    first_geometry(edges.x, edges.y, edges.z, first, count, scratch.rows)
    for block in range(BLOCKS):
        gather_first(
            scratch.rows, edges.neighbour_species, edges.bins, edges.t, first, count,
            W, own + weights.splines_first + block * weights.table_first,
            own + weights.embedding + block * weights.n_elements * 16, scratch.mid, block * 16,
        )  # fmt: skip
    components = atom * N_HARMONICS * CHANNELS
    mix(scratch.mid, W, own + weights.mix_first, PATH_L_FIRST, PATH_START_FIRST, state.components, components)
    for block in range(BLOCKS):
        terms = own + weights.contraction_first + (edges.species[i] * BLOCKS + block) * TERMS_FIRST
        contract_first(state.components, components, W, terms, scratch.wide, block * 16)


@inlined
def features_between(atom, element, own, weights, state, scratch):
    """Features of an atom between the layers: its own, those that neighbours see, and those that skip the second."""
    W = weights.values
    h = atom * N_HIDDEN * CHANNELS
    by_degree(scratch.wide, 0, W, own + weights.product_first, state.hidden, h)
    for b in range(0, CHANNELS, 16):
        skip = own + weights.skip_first + element * CHANNELS + b
        store(state.hidden, h + b, add(load(state.hidden, h + b), load(W, skip)))
    by_degree(state.hidden, h, W, own + weights.up, state.raised, h)
    skip = own + weights.skip_second + element * CHANNELS * CHANNELS
    times(state.hidden, h, W, skip, state.skipped, atom * CHANNELS)


@compiled
def second_stage(begin, end, member, slot, weights, edges, state, scratch):
    """Second layer and energy of a range of atoms, and back to the neighbours' features."""
    own = member * weights.member
    row = len(edges.species) * edges.room
    for i in range(begin, end):
        atom = member * len(edges.species) + i
        element = edges.species[i]
        along = state.along_edges[member * 4 * row + i * edges.room :]
        clear_edges(edges.count[i], along, row)
        contract_second_layer(i, member, own, weights, edges, state, scratch)
        energy = energy_of_atom(atom, own, weights.scale[member], weights, state, scratch)
        state.energies[member, i] = energy + weights.shift[member] + weights.isolated[member, element]
        back_through_readout(atom, element, own, weights, state, scratch)
        back_to_neighbours(i, member, slot, own, weights, edges, state, scratch, along)


@inlined
def clear_edges(count, along, row):
    """Zeros in the four rows of an atom's edges."""
    for k in range(4):
        for e in range(count):
            along[k * row + e] = 0.0


@inlined
def contract_second_layer(i, member, own, weights, edges, state, scratch):
    """Components of an atom, in ``scratch.components``, and their contraction, in ``scratch.wide``."""
    W = weights.values
    first = i * edges.room
    count = edges.count[i]
    features = member * len(edges.species) * N_HIDDEN * CHANNELS
    whole_geometry(edges.x, edges.y, edges.z, first, count, scratch.rows)
    for block in range(BLOCKS):
        gather_second(
            scratch.rows, edges.neighbour, edges.bins, edges.t, first, count,
            W, own + weights.splines_second + block * weights.table_second,
            state.raised, features, scratch.mid, block * 16,
        )  # fmt: skip
    mix(scratch.mid, W, own + weights.mix_second, PATH_L_SECOND, PATH_START_SECOND, scratch.components, 0)
    for block in range(BLOCKS):
        terms = own + weights.contraction_second + (edges.species[i] * BLOCKS + block) * TERMS_SECOND
        contract_second(scratch.components, 0, W, terms, scratch.wide, block * 16)


@inlined
def energy_of_atom(atom, own, scale, weights, state, scratch):
    """Interaction energy of an atom by both readouts; derivatives by the units of the second stay in its units."""
    W = weights.values
    times(scratch.wide, 0, W, own + weights.product_second, scratch.narrow, 0)
    hidden = atom * N_HIDDEN * CHANNELS
    linear = zero()
    for b in range(0, CHANNELS, 16):
        store(scratch.narrow, b, add(load(scratch.narrow, b), load(state.skipped, atom * CHANNELS + b)))
        linear = fma(load(state.hidden, hidden + b), load(W, own + weights.readout_first + b), linear)
    inner_units(scratch.narrow, W, own + weights.readout_inner, scratch.units)
    energy = activate(scratch.units, W, own + weights.readout_outer, scale)
    return energy + np.float64(total(linear)) * np.float64(scale)


@inlined
def back_through_readout(atom, element, own, weights, state, scratch):
    """Derivatives by the contraction of the second layer, in ``scratch.wide``, and by what skipped the layer."""
    W = weights.values
    inner_units_back(scratch.units, W, own + weights.readout_inner_back, scratch.narrow)
    skip = own + weights.skip_second_back + element * CHANNELS * CHANNELS
    times(scratch.narrow, 0, W, skip, state.skipped_back, atom * CHANNELS)
    times(scratch.narrow, 0, W, own + weights.product_second_back, scratch.wide, 0)


@inlined
def back_to_neighbours(i, member, slot, own, weights, edges, state, scratch, along):
    """Derivatives by the neighbours' features, and by distance and direction of the edges in the second layer."""
    W = weights.values
    n_atoms = len(edges.species)
    wide = N_HIDDEN * CHANNELS
    for block in range(BLOCKS):
        terms = own + weights.contraction_second + (edges.species[i] * BLOCKS + block) * TERMS_SECOND
        contract_second_back(scratch.components, 0, W, terms, scratch.wide, scratch.components_back, block * 16)
    mixing = own + weights.mix_second_back
    mix_back(scratch.components_back, W, mixing, PATH_L_SECOND, PATH_START_SECOND, scratch.mid)
    for block in range(BLOCKS):
        scatter_second(
            scratch.rows, edges.neighbour, edges.bins, edges.t, i * edges.room, edges.count[i],
            W, own + weights.splines_second + block * weights.table_second, state.raised, member * n_atoms * wide,
            scratch.mid, block * 16, state.raised_back, slot * n_atoms * wide, scratch.sums, along,
            n_atoms * edges.room,
        )  # fmt: skip


@compiled
def third_stage(begin, end, member, slot, slots, weights, edges, state, scratch):
    """Back through the first layer of a range of atoms; forces and strain derivative."""
    own = member * weights.member
    n_atoms = len(edges.species)
    for i in range(begin, end):
        atom = member * n_atoms + i
        gather_slots(i, slots, state, n_atoms, N_HIDDEN * CHANNELS, scratch.wide)
        back_through_features(atom, own, weights.scale[member], weights, state, scratch)
        back_to_edges(i, atom, own, weights, edges, state, scratch)
        push(i, i * edges.room, edges.count[i], member, slot, weights, edges, state, scratch.along_edges)


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


@inlined
def back_through_features(atom, own, scale, weights, state, scratch):
    """Derivatives by the contraction of the first layer, in ``scratch.wide``, from those by the raised features."""
    W = weights.values
    by_degree(scratch.wide, 0, W, own + weights.up_back, scratch.wide_back, 0)
    readout = spread(scale)
    for b in range(0, CHANNELS, 16):
        direct = fma(readout, load(W, own + weights.readout_first + b), load(state.skipped_back, atom * CHANNELS + b))
        store(scratch.wide_back, b, add(load(scratch.wide_back, b), direct))
    by_degree(scratch.wide_back, 0, W, own + weights.product_first_back, scratch.wide, 0)


@inlined
def back_to_edges(i, atom, own, weights, edges, state, scratch):
    """Derivatives by distance and direction of the edges in the first layer, in ``scratch.along_edges``."""
    W = weights.values
    first = i * edges.room
    count = edges.count[i]
    components = atom * N_HARMONICS * CHANNELS
    for block in range(BLOCKS):
        terms = own + weights.contraction_first + (edges.species[i] * BLOCKS + block) * TERMS_FIRST
        contract_first_back(state.components, components, W, terms, scratch.wide, scratch.components_back, block * 16)
    mixing = own + weights.mix_first_back
    mix_back(scratch.components_back, W, mixing, PATH_L_FIRST, PATH_START_FIRST, scratch.mid)
    first_geometry_back(edges.x, edges.y, edges.z, first, count, scratch.rows)
    clear_edges((count + 15) // 16 * 16, scratch.along_edges, EDGES)
    for block in range(BLOCKS):
        scatter_first(
            scratch.rows, edges.neighbour_species, edges.bins, edges.t, first, count,
            W, own + weights.splines_first + block * weights.table_first,
            own + weights.embedding + block * weights.n_elements * 16, scratch.mid, block * 16,
            scratch.along_edges, EDGES,
        )  # fmt: skip

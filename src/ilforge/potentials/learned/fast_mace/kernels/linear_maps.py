"""Linear maps of channels, and the readout of the second layer."""


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

"""Source of the kernels that gather from an atom's neighbours, and of their derivatives.

Each works on one atom and sixteen channels. Radial functions come from cubic splines: a weight table holds, for each
interval of the distance and each path, four coefficients of sixteen channels. Sums stay in registers.

Arguments of the kernels: ``G`` rows of :mod:`.rows`; ``bins``, ``t`` interval of each edge and place in it; ``first``,
``count`` the atom's edges; ``W``, ``table`` weights and where the splines begin in them; ``shift`` 16 times the block
of channels.
"""

from __future__ import annotations

from ilforge.potentials.learned.fast_mace.architecture import Architecture, Path, combination, derivative
from ilforge.potentials.learned.fast_mace.rows import Factor, Rows

_SPLINE = 64  # coefficients of one path in one interval
_AXES = "xyz"
_SUMS = ("r", *_AXES)


def kernels(net: Architecture) -> tuple[list[str], int]:
    """Source of all kernels along edges, and the number of rows that they need."""
    rows = Rows()
    first = [rows.factor(combination([y], net.first_scale[m : m + 1])) for m, y in enumerate(net.harmonics)]
    coupled = _coupled(net, rows)
    slopes = [[rows.factor(derivative(y, k)) for k in range(3)] for y in net.harmonics]
    first_slopes = [
        [rows.factor(derivative(combination([y], net.first_scale[m : m + 1]), k)) for k in range(3)]
        for m, y in enumerate(net.harmonics)
    ]
    of_first = _rows_of(first)
    lines = rows.kernel("first_geometry", of_first)
    lines += rows.kernel("whole_geometry", list(range(len(rows.polynomials))))
    lines += rows.kernel("first_geometry_back", sorted({*of_first, *_rows_of(sum(first_slopes, []))}))
    lines += _gather_first(net, first) + _scatter_first(net, first, first_slopes)
    lines += _gather_second(net, coupled)
    for degree in range(net.l_max + 1):
        lines += _scatter_second(net, degree, coupled, slopes)
    return lines, len(rows.polynomials)


def _rows_of(factors: list[Factor | None]) -> list[int]:
    return sorted({factor.row for factor in factors if factor is not None and factor.row is not None})


Coupled = dict[tuple[int, int, int], Factor]


def _coupled(net: Architecture, rows: Rows) -> Coupled:
    """For path, component in and component out: the harmonics of the edge contracted with the coupling."""
    found: Coupled = {}
    for p, path in enumerate(net.paths):
        edge = list(net.harmonics[path.l_edge**2 : (path.l_edge + 1) ** 2])
        for m in range(2 * path.l_in + 1):
            for out in range(2 * path.l_out + 1):
                factor = rows.factor(combination(edge, path.coupling[m, :, out]))
                if factor is not None:
                    found[p, m, out] = factor
    return found


def _components_in(path: Path) -> list[int]:
    """Which of the neighbour's components a path takes."""
    return list(range(path.l_in**2, (path.l_in + 1) ** 2))


def _spline(path: int, slope: bool) -> list[str]:
    """Lines that give ``R``, the radial function, and ``D``, its derivative by the place in the interval."""
    start = f"q + {path * _SPLINE}"
    lines = [f"        {c} = load(W, {start} + {16 * k})" for k, c in enumerate("abcd")]
    lines.append("        R = fma(fma(fma(d, s, c), s, b), s, a)")
    if slope:
        lines.append("        D = fma(fma(d, s3, mul(c, two)), s, b)")
    return lines


def _edge_loop(n_paths: int) -> list[str]:
    """Lines that begin the loop over edges, with ``q``, where the splines of the edge begin, and ``s``, the place in
    the interval."""
    return [
        "    for e in range(count):",
        f"        q = table + bins[first + e] * {n_paths * _SPLINE}",
        "        s = spread_from(t, first + e)",
    ]


def _edge_loop_with_slopes(n_paths: int) -> list[str]:
    """The same with what slopes of splines need."""
    constants = ["    two = spread(2.0)", "    three = spread(3.0)"]
    return [*constants, *_edge_loop(n_paths), "        s3 = mul(three, s)"]


def _gather_first(net: Architecture, first: list[Factor | None]) -> list[str]:
    lines = [
        "@compiled",
        "def gather_first(G, species, bins, t, first, count, W, table, embedding, M, shift):",
        *(f"    s{m} = zero()" for m in range(net.n_harmonics)),
        *_edge_loop(net.l_max + 1),
        "        u = load(W, embedding + species[first + e] * 16)",
    ]
    for degree in range(net.l_max + 1):
        lines += [*_spline(degree, slope=False), "        w = mul(R, u)"]
        for m in range(degree**2, (degree + 1) ** 2):
            factor = first[m]
            if factor is not None:
                lines.append(f"        s{m} = {factor.times('w', f's{m}')}")
    lines += [f"    store(M, {m * net.channels} + shift, s{m})" for m in range(net.n_harmonics)]
    return [*lines, ""]


def _scatter_first(net: Architecture, first: list[Factor | None], slopes: list[list[Factor | None]]) -> list[str]:
    """Adds to ``FE`` the derivatives of the energy by distance and direction of each edge."""
    lines = [
        "@compiled",
        "def scatter_first(G, species, bins, t, first, count, W, table, embedding, M, shift, FE, row):",
        *(f"    g{m} = load(M, {m * net.channels} + shift)" for m in range(net.n_harmonics)),
        *_edge_loop_with_slopes(net.l_max + 1),
        "        u = load(W, embedding + species[first + e] * 16)",
        *(f"        s{name} = zero()" for name in _SUMS),
    ]
    for degree in range(net.l_max + 1):
        components = range(degree**2, (degree + 1) ** 2)
        lines += [*_spline(degree, slope=True), "        w = mul(R, u)"]
        lines += _sum("k", [(first[m], f"g{m}") for m in components])
        lines.append("        sr = fma(k, mul(D, u), sr)")
        for axis, name in enumerate(_AXES):
            along = [(slopes[m][axis], f"g{m}") for m in components if slopes[m][axis] is not None]
            if along:
                lines += [*_sum("k", along), f"        s{name} = fma(k, w, s{name})"]
    return [*lines, *_add_to_edges("row"), ""]


def _sum(name: str, products: list[tuple[Factor | None, str]]) -> list[str]:
    """Lines after which a variable is a sum of factors times vectors."""
    lines: list[str] = []
    for factor, vector in products:
        if factor is not None:
            lines.append(f"        {name} = {factor.times(vector, name if lines else None)}")
    return lines


def _add_to_edges(row: str) -> list[str]:
    return [f"        FE[{k} * {row} + e] += total(s{name})" for k, name in enumerate(_SUMS)]


def _neighbour(net: Architecture) -> list[str]:
    stride = net.n_hidden * net.channels
    return [
        f"        j = features + neighbour[first + e] * {stride} + shift",
        *(f"        h{m} = load(H, j + {m * net.channels})" for m in range(net.n_hidden)),
    ]


def _gather_second(net: Architecture, coupled: Coupled) -> list[str]:
    starts = net.path_starts
    lines = [
        "@compiled",
        "def gather_second(G, neighbour, bins, t, first, count, W, table, H, features, M, shift):",
    ]
    for degree in range(net.l_max + 1):
        paths = [p for p, path in enumerate(net.paths) if path.l_out == degree]
        outputs = [(p, out) for p in paths for out in range(2 * degree + 1)]
        lines += [f"    s{p}_{out} = zero()" for p, out in outputs]
        lines += [*_edge_loop(len(net.paths)), *_neighbour(net)]
        for p in paths:
            lines += _spline(p, slope=False)
            components = _components_in(net.paths[p])
            lines += [f"        p{m} = mul(R, h{m})" for m in components]
            for out in range(2 * degree + 1):
                for k, m in enumerate(components):
                    if (p, k, out) in coupled:
                        name = f"s{p}_{out}"
                        lines.append(f"        {name} = {coupled[p, k, out].times(f'p{m}', name)}")
        lines += [f"    store(M, {(starts[p] + out) * net.channels} + shift, s{p}_{out})" for p, out in outputs]
    return [*lines, ""]


def _scatter_second(net: Architecture, degree: int, coupled: Coupled, slopes: list[list[Factor | None]]) -> list[str]:
    """One kernel for all paths of one degree of the edge: ``S`` carries sums from the one before to the next."""
    paths = [p for p, path in enumerate(net.paths) if path.l_edge == degree]
    starts, last = net.path_starts, degree == net.l_max
    lines = [
        "@compiled",
        f"def scatter_second_{degree}(G, neighbour, bins, t, first, count, W, table, H, features, M, shift,",
        "                     DH, gradients, S, FE, row):",
    ]
    for p in paths:
        for out in range(2 * net.paths[p].l_out + 1):
            lines.append(f"    g{p}_{out} = load(M, {(starts[p] + out) * net.channels} + shift)")
    lines += [*_edge_loop_with_slopes(len(net.paths)), *_neighbour(net)]
    for k, name in enumerate(_SUMS):
        lines.append(f"        s{name} = " + ("zero()" if degree == 0 else f"load(S, e * 64 + {16 * k})"))
    changed: dict[int, bool] = {}
    angular: set[int] = set()
    for p in paths:
        lines += _one_path_back(net, p, coupled, changed)
        if degree:
            lines += _angular_back(net.paths[p], p, degree, angular)
    for m in sorted(angular):
        for axis, name in enumerate(_AXES):
            factor = slopes[m][axis]
            if factor is not None:
                lines.append(f"        s{name} = {factor.times(f'y{m}', f's{name}')}")
    for m in changed:
        place = f"gradients + neighbour[first + e] * {net.n_hidden * net.channels} + shift + {m * net.channels}"
        lines.append(f"        store(DH, {place}, add(load(DH, {place}), dh{m}))")
    if last:
        return [*lines, *_add_to_edges("row"), ""]
    return [*lines, *(f"        store(S, e * 64 + {16 * k}, s{name})" for k, name in enumerate(_SUMS)), ""]


def _one_path_back(net: Architecture, p: int, coupled: Coupled, changed: dict[int, bool]) -> list[str]:
    """Derivatives by the distance and by the neighbour's features."""
    path = net.paths[p]
    lines, begun = _spline(p, slope=True), False
    for k, m in enumerate(_components_in(path)):
        outputs = [out for out in range(2 * path.l_out + 1) if (p, k, out) in coupled]
        if not outputs:
            continue
        lines += _sum("k", [(coupled[p, k, out], f"g{p}_{out}") for out in outputs])
        lines.append(f"        f = fma(k, h{m}, f)" if begun else f"        f = mul(k, h{m})")
        lines.append(f"        dh{m} = fma(R, k, dh{m})" if m in changed else f"        dh{m} = mul(R, k)")
        changed[m] = begun = True
    return [*lines, "        sr = fma(f, D, sr)"]


def _angular_back(path: Path, p: int, degree: int, angular: set[int]) -> list[str]:
    """Derivatives by the spherical harmonics of the edge, products with one coefficient gathered first."""
    components = _components_in(path)
    lines = [f"        p{m} = mul(R, h{m})" for m in components]
    for edge in range(2 * degree + 1):
        groups: dict[float, list[tuple[int, int, float]]] = {}
        for k, m in enumerate(components):
            for out in range(2 * path.l_out + 1):
                value = float(path.coupling[k, edge, out])
                if abs(value) > 1e-9:
                    groups.setdefault(round(abs(value), 9), []).append((m, out, value))
        target = degree**2 + edge
        for items in groups.values():
            items.sort(key=lambda item: -item[2])
            value = items[0][2]
            for k, (m, out, coefficient) in enumerate(items):
                if k == 0:
                    lines.append(f"        k = mul(p{m}, g{p}_{out})")
                else:
                    function = "fma" if coefficient * value > 0 else "fnma"
                    lines.append(f"        k = {function}(p{m}, g{p}_{out}, k)")
            number = f"spread({value!r})"
            if target in angular:
                lines.append(f"        y{target} = fma({number}, k, y{target})")
            else:
                lines.append(f"        y{target} = mul({number}, k)")
                angular.add(target)
    return lines

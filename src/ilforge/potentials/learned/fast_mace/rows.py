"""Polynomials of the direction of an edge that kernels share: each is computed once per edge and stored in a row."""

from __future__ import annotations

from dataclasses import dataclass, field

from ilforge.potentials.learned.fast_mace.architecture import Monomial, Polynomial

EDGES = 528
"""Length of a row: 512 edges, and sixteen more so that rows do not share sets of the cache."""

_ROUNDED = 9
_AXES = "xyz"


@dataclass(frozen=True)
class Factor:
    """A polynomial as a kernel uses it: ``sign`` times a row, or a constant where ``row`` is None."""

    row: int | None
    value: float

    def times(self, vector: str, accumulator: str | None) -> str:
        """Source of ``accumulator + self * vector``; of the product alone without an accumulator."""
        if self.row is None:
            return _scaled(self.value, vector, accumulator)
        row = f"spread_from(G, {self.row * EDGES} + e)"
        if accumulator is None:
            return f"mul({row}, {vector})" if self.value > 0 else f"fnma({row}, {vector}, zero())"
        return f"{'fma' if self.value > 0 else 'fnma'}({row}, {vector}, {accumulator})"


def _scaled(value: float, vector: str, accumulator: str | None) -> str:
    if abs(value - 1) < 10**-_ROUNDED:
        return vector if accumulator is None else f"add({vector}, {accumulator})"
    number = f"spread({value!r})"
    return f"mul({number}, {vector})" if accumulator is None else f"fma({number}, {vector}, {accumulator})"


@dataclass
class Rows:
    """The rows of one architecture; polynomials that differ only in sign share one."""

    polynomials: list[Polynomial] = field(default_factory=list)
    _index: dict[tuple[tuple[Monomial, float], ...], int] = field(default_factory=dict)

    def factor(self, polynomial: Polynomial) -> Factor | None:
        """The polynomial as a factor, with a new row if necessary; None if it is zero."""
        items = sorted((powers, value) for powers, value in polynomial.items() if abs(value) > 10**-_ROUNDED)
        if not items:
            return None
        if items[0][0] == (0, 0, 0) and len(items) == 1:
            return Factor(None, items[0][1])
        sign = 1.0 if items[0][1] > 0 else -1.0
        key = tuple((powers, round(sign * value, _ROUNDED)) for powers, value in items)
        if key not in self._index:
            self._index[key] = len(self.polynomials)
            self.polynomials.append({powers: sign * value for powers, value in items})
        return Factor(self._index[key], sign)

    def kernel(self, name: str, rows: list[int]) -> list[str]:
        """Source of a function that fills rows for the unit vectors of one atom's edges, sixteen at once."""
        lines = [
            "@compiled",
            f"def {name}(ux, uy, uz, first, count, G):",
            "    one = spread(1.0)",
            "    for e in range(0, count, 16):",
            *(f"        {axis} = load(u{axis}, first + e)" for axis in _AXES),
        ]
        names: dict[Monomial, str] = {(0, 0, 0): "one", (1, 0, 0): "x", (0, 1, 0): "y", (0, 0, 1): "z"}
        for row in rows:
            value = None
            for powers, coefficient in sorted(self.polynomials[row].items()):
                monomial = _monomial(powers, names, lines)
                number = f"spread({coefficient!r})"
                value = f"mul({number}, {monomial})" if value is None else f"fma({number}, {monomial}, {value})"
            lines.append(f"        store(G, {row * EDGES} + e, {value})")
        return [*lines, ""]


def _monomial(powers: Monomial, names: dict[Monomial, str], lines: list[str]) -> str:
    """Name of the variable that holds a monomial, with the lines that compute it where it is not there yet."""
    if powers in names:
        return names[powers]
    axis = next(k for k in range(3) if powers[k])
    lower = tuple(power - (k == axis) for k, power in enumerate(powers))
    factor = _monomial((lower[0], lower[1], lower[2]), names, lines)
    names[powers] = "m{}{}{}".format(*powers)
    lines.append(f"        {names[powers]} = mul({factor}, {_AXES[axis]})")
    return names[powers]

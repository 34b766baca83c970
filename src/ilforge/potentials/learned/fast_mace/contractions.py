"""Source of the symmetric contraction of each layer and of its derivative.

The contraction is a polynomial of an atom's components, up to third degree, with coefficients of its element for each
channel. Written as nested sums (Horner's scheme) it needs one multiplication for each product.

Arguments of the kernels: ``A`` the components, ``(l_max + 1)^2`` rows of all channels; ``W``, ``w`` weights and where
the coefficients of the element and block begin; ``shift`` 16 times the block of channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ilforge.potentials.learned.fast_mace.architecture import Architecture, Term


@dataclass
class _Branch:
    """Products with the same first factors: the coefficient of the product that ends here, and the longer products."""

    coefficient: int | None = None
    further: dict[int, _Branch] = field(default_factory=dict)


def kernels(net: Architecture) -> list[str]:
    """Source of the contractions of both layers and of their derivatives."""
    lines: list[str] = []
    for number, layer in enumerate(("first", "second")):
        trees = _trees(net.terms[number])
        lines += _value(f"contract_{layer}", net, trees) + _gradient(f"contract_{layer}_back", net, trees)
    return lines


def _trees(outputs: tuple[tuple[Term, ...], ...]) -> list[_Branch]:
    """One tree of products for each output; coefficients count through all outputs in order."""
    trees, number = [], 0
    for terms in outputs:
        root = _Branch()
        for term in terms:
            branch = root
            for component in term:
                branch = branch.further.setdefault(component, _Branch())
            branch.coefficient = number
            number += 1
        trees.append(root)
    return trees


def _used(branch: _Branch) -> set[int]:
    return set(branch.further) | {m for inner in branch.further.values() for m in _used(inner)}


def _coefficient(number: int) -> str:
    return f"load(W, w + {16 * number})"


def _innermost(branch: _Branch) -> str:
    """Source of the sum over the third component, with the coefficient of the product of two."""
    value = None if branch.coefficient is None else _coefficient(branch.coefficient)
    for m, leaf in branch.further.items():
        assert leaf.coefficient is not None  # the longest products end at the third component
        number = _coefficient(leaf.coefficient)
        value = f"mul({number}, a{m})" if value is None else f"fma({number}, a{m}, {value})"
    assert value is not None
    return value


def _start(branch: _Branch) -> str:
    return "zero()" if branch.coefficient is None else _coefficient(branch.coefficient)


def _value(name: str, net: Architecture, trees: list[_Branch]) -> list[str]:
    used = sorted(set().union(*(_used(tree) for tree in trees)))
    lines = ["@compiled", f"def {name}(A, a, W, w, B, shift):"]
    lines += [f"    a{m} = load(A, a + {m * net.channels} + shift)" for m in used]
    for output, tree in enumerate(trees):
        lines.append("    v = zero()")
        for first, branch in tree.further.items():
            lines.append(f"    t = {_start(branch)}")
            lines += [f"    t = fma({_innermost(inner)}, a{m}, t)" for m, inner in branch.further.items()]
            lines.append(f"    v = fma(t, a{first}, v)")
        lines.append(f"    store(B, {output * net.channels} + shift, v)")
    return [*lines, ""]


def _gradient(name: str, net: Architecture, trees: list[_Branch]) -> list[str]:
    """Source of the derivatives by the components, ``GA``, from those by the outputs, ``DB``."""
    used = sorted(set().union(*(_used(tree) for tree in trees)))
    lines = ["@compiled", f"def {name}(A, a, W, w, DB, GA, shift):"]
    for m in used:
        lines += [f"    a{m} = load(A, a + {m * net.channels} + shift)", f"    g{m} = zero()"]
    for output, tree in enumerate(trees):
        lines.append(f"    b = load(DB, {output * net.channels} + shift)")
        for first, branch in tree.further.items():
            lines += [f"    d = mul(b, a{first})", f"    t = {_start(branch)}"]
            for second, inner in branch.further.items():
                lines += [
                    f"    i = {_innermost(inner)}",
                    f"    t = fma(i, a{second}, t)",
                    f"    g{second} = fma(d, i, g{second})",
                ]
                if inner.further:
                    lines.append(f"    f = mul(d, a{second})")
                for third, leaf in inner.further.items():
                    assert leaf.coefficient is not None
                    lines.append(f"    g{third} = fma({_coefficient(leaf.coefficient)}, f, g{third})")
            lines.append(f"    g{first} = fma(b, t, g{first})")
    for m in range(net.n_harmonics):
        value = f"g{m}" if m in used else "zero()"
        lines.append(f"    store(GA, {m * net.channels} + shift, {value})")
    return [*lines, ""]

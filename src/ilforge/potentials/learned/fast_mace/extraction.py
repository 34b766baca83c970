"""Convert a MACE model of mace-torch to a :class:`~.network.Network`. Loads PyTorch and mace.

Every part of the model is evaluated for unit inputs, so the result does not depend on assumptions about the conventions
of e3nn for normalisation and order. A model that does not have this form is refused.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

with contextlib.redirect_stdout(io.StringIO()):  # importing it prints which accelerators are not installed
    import mace.modules  # noqa: F401  before e3nn, whose constants do not load otherwise

from e3nn import o3

from ilforge.potentials.learned.fast_mace.architecture import Architecture, Path, Polynomial, Term, fitted
from ilforge.potentials.learned.fast_mace.network import Network, NoFastForm, Packer, spline_table
from ilforge.potentials.learned.fast_mace.repulsion import ZBL_SHARES
from ilforge.potentials.learned.fast_mace.vectors import LANES

INTERVALS = 1024
"""Number of intervals of the radial splines: their errors in forces are then below those of single precision."""
R_MIN = 0.4
"""Distance at which the splines begin, Å: less than half of any bond length."""

_BLOCK = "RealAgnosticResidualInteractionBlock"
_ZERO = 1e-12


def extract(model: Any) -> Network:
    """The network of a loaded model, which is put into double precision.

    Raises
    ------
    NoFastForm
        When it is no two-layer ScaleShiftMACE of a known form.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            return _Reader(model).network()
    finally:
        torch.set_default_dtype(before)


def require_known_form(model: Any) -> None:
    """Refuse a model whose parts are of another form, without a change of the model.

    Raises
    ------
    NoFastForm
        Names the part.
    """
    if type(model).__name__ != "ScaleShiftMACE":
        raise NoFastForm(f"it is a {type(model).__name__}, not a ScaleShiftMACE")
    if len(model.interactions) != 2:
        raise NoFastForm(f"it has {len(model.interactions)} layers, not two")
    if len(getattr(model, "heads", ["Default"])) != 1:
        raise NoFastForm(f"it has several heads ({', '.join(model.heads)})")
    for part in ("joint_embedding", "embedding_readout"):
        if hasattr(model, part):
            raise NoFastForm(f"it has a {part}")
    for interaction in model.interactions:
        if type(interaction).__name__ != _BLOCK:
            raise NoFastForm(f"its layers are {type(interaction).__name__}, not {_BLOCK}")
        if hasattr(interaction, "conv_fusion"):
            raise NoFastForm("its tensor product was fused for another device")
    if hasattr(model.radial_embedding, "distance_transform"):
        raise NoFastForm("its radial functions depend on the elements (distance_transform)")
    if len(model.readouts) != 2:
        raise NoFastForm("it has no readout after the first layer")
    if getattr(model, "use_agnostic_product", False):
        raise NoFastForm("its products do not depend on the element (use_agnostic_product)")


class _Reader:
    """Reads one model in double precision."""

    def __init__(self, model: Any):
        require_known_form(model)
        self._model = model = model.double().eval()
        self._elements = np.array([int(z) for z in model.atomic_numbers])
        hidden = model.interactions[1].linear_up.irreps_in
        self._l_hidden = max(ir.l for _, ir in hidden)
        self._channels = hidden.count(o3.Irrep(0, 1))
        self._l_max = max(ir.l for _, ir in model.interactions[0].target_irreps)
        natural = o3.Irreps([(self._channels, (l, (-1) ** l)) for l in range(self._l_hidden + 1)])
        if o3.Irreps(str(hidden)) != natural:
            raise NoFastForm(f"its hidden features are {hidden}, not of the form {natural}")
        if self._l_max > 3 or self._l_hidden > 2:
            raise NoFastForm(f"its degrees (max_ell {self._l_max}, hidden {self._l_hidden}) exceed 3 and 2")
        self._blocks = -(-self._channels // LANES)
        self._padded = self._blocks * LANES

    def network(self) -> Network:
        model, packer = self._model, Packer()
        first, second = model.interactions
        knots = np.linspace(R_MIN, float(model.r_max), INTERVALS + 1)
        step = float(knots[1] - knots[0])
        coupling_first, degrees = self._coupling(first, 1)
        if degrees != list(range(self._l_max + 1)):
            raise NoFastForm("its first layer has other paths than one for each degree")
        coupling, out = self._coupling(second, (self._l_hidden + 1) ** 2)
        packer.add("splines_first", self._splines(first, knots, step, len(degrees)))
        packer.add("splines_second", self._splines(second, knots, step, len(out)))
        terms = tuple(self._layer(packer, number, *paths) for number, paths in enumerate((degrees, out)))
        self._readouts(packer)
        net = Architecture(
            blocks=self._blocks,
            l_hidden=self._l_hidden,
            l_max=self._l_max,
            harmonics=self._harmonics(),
            first_scale=tuple(coupling_first[0, m, m] for m in range((self._l_max + 1) ** 2)),
            paths=self._paths(coupling, out),
            terms=(terms[0], terms[1]),
        )
        isolated = np.asarray(model.atomic_energies_fn.atomic_energies).reshape(-1)
        return Network(
            net, self._elements, isolated.copy(), float(model.scale_shift.scale), float(model.scale_shift.shift),
            float(model.r_max), R_MIN, INTERVALS, packer.weights(), packer.places, self._repulsion(),
        )  # fmt: skip

    def _harmonics(self) -> tuple[Polynomial, ...]:
        points = np.random.default_rng(0).normal(size=(200, 3))
        points /= np.linalg.norm(points, axis=1)[:, None]
        values = self._model.spherical_harmonics(torch.tensor(points)).numpy()
        degrees = [l for l in range(self._l_max + 1) for _ in range(2 * l + 1)]
        return tuple(fitted(l, points, values[:, m]) for m, l in enumerate(degrees))

    def _coupling(self, interaction: Any, n_in: int) -> tuple[np.ndarray, list[int]]:
        """Tensor product of channel 0 with unit weights, ``(n_in, n_harmonics, n_out)``, and degrees of its paths."""
        product, n_edge = interaction.conv_tp, (self._l_max + 1) ** 2
        sizes = self._offsets(product.irreps_out)
        columns = [begin + m for begin, l in sizes for m in range(2 * l + 1)]
        rows = [begin + m for begin, l in self._offsets(product.irreps_in1) for m in range(2 * l + 1)]
        if len(rows) != n_in:
            raise NoFastForm(f"its features along edges are {product.irreps_in1}")
        left = torch.zeros(n_in * n_edge, product.irreps_in1.dim)
        right = torch.zeros(n_in * n_edge, n_edge)
        for k, row in enumerate(rows):
            for m in range(n_edge):
                left[k * n_edge + m, row] = right[k * n_edge + m, m] = 1.0
        found = product(left, right, torch.ones(n_in * n_edge, product.weight_numel)).numpy()
        return found.reshape(n_in, n_edge, -1)[:, :, columns], [l for _, l in sizes]

    @staticmethod
    def _offsets(irreps: Any) -> list[tuple[int, int]]:
        """First component of each irrep, and its degree; the components of a channel are adjacent."""
        found, begin = [], 0
        for count, irrep in irreps:
            found.append((begin, irrep.l))
            begin += count * irrep.dim
        return found

    def _paths(self, coupling: np.ndarray, out: list[int]) -> tuple[Path, ...]:
        starts = np.cumsum([0, *(2 * l + 1 for l in out)])
        slices = [slice(l * l, (l + 1) ** 2) for l in range(self._l_max + 1)]
        paths = []
        for number, l_out in enumerate(out):
            part = coupling[:, :, starts[number] : starts[number + 1]]
            pairs = [
                (a, b)
                for a in range(self._l_hidden + 1)
                for b in range(self._l_max + 1)
                if np.abs(part[slices[a], slices[b]]).max() > _ZERO
            ]
            if len(pairs) != 1:
                raise NoFastForm("a path of its second layer mixes degrees")
            a, b = pairs[0]
            paths.append(Path(a, b, l_out, part[slices[a], slices[b]]))
        return tuple(paths)

    def _splines(self, interaction: Any, knots: np.ndarray, step: float, n_paths: int) -> np.ndarray:
        """``(blocks, intervals + 1, n_paths, 4, 16)``."""
        one_hot = torch.eye(len(self._elements))[:1]
        embedding, numbers = self._model.radial_embedding, self._model.atomic_numbers

        def radial(r: torch.Tensor) -> torch.Tensor:
            pairs = torch.zeros(2, len(r), dtype=torch.long)
            features = embedding(r[:, None], one_hot.expand(len(r), -1), pairs, numbers)
            features, cutoff = features if isinstance(features, tuple) else (features, None)
            weights: torch.Tensor = interaction.conv_tp_weights(features)
            if cutoff is not None:
                weights = weights * cutoff
            return weights

        at = torch.tensor(knots)
        values, slopes = (part.detach().numpy() for part in torch.func.jvp(radial, (at,), (torch.ones_like(at),)))
        values[-1] = slopes[-1] = 0.0
        shape = (len(knots), n_paths, self._channels)
        table = spline_table(values.reshape(shape), slopes.reshape(shape), step)  # knot, 4, path, channel
        table = self._pad(table, -1).reshape(len(knots), 4, n_paths, self._blocks, LANES)
        return table.transpose(3, 0, 2, 1, 4)

    def _pad(self, array: np.ndarray, *axes: int) -> np.ndarray:
        """Zeros behind the channels, to whole blocks."""
        width = [(0, 0)] * array.ndim
        for axis in axes:
            width[axis] = (0, self._padded - self._channels)
        return np.pad(array, width)

    def _matrix(self, part: Callable[[torch.Tensor], torch.Tensor], size: int) -> np.ndarray:
        return part(torch.eye(size)).numpy()

    def _both(self, packer: Packer, name: str, matrices: np.ndarray) -> None:
        """Matrices ``(..., channel in, channel out)`` and their transposes."""
        padded = self._pad(matrices, -1, -2)
        packer.add(name, padded)
        packer.add(f"{name}_back", np.swapaxes(padded, -1, -2))

    def _layer(self, packer: Packer, number: int, *degrees: int) -> tuple[tuple[Term, ...], ...]:
        """Everything of a layer but its splines; returns the terms of its contraction."""
        model, name = self._model, ("first", "second")[number]
        interaction, product, c = model.interactions[number], model.products[number], self._channels
        irreps = interaction.linear.irreps_in
        mixing = self._matrix(interaction.linear, irreps.dim) / float(interaction.avg_num_neighbors)
        ends = np.cumsum([0, *(c * (2 * l + 1) for l in range(self._l_max + 1))])
        blocks = [
            mixing[begin : begin + c * (2 * l + 1) : 2 * l + 1, ends[l] : ends[l] + c * (2 * l + 1) : 2 * l + 1]
            for begin, l in self._offsets(irreps)
        ]
        self._both(packer, f"mix_{name}", np.array(blocks))
        n_elements = len(self._elements)
        eye = torch.eye(n_elements)
        up = self._matrix(interaction.linear_up, interaction.linear_up.irreps_in.dim)
        if number == 0:
            species = model.node_embedding(eye)
            embedded = self._pad(species.numpy() @ up, -1)
            packer.add("embedding", embedded.reshape(n_elements, self._blocks, LANES).transpose(1, 0, 2))
            packer.add("skip_first", self._pad(self._skip(interaction, species, eye), -1))
        else:
            self._both(packer, "up", np.array(self._diagonal(up)))
            n = interaction.skip_tp.irreps_in1.dim
            one_hot = [eye[z : z + 1].expand(n, -1) for z in range(n_elements)]
            skips = [self._skip(interaction, torch.eye(n), rows)[:c] for rows in one_hot]
            self._both(packer, "skip_second", np.array(skips))
        after = self._matrix(product.linear, product.linear.irreps_in.dim)
        self._both(packer, f"product_{name}", np.array(self._diagonal(after)))
        return self._contraction(packer, name, product)

    def _skip(self, interaction: Any, features: torch.Tensor, species: torch.Tensor) -> np.ndarray:
        """The skip connection around the layer, for scalars only, because its input has only scalars."""
        found: np.ndarray = interaction.skip_tp(features, species).numpy()[:, : self._channels]
        return found

    def _diagonal(self, matrix: np.ndarray) -> list[np.ndarray]:
        """A linear map of equivariant features as one matrix of channels for each degree."""
        c, begin = self._channels, 0
        found: list[np.ndarray] = []
        while begin < len(matrix):
            size = 2 * len(found) + 1
            found.append(matrix[begin : begin + c * size : size, begin : begin + c * size : size])
            begin += c * size
        return found

    def _contraction(self, packer: Packer, name: str, product: Any) -> tuple[tuple[Term, ...], ...]:
        """The symmetric contraction as polynomials; packs coefficients ``(element, block, term, 16)``."""
        outputs: list[dict[Term, np.ndarray]] = []
        for contraction in product.symmetric_contractions.contractions:
            outputs += _polynomials(contraction)
        terms = tuple(tuple(sorted(output)) for output in outputs)
        if max(len(term) for output in terms for term in output) > 3:
            raise NoFastForm("its correlation is above 3")
        values = np.array([outputs[o][term] for o, found in enumerate(terms) for term in found])
        values = self._pad(values, -1).reshape(len(values), len(self._elements), self._blocks, LANES)
        packer.add(f"contraction_{name}", values.transpose(1, 2, 0, 3))
        return terms

    def _readouts(self, packer: Packer) -> None:
        first, second = self._model.readouts
        if type(first).__name__ != "LinearReadoutBlock" or type(second).__name__ != "NonLinearReadoutBlock":
            raise NoFastForm(f"its readouts are {type(first).__name__} and {type(second).__name__}")
        activation = second.non_linearity.acts[0]
        points = torch.linspace(-3, 3, 7)
        silu, given = torch.nn.functional.silu(points), activation(points)
        factor = float((given @ silu) / (silu @ silu))  # e3nn normalises activations
        if float(torch.abs(given - factor * silu).max()) > 1e-9:
            raise NoFastForm("the activation of its readout is not silu")
        linear = self._matrix(first.linear, first.linear.irreps_in.dim)[: self._channels, 0]
        inner = self._matrix(second.linear_1, second.linear_1.irreps_in.dim)
        outer = factor * self._matrix(second.linear_2, second.linear_2.irreps_in.dim)[:, 0]
        if inner.shape[1] > LANES:
            raise NoFastForm(f"its readout has {inner.shape[1]} units, more than {LANES}")
        more = LANES - inner.shape[1]
        inner = np.pad(self._pad(inner, 0), ((0, 0), (0, more)))
        packer.add("readout_first", self._pad(linear, 0))
        packer.add("readout_inner", inner)
        packer.add("readout_inner_back", inner.T)
        packer.add("readout_outer", np.pad(outer, (0, more)))

    def _repulsion(self) -> np.ndarray | None:
        if not hasattr(self._model, "pair_repulsion"):
            return None
        found = self._model.pair_repulsion_fn
        if not np.allclose(found.c.numpy(), ZBL_SHARES):
            raise NoFastForm("its pair repulsion is not that of Ziegler, Biersack and Littmark")
        z = self._elements.astype(float)
        power, radii = float(found.a_exp), found.covalent_radii.numpy()[self._elements]
        length = float(found.a_prefactor) * 0.529 / (z[:, None] ** power + z[None] ** power)
        table = np.empty((len(z), len(z), 4))
        # a half for each atom of a pair, and scaled like the rest of the energy, as mace has it
        table[..., 0] = float(self._model.scale_shift.scale) * 0.5 * 14.3996 * z[:, None] * z[None]
        table[..., 1] = length
        table[..., 2] = radii[:, None] + radii[None]
        table[..., 3] = float(found.p)
        return table


def _polynomials(contraction: Any) -> list[dict[Term, np.ndarray]]:
    """For each output component: the coefficients of its products, ``(n_elements, n_channels)`` each."""
    found: list[dict[Term, np.ndarray]] = []
    weights = [contraction.weights_max, *contraction.weights]
    for number, weight in enumerate(weights):
        degree = contraction.correlation - number
        basis, values = contraction.U_tensors(degree).numpy(), weight.detach().numpy()
        if basis.ndim == degree + 1:
            basis = basis[None]
        found = found or [{} for _ in basis]
        for output, part in zip(found, basis, strict=True):
            places = np.argwhere(np.abs(part).max(axis=-1) > _ZERO)
            for index in map(tuple, places.tolist()):
                term = tuple(sorted(index))
                output[term] = output.get(term, 0.0) + np.einsum("k,zkc->zc", part[index], values)
    return found

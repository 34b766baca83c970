"""A MACE network as numbers alone: its architecture, and weights in the order in which kernels read them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import files
from ilforge.potentials.learned.fast_mace.architecture import Architecture
from ilforge.potentials.learned.fast_mace.architecture import Path as TensorPath

VERSION = 2
"""Version of the layout: files with another version are made again."""


class NoFastForm(Exception):
    """The compiled kernels cannot evaluate the model, so mace-torch does; the text says why."""


@dataclass(frozen=True)
class Network:
    """Everything that an evaluation needs of a model.

    Attributes
    ----------
    architecture
        Which kernels it needs.
    elements
        Atomic numbers that it knows, ``(n_elements,)``, in the order of its weights.
    isolated
        Energy of each element's isolated atom, ``(n_elements,)``, eV.
    scale, shift
        Of the interaction energy of an atom: ``scale * output + shift``, eV.
    r_max
        Cutoff, Å.
    r_min
        Distance at which the splines of the radial functions begin, Å; frames with closer atoms are refused.
    intervals
        Of the splines between the two.
    weights
        float32, all of them.
    places
        Where each kind of weight begins in ``weights``.
    repulsion
        Of Ziegler, Biersack and Littmark, for each pair of elements, ``(n_elements, n_elements, 4)``: strength in eV Å,
        screening length and cutoff in Å, power of the cutoff. None without.
    """

    architecture: Architecture
    elements: np.ndarray
    isolated: np.ndarray
    scale: float
    shift: float
    r_max: float
    r_min: float
    intervals: int
    weights: np.ndarray
    places: dict[str, int]
    repulsion: np.ndarray | None = None

    def save(self, path: Path, report: dict[str, Any]) -> None:
        """Write everything, with a report beside it, as numbers and text that run no code when they are read."""
        net = self.architecture
        about = {
            "version": VERSION,
            "report": report,
            "places": self.places,
            "numbers": {key: getattr(self, key) for key in ("scale", "shift", "r_max", "r_min", "intervals")},
            "shape": {"blocks": net.blocks, "l_hidden": net.l_hidden, "l_max": net.l_max},
            "harmonics": [[[list(powers), value] for powers, value in y.items()] for y in net.harmonics],
            "first_scale": list(net.first_scale),
            "paths": [[path.l_in, path.l_edge, path.l_out, path.coupling.tolist()] for path in net.paths],
            "terms": net.terms,
        }
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"elements": self.elements, "isolated": self.isolated, "weights": self.weights}
        if self.repulsion is not None:
            arrays["repulsion"] = self.repulsion
        np.savez(buffer, about=np.array(json.dumps(about)), **arrays)
        files.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> tuple[Network, dict[str, Any]] | None:
        """Read a file of :meth:`save`; None if it is missing, damaged or of another version."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                if about["version"] != VERSION:
                    return None
                network = cls(
                    architecture=_architecture(about),
                    elements=stored["elements"],
                    isolated=stored["isolated"],
                    weights=stored["weights"],
                    places=about["places"],
                    repulsion=stored["repulsion"] if "repulsion" in stored.files else None,
                    **about["numbers"],
                )
                return network, about["report"]
        except (OSError, ValueError, KeyError, EOFError):
            return None
        except Exception as error:  # zipfile and json have errors of their own for a damaged file
            if type(error).__name__ in ("BadZipFile", "JSONDecodeError"):
                return None
            raise


def _architecture(about: dict[str, Any]) -> Architecture:
    first, second = (tuple(tuple(tuple(term) for term in output) for output in layer) for layer in about["terms"])
    return Architecture(
        **about["shape"],
        harmonics=tuple({(p[0], p[1], p[2]): float(value) for p, value in y} for y in about["harmonics"]),
        first_scale=tuple(about["first_scale"]),
        paths=tuple(TensorPath(a, b, c, np.array(coupling)) for a, b, c, coupling in about["paths"]),
        terms=(first, second),
    )


@dataclass
class Packer:
    """Joins arrays into one, and stores the beginning of each, at multiples of sixteen numbers."""

    def __post_init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._end = 0
        self.places: dict[str, int] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        flat = np.ascontiguousarray(array, dtype=np.float32).reshape(-1)
        flat = np.concatenate([flat, np.zeros(-len(flat) % 16, np.float32)])
        self.places[name] = self._end
        self._parts.append(flat)
        self._end += len(flat)

    def weights(self) -> np.ndarray:
        return np.concatenate(self._parts)


def spline_table(values: np.ndarray, slopes: np.ndarray, step: float) -> np.ndarray:
    """Coefficients of cubic Hermite splines by the place in each interval, from 0 to 1.

    Parameters
    ----------
    values, slopes
        ``(n_knots, ...)`` function and derivative at knots that lie ``step`` apart.

    Returns
    -------
    np.ndarray
        ``(n_knots, 4, ...)``: one additional interval of zeros at the end, because a distance just below the last knot
        can be rounded to it.
    """
    a, b = values[:-1], slopes[:-1] * step
    rise, end = values[1:] - values[:-1], slopes[1:] * step
    coefficients = np.stack([a, b, 3 * rise - 2 * b - end, b + end - 2 * rise], axis=1)
    return np.concatenate([coefficients, np.zeros_like(coefficients[:1])])

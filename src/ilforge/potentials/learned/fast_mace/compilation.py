"""Kernels of an architecture as a module: written once into the user's cache, compiled by numba, and kept there.

Numba stores machine code only beside a source file, so the generated source must be a file. Its content depends only on
the architecture, and the file is written again if it differs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from ilforge import files
from ilforge.potentials.learned.fast_mace import contractions, convolutions
from ilforge.potentials.learned.fast_mace.architecture import Architecture

log = logging.getLogger("ilforge")

_HEAD = '''"""Kernels of one MACE architecture, written by ilforge. Changes are overwritten."""
import math

import numpy as np

from ilforge.compiled import compiled, inlined
from ilforge.potentials.learned.fast_mace.arrays import MOST_EDGES, TOO_CLOSE, TOO_MANY
from ilforge.potentials.learned.fast_mace.rows import EDGES
from ilforge.potentials.learned.fast_mace.vectors import (
    add, fma, fnma, load, mul, reciprocal, root, spread, spread_from, store, store_split, total, zero,
)

'''


_APPENDED = "\n\n".join(  # read at import: a later update must not affect this process
    Path(__file__).with_name("kernels").joinpath(f"{name}.py").read_text()
    for name in ("edges", "linear_maps", "edge_forces", "stages")
)


def folder() -> Path:
    """Folder for files that ilforge can make again: ``$XDG_CACHE_HOME/ilforge``, or ``~/.cache/ilforge``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ilforge" / "fast_mace"


def source(net: Architecture) -> tuple[str, int]:
    """Source of the module for an architecture, and the number of rows that its kernels need."""
    lines, n_rows = convolutions.kernels(net)
    lines += contractions.kernels(net) + _second_scatter(net)
    return _HEAD + "\n".join([*_constants(net), "", *lines]) + "\n" + _APPENDED, n_rows


def _constants(net: Architecture) -> list[str]:
    """Sizes as constants, so that the compiler can unroll loops."""
    first = range(net.l_max + 1)
    numbers = {
        "BLOCKS": net.blocks,
        "CHANNELS": net.channels,
        "L_HIDDEN": net.l_hidden,
        "N_HIDDEN": net.n_hidden,
        "N_HARMONICS": net.n_harmonics,
        "TERMS_FIRST": 16 * net.n_terms(0),
        "TERMS_SECOND": 16 * net.n_terms(1),
        "PATH_L_FIRST": tuple(first),
        "PATH_START_FIRST": tuple(l * l for l in first),
        "PATH_L_SECOND": tuple(path.l_out for path in net.paths),
        "PATH_START_SECOND": tuple(net.path_starts[:-1]),
    }
    return [f"{name} = {value}" for name, value in numbers.items()]


def _second_scatter(net: Architecture) -> list[str]:
    """One function that calls the kernels of all degrees, so that the stages need not know how many there are."""
    arguments = "G, neighbour, bins, t, first, count, W, table, H, features, M, shift, DH, gradients, S, FE, row"
    calls = [f"    scatter_second_{degree}({arguments})" for degree in range(net.l_max + 1)]
    return ["@compiled", f"def scatter_second({arguments}):", *calls, ""]


_loaded: dict[int, tuple[Architecture, ModuleType, int]] = {}
"""Kernels by the
``id`` of an architecture; the architecture is stored too, so that no other object can get its ``id``."""


def load(net: Architecture) -> tuple[ModuleType, int]:
    """The module for an architecture, and the number of rows that its kernels need. Compiled when first called."""
    if id(net) not in _loaded:  # frames of many compositions ask again and again; writing the source takes 5 ms
        text, n_rows = source(net)
        _loaded[id(net)] = (net, _module(text), n_rows)
    return _loaded[id(net)][1:]


@cache
def _module(text: str) -> ModuleType:
    name = f"ilforge_kernels_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = _written(name, text)
    if not any(path.parent.glob(f"__pycache__/{name}.*.nbi")):
        log.warning("Kernels of this kind of MACE network are compiled, once on this machine: about 20 s.")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks for this module when it loads machine code from its cache
    spec.loader.exec_module(module)
    return module


def _written(name: str, text: str) -> Path:
    """The file with this text: in the cache or, if the cache cannot be written to, in a folder of this process."""
    path = folder() / f"{name}.py"
    try:
        if path.is_file() and path.read_text() == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
        return path
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="ilforge-")) / f"{name}.py"
        path.write_text(text)
        return path

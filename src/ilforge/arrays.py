"""Types of arrays, by their elements. Docstrings give shapes and units."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
"""Numbers in double precision."""

Integers: TypeAlias = NDArray[np.int64]
"""Counts and indices."""

Booleans: TypeAlias = NDArray[np.bool_]
"""Truth values."""

"""Elements from names of atoms, as in GRO files, where the known composition confirms them."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

_MOST_DOUBTFUL = 10  # names; every combination of their readings is tried


def elements_of_names(names: Sequence[str], expected: Sequence[str]) -> list[str] | None:
    """Elements of atoms whose names begin with them, such as ``C12``, ``HO`` or ``CL``.

    A name such as ``NA`` can be that of a nitrogen or of a sodium. All combinations are tried, and the result must have
    exactly the expected composition in one way only.

    Parameters
    ----------
    expected
        Elements of all atoms, in any order.

    Returns
    -------
    list of str or None
        None if no combination has the expected composition, or several have.
    """
    count = Counter(names)
    known = set(expected)
    readings = {name: _readings(name, known) for name in count}
    doubtful = [name for name, found in readings.items() if len(found) > 1]
    if len(doubtful) > _MOST_DOUBTFUL or not all(readings.values()):
        return None
    fitting = []
    for choice in itertools.product(*(readings[name] for name in doubtful)):
        read = {name: found[0] for name, found in readings.items()} | dict(zip(doubtful, choice, strict=True))
        composition: Counter[str] = Counter()
        for name, number in count.items():
            composition[read[name]] += number
        if composition == Counter(expected):
            fitting.append(read)
    return [fitting[0][name] for name in names] if len(fitting) == 1 else None


def _readings(name: str, known: set[str]) -> list[str]:
    """The known elements with which a name can begin; digits before it are ignored (``1HB``)."""
    found = re.match(r"\d*([A-Za-z]{1,2})", name)
    if found is None:
        return []
    letters = found[1].capitalize()
    return [element for element in dict.fromkeys((letters[0], letters)) if element in known]

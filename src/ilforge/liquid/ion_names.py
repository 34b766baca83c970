"""Names of ions as people write them: brackets, charges, spellings of pyrrolidinium, and two ions in one word."""

from __future__ import annotations

import re
from collections.abc import Callable

_SIGN = re.compile(r"\^?[{(]?[+\-\u2212\u207a\u207b]+[)}]?$")
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086", "0123456")


def plain_names(name: str) -> tuple[str, str]:
    """A name in small letters, and the same without brackets and charge: ``"[BMIM]+"`` becomes ``"bmim"``."""
    bare = name.strip().translate(_SUBSCRIPTS).replace("[", "").replace("]", "").strip()
    return name.lower(), (_SIGN.sub("", bare) or bare).lower()


def two_names(name: str, is_known: Callable[[str], bool]) -> tuple[str, str] | None:
    """Both ions of a salt written as one word: ``"[bmim][PF6]"``, ``"LiTFSI"``, ``"EMIM-BF4"``; None for other words.

    If a word can be split in several ways, brackets, a space, a hyphen or a full stop decide. Without one of these,
    the split with the longest first ion is taken.
    """
    parts = [
        part for part in re.split(r"\]\s*[+\-]?\s*\[|[\s.·/]+|(?<=[\w+])[-\u2013](?=[\w\[])", name.strip()) if part
    ]
    if len(parts) == 2 and all(is_known(part) for part in parts):
        return parts[0].strip("[]"), parts[1].strip("[]")
    bare = name.strip().replace("[", "").replace("]", "")
    for cut in range(len(bare) - 1, 0, -1):
        first, second = bare[:cut], bare[cut:]
        if is_known(first) and is_known(second):
            return first, second
    return None

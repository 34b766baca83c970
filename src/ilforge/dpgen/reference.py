"""The first-principles part of DP-GEN (``fp_style``) as a potential of the study and its ``[reference]``."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilforge.dpgen.book import Book
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError

OTHER_STYLES = ("gaussian", "siesta", "abacus", "amber/diff", "pwmat", "pwscf", "cpx", "custom")
POTENTIALS_DIR = "paw"


@dataclass
class Reference:
    """The reference of the study.

    Attributes
    ----------
    name
        Name of the potential.
    table
        Its table; without lines where it needs none.
    books
        Further files that were read, such as the INCAR.
    copies
        Files to copy into the new folder, by their path there.
    notes
        Sentences for the user.
    """

    name: str
    table: Table
    books: list[Book] = field(default_factory=list)
    copies: dict[Path, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def copy_into(self, folder: Path) -> None:
        """Copy the files that the reference needs."""
        for inside, path in self.copies.items():
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)


def style_of(book: Book) -> str:
    """``fp_style``, checked.

    Raises
    ------
    SettingsError
        When it is missing, or is no style of DP-GEN.
    """
    known = (*_MOVERS, *OTHER_STYLES)
    said = book.get("fp_style")
    if said is None:
        raise SettingsError(f"{book.file}: fp_style is missing: the program that labels, {', '.join(known)}.")
    style = str(said).lower()
    if style not in known:
        near = difflib.get_close_matches(style, known, 1)
        guess = f" Is it {near[0]!r}?" if near else ""
        raise SettingsError(f"{book.file}: fp_style is {said!r}; DP-GEN knows {', '.join(known)}.{guess}")
    return style


def move_reference(book: Book, workdir: Path, elements: Sequence[str], smallest_side_A: float | None) -> Reference:
    """The reference that comes closest to ``fp_style`` and its settings.

    Parameters
    ----------
    workdir
        Folder to which paths in the file are relative.
    elements
        Elements of the labels.
    smallest_side_A
        Shortest side of a labelled box, to judge a k-point spacing; None if there are no labels.
    """
    style = style_of(book)
    if style in _MOVERS:
        book.take(("fp_style",), "study.toml: reference.potential")
        return _MOVERS[style]()(book, workdir, elements, smallest_side_A)
    why = f"ilforge labels boxes with GPAW, CP2K, VASP or xTB, not with {style}"
    for key in ("fp_style", *_OF_STYLES):
        book.leave((key,), why)
    reference = Reference("gfn1", Table(""))
    reference.notes.append(
        f"DP-GEN labelled with {style}, which ilforge does not run: study.toml has GFN1-xTB under [reference] until "
        "you name another potential (gpaw, cp2k or your VASP). Labels of two methods must not be mixed."
    )
    return reference


def _vasp() -> Callable[..., Reference]:
    from ilforge.dpgen.vasp import move_vasp

    return move_vasp


def _cp2k() -> Callable[..., Reference]:
    from ilforge.dpgen.cp2k import move_cp2k

    return move_cp2k


_MOVERS: Mapping[str, Callable[[], Callable[..., Reference]]] = {"vasp": _vasp, "cp2k": _cp2k}
_OF_STYLES = (
    "fp_params", "user_fp_params", "fp_pp_path", "fp_pp_files", "fp_orb_files", "fp_incar", "fp_kpt_file", "k_points",
    "fp_dpks_descriptor", "high_level", "low_level", "cutoff", "parm7", "parm7_prefix", "mdin", "mdin_prefix",
    "qm_region", "qm_charge", "external_input_path",
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Whether two values of an input file mean the same: ``.TRUE.`` and ``T``, ``1e-6`` and ``1.0E-6``."""
    words = [str(value).strip().strip(".").lower() for value in (one, other)]
    if words[0] == words[1]:
        return True
    try:
        return float(words[0]) == float(words[1])
    except ValueError:
        return bool(words[0]) and bool(words[1]) and words[0][0] == words[1][0] and _logical(words)


def _logical(words: Sequence[str]) -> bool:
    return all(word in ("t", "f", "true", "false") for word in words)

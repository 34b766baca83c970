"""``fp_style = "cp2k"``: ``user_fp_params``, the older ``fp_params``, or an input file of CP2K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilforge.dpgen.book import Book, as_number, leaves
from ilforge.dpgen.book import Path as Keys
from ilforge.dpgen.reference import Reference
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError
from ilforge.potentials.quantum.cp2k import MIN_CUTOFF_RY

_DEFAULT_CUTOFF_RY, _DEFAULT_TOLERANCE = 400.0, 1e-6  # of DP-GEN
_DFT = ("FORCE_EVAL", "DFT")
_OLDER = {
    "cutoff": (*_DFT, "MGRID", "CUTOFF"), "functional": (*_DFT, "XC", "XC_FUNCTIONAL", "_"),
    "pair_potential_type": (*_DFT, "XC", "VDW_POTENTIAL", "PAIR_POTENTIAL", "TYPE"),
    "basis_list": ("FORCE_EVAL", "SUBSYS", "KIND", "BASIS_SET"),
    "pp_list": ("FORCE_EVAL", "SUBSYS", "KIND", "POTENTIAL"), "element_list": ("FORCE_EVAL", "SUBSYS", "KIND", "_"),
}  # fmt: skip


def move_cp2k(book: Book, workdir: Path, elements: Sequence[str], smallest_side_A: float | None) -> Reference:
    """The table ``[potentials.cp2k]``.

    Raises
    ------
    SettingsError
        When there are no settings of CP2K, or a number is none.
    """
    reference = Reference("cp2k", Table("potentials.cp2k"))
    reference.table.add("kind", "cp2k", f"{book.file}: fp_style = cp2k")
    _Input(*_source(book, workdir, reference), reference).move()
    for key in ("fp_pp_path", "fp_pp_files"):
        book.leave((key,), "CP2K finds its basis sets and potentials in its own data folder")
    return reference


def _source(book: Book, workdir: Path, reference: Reference) -> tuple[Book, Keys]:
    """The book with CP2K's input, and the path of its sections there."""
    if book.has("external_input_path"):
        path = workdir / Path(str(book.get("external_input_path"))).expanduser()
        if path.is_file():
            book.take(("external_input_path",), "study.toml: [potentials.cp2k], key by key below")
            found = Book(path.name, read_input(path))
            reference.books.append(found)
            return found, ()
        book.leave(("external_input_path",), "the file was not found")
        reference.notes.append(
            f"CP2K's input {path} was not found, so [potentials.cp2k] has the defaults of ilforge. Compare them with "
            "your input."
        )
        return Book(path.name, {}), ()
    key = next((key for key in ("user_fp_params", "fp_params") if isinstance(book.get(key), Mapping)), None)
    if key is None:
        raise SettingsError(
            f"{book.file}: fp_style is 'cp2k', but there is no user_fp_params, fp_params or external_input_path with "
            "the settings of CP2K."
        )
    return book, (key,)


class _Input:
    """Writes ``[potentials.cp2k]`` from sections and keywords, and enters what became of each."""

    def __init__(self, book: Book, root: Keys, reference: Reference):
        self._book, self._root, self._reference = book, root, reference
        older = root == ("fp_params",) and not any(str(key).upper() == "FORCE_EVAL" for key in book.get(*root))
        self._older = {full: key for key, full in _OLDER.items()} if older else {}

    def move(self) -> None:
        self._functional()
        self._basis()
        self._dispersion()
        self._cutoff()
        self._scf()
        self._rest()

    def _find(self, *keywords: str) -> Keys | None:
        """The path of a keyword, whatever its capitals."""
        if self._older:
            key = self._older.get(keywords)
            path: Keys = (*self._root, key) if key else ()
            return path if key and self._book.has(*path) else None
        path = self._root
        for word in keywords:
            inside = self._book.get(*path) if path else self._book.data
            near = [key for key in inside if str(key).upper() == word] if isinstance(inside, Mapping) else []
            if not near:
                return None
            path = (*path, near[0])
        return path

    def _put(self, key: str, value: Any, path: Keys | None, otherwise: str) -> None:
        said = otherwise if path is None else f"{self._book.file}: {'.'.join(map(str, path))}"
        self._reference.table.add(key, value, said)
        if path is not None:
            self._book.take(path, f"study.toml: potentials.cp2k.{key}")

    def _number(self, path: Keys) -> float:
        text = str(self._book.get(*path)).split()
        value = as_number(text[-1].replace("d", "e").replace("D", "E")) if text else None
        if value is None or value <= 0:
            raise self._book.fault(path, "a number above 0")
        return value

    def _functional(self) -> None:
        path = self._find(*_DFT, "XC", "XC_FUNCTIONAL", "_") or self._find(*_DFT, "XC", "XC_FUNCTIONAL")
        value = self._book.get(*path) if path is not None else "PBE"
        names = [str(key).upper() for key in value] if isinstance(value, Mapping) else [str(value).upper()]
        if path is not None and names == ["PBE"]:
            self._book.take(path, "the same in ilforge: PBE")
        elif path is not None:
            self._book.leave(path, "ilforge runs CP2K with PBE")
            self._reference.notes.append(
                f"DP-GEN's CP2K had the functional {' '.join(names)}, and ilforge has PBE: labels of the study must "
                "not be mixed with yours."
            )

    def _basis(self) -> None:
        path = self._find("FORCE_EVAL", "SUBSYS", "KIND", "BASIS_SET")
        given = self._book.get(*path) if path is not None else []
        names = sorted({str(name).upper().split("-")[0] for name in (given if isinstance(given, list) else [given])})
        if names in (["DZVP"], ["TZV2P"]):
            self._put("basis", names[0], path, "")
        elif path is not None:
            self._book.leave(path, "ilforge has the MOLOPT basis sets DZVP and TZV2P, one for all elements")
            self._reference.notes.append(f"DP-GEN's CP2K had the basis sets {', '.join(names)}: DZVP is in study.toml.")

    def _dispersion(self) -> None:
        path = self._find(*_DFT, "XC", "VDW_POTENTIAL", "PAIR_POTENTIAL", "TYPE")
        said = str(self._book.get(*path)).upper() if path is not None else ""
        if said == "DFTD3(BJ)":
            self._put("dispersion", "D3(BJ)", path, "")
            return
        self._reference.table.add("dispersion", "none", "DFTD3(BJ) is not in the input")
        if path is not None:
            self._book.leave(path, "ilforge has D3(BJ) and none")
        if path is not None or (self._older and self._book.has(*self._root, "pair_potential_path")):
            self._reference.notes.append(
                f"DP-GEN's CP2K had the dispersion {said or 'DFTD3'}, and ilforge has D3(BJ): study.toml has no "
                "dispersion, so labels of the study must not be mixed with yours."
            )

    def _cutoff(self) -> None:
        path = self._find(*_DFT, "MGRID", "CUTOFF")
        value = _DEFAULT_CUTOFF_RY if path is None else self._number(path)
        if value >= MIN_CUTOFF_RY:
            self._put("cutoff_Ry", value, path, "not in the file: DP-GEN's default")
            return
        self._reference.table.add("cutoff_Ry", MIN_CUTOFF_RY, f"the lowest; DP-GEN had {value:g} Ry")
        if path is not None:
            self._book.leave(path, f"forces need at least {MIN_CUTOFF_RY:g} Ry")

    def _scf(self) -> None:
        path = self._find(*_DFT, "SCF", "EPS_SCF")
        tolerance = _DEFAULT_TOLERANCE if path is None else self._number(path)
        self._put("scf_tolerance", tolerance, path, "not in the file: DP-GEN's default")
        for keywords, key in (
            (("SCF", "MAX_SCF"), "max_iterations"),
            (("SCF", "OUTER_SCF", "MAX_SCF"), "max_restarts"),
        ):
            path = self._find(*_DFT, *keywords)
            if path is not None:
                self._put(key, int(self._number(path)), path, "")

    def _rest(self) -> None:
        """Enter every other keyword."""
        inner = self._book.get(*self._root) if self._root else self._book.data
        for path in leaves(inner, self._root):
            covered = any(self._book.entered(path[: length + 1]) for length in range(len(path)))
            if covered or any(isinstance(step, str) and step.startswith("_") and step != "_" for step in path):
                continue
            word = str(path[-1]).upper()
            sections = {str(step).upper() for step in path}
            if word in ("CHARGE", "MULTIPLICITY", "UKS", "LSD"):
                why = "follows from the ions: a neutral box without open shells"
            elif sections & {"SUBSYS", "COORD_LIST", "ELEMENT_LIST", "PP_LIST", "BASIS_PATH", "PP_PATH"}:
                why = "ilforge writes the box, the atoms and their GTH potentials itself"
            elif sections & {"GLOBAL", "PRINT", "MOTION"}:
                why = "decides about files and runs, not about labels"
            elif "VDW_POTENTIAL" in sections:
                why = "ilforge has D3(BJ) with the parameters of PBE, or none"
            else:
                why = "may change labels; ilforge writes its own input (GAPW, orbital transformation)"
            self._book.leave(path, why)


def read_input(path: Path) -> dict[str, Any]:
    """Sections and keywords of an input of CP2K as nested tables; repeated sections share one."""
    root: dict[str, Any] = {}
    open_sections = [root]
    for line in path.read_text(errors="replace").splitlines():
        words = line.split("#")[0].split("!")[0].split()
        if not words or words[0].startswith("@"):
            continue
        if words[0].upper().startswith("&END"):
            open_sections = open_sections[:-1] if len(open_sections) > 1 else open_sections
        elif words[0].startswith("&"):
            inner = open_sections[-1].setdefault(words[0][1:].upper(), {})
            section = inner if isinstance(inner, dict) else {}
            if len(words) > 1:
                _append(section, "_", " ".join(words[1:]))
            open_sections.append(section)
        else:
            _append(open_sections[-1], words[0].upper(), " ".join(words[1:]))
    return root


def _append(section: dict[str, Any], key: str, value: str) -> None:
    """Enter a keyword; one that is there already becomes a list."""
    if key not in section:
        section[key] = value
    elif isinstance(section[key], list):
        section[key].append(value)
    else:
        section[key] = [section[key], value]

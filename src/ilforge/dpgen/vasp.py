"""``fp_style = "vasp"``: the keys of INCAR, of ``fp_params`` and of the PAW potentials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ilforge.dpgen.book import Book, as_number
from ilforge.dpgen.book import Path as Keys
from ilforge.dpgen.reference import POTENTIALS_DIR, Reference, same
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError
from ilforge.potentials.quantum.vasp import STANDARD_POTENTIALS, Vasp
from ilforge.potentials.quantum.vasp.outcar import MIN_STRESS_CUTOFF_EV

Functional = Literal["PBE", "SCAN"]
_DISPERSION = {0: "none", 11: "D3(0)", 12: "D3(BJ)"}  # IVDW
_OF_PARAM = {
    "ecut": "ENCUT", "ediff": "EDIFF", "sigma": "SIGMA", "metagga": "METAGGA", "kspacing": "KSPACING", "npar": "NPAR",
    "kpar": "KPAR", "smearing": "ISMEAR",
}  # fmt: skip
_SMEARING = {"gauss": "0", "fd": "-1", "mp": "1"}
_SPEED = ("NPAR", "KPAR", "NCORE", "NSIM", "LPLANE", "LSCALU", "LSCALAPACK", "NBANDS", "NELMIN", "LREAL", "ALGO")
_FILES = ("SYSTEM", "LWAVE", "LCHARG", "NWRITE", "ISTART", "ICHARG", "LORBIT", "LVTOT", "LELF", "PSTRESS", "POTIM")


def move_vasp(book: Book, workdir: Path, elements: Sequence[str], smallest_side_A: float | None) -> Reference:
    """The table ``[potentials.vasp]`` from an INCAR, ``user_fp_params`` or ``fp_params``.

    Raises
    ------
    SettingsError
        When a key has a value that VASP does not take.
    """
    reference = Reference("vasp", Table("potentials.vasp"))
    reference.table.add("kind", "vasp", f"{book.file}: fp_style = vasp")
    tags = _tags(book, workdir, reference)
    if tags is not None:
        _Incar(tags, reference, smallest_side_A).move()
    _potcars(book, workdir, elements, reference)
    for key, why in _OF_FILE.items():
        book.leave((key,), why)
    return reference


class _Tags:
    """The keys of INCAR, wherever they are written: each with the book and the path to enter it."""

    def __init__(self, book: Book, found: Mapping[str, tuple[Keys, Any]]):
        self.book, self.found = book, dict(found)

    def number(self, tag: str) -> float | None:
        """The number of a tag; None where it is not given."""
        if tag not in self.found:
            return None
        path, value = self.found[tag]
        number = as_number(value)
        if number is None:
            raise self.book.fault(path, "a number")
        return number

    def text(self, tag: str) -> str:
        """The value of a tag in capitals; empty where it is not given."""
        return str(self.found[tag][1]).strip().strip(".").upper() if tag in self.found else ""

    def take(self, tag: str, into: str) -> None:
        if tag in self.found:
            self.book.take(self.found[tag][0], into)

    def leave(self, tag: str, why: str) -> None:
        if tag in self.found:
            self.book.leave(self.found[tag][0], why)


def _tags(book: Book, workdir: Path, reference: Reference) -> _Tags | None:
    """The keys of INCAR; None, with a note, where the file is not here."""
    if book.has("fp_incar"):
        path = workdir / Path(str(book.get("fp_incar"))).expanduser()
        for key in ("user_fp_params", "fp_params"):
            book.leave((key,), "fp_incar takes its place in DP-GEN")
        if not path.is_file():
            book.leave(("fp_incar",), "the file was not found")
            reference.notes.append(
                f"The INCAR {path} was not found, so [potentials.vasp] has the defaults of ilforge. Compare them with "
                "your INCAR."
            )
            return None
        book.take(("fp_incar",), "study.toml: [potentials.vasp], key by key below")
        incar = Book(path.name, read_incar(path))
        reference.books.append(incar)
        return _Tags(incar, {tag: ((tag,), value) for tag, value in incar.data.items()})
    if isinstance(book.get("user_fp_params"), Mapping):
        given = book.get("user_fp_params")
        return _Tags(book, {str(key).upper(): (("user_fp_params", key), given[key]) for key in given if key[:1] != "_"})
    if isinstance(book.get("fp_params"), Mapping):
        return _Tags(book, dict(_of_older(book)))
    raise SettingsError(
        f"{book.file}: fp_style is 'vasp', but there is no fp_incar, user_fp_params or fp_params with the settings of "
        "VASP."
    )


def _of_older(book: Book) -> Mapping[str, tuple[Keys, Any]]:
    """Tags from ``fp_params`` with DP-GEN's own names: ``ecut``, ``smearing = "fd"``."""
    found: dict[str, tuple[Keys, Any]] = {}
    params = book.get("fp_params")
    for key, tag in _OF_PARAM.items():
        if key in params:
            value = params[key]
            if key == "smearing":
                value = _SMEARING.get(str(value).split(":")[0].lower(), value)
            if not (key == "metagga" and str(value).upper() == "NONE"):
                found[tag] = (("fp_params", key), value)
            else:
                book.take(("fp_params", key), "study.toml: potentials.vasp.functional")
    for key, value in (params.get("user_vasp_params") or {}).items():
        found[str(key).upper()] = (("fp_params", "user_vasp_params", key), value)
    return found


def read_incar(path: Path) -> dict[str, str]:
    """Tags and values of an INCAR: ``KEY = value``, several in a line after ``;``, comments after ``#`` and ``!``."""
    found: dict[str, str] = {}
    for line in path.read_text(errors="replace").splitlines():
        for part in line.split("#")[0].split("!")[0].split(";"):
            tag, equals, value = part.partition("=")
            if equals and tag.strip():
                found[tag.strip().upper()] = value.strip()
    return found


class _Incar:
    """Writes ``[potentials.vasp]`` tag by tag, and enters what became of each."""

    def __init__(self, tags: _Tags, reference: Reference, smallest_side_A: float | None):
        self._tags, self._reference, self._side = tags, reference, smallest_side_A

    def move(self) -> None:
        functional = self._functional()
        self._dispersion(functional)
        cutoff = self._number("ENCUT", "cutoff_eV")
        self._number("EDIFF", "energy_tolerance_eV")
        self._smearing()
        self._number("NELM", "max_iterations", whole=True)
        if cutoff is not None and cutoff >= MIN_STRESS_CUTOFF_EV:
            self._put("stress", True, f"ENCUT is at least {MIN_STRESS_CUTOFF_EV:g} eV")
        self._kpoints()
        self._others(Vasp(functional=functional).incar())

    def _put(self, key: str, value: Any, comment: str) -> None:
        self._reference.table.add(key, value, comment)

    def _take(self, tag: str, key: str, value: Any) -> None:
        self._put(key, value, f"{self._tags.book.file}: {tag} = {self._tags.found[tag][1]}")
        self._tags.take(tag, f"study.toml: potentials.vasp.{key}")

    def _number(self, tag: str, key: str, whole: bool = False) -> float | None:
        value = self._tags.number(tag)
        if value is not None and value > 0:
            self._take(tag, key, int(value) if whole else value)
        elif value is not None:
            self._tags.leave(tag, "it must be above 0")
        return value

    def _functional(self) -> Functional:
        tags = self._tags
        said = {"METAGGA": tags.text("METAGGA"), "GGA": tags.text("GGA")}
        if said["METAGGA"] == "SCAN":
            self._take("METAGGA", "functional", "SCAN")
            return "SCAN"
        if said["GGA"] in ("PE", "") and not said["METAGGA"]:
            if said["GGA"]:
                self._take("GGA", "functional", "PBE")
            else:
                self._put("functional", "PBE", "no GGA in the input: the functional of the PAW potentials")
            return "PBE"
        tag = "METAGGA" if said["METAGGA"] else "GGA"
        tags.leave(tag, "ilforge runs VASP with PBE or SCAN")
        self._reference.notes.append(
            f"DP-GEN's VASP had {tag} = {said[tag]}, and ilforge has PBE and SCAN: study.toml has PBE, so labels of "
            "the study must not be mixed with yours."
        )
        return "PBE"

    def _dispersion(self, functional: str) -> None:
        number = self._tags.number("IVDW")
        value = _DISPERSION.get(int(number or 0))
        if value is None or (value == "D3(0)" and functional != "PBE"):
            self._tags.leave("IVDW", "ilforge has D3(BJ), D3(0) with PBE, and none")
            self._reference.notes.append(
                f"DP-GEN's VASP had IVDW = {number:g}, which ilforge does not have: study.toml has no dispersion."
            )
            value = "none"
        if "IVDW" in self._tags.found and value != "none":
            self._take("IVDW", "dispersion", value)
        else:
            self._put("dispersion", value, "no IVDW in the input" if number is None else f"IVDW = {number:g}")
            if number == 0:
                self._tags.take("IVDW", "study.toml: potentials.vasp.dispersion")

    def _smearing(self) -> None:
        kind = self._tags.text("ISMEAR")
        if kind in ("0", ""):
            self._tags.take("ISMEAR", "the same in ilforge")
            self._number("SIGMA", "smearing_eV")
            return
        for tag in ("ISMEAR", "SIGMA"):
            self._tags.leave(tag, "ilforge runs VASP with Gaussian smearing (ISMEAR = 0) of 0.05 eV")

    def _kpoints(self) -> None:
        spacing = self._tags.number("KSPACING")
        self._tags.leave("KGAMMA", "the only k-point is the gamma point")
        if spacing is None:
            return
        finest = None if self._side is None else max(1, math.ceil(2 * math.pi / self._side / spacing))
        if finest == 1:
            self._tags.take("KSPACING", "the gamma point, as it is in all of your boxes with this spacing")
            return
        self._tags.leave("KSPACING", "ilforge calculates boxes at the gamma point")
        if finest is not None:
            self._reference.notes.append(
                f"KSPACING = {spacing:g} gives {finest} k-points along the shortest side of your boxes "
                f"({self._side:.1f} Å), and ilforge has the gamma point only: its labels must not be mixed with yours."
            )

    def _others(self, ours: Mapping[str, Any]) -> None:
        for tag, (path, value) in self._tags.found.items():
            if self._tags.book.entered(path):
                continue
            if tag in ours and (
                same(value, ours[tag]) or str(ours[tag])[:1] == str(value).upper()[:1] and tag == "PREC"
            ):
                self._tags.take(tag, f"the same in ilforge: {tag} = {ours[tag]}")
            elif tag in _SPEED:
                now = f"{tag} = {ours[tag]}" if tag in ours else "VASP's default"
                self._tags.leave(tag, f"decides the speed, hardly the labels; ilforge has {now}")
            elif tag in _FILES:
                self._tags.leave(tag, "decides about files, not about labels")
            elif tag in ours:
                self._tags.leave(tag, f"changes labels; ilforge has {tag} = {ours[tag]}")
            else:
                self._tags.leave(tag, "may change labels; ilforge has VASP's default")


def _potcars(book: Book, workdir: Path, elements: Sequence[str], reference: Reference) -> None:
    """Copies of the PAW potentials, in a folder for each, as ilforge finds them."""
    names, types = book.texts("fp_pp_files"), book.texts("type_map")
    folder = workdir / Path(str(book.get("fp_pp_path", default=""))).expanduser()
    into = "study.toml: potentials.vasp.potentials_dir (copies)"
    by_element = dict(zip(types, names, strict=False)) if len(names) == len(types) else {}
    wanted = {element: folder / by_element[element] for element in elements if element in by_element}
    missing = [element for element in elements if element not in wanted or not wanted[element].is_file()]
    if missing or not elements:
        why = (
            f"there is no file for {', '.join(missing) or 'the elements'}"
            if len(names) == len(types)
            else f"{len(names)} files for {len(types)} elements of type_map; expected one for each"
        )
        for key in ("fp_pp_path", "fp_pp_files"):
            book.leave((key,), why)
        reference.table.note('potentials_dir = "..."  a folder with a folder and a POTCAR for each PAW potential')
        reference.notes.append(
            f"PAW potentials: {why} in {folder}. Set potentials_dir in [potentials.vasp] before `ilforge run`."
        )
        return
    titles = {element: _title(path, element) for element, path in wanted.items()}
    reference.copies = {Path(POTENTIALS_DIR) / titles[one] / "POTCAR": path for one, path in wanted.items()}
    reference.table.add("potentials_dir", POTENTIALS_DIR, f"{book.file}: copies of fp_pp_path/fp_pp_files")
    own = {one: name for one, name in titles.items() if name != STANDARD_POTENTIALS.get(one, one)}
    if own:
        reference.table.add("potential_names", own, "their titles")
    for key in ("fp_pp_path", "fp_pp_files"):
        book.take((key,), into)


def _title(path: Path, element: str) -> str:
    """Name of a PAW potential: ``Li_sv`` in the first line ``PAW_PBE Li_sv 10Sep2004``."""
    with open(path, errors="replace") as file:
        words = file.readline().split()
    name = words[1] if len(words) > 1 else ""
    return name if name.split("_")[0] == element and "/" not in name else element


_OF_FILE = {
    "fp_aniso_kspacing": "ilforge calculates boxes at the gamma point",
    "cvasp": "ilforge runs VASP itself, without Custodian",
    "fp_nbands_esti_data": "VASP chooses the number of bands",
}

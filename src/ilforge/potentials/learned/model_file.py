"""Files of trained models: only the file with the given digest is loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from ilforge.errors import SettingsError


def absolute(path: str | Path) -> Path:
    """The path in a form that is valid for processes in other directories, too."""
    return Path(path).expanduser().absolute()


class ModelFile(Protocol):
    """A potential that is a model in a file."""

    @property
    def path(self) -> Path: ...

    @property
    def sha256(self) -> str: ...


def require_digest(path: Path, sha256: str) -> None:
    """Refuse a model without a digest; the error gives the digest of the file.

    Model files can run code when they are loaded. With the digest in the study file the user allows this for one file.
    """
    if not sha256:
        raise SettingsError(
            f"The model {path} needs its digest beside its path, since loading a model file can run code in it. "
            f'If you trust where it comes from, write\n  sha256 = "{hashlib.sha256(_read(path)).hexdigest()}"'
        )
    if len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef"):
        raise SettingsError(f"sha256 = {sha256!r} is not a SHA-256 digest, which has 64 digits of 0-9 and a-f.")


def verified(path: Path, sha256: str) -> bytes:
    """Contents of a model file, if they are what the digest says."""
    contents = _read(path)
    found = hashlib.sha256(contents).hexdigest()
    if found != sha256.lower():
        raise SettingsError(
            f"The model {path} ({len(contents)} bytes) is not the one that sha256 = {sha256} names: its digest is "
            f"{found}. The file was replaced, changed or cut short: put the right one back. If you know why it "
            f'changed and trust it, write sha256 = "{found}".'
        )
    return contents


def lammps_word(path: Path) -> str:
    """A path as one word of a LAMMPS input, which has commands that run programs.

    Raises
    ------
    SettingsError
        When LAMMPS cannot quote the path, because it has quotes of both kinds or more than one line.
    """
    text = str(path)
    mark = next((mark for mark in ('"', "'") if mark not in text), None)
    if mark is None or not text.isprintable() or text.endswith("&"):
        raise SettingsError(f"LAMMPS cannot read the path {text!r}: rename its folders or the file.")
    return f"{mark}{text}{mark}"


def refuse_unknown(path: Path, symbols: tuple[str, ...], known: list[str]) -> None:
    """Refuse a frame with elements that a model was not trained on."""
    unknown = sorted(set(symbols) - set(known))
    if unknown:
        raise SettingsError(
            f"The model {path} does not know {', '.join(unknown)}: it was trained on {', '.join(known)}."
        )


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # reading a pipe may block, and reading a device may never end
        raise SettingsError(f"The model file {path} is a folder, a pipe or a device: give a file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The model file {path} could not be read: {error.strerror}.") from error

"""Folders that ilforge may fill and empty: only those that it made itself, which contain a marker file.

Files of a user are never deleted or overwritten: a folder that is neither new, empty nor marked is refused, no matter
which option or name led to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ilforge.errors import SettingsError
from ilforge.files import PARTIAL

MARKER = ".ilforge"
"""Name of the file that marks a folder as ilforge's."""
REPLACED = ".replaced"
"""Ending of a folder that is being replaced; a killed process may leave it."""
_OF = "It belongs to: "
_TEXT = "ilforge made this folder and replaces files in it. Keep nothing of your own here.\n"


def is_ours(folder: Path) -> bool:
    """Whether ilforge may write into a folder and empty it: it is missing, empty, or contains the marker."""
    folder = Path(folder)
    if not folder.is_dir():
        return not os.path.lexists(folder)
    marker = folder / MARKER
    return (marker.is_file() and not marker.is_symlink()) or not any(folder.iterdir())


def refuse_foreign(folder: Path, instead: str) -> None:
    """Refuse a folder that is not ilforge's.

    Parameters
    ----------
    instead
        Option that names another folder: ``"--out"``.

    Raises
    ------
    SettingsError
        When it contains files but no marker.
    """
    if not is_ours(folder):
        raise SettingsError(
            f"{folder} holds files, and ilforge did not make it (there is no {MARKER} in it). Nothing is written "
            f"there, because your files could be replaced. Name a new or empty folder with {instead}."
        )


def refuse_links(*paths: Path) -> None:
    """Refuse links in folders of ilforge, because a link in a foreign store could lead to any file.

    Raises
    ------
    SettingsError
        With the first link.
    """
    for path in paths:
        if Path(path).is_symlink():
            raise SettingsError(
                f"{path} is a link, and links inside a store are not followed. Put the folder or file itself there, "
                "or name its real path with --store."
            )


def claim(folder: Path, instead: str, known: bool = False, of: Path | None = None) -> Path:
    """Make a folder and mark it as ilforge's.

    Parameters
    ----------
    instead
        As in :func:`refuse_foreign`.
    known
        Whether other files show that ilforge made it.
    of
        File that the contents are made from. Another file that is still there keeps its folder.

    Raises
    ------
    SettingsError
        When it contains files but no marker, belongs to another file, or cannot be written.
    """
    folder = Path(folder)
    if not known:
        refuse_foreign(folder, instead)
    marker = folder / MARKER
    if of is not None:
        _refuse_others(marker, of, instead)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if of is not None or not marker.is_file():
            marker.write_text(_TEXT + (f"{_OF}{of}\n" if of is not None else ""))
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written to ({error.strerror}). Name another folder with {instead}."
        ) from error
    return folder


def _refuse_others(marker: Path, of: Path, instead: str) -> None:
    lines = marker.read_text(errors="replace").splitlines() if marker.is_file() else []
    for owner in (Path(line.removeprefix(_OF)) for line in lines if line.startswith(_OF)):
        if owner.is_file() and not (of.is_file() and owner.samefile(of)):
            raise SettingsError(
                f"{marker.parent} holds what was made from {owner}, and would be replaced by what is made from {of}. "
                f"Give one of the two another name, or name another folder with {instead}."
            )


def remove(folder: Path) -> None:
    """Delete a folder that ilforge made, if it exists. The marker is deleted last, so that a kill leaves it marked.

    Raises
    ------
    SettingsError
        When the folder is not ilforge's.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not is_ours(folder):
        raise SettingsError(
            f"{folder} would be deleted, but ilforge did not make it (there is no {MARKER} in it). "
            "Move it away, or name another folder."
        )
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()
    (folder / MARKER).unlink(missing_ok=True)
    folder.rmdir()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty, marked folder to fill; it replaces ``path`` with all its files if no error occurs.

    Raises
    ------
    SettingsError
        When ``path`` contains files and is not ilforge's.
    """
    path = Path(path)
    partial, old = path.with_name(path.name + PARTIAL), path.with_name(path.name + REPLACED)
    if path.is_symlink() or not is_ours(path):
        raise SettingsError(
            f"{path} would be replaced, but ilforge did not make it (there is no {MARKER} in it). Move it away, or "
            "name another folder."
        )
    for left in (partial, old):
        remove(left)
    partial.mkdir(parents=True)
    (partial / MARKER).write_text(_TEXT)
    try:
        yield partial
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
    finally:
        for left in (partial, old):
            remove(left)


_SHARED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs")
    + ("pvfs2", "orangefs", "panfs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.beegfs")
    + ("fuse.juicefs", "fuse.s3fs", "fuse.rclone", "fuse.davfs")
)


def on_network(path: Path, mounts: str | None = None) -> bool:
    """Whether a path is on a file system to which other machines may also write.

    Parameters
    ----------
    mounts
        Table of mounts as in ``/proc/self/mounts``; by default that of this machine. Without a table, False.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="replace")
        except OSError:
            return False
    place, found = str(Path(path).resolve()), ("", "")
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        where = fields[1].replace("\\040", " ").rstrip("/")
        if (place == where or place.startswith(f"{where}/")) and len(where) >= len(found[0]):
            found = where, fields[2]
    return found[1] in _SHARED

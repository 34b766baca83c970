"""Write and read refused labels: each frame with its source and the reason of the refusal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError

REASON = "rejected"
"""Key of a frame's ``info`` with the reason of the refusal."""


@dataclass(frozen=True)
class Refusal:
    """One refused label.

    Attributes
    ----------
    frame
        The structure, as far as it is known.
    source
        File and number of the frame in it.
    reason
        A sentence that begins with the kind of fault and a colon.
    """

    frame: Atoms
    source: str
    reason: str


def refusals_beside(accepted: Path) -> Path:
    """The file of the refusals that belong to a file of accepted labels: ``labelled.rejected.xyz``."""
    return Path(accepted).with_suffix(f".{REASON}.xyz")


def write_refusals(accepted: Path, refusals: Sequence[Refusal]) -> Path | None:
    """Write the refusals beside the accepted labels; without refusals, the file of an earlier run is deleted."""
    path = refusals_beside(accepted)
    if not refusals:
        path.unlink(missing_ok=True)
        return None
    said = []
    for refusal in refusals:
        frame = refusal.frame.copy()
        frame.info.update({"source": refusal.source, REASON: refusal.reason})
        said.append(frame)
    frames.write(path, said)
    return path


def read_refusals(path: Path) -> list[Refusal]:
    """The refusals of a file, or of those beside a file of accepted labels.

    Raises
    ------
    SettingsError
        When there is no such file, or it contains frames without a reason.
    """
    path = Path(path)
    beside = refusals_beside(path)
    if not path.name.endswith(f"{REASON}.xyz"):
        if not beside.is_file():
            if not frames.read(path):
                raise SettingsError(f"{path} contains no frames, and there is no file of rejected frames beside it.")
            return []
        path = beside
    found = frames.read(path)
    if any(REASON not in frame.info for frame in found):
        raise SettingsError(
            f"{path} contains frames without a reason for a rejection: give the output of ilforge import or label."
        )
    return [
        Refusal(frame, str(frame.info.get("source", frame.info.get("parent", f"frame {number}"))), frame.info[REASON])
        for number, frame in enumerate(found)
    ]


def by_kind(refusals: Iterable[Refusal]) -> dict[str, list[Refusal]]:
    """Refusals by kind of fault, the most frequent first."""
    kinds: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        kinds.setdefault(refusal.reason.split(":", 1)[0], []).append(refusal)
    return dict(sorted(kinds.items(), key=lambda item: -len(item[1])))

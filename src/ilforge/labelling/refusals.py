"""Labels that were refused, as a file: each frame with where it stood and why it is not among the accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError

REASON = "rejected"
"""Key of a frame's ``info`` that says why its label was refused."""


@dataclass(frozen=True)
class Refusal:
    """One refused label.

    Attributes
    ----------
    frame
        The structure as far as it is known.
    source
        Where it stood: file and number of the frame there.
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
    """Write the refusals beside the accepted labels; where there are none, no file stays of an earlier run."""
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
        When neither is there, or the file holds frames without a reason.
    """
    path = Path(path)
    beside = refusals_beside(path)
    if not path.name.endswith(f"{REASON}.xyz"):
        if not beside.is_file():
            if not frames.read(path):
                raise SettingsError(f"{path} holds no frames, and no refused labels are beside it.")
            return []
        path = beside
    found = frames.read(path)
    if any(REASON not in frame.info for frame in found):
        raise SettingsError(f"{path} holds frames that do not say why they were refused.")
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

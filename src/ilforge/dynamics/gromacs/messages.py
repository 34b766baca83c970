"""Translate GROMACS's error messages into errors that tell the user what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ilforge.dynamics.simulation import Job
from ilforge.errors import DidNotFinish, SettingsError

_WARNING = r"^(?:WARNING|ERROR) \d+.*?:\n(.*?)\n\n"
_SIGNS_OF_EXPLOSION = (
    "is not finite",
    "Too many LINCS warnings",
    "particles communicated to PME rank",
    "atoms are not in the box",
    "Not all bonded interactions have been",
    "was killed by signal 11",  # GROMACS crashes like this if atoms are far outside the box, unlike other signals
    "was killed by signal 8",
)
_TOO_SMALL = ("shorter than twice the cut-off", "longer than half the shortest box vector", "cut-off length is longer")


def refusal(job: Job, log: Path) -> Exception | None:
    """Why GROMACS refused the input of a run, as an error that the user can act on; None if the reason is unknown."""
    said = log.read_text(errors="replace")
    if box_too_small(said):
        return bigger_box(job)
    apart = re.search(r"largest distance between excluded atoms is\s+([\d.]+)\s+nm, which", said)
    if apart:
        least = np.ceil(20 * float(apart[1]) / 0.9 * 10) / 20  # Å; GROMACS reserves a tenth for vibrations
        return SettingsError(
            f"GROMACS would lose part of the Coulomb energy between atoms three bonds apart, whose distance here is "
            f"up to {10 * float(apart[1]):.2f} Å: use a cutoff of at least {least:g} Å. OpenMM has no such limit."
        )
    warnings = re.findall(_WARNING, said, re.MULTILINE | re.DOTALL)
    if warnings:
        return DidNotFinish("gmx grompp does not take this input", log.parent, "\n".join(warnings))
    return None


def box_too_small(said: str) -> bool:
    """Whether GROMACS reports that the box is too small for the cutoff."""
    return any(sign in " ".join(said.split()) for sign in _TOO_SMALL)


def bigger_box(job: Job) -> SettingsError:
    """The error for a box that is too small for the cutoff."""
    side = float(np.diag(job.cell).min())
    return SettingsError(
        f"The box, {side:.2f} Å wide at the start, is or became smaller than twice the sum of the cutoff of the "
        f"{job.potential.kind} potential and the margin of GROMACS's pair list. Use more ions, or a smaller cutoff."
    )


def sign_of_explosion(said: str) -> str | None:
    """The sign in GROMACS's output that atoms flew apart; None if there is no such sign."""
    flat = " ".join(said.split())
    return next((sign for sign in _SIGNS_OF_EXPLOSION if sign in flat), None)

"""Every way to sample frames, by name, and the keys of the study file that they bring."""

from __future__ import annotations

from typing import Literal

from ilforge.kinds import Registry
from ilforge.sampling.kind import SamplerKind
from ilforge.settings import Settings

SAMPLERS: Registry[SamplerKind] = Registry(
    "sampler",
    "ilforge.samplers",
    {
        "nvt": "ilforge.sampling.equilibrated",
        "packed": "ilforge.sampling.packed",
        "hot": "ilforge.sampling.hot",
        "distorted": "ilforge.sampling.distorted",
        "intermolecular": "ilforge.sampling.intermolecular",
    },
)
"""All samplers. A new one needs a file that describes it, and a line here; at the end, because frames are stored in
this order."""


def keys_of_all(which: Literal["counts", "settings"], *known: type[Settings]) -> tuple[type[Settings], ...]:
    """Classes of the keys of all samplers, the last first: pydantic takes fields from the last base class first.

    A plug-in with a key that exists already is left out, and studies are refused with this fault.

    Parameters
    ----------
    which
        Keys of sets of frames, or of ``[sampling]``.
    known
        Classes with the keys that are there already.
    """
    taken = {key for one in known for key in one.model_fields}
    found: list[type[Settings]] = []
    for name, kind in list(SAMPLERS.items()):
        own: type[Settings] = getattr(kind, which)
        if twice := sorted(taken & set(own.model_fields)):
            SAMPLERS.leave_out(
                name,
                f"The sampler {name!r} of an installed package has the key {twice[0]}, which exists already: remove "
                "the package or rename its key.",
            )
            continue
        taken |= set(own.model_fields)
        if own is not Settings:
            found.insert(0, own)
    return tuple(found)

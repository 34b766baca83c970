"""Networks by the digest of their model: extracted and compared once, then read from the user's cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge.potentials.learned import loaded_models
from ilforge.potentials.learned.fast_mace import compilation
from ilforge.potentials.learned.fast_mace.network import VERSION, Network, NoFastForm

log = logging.getLogger("ilforge")

Compared = tuple[Network, dict[str, Any]]
"""A network, and what its comparison with mace-torch found."""

_refused: dict[str, str] = {}
_unsaved: dict[str, Compared] = {}  # where the cache cannot be written to


def path_of(sha256: str) -> Path:
    """Where the network of a model is kept."""
    return compilation.folder() / f"{sha256.lower()}-{VERSION}.npz"


def network_of(sha256: str, load: Callable[[], Any], tested: Callable[[], Sequence[Atoms]]) -> Network:
    """The network of a model.

    Parameters
    ----------
    sha256
        Digest of the model file.
    load
        Loads the model, for this function alone, from the file with this digest; called only if the network is not in
        the cache, or was not compared for all elements of the frames.
    tested
        Gives frames to compare the two on.

    Raises
    ------
    NoFastForm
        When the kernels do not support a part of the model, or their results differ from those of mace-torch.
    """
    if sha256 in _refused:
        raise NoFastForm(_refused[sha256])
    known, frames = _kept(sha256), list(tested())
    compared = set() if known is None else set(known[1]["elements"])
    if known is not None and {int(z) for frame in frames for z in frame.numbers} <= compared:
        return known[0]
    return _made(sha256, load(), frames, compared)


def elements_of(sha256: str) -> list[int] | None:
    """Atomic numbers that a model knows; None if its network is not in the cache."""
    known = _kept(sha256)
    return None if known is None else known[0].elements.tolist()


def how(sha256: str) -> str:
    """A description of what evaluates a model, if it has been evaluated before."""
    if sha256 in _refused:
        return f"mace-torch, since {_refused[sha256]}"
    known = _kept(sha256)
    if known is None:
        return "mace-torch"
    return f"compiled kernels, forces within {known[1]['force_eV_A']:.0e} eV/Å of mace-torch in double precision"


@lru_cache(maxsize=16)
def _read(path: Path, changed: float) -> Compared | None:
    return Network.load(path)


def _kept(sha256: str) -> Compared | None:
    path = path_of(sha256)
    try:
        return _read(path, path.stat().st_mtime)
    except OSError:
        return _unsaved.get(sha256)


def _made(sha256: str, model: Any, frames: list[Atoms], compared: set[int]) -> Network:
    """Extract a network, compare it, and keep it; ``compared`` are elements that were in frames before."""
    from ilforge.potentials.learned.fast_mace import extraction, parity

    try:
        _require_known_form(sha256, model)
        network = extraction.extract(model)
        known = {int(z) for z in network.elements}
        usable = [frame for frame in frames if {int(z) for z in frame.numbers} <= known]
        report = parity.require(network, model, usable)
    except NoFastForm as error:
        _refused[sha256] = str(error)
        log.warning("mace-torch evaluates the MACE model, about a hundred times slower, because %s.", error)
        raise
    report["elements"] = sorted(compared.union(report["elements"]))
    path = path_of(sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        network.save(path, report)
    except OSError as error:  # without the file, later processes only take more time
        _unsaved[sha256] = network, report
        log.warning("The compiled form of the model could not be stored in %s: %s.", path.parent, error.strerror)
    return network


def _require_known_form(sha256: str, model: Any) -> None:
    """Refuse a model of another form, and keep it for mace-torch, which evaluates it."""
    from ilforge.potentials.learned.fast_mace import extraction

    try:
        extraction.require_known_form(model)
    except NoFastForm:
        loaded_models.keep(sha256, model)
        raise

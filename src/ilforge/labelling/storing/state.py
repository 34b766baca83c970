"""Charge, multiplicity and periodicity of a frame, on which a label depends in addition to the positions."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.frames import CHARGE, MULTIPLICITY
from ilforge.liquid.liquid import Liquid

_SMALLEST_CELL_A3 = 1.0


def with_state(frame: Atoms, liquid: Liquid | None = None, charge: int | None = None) -> Atoms:
    """A copy of a frame with its charge in ``info``, if the charge is part of its digest.

    This is the case for a frame without periodicity and for a charged box; see :func:`ilforge.frames.digest`.

    Parameters
    ----------
    liquid
        The ions of the frame, which give the charge.
    charge
        Net charge of a frame that does not contain it, e.

    Raises
    ------
    SettingsError
        For a frame without periodicity whose charge is unknown, for charges that contradict each other, for a
        multiplicity that is not the lowest, and for a frame that is periodic in only one or two directions.
    """
    require_whole_periodicity(frame)
    found = {
        "the frame": frames.charge_of(frame),
        "its ions": None if liquid is None else liquid.topology.charge,
    }
    said = {whose: value for whose, value in found.items() if value is not None}
    if liquid is not None and len(set(said.values())) > 1:
        raise SettingsError(
            f"The charge of a frame is {said['the frame']:+d} in the frame itself ({CHARGE} = ...) and "
            f"{said['its ions']:+d} from its ions ({liquid.label}): correct the one that is wrong."
        )
    isolated, total = not frame.pbc.any(), next(iter(said.values()), charge)
    if total is None and isolated:
        raise SettingsError(
            f"A frame of {len(frame)} atoms ({frame.get_chemical_formula()}) has no periodicity and does not give its "
            f"charge, so it could be a radical or an ion. Name its ions with --ions, or give its charge with --charge "
            f"or as {CHARGE}=... in its header."
        )
    stated: Atoms = frame.copy()
    stated.calc = frame.calc
    stated.info.pop(CHARGE, None)
    if total is not None and (total or isolated):
        stated.info[CHARGE] = total
    _require_lowest_multiplicity(stated)
    return stated


def require_geometry(frame: Atoms, named: str) -> None:
    """Refuse a frame that no method can evaluate: positions that are not numbers, or periodicity without a cell.

    Parameters
    ----------
    named
        Name of the frame, for messages.

    Raises
    ------
    SettingsError
        Because some methods return numbers for such frames.
    """
    if not np.isfinite(frame.positions).all() or not np.isfinite(frame.cell.array).all():
        raise SettingsError(f"{named}: positions or cell are not finite numbers. Leave this frame out.")
    if frame.pbc.all() and frame.cell.volume < _SMALLEST_CELL_A3:
        raise SettingsError(
            f"{named} is periodic, but its cell has a volume of {frame.cell.volume:.3g} Å^3. Give the cell in its "
            'header (Lattice="a 0 0 0 b 0 0 0 c", in Å), or pbc="F F F" for ions in a vacuum.'
        )


def require_whole_periodicity(frame: Atoms) -> None:
    """Refuse a frame that is periodic along one or two of its three directions.

    Raises
    ------
    SettingsError
        Because most methods would silently treat it as periodic in all three directions.
    """
    if frame.pbc.any() and not frame.pbc.all():
        along = ", ".join(axis for axis, periodic in zip("xyz", frame.pbc, strict=True) if periodic)
        raise SettingsError(
            f'A frame is periodic along {along} only (pbc = "{" ".join("FT"[int(p)] for p in frame.pbc)}"). Frames are '
            "periodic along all three directions, or along none. Label a slab in a box with vacuum as periodic "
            'along all three: pbc="T T T".'
        )


def _require_lowest_multiplicity(frame: Atoms) -> None:
    found, lowest = frames.multiplicity_of(frame), frames.lowest_multiplicity(frame)
    if found is None or found == lowest:
        return
    electrons = int(frame.numbers.sum()) - (frames.charge_of(frame) or 0)
    raise SettingsError(
        f"A frame has {MULTIPLICITY} = {found} (2S + 1). With {electrons} electrons the lowest is {lowest}, and only "
        f"this one is supported: ions of ionic liquids have closed shells. Leave {MULTIPLICITY} out of its "
        f"header, or correct {CHARGE} if the number of electrons is wrong."
    )

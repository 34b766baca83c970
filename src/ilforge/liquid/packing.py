"""Packing: PACKMOL places ions at random in a periodic cubic box, without overlaps."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from ilforge import frames, programs
from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.liquid.connectivity import NEVER_BONDED
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap, separate
from ilforge.liquid.rings import Piercing, pierced_rings
from ilforge.liquid.structures import conformers

DENSITIES = (0.05, 4.0)
"""Allowed densities in g/cm^3, from a gas to more than any ionic liquid."""
_HYDROGEN_SCALES = (1.0, 1.0, 1.0, 0.9, 0.9, 0.8, 0.8, 0.8)
"""Scale of hydrogen radii in each attempt, smaller in later ones. Each attempt has its own conformers and seed."""
_REPACKED = 5  # largest number of further packings because a bond goes through a ring
_LOOPS = 3  # of PACKMOL's optimiser in one attempt: separate() and new attempts help more than further loops
_BONDED = 1.3  # times the sum of covalent radii: closer atoms could be mistaken for bonded
_CONFORMERS = 16  # of each flexible ion: more conformers do not change a liquid
_SLACK = 0.02  # Å; the precision of PACKMOL's result and of separate()


def pack(
    liquid: Liquid,
    density_g_cm3: float,
    seed: int,
    tolerance_A: float = 2.0,
    directory: Path | None = None,
) -> Atoms:
    """A periodic cubic box of the liquid at this density, packed at random.

    No two atoms of different molecules, periodic images included, are closer than the sum of their
    :func:`atomic_radii`, which is ``tolerance_A`` for most. If a dense or small box allows no such packing,
    hydrogens may come closer, in steps down to 0.8 of that: 1.6 Å. After PACKMOL, :func:`separate` removes the
    remaining overlaps, mostly of molecules with their own images, which PACKMOL ignores. If a bond goes through a ring
    (:func:`pierced_rings`), the box is packed again, because MD cannot undo this. Flexible ions have random
    conformers. Molecules are whole; positions and cell have 1e-6 Å resolution; the same arguments give the
    same box.

    Parameters
    ----------
    density_g_cm3
        Sets the cell: ``liquid.volume(density)``.
    tolerance_A
        Wanted smallest distance between molecules, Å.
    directory
        Directory for PACKMOL's files; by default a temporary one.

    Raises
    ------
    SettingsError
        When the density is outside :data:`DENSITIES`.
    DidNotConverge
        When PACKMOL finds no packing.

    References
    ----------
    L. Martinez et al., J. Comput. Chem. 2009, 30, 2157 (PACKMOL).
    """
    if not DENSITIES[0] <= density_g_cm3 <= DENSITIES[1]:
        raise SettingsError(
            f"A density of {density_g_cm3:g} g/cm^3 for {liquid.label} is outside {DENSITIES[0]:g} to "
            f"{DENSITIES[1]:g} g/cm^3. Ionic liquids have 0.9 to 1.8: check liquid.density_g_cm3."
        )
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        return _pack_in(Path(directory), liquid, density_g_cm3, seed, tolerance_A)
    with tempfile.TemporaryDirectory(prefix="ilforge-pack-") as scratch:
        return _pack_in(Path(scratch), liquid, density_g_cm3, seed, tolerance_A)


def _pack_in(directory: Path, liquid: Liquid, density: float, seed: int, tolerance: float) -> Atoms:
    side = round(liquid.volume(density) ** (1 / 3), 6)
    rng = np.random.default_rng(seed)
    least, pierced, repacked = np.inf, None, 0
    tries = deque(_HYDROGEN_SCALES)
    while tries:
        scale = tries.popleft()
        radii = atomic_radii(liquid.topology.symbols, tolerance, scale)
        box = _run_packmol(directory, liquid, side, radii, rng)
        if box is None:
            continue
        box = frames.quantize(separate(box, liquid.topology, radii))
        remaining = overlap(box, liquid.topology, radii)
        if remaining > _SLACK:
            least = min(least, remaining)
            continue
        pierced = next(iter(pierced_rings(box, liquid.topology)), None)
        if pierced is None:
            return box
        if repacked < _REPACKED:  # try again with another seed
            tries.appendleft(scale)
            repacked += 1
    raise _not_packed(liquid, density, side, least, pierced)


def _not_packed(liquid: Liquid, density: float, side: float, least: float, pierced: Piercing | None) -> DidNotConverge:
    box = f"box of {liquid.label} at {density:g} g/cm^3 (side {side:.2f} Å)"
    remedy = "Lower the density, or take more ions."
    if pierced is not None:
        what = pierced.describe(liquid.topology)
        return DidNotConverge(
            f"PACKMOL could not pack a {box} in which no bond goes through a ring: in the last attempt, {what}. "
            f"{remedy}"
        )
    found = f"; the best attempt still has an overlap of {least:.2f} Å" if np.isfinite(least) else ""
    return DidNotConverge(f"PACKMOL could not pack a {box} without overlaps{found}. {remedy}")


def atomic_radii(symbols: Sequence[str], tolerance: float, hydrogen_scale: float = 1.0) -> np.ndarray:
    """Radii of atoms, ``(n_atoms,)`` Å: atoms of two molecules may not be closer than the sum of their radii.

    A radius is half the tolerance. It is larger for atoms that could be mistaken for bonded at that distance (S, P,
    Br, but not monatomic cations). Radii of hydrogens are multiplied by ``hydrogen_scale``.
    """
    radius = {}
    for symbol in set(symbols):
        size = 1.0 if symbol in NEVER_BONDED else _BONDED * covalent_radii[atomic_numbers[symbol]]
        radius[symbol] = 0.5 * tolerance * (hydrogen_scale if symbol == "H" else max(1.0, size))
    return np.array([radius[symbol] for symbol in symbols])


def _run_packmol(
    directory: Path, liquid: Liquid, side: float, radii: np.ndarray, rng: np.random.Generator
) -> Atoms | None:
    """One attempt: PACKMOL's best box, with or without overlaps; None if PACKMOL could not begin to pack."""
    output, log = directory / "packed.xyz", directory / "packmol.log"
    output.unlink(missing_ok=True)
    blocks = _write_molecules(directory, liquid, radii, rng)
    header = [
        f"tolerance {2 * radii.min():.4f}",
        f"seed {rng.integers(1, 2**31 - 1)}",
        f"pbc {side:.6f} {side:.6f} {side:.6f}",
        f"nloop {_LOOPS}",
        "filetype xyz",
        f"output {output.name}",
    ]
    (directory / "packmol.inp").write_text("\n".join([*header, *blocks, ""]))
    try:
        programs.run(["packmol"], directory, log=log.name, stdin=directory / "packmol.inp")
    except DidNotFinish:  # PACKMOL also ends with an error if its best box has overlaps
        if not output.is_file() and "unable to put the molecules" not in log.read_text(errors="replace"):
            raise
    return _read_box(output, liquid, side) if output.is_file() else None


def _write_molecules(directory: Path, liquid: Liquid, radii: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Write a file for each conformer used; return PACKMOL's structure blocks, in atom order."""
    import ase.io

    blocks, first = [], 0
    for number, (ion, count) in enumerate(liquid.ions):
        own_radii = radii[first : first + ion.n_atoms]
        first += count * ion.n_atoms
        shapes = conformers(ion, min(count, _CONFORMERS), int(rng.integers(2**31 - 1)))
        for k, shape in enumerate(shapes[:count]):
            name = f"{number}_{k}.xyz"
            ase.io.write(directory / name, Atoms(ion.symbols, shape), format="xyz", fmt="%.9f")
            repeats = len(range(k, count, len(shapes)))
            blocks += [f"structure {name}", f"  number {repeats}", *_radius_lines(own_radii), "end structure"]
    return blocks


def _radius_lines(radii: np.ndarray) -> list[str]:
    lines = []
    for radius in np.unique(radii):
        members = " ".join(str(k + 1) for k in np.flatnonzero(radii == radius))
        lines += [f"  atoms {members}", f"    radius {radius:.4f}", "  end atoms"]
    return lines


def _read_box(output: Path, liquid: Liquid, side: float) -> Atoms:
    """PACKMOL's box as a frame: with cell, periodicity, and the label of its ions."""
    import ase.io

    packed = cast(Atoms, ase.io.read(output, format="xyz"))  # without an index: one frame
    if tuple(packed.get_chemical_symbols()) != liquid.topology.symbols:
        raise DidNotFinish(f"PACKMOL's {output.name} does not hold the atoms of {liquid.label}", output.parent)
    packed.set_cell([side] * 3)
    packed.pbc = True
    packed.info = {"ions": liquid.label}
    return packed

"""Packing: ions put at random into a periodic cubic box by PACKMOL, without overlaps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from scipy.spatial.distance import pdist

from ilforge import frames, programs
from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.liquid.connectivity import closest_contact
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.structures import conformers

DENSITIES = (0.05, 4.0)
"""Densities in g/cm^3 that an ionic liquid, or its vapour-like expansion, can have."""
_TRIES = 4  # with the wanted distance, each with conformers and a seed of its own
_LOOSER = (1.9, 1.8, 1.7, 1.6)  # Å; closer atoms would be bonded
_LOOPS = 40  # of PACKMOL's optimiser in one attempt: a new start beats more of the same
_CONFORMERS = 16  # of each flexible ion: more change nothing in a liquid
_SLACK = 0.02  # Å; PACKMOL's own precision


def pack(
    liquid: Liquid,
    density_g_cm3: float,
    seed: int,
    tolerance_A: float = 2.0,
    directory: Path | None = None,
) -> Atoms:
    """A periodic cubic box of the liquid at this density, packed at random.

    No two atoms of different molecules, periodic images included, are closer than ``tolerance_A``. Where a
    dense or small box allows no such packing, the distance is relaxed in steps down to 1.6 Å. Flexible ions
    come in random conformers. Molecules are whole; positions and cell have 1e-6 Å resolution; the same
    arguments give the same box.

    Parameters
    ----------
    density_g_cm3
        Sets the cell: ``liquid.volume(density)``.
    tolerance_A
        Wanted smallest distance between molecules, Å.
    directory
        Where PACKMOL's files go; without it a temporary directory.

    Raises
    ------
    SettingsError
        When no liquid has this density.
    DidNotConverge
        When PACKMOL finds no packing.

    References
    ----------
    L. Martinez et al., J. Comput. Chem. 2009, 30, 2157 (PACKMOL).
    """
    if not DENSITIES[0] <= density_g_cm3 <= DENSITIES[1]:
        raise SettingsError(
            f"A density of {density_g_cm3:g} g/cm^3 for {liquid.label} is outside {DENSITIES[0]:g} to "
            f"{DENSITIES[1]:g} g/cm^3. Ionic liquids have 0.9 to 1.8: check liquid.density_g_cm3 and its unit."
        )
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        return _pack_in(Path(directory), liquid, density_g_cm3, seed, tolerance_A)
    with tempfile.TemporaryDirectory(prefix="ilforge-pack-") as scratch:
        return _pack_in(Path(scratch), liquid, density_g_cm3, seed, tolerance_A)


def _pack_in(directory: Path, liquid: Liquid, density: float, seed: int, tolerance: float) -> Atoms:
    side = round(liquid.volume(density) ** (1 / 3), 6)
    rng = np.random.default_rng(seed)
    best, closest = None, 0.0
    for distance in (tolerance,) * _TRIES + tuple(d for d in _LOOSER if d < tolerance):
        box = _run_packmol(directory, liquid, side, distance, rng)
        contact = closest_contact(box, liquid.topology)
        if contact > closest:
            best, closest = box, contact
        if closest >= distance - _SLACK:
            break
    if best is None or closest < min(tolerance, _LOOSER[-1]) - _SLACK:
        raise DidNotConverge(
            f"PACKMOL found no box of {liquid.label} at {density:g} g/cm^3 (side {side:.2f} Å) in which molecules "
            f"keep {_LOOSER[-1]} Å apart; the best had {closest:.2f} Å. Lower the density, or take more ions."
        )
    return best


def _run_packmol(
    directory: Path, liquid: Liquid, side: float, distance: float, rng: np.random.Generator
) -> Atoms:
    """One attempt: PACKMOL's best box, whether or not it reached the distance."""
    output = directory / "packed.xyz"
    output.unlink(missing_ok=True)
    blocks = _write_molecules(directory, liquid, side - distance, rng)
    header = [
        f"tolerance {distance:.3f}",
        f"seed {rng.integers(1, 2**31 - 1)}",
        f"pbc {side:.6f} {side:.6f} {side:.6f}",
        f"nloop {_LOOPS}",
        "filetype xyz",
        f"output {output.name}",
    ]
    (directory / "packmol.inp").write_text("\n".join([*header, *blocks, ""]))
    try:
        programs.run(["packmol"], directory, log="packmol.log", stdin=directory / "packmol.inp")
    except DidNotFinish:
        if not output.is_file():  # it also ends with an error when its best box is not perfect
            raise
    return _read_box(output, liquid, side)


def _write_molecules(directory: Path, liquid: Liquid, room: float, rng: np.random.Generator) -> list[str]:
    """Write one file for each conformer in use; return PACKMOL's structure blocks, in atom order."""
    blocks = []
    for number, (ion, count) in enumerate(liquid.ions):
        shapes = conformers(ion, min(count, _CONFORMERS), int(rng.integers(2**31 - 1)))
        shapes = _that_fit(shapes, room)
        copies = np.bincount(np.arange(count) % len(shapes), minlength=len(shapes))
        for k, (shape, repeats) in enumerate(zip(shapes, copies, strict=True)):
            if repeats:
                name = f"{number}_{k}.xyz"
                ase.io.write(directory / name, Atoms(ion.symbols, shape), format="xyz", fmt="%.9f")
                blocks += [f"structure {name}", f"  number {repeats}", "end structure"]
    return blocks


def _that_fit(shapes: np.ndarray, room: float) -> np.ndarray:
    """Conformers no longer than ``room``, so that none meets its own image; if none is, the shortest one."""
    spans = np.array([pdist(shape).max(initial=0.0) for shape in shapes])
    return shapes[spans <= room] if (spans <= room).any() else shapes[[spans.argmin()]]


def _read_box(output: Path, liquid: Liquid, side: float) -> Atoms:
    """PACKMOL's box with what a frame needs: cell, periodicity, and the label of its ions."""
    packed = ase.io.read(output, format="xyz")
    if tuple(packed.get_chemical_symbols()) != liquid.topology.symbols:
        raise DidNotFinish(
            f"PACKMOL's {output.name} does not hold the atoms of {liquid.label}", output.parent
        )
    packed.set_cell([side] * 3)
    packed.pbc = True
    packed.info = {"ions": liquid.label}
    return frames.quantize(packed)

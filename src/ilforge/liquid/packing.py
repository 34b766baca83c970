"""Packing: ions put at random into a periodic cubic box by PACKMOL, without overlaps."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from scipy.spatial.transform import Rotation

from ilforge import frames, programs
from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.liquid.connectivity import NEVER_BONDED, contacts
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.structures import conformers

DENSITIES = (0.05, 4.0)
"""Densities in g/cm^3 that an ionic liquid, or its vapour-like expansion, can have."""
_HYDROGEN_SCALES = (1.0, 0.9, 0.8)  # hydrogens may come closer, down to 1.6 Å, where space is short
_TRIES = 4  # at each scale, with conformers and a seed of their own
_LOOPS = 40  # of PACKMOL's optimiser in one try: a new start beats more of the same
_BONDED = 1.3  # times the sum of covalent radii: closer atoms might be taken for bonded
_CONFORMERS = 16  # of each flexible ion: more change nothing in a liquid
_ROTATIONS = 100  # tried for a conformer that is long for its box
_MARGIN = 0.05  # Å; what it may lose when PACKMOL turns it by half a degree
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
    closest = 0.0
    for scale in _HYDROGEN_SCALES:
        radii = atomic_radii(liquid.topology.symbols, tolerance, scale)
        for _ in range(_TRIES):
            box = _run_packmol(directory, liquid, side, radii, rng)
            if box is None:
                continue
            i, j, distance = contacts(box, liquid.topology, 2 * radii.max())
            if np.all(distance >= radii[i] + radii[j] - _SLACK):
                return box
            closest = max(closest, distance.min())
    raise DidNotConverge(
        f"PACKMOL found no box of {liquid.label} at {density:g} g/cm^3 (side {side:.2f} Å) in which molecules do "
        f"not overlap; in the best one two came within {closest:.2f} Å. Lower the density, or take more ions."
    )


def atomic_radii(symbols: Sequence[str], tolerance: float, hydrogen_scale: float = 1.0) -> np.ndarray:
    """Radii whose sums are the smallest distances allowed between molecules, ``(n_atoms,)`` Å.

    Half the tolerance; more for atoms so large that they would be bonded at that distance (S, P, Br, not
    monatomic cations), and ``hydrogen_scale`` times that for hydrogens.
    """
    unique = sorted(set(symbols))
    radius = {}
    for symbol in unique:
        size = 1.0 if symbol in NEVER_BONDED else _BONDED * covalent_radii[atomic_numbers[symbol]]
        radius[symbol] = 0.5 * tolerance * (hydrogen_scale if symbol == "H" else max(1.0, size))
    return np.array([radius[symbol] for symbol in symbols])


def _run_packmol(
    directory: Path, liquid: Liquid, side: float, radii: np.ndarray, rng: np.random.Generator
) -> Atoms | None:
    """One attempt: PACKMOL's best box, perfect or not; None when it has not even begun to pack."""
    output, log = directory / "packed.xyz", directory / "packmol.log"
    output.unlink(missing_ok=True)
    blocks = _write_molecules(directory, liquid, side, radii, rng)
    if blocks is None:
        return None
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
    except DidNotFinish:  # it also ends with an error when its best box is not perfect
        if not output.is_file() and "unable to put the molecules" not in log.read_text(errors="replace"):
            raise
    return _read_box(output, liquid, side) if output.is_file() else None


def _write_molecules(
    directory: Path, liquid: Liquid, side: float, radii: np.ndarray, rng: np.random.Generator
) -> list[str] | None:
    """Write a file for each conformer in use; return PACKMOL's structure blocks, in atom order.

    PACKMOL does not look at a molecule and its own images. A conformer longer than the box can hold in any
    orientation is therefore turned here until it keeps off its images, and PACKMOL is told not to turn it.
    None when a molecule fits in no orientation tried.
    """
    blocks, first = [], 0
    for number, (ion, count) in enumerate(liquid.ions):
        own_radii = radii[first : first + ion.n_atoms]
        first += count * ion.n_atoms
        shapes = conformers(ion, min(count, _CONFORMERS), int(rng.integers(2**31 - 1)))
        fits = [fit for fit in (_fit(shape, own_radii, side, rng) for shape in shapes) if fit is not None]
        if not fits:
            return None
        for k, (shape, turned) in enumerate(fits[:count]):
            name = f"{number}_{k}.xyz"
            ase.io.write(directory / name, Atoms(ion.symbols, shape), format="xyz", fmt="%.9f")
            repeats = len(range(k, count, len(fits)))
            blocks += [f"structure {name}", f"  number {repeats}", *_radius_lines(own_radii)]
            blocks += [f"  constrain_rotation {axis} 0.0 0.5" for axis in "xyz" if turned]
            blocks += ["end structure"]
    return blocks


def _fit(shape: np.ndarray, radii: np.ndarray, side: float, rng: np.random.Generator) -> tuple[np.ndarray, bool] | None:
    """The shape and False when it fits whichever way it lies; one that fits as it lies and True; or None."""
    reach = radii[:, None] + radii[None]
    if np.all(np.linalg.norm(shape[:, None] - shape[None], axis=-1) <= side - reach):
        return shape, False
    images = np.array([s for s in itertools.product((-1, 0, 1), repeat=3) if s > (0, 0, 0)]) * side
    for rotation in Rotation.random(_ROTATIONS, rng):
        turned = rotation.apply(shape)
        steps = turned[:, None] - turned[None]
        if all(np.all(np.linalg.norm(steps + image, axis=-1) >= reach + _MARGIN) for image in images):
            return turned, True
    return None


def _radius_lines(radii: np.ndarray) -> list[str]:
    lines = []
    for radius in np.unique(radii):
        members = " ".join(str(k + 1) for k in np.flatnonzero(radii == radius))
        lines += [f"  atoms {members}", f"    radius {radius:.4f}", "  end atoms"]
    return lines


def _read_box(output: Path, liquid: Liquid, side: float) -> Atoms:
    """PACKMOL's box with what a frame needs: cell, periodicity, and the label of its ions."""
    packed = ase.io.read(output, format="xyz")
    if tuple(packed.get_chemical_symbols()) != liquid.topology.symbols:
        raise DidNotFinish(f"PACKMOL's {output.name} does not hold the atoms of {liquid.label}", output.parent)
    packed.set_cell([side] * 3)
    packed.pbc = True
    packed.info = {"ions": liquid.label}
    return frames.quantize(packed)

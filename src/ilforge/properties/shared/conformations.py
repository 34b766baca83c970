"""Definitions of the shapes of ions: the dihedrals and distances that distinguish them, and the borders of shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.recognition import BondGraph, as_molecule
from ilforge.liquid.topology import Topology
from ilforge.properties.kernels.internal import dihedrals, distances
from ilforge.properties.shared.local_structure import CoordinateSettings, ShapeSettings, StateSettings

_TFSI = "[#6D4]-[#16D4]-[#7D2]-[#16D4]-[#6D4]"
_BUTYL = "[#6D4;!R]-[#6D4;!R]-[#6D4;!R]-[#6D4;!R]-[#7D4;R]"  # from the end to the ring
_METHYL = "[#6D4;!R](-[#1])(-[#1])-[#1]"
ANTI_A = 6.0
"""PYR14 is anti above this r2, Å: the first and third torsions of its butyl chain are anti."""
SCORPION_A = 4.3
"""PYR14 is a scorpion below this r1, Å: MMFF94 minima that curl back have 3.8 to 3.9, all others at least 4.7."""

Classify = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Coordinate:
    """A dihedral (four atoms, degrees) or a distance (two atoms, Å; the smallest of several).

    ``atoms`` is ``(n_alternatives, 2 or 4)``, with indices within the ion.
    """

    name: str
    atoms: np.ndarray

    @property
    def is_angle(self) -> bool:
        found: bool = self.atoms.shape[1] == 4
        return found

    @property
    def unit(self) -> str:
        return "degrees" if self.is_angle else "Å"

    def values(self, positions: np.ndarray, first_atoms: np.ndarray) -> np.ndarray:
        """Value for each ion, ``(n_ions,)``, from whole molecules."""
        points = positions[first_atoms[:, None, None] + self.atoms]
        if self.is_angle:
            return dihedrals(points[:, 0])
        found: np.ndarray = distances(points).min(axis=1)
        return found


@dataclass(frozen=True)
class Regions:
    """The regions of the built-in shapes on the map of an ion.

    Attributes
    ----------
    labels
        Names of the shapes.
    classify
        Function of ``(n, 2)`` values: index of the shape, ``(n,)``.
    borders
        Lines ``(x0, y0, x1, y1)`` between shapes, in degrees or Å.
    """

    labels: tuple[str, ...]
    classify: Classify
    borders: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Shape:
    """The shapes of one ion.

    Attributes
    ----------
    name, ion
        Name of the definition (``"TFSI"``), and its ion.
    coordinates
        Coordinates that are measured.
    labels
        Names of the shapes.
    classify
        Function of ``(n, n_coordinates)`` values: index of the shape, ``(n,)``.
    map_of
        Names of the two coordinates of the map, or of the only one, or none for no map.
    images
        Function of ``(n, n_coordinates)`` values: all equivalent points on the map, ``(n_images, n, 2)``.
    """

    name: str
    ion: str
    coordinates: tuple[Coordinate, ...]
    labels: tuple[str, ...]
    classify: Classify
    map_of: tuple[str, ...] = ()
    images: Callable[[np.ndarray], np.ndarray] | None = None

    def values(self, positions: np.ndarray, first_atoms: np.ndarray) -> np.ndarray:
        """Coordinates ``(n_ions, n_coordinates)`` from positions of whole molecules."""
        return np.stack([c.values(positions, first_atoms) for c in self.coordinates], axis=1)

    def settled(self, values: np.ndarray, margin_degrees: float, margin_A: float) -> tuple[np.ndarray, np.ndarray]:
        """Shape of each ion, and whether it is well inside: moving any coordinate by its margin does not change it."""
        shape = self.classify(values)
        inside = np.ones(len(values), dtype=bool)
        for column, coordinate in enumerate(self.coordinates):
            margin = margin_degrees if coordinate.is_angle else margin_A
            for step in (-margin, margin):
                moved = values.copy()
                moved[:, column] += step
                if coordinate.is_angle:
                    moved[:, column] = _turned(moved[:, column])
                inside &= self.classify(moved) == shape
        return shape, inside


def classify_tfsi(values: np.ndarray) -> np.ndarray:
    """Cis 0, aCis 1, Trans 2, aTrans 3 from (phi, psi) in degrees, ``(n, 2)``.

    Seen along S...S, one C is at 0 degrees, the other at phi, N at psi. |phi| < 90 is cis. N is inside the
    smaller angle between the two C if phi and psi have the same sign and |psi| < |phi|; otherwise the shape has the
    prefix a. The result does not depend on which S is first, and is the same for the mirror image.
    """
    phi, psi = values[:, 0], values[:, 1]
    outside = ~((phi * psi > 0) & (np.abs(psi) < np.abs(phi)))
    found: np.ndarray = 2 * (np.abs(phi) >= 90.0) + outside
    return found


def classify_pyr14(values: np.ndarray) -> np.ndarray:
    """anti 0, gauche 1, scorpion 2 from (r1, r2) in Å, ``(n, 2)``."""
    r1, r2 = values[:, 0], values[:, 1]
    return np.where(r2 > ANTI_A, 0, np.where(r1 < SCORPION_A, 2, 1))


_FAR_A = 100.0  # longer than any ion
_PHI_90, _PSI_0, _PSI_PHI = (-90.0, -180.0, -90.0, 180.0), (-180.0, 0.0, 180.0, 0.0), (-180.0, -180.0, 180.0, 180.0)
_ANTI, _SCORPION = (0.0, ANTI_A, _FAR_A, ANTI_A), (SCORPION_A, 0.0, SCORPION_A, ANTI_A)
MAP_REGIONS = {
    ("phi", "psi"): Regions(
        ("Cis", "aCis", "Trans", "aTrans"),
        classify_tfsi,
        (_PHI_90, (90.0, -180.0, 90.0, 180.0), _PSI_0, _PSI_PHI),
    ),
    ("r1", "r2"): Regions(("anti", "gauche", "scorpion"), classify_pyr14, (_ANTI, _SCORPION)),
}
"""Regions of the built-in shapes, by the coordinates of the map."""


def _classify_butyl(values: np.ndarray) -> np.ndarray:
    """ttt 0, ttg 1, ... ggg 7 from the three torsions, beginning at the ring; t is beyond 120 degrees."""
    found: np.ndarray = (np.abs(values) < 120.0) @ np.array([4, 2, 1])
    return found


def _tfsi_images(values: np.ndarray) -> np.ndarray:
    """Both choices of the first S, and the mirror images of both."""
    other = np.stack([values[:, 0], _turned(values[:, 0] - values[:, 1])], axis=1)
    return np.stack([values, other, -values, -other])


def _turned(angle: np.ndarray) -> np.ndarray:
    return (angle + 180.0) % 360.0 - 180.0


def shapes_of(topology: Topology, defined: list[ShapeSettings]) -> list[Shape]:
    """The shapes for the ions of a topology: those defined by the user, and the built-in ones for other ions.

    TFSI and PYR14 are recognised by their atoms and bonds, with any name.

    Raises
    ------
    SettingsError
        When a definition names an ion that the liquid lacks, or its SMARTS does not fit it.
    """
    found = []
    for settings in defined:
        if settings.ion not in topology.species:
            known = ", ".join(dict.fromkeys(topology.species))
            raise SettingsError(
                f"analysis.shapes.define: ion is {settings.ion!r}, which this liquid ({known}) does not have."
            )
        found.append(_defined(settings, topology))
    own = {settings.ion for settings in defined}
    for ion in dict.fromkeys(topology.species):
        for smarts, n_atoms, build in ((_TFSI, 15, _tfsi), (f"{_BUTYL}-{_METHYL}", 30, _pyr14)):
            size = topology.atom_counts[topology.species.index(ion)]
            if ion not in own and size == n_atoms and _search(topology, ion, smarts):
                found += build(topology, ion)
    return found


def _tfsi(topology: Topology, ion: str) -> list[Shape]:
    ((c1, s1, n, s2, c2),) = matches(topology, ion, _TFSI, [0, 1, 2, 3, 4])[:1]
    phi, psi = Coordinate("phi", np.array([[c1, s1, s2, c2]])), Coordinate("psi", np.array([[c1, s1, s2, n]]))
    regions = MAP_REGIONS["phi", "psi"]
    return [Shape(ion, ion, (phi, psi), regions.labels, classify_tfsi, ("phi", "psi"), _tfsi_images)]


def _pyr14(topology: Topology, ion: str) -> list[Shape]:
    find = partial(matches, topology, ion)
    r1 = Coordinate("r1", find(f"{_BUTYL}-[#6D4;R]", [0, 5]))
    r2 = Coordinate("r2", find(f"{_BUTYL}-{_METHYL}", [0, 5]))
    torsions = tuple(
        Coordinate(name, find(f"{_BUTYL}-{_METHYL}", atoms))
        for name, atoms in (("t1", [5, 4, 3, 2]), ("t2", [4, 3, 2, 1]), ("t3", [3, 2, 1, 0]))
    )
    patterns = tuple(a + b + c for a in "tg" for b in "tg" for c in "tg")
    return [
        Shape(ion, ion, (r1, r2), MAP_REGIONS["r1", "r2"].labels, classify_pyr14, ("r1", "r2")),
        Shape(f"{ion} butyl", ion, torsions, patterns, _classify_butyl),
    ]


def _defined(settings: ShapeSettings, topology: Topology) -> Shape:
    coordinates = tuple(_coordinate(one, settings.ion, topology) for one in settings.coordinates)
    names = [coordinate.name for coordinate in coordinates]
    angles = [coordinate.is_angle for coordinate in coordinates]
    labels = (*(state.name for state in settings.states), "other")
    classify = partial(_in_ranges, states=settings.states, names=names, angles=angles)
    return Shape(settings.ion, settings.ion, coordinates, labels, classify, tuple(names[:2]))


def _coordinate(settings: CoordinateSettings, ion: str, topology: Topology) -> Coordinate:
    found = matches(topology, ion, settings.smarts, settings.atoms)
    if len(settings.atoms) == 4 and len(found) > 1:
        raise SettingsError(
            f"analysis.shapes.define of {ion}: {settings.smarts} gives {len(found)} different dihedrals for "
            f"{settings.name}. Write a SMARTS that matches once, or forwards and backwards."
        )
    return Coordinate(settings.name, found)


def _in_ranges(values: np.ndarray, states: list[StateSettings], names: list[str], angles: list[bool]) -> np.ndarray:
    shape = np.full(len(values), len(states))
    for index in reversed(range(len(states))):
        fits = np.ones(len(values), dtype=bool)
        for name, (low, high) in states[index].ranges.items():
            column = names.index(name)
            value = values[:, column]
            through = angles[column] and low > high
            fits &= ((value >= low) | (value < high)) if through else ((value >= low) & (value < high))
        shape[fits] = index
    return shape


def matches(topology: Topology, ion: str, smarts: str, atoms: list[int]) -> np.ndarray:
    """Atoms of an ion that match a SMARTS, ``(n_different, len(atoms))``, with indices within the ion.

    The molecule has explicit hydrogens, single bonds and no charges, because a trajectory contains no bond orders.
    Matches with the same atoms, forwards or backwards, count once.

    Raises
    ------
    SettingsError
        When the SMARTS cannot be read, is too short, or does not match.
    """
    from rdkit import Chem

    pattern = Chem.MolFromSmarts(smarts)
    if pattern is None:
        raise SettingsError(f"analysis.shapes.define of {ion}: {smarts!r} is not a valid SMARTS.")
    if max(atoms) >= pattern.GetNumAtoms() or min(atoms) < 0:
        raise SettingsError(
            f"analysis.shapes.define of {ion}: atoms are {atoms}, but {smarts} has {pattern.GetNumAtoms()} atoms, "
            "counted from 0."
        )
    found: dict[tuple[int, ...], None] = {}
    for match in _search(topology, ion, smarts):
        picked = tuple(match[atom] for atom in atoms)
        if picked[::-1] not in found:
            found[picked] = None
    if not found:
        raise SettingsError(
            f"analysis.shapes.define of {ion}: {smarts} matches nothing in it. Hydrogens are explicit and all bonds "
            "single: write [#6] instead of C, and ~ instead of =."
        )
    return np.array(list(found))


def _search(topology: Topology, ion: str, smarts: str) -> tuple[tuple[int, ...], ...]:
    """Every match of a valid SMARTS in one ion, permutations included."""
    from rdkit import Chem

    first = topology.species.index(ion)
    start, size = int(topology.first_atoms[first]), int(topology.atom_counts[first])
    bonds = topology.bonds[topology.molecules[topology.bonds[:, 0]] == first] - start
    molecule = as_molecule(BondGraph.of(topology.symbols[start : start + size], bonds))
    found: tuple[tuple[int, ...], ...] = molecule.GetSubstructMatches(Chem.MolFromSmarts(smarts), uniquify=False)
    return found

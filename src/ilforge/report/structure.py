"""A box to look at: a drawing for everyone, and the data of the three-dimensional view."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

from ilforge.report.blocks import Viewer
from ilforge.report.content import Structure
from ilforge.report.wording import counted, joined, number

_TILT, _TURN = np.radians(14.0), np.radians(-24.0)
_MANY = 700  # beyond this many atoms the drawing leaves out hydrogen
_WIDTH = 640.0


def viewer(structure: Structure) -> Viewer:
    """The block of the page that shows a structure."""
    atoms = structure.atoms
    lengths = atoms.cell.lengths()
    box = f" in a box of {' × '.join(number(length) for length in lengths)} Å" if lengths.any() else ""
    ions = joined([counted(n, ion, ion) for ion, n in _ions(structure).items()])
    caption = f"{counted(len(atoms), 'atom')}{f' ({ions})' if ions else ''}{box}; molecules are drawn whole."
    return Viewer(structure.title, caption, drawing(structure), model(structure))


def model(structure: Structure) -> dict[str, Any]:
    """Atoms (element, x, y, z), bonds, cell vectors and the ion of each atom, as JSON can hold them."""
    atoms = structure.atoms
    ions = list(dict.fromkeys(structure.species))
    return {
        "elements": list(atoms.get_chemical_symbols()),
        "positions": np.round(atoms.positions, 3).tolist(),
        "bonds": np.asarray(structure.bonds, dtype=int).reshape(-1, 2).tolist(),
        "cell": np.round(atoms.cell.array, 3).tolist(),
        "ions": ions,
        "ion": [ions.index(name) for name in structure.species],
    }


def drawing(structure: Structure) -> str:
    """An SVG of the box: parallel projection, far things first and paler."""
    atoms = structure.atoms
    shown = np.ones(len(atoms), dtype=bool)
    if len(atoms) > _MANY:
        shown = atoms.numbers != 1
    edges = _cell_edges(atoms.cell.array)
    points = np.concatenate([atoms.positions, edges.reshape(-1, 3)]) @ _view()
    low, high = points.min(axis=0), points.max(axis=0)
    scale = _WIDTH / (high[0] - low[0] + 3.0)
    height = (high[1] - low[1] + 3.0) * scale
    screen = (points - low + 1.5) * scale
    screen[:, 1] = height - screen[:, 1]
    nearness = (points[:, 2] - low[2]) / max(high[2] - low[2], 1e-9)
    positions, corners = screen[: len(atoms)], screen[len(atoms) :].reshape(-1, 2, 3)
    parts = [
        f'<line class="cell" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>' for a, b in corners
    ]
    parts += _sticks_and_balls(structure, positions, nearness, shown, scale)
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="Drawing of the box">'
        + "".join(parts)
        + "</svg>"
    )


def _sticks_and_balls(structure: Structure, screen, nearness, shown, scale: float) -> list[str]:
    """SVG of bonds (half and half in the colours of their atoms) and atoms, far ones first."""
    numbers = structure.atoms.numbers
    items: list[tuple[float, str]] = []
    for a, b in np.asarray(structure.bonds, dtype=int).reshape(-1, 2):
        if not (shown[a] and shown[b]):
            continue
        middle = (screen[a, :2] + screen[b, :2]) / 2
        for end in (a, b):
            (x1, y1), (x2, y2) = screen[end, :2], middle
            colour = _colour(numbers[end], nearness[end])
            stroke = f'stroke="{colour}" stroke-width="{0.26 * scale:.1f}" stroke-linecap="round"'
            coordinates = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            items.append((min(nearness[a], nearness[b]), f"<line {coordinates} {stroke}/>"))
    for atom in np.flatnonzero(shown):
        radius = 0.42 * covalent_radii[numbers[atom]] * scale
        x, y = screen[atom, :2]
        fill = _colour(numbers[atom], nearness[atom])
        items.append((nearness[atom], f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}"/>'))
    return [text for _, text in sorted(items, key=lambda item: item[0])]


def _ions(structure: Structure) -> dict[str, int]:
    """Number of ions of each kind, counted as connected groups of bonded atoms."""
    if not structure.species:
        return {}
    leader = list(range(len(structure.atoms)))

    def find(atom: int) -> int:
        while leader[atom] != atom:
            leader[atom] = leader[leader[atom]]
            atom = leader[atom]
        return atom

    for a, b in np.asarray(structure.bonds, dtype=int).reshape(-1, 2).tolist():
        leader[find(a)] = find(b)
    counts = dict.fromkeys(structure.species, 0)
    for atom, species in enumerate(structure.species):
        counts[species] += find(atom) == atom
    return counts


def _view() -> np.ndarray:
    """Rotation that shows three faces of the cell, ``(3, 3)``, to be applied from the right."""
    turn = np.array(
        [[np.cos(_TURN), 0, np.sin(_TURN)], [0, 1, 0], [-np.sin(_TURN), 0, np.cos(_TURN)]],
    )
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(_TILT), -np.sin(_TILT)], [0, np.sin(_TILT), np.cos(_TILT)]],
    )
    return (tilt @ turn).T


def _cell_edges(cell: np.ndarray) -> np.ndarray:
    """The twelve edges of the cell, ``(12, 2, 3)``; none where there is no cell."""
    if not np.any(cell):
        return np.zeros((0, 2, 3))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    edges = [(a, b) for a in corners for b in corners if np.sum(b - a) == 1 and np.all(b >= a)]
    return np.array(edges) @ cell


def _colour(atomic_number: int, nearness: float) -> str:
    """Jmol's colour of the element, paler with distance, in a grey that both grounds bear."""
    strength = 0.45 + 0.55 * float(nearness)
    rgb = strength * np.asarray(jmol_colors[atomic_number]) + (1 - strength) * 0.75
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)

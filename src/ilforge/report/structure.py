"""A box to display: a static drawing, and the data of the 3D view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

from ilforge.report.blocks import Gallery, Viewer
from ilforge.report.content import ClusterPicture, ReportContent, Structure
from ilforge.report.palette import Palette
from ilforge.report.wording import counted, joined, number, with_error

_TILT, _TURN = np.radians(14.0), np.radians(-24.0)
_MANY = 700  # with more atoms, the drawing leaves out hydrogen
_WIDTH = 640.0


def viewer(structure: Structure) -> Viewer:
    """The block of the page for a structure."""
    atoms = structure.atoms
    lengths = atoms.cell.lengths()
    box = f" in a box of {' × '.join(number(length) for length in lengths)} Å" if lengths.any() else ""
    ions = joined([counted(n, ion, ion) for ion, n in _ions(structure).items()])
    caption = f"{counted(len(atoms), 'atom')}{f' ({ions})' if ions else ''}{box}; molecules are drawn whole."
    return Viewer(structure.title, caption, drawing(structure), model(structure))


def galleries(content: ReportContent, palette: Palette) -> list[Gallery]:
    """One example of each kind of cluster, most common first, with its population; one gallery for each run."""
    found: dict[tuple[str, str], list[ClusterPicture]] = {}
    for picture in content.clusters:
        found.setdefault((picture.protocol, picture.potential), []).append(picture)
    unphysical = {(v.protocol, v.potential) for v in content.verdicts if v.state == "unphysical"}
    result = []
    for run, pictures in found.items():
        protocol, potential = run
        viewers = tuple(_cluster(picture, quoted=run not in unphysical) for picture in pictures)
        result.append(Gallery(viewers, f"{palette.label(potential)}, {protocol}", palette.colour(potential)))
    return result


def _cluster(picture: ClusterPicture, quoted: bool) -> Viewer:
    share, structure = picture.population, _laid_flat(picture.structure)
    if not quoted:
        caption = "The run is unphysical: its populations are not quoted."
    elif share.converged:
        caption = f"{with_error(share.value, share.error)} % of clusters."
    else:
        caption = f"Population not converged: {number(share.n_eff, 2)} independent samples."
    name = f"{structure.title}/{picture.protocol}/{picture.potential}"
    return Viewer(structure.title, caption, drawing(structure), model(structure), name)


def _laid_flat(structure: Structure) -> Structure:
    """The structure, rotated so that it is widest from left to right and thinnest in depth."""
    atoms = structure.atoms.copy()
    centred = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2] if len(atoms) > 2 else np.eye(3)
    axes[2] = np.cross(axes[0], axes[1])  # keeps the rotation proper, without a mirror image
    atoms.positions = centred @ axes.T @ _view().T
    return replace(structure, atoms=atoms)


def model(structure: Structure) -> dict[str, Any]:
    """Atoms (element, x, y, z), bonds, cell vectors and the ion of each atom, as JSON values."""
    atoms = structure.atoms
    ions = list(dict.fromkeys(structure.species))
    return {
        "elements": list(atoms.get_chemical_symbols()),
        "positions": np.round(atoms.positions, 3).tolist(),
        "bonds": np.asarray(structure.bonds, dtype=int).reshape(-1, 2).tolist(),
        "contacts": np.asarray(structure.contacts, dtype=int).reshape(-1, 2).tolist(),
        "cell": np.round(atoms.cell.array, 3).tolist(),
        "ions": ions,
        "ion": [ions.index(name) for name in structure.species],
    }


def drawing(structure: Structure) -> str:
    """An SVG of the box in parallel projection; distant atoms are drawn first and paler."""
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
    near = nearness[: len(atoms)]
    items = [*_dashes(structure, positions, near, scale), *_sticks_and_balls(structure, positions, near, shown, scale)]
    parts += [text for _, text in sorted(items, key=lambda item: item[0])]
    what = "the box" if atoms.cell.array.any() else "the cluster"
    return (
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="Drawing of {what}">'
        + "".join(parts)
        + "</svg>"
    )


def _dashes(structure: Structure, screen: np.ndarray, nearness: np.ndarray, scale: float) -> list[tuple[float, str]]:
    """SVG of contacts, drawn behind their nearer atom, and their nearness."""
    items = []
    for a, b in np.asarray(structure.contacts, dtype=int).reshape(-1, 2):
        (x1, y1), (x2, y2) = screen[a, :2], screen[b, :2]
        dash = f'stroke-width="{0.1 * scale:.1f}" stroke-dasharray="{0.22 * scale:.1f} {0.16 * scale:.1f}"'
        text = f'<line class="contact" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {dash}/>'
        items.append((min(nearness[a], nearness[b]), text))
    return items


def _sticks_and_balls(
    structure: Structure, screen: np.ndarray, nearness: np.ndarray, shown: np.ndarray, scale: float
) -> list[tuple[float, str]]:
    """SVG of bonds (each half in the colour of its atom) and atoms, and their nearness."""
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
    return items


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
    """Rotation matrix ``(3, 3)`` that shows three faces of the cell, applied from the right."""
    turn = np.array(
        [[np.cos(_TURN), 0, np.sin(_TURN)], [0, 1, 0], [-np.sin(_TURN), 0, np.cos(_TURN)]],
    )
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(_TILT), -np.sin(_TILT)], [0, np.sin(_TILT), np.cos(_TILT)]],
    )
    found: np.ndarray = (tilt @ turn).T
    return found


def _cell_edges(cell: np.ndarray) -> np.ndarray:
    """The twelve edges of the cell, ``(12, 2, 3)``; none without a cell."""
    if not np.any(cell):
        return np.zeros((0, 2, 3))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    edges = [(a, b) for a in corners for b in corners if np.sum(b - a) == 1 and np.all(b >= a)]
    found: np.ndarray = np.array(edges) @ cell
    return found


def _colour(atomic_number: int, nearness: float) -> str:
    """Jmol's colour of the element, paler with distance, blended with a grey for light and dark backgrounds."""
    strength = 0.45 + 0.55 * float(nearness)
    rgb = strength * np.asarray(jmol_colors[atomic_number]) + (1 - strength) * 0.75
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)

"""Pictures of clusters: a real example of each kind, cut out of a frame."""

from __future__ import annotations

import io

import numpy as np

from ilforge.liquid.connectivity import whole_molecules
from ilforge.properties.property import Snapshot, System
from ilforge.properties.shared.local_structure import ClustersSettings
from ilforge.properties.shared.solvation import Contacts, Solvation

_FRAMES = 40  # largest number of stored frames of a run


class Pictures:
    """Stores a few frames, evenly spread over the run, and cuts examples out of them.

    The clusters are known only at the end, when the cutoff is known, so frames must be stored until then. Every common
    kind of cluster occurs in some tens of frames.
    """

    def __init__(self, system: System, settings: ClustersSettings, solvation: Solvation):
        self._system = system
        self._settings = settings
        self._solvation = solvation
        n = min(_FRAMES, system.n_frames) if settings.pictures else 0
        self._wanted = set(np.rint(np.linspace(0, max(system.n_frames - 1, 0), n)).astype(int).tolist())
        self._frames: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}

    def look(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray, float] | None:
        """The data of this frame if it is one of the stored frames, otherwise None."""
        if snapshot.index not in self._wanted:
            return None
        return snapshot.positions.astype(np.float32), snapshot.cell.copy(), snapshot.time_ps

    def add(self, frame: int, seen: tuple[np.ndarray, np.ndarray, float]) -> None:
        """Store a frame."""
        self._frames[frame] = seen

    def example(self, visits: np.ndarray, contacts: Contacts, title: str) -> str | None:
        """Extended XYZ of the cluster among ``visits`` whose contact distances are nearest to the median.

        Parameters
        ----------
        visits
            ``(n_frames, n_cations)`` booleans: the clusters of this kind.
        contacts
            Contacts within the cutoff.
        title
            Description for the comment line.
        """
        candidates = []
        for frame in sorted(self._frames):
            low, high = np.searchsorted(contacts.frame, [frame, frame + 1])
            for cation in np.flatnonzero(visits[frame]).tolist():
                mine = slice(low, high)
                held = contacts.cation[mine] == cation
                distances = np.sort(contacts.distance[mine][held])
                candidates.append((frame, cation, contacts.site[mine][held], distances))
        if not candidates:
            return None
        lengths = [len(distances) for *_, distances in candidates]
        usual = max(set(lengths), key=lengths.count)
        candidates = [c for c in candidates if len(c[3]) == usual]
        median = np.median([c[3] for c in candidates], axis=0) if usual else np.empty(0)
        frame, cation, sites, _ = min(candidates, key=lambda c: float(np.abs(c[3] - median).sum()))
        return self._cut(frame, cation, sites, title)

    def _cut(self, frame: int, cation: int, sites: np.ndarray, title: str) -> str:
        """The cation at the origin with its ligands, each whole and in the image that coordinates.

        The array ``coordinating`` marks their coordinating atoms.
        """
        from ase import Atoms
        from ase.io import write

        topology = self._system.topology
        positions, cell, time = self._frames[frame]
        whole = whole_molecules(positions, cell, topology)
        molecule = int(self._solvation.cations[cation])
        own = topology.atoms_of(molecule)
        centre = self._centre(whole, own)
        symbols, parts = [topology.symbols[atom] for atom in own], [whole[own] - centre]
        joined: list[int] = []  # atoms of the picture
        inverse = np.linalg.inv(cell)
        for ligand in np.unique(self._solvation.ligand_of_site[sites]):
            atoms = topology.atoms_of(int(self._solvation.ligands[ligand]))
            touching = self._solvation.sites[sites[self._solvation.ligand_of_site[sites] == ligand]]
            apart = whole[touching] - centre
            images = np.rint(apart @ inverse)
            nearest = int(np.argmin(np.linalg.norm(apart - images @ cell, axis=1)))
            joined += [len(symbols) + int(atom) - int(atoms[0]) for atom in touching]
            parts.append(whole[atoms] - centre - images[nearest] @ cell)
            symbols += [topology.symbols[atom] for atom in atoms]
        cut = Atoms(symbols, np.concatenate(parts))
        where = {"title": title, "frame": frame, "time_ps": time, "cation": topology.describe(int(own[0]))}
        cut.set_array("coordinating", np.isin(np.arange(len(cut)), joined))
        cut.info.update(where)
        text = io.StringIO()
        write(text, cut, format="extxyz")
        return text.getvalue()

    def _centre(self, whole: np.ndarray, own: np.ndarray) -> np.ndarray:
        masses = self._system.topology.masses[own]
        found: np.ndarray = masses @ whole[own] / masses.sum()
        return found

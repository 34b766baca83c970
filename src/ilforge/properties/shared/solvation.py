"""Ligands around cations: contacts in each frame, stored compactly for runs of any length."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.properties.kernels.contacts import close_pairs
from ilforge.properties.kernels.shells import gap
from ilforge.properties.property import Snapshot, System
from ilforge.properties.shared.local_structure import SolvationSettings

_BIN_A = 0.05
_BLOCKS = 10


@dataclass(frozen=True)
class Contacts:
    """Contacts of cations with coordinating atoms, one entry for each contact in each frame; frames are ascending.

    Attributes
    ----------
    frame, cation, ligand, site
        ``(n,)``: frame; cation and ligand, numbered within their kind; coordinating atom, numbered among all atoms.
    distance
        ``(n,)`` in Å.
    """

    frame: np.ndarray
    cation: np.ndarray
    ligand: np.ndarray
    site: np.ndarray
    distance: np.ndarray

    def where(self, keep: np.ndarray) -> Contacts:
        """The contacts selected by a mask."""
        return Contacts(*(getattr(self, name)[keep] for name in ("frame", "cation", "ligand", "site", "distance")))


class FrameContacts(NamedTuple):
    """Contacts of one frame: pairs of cation and site as one number, distances (Å), and histogram times volume."""

    codes: np.ndarray
    distances: np.ndarray
    histogram: np.ndarray


class Solvation:
    """Records contacts frame by frame (8 bytes for each within ``reach``), and g(r) in blocks of the run.

    Parameters
    ----------
    settings
        Names of cation, ligand and atoms.
    key
        Key of the settings, for messages: ``"analysis.clusters"``.
    beyond
        Distance beyond the cutoff up to which contacts are also recorded, Å.
    """

    def __init__(self, settings: SolvationSettings, key: str, beyond: float = 0.0):
        self._settings = settings
        self._key = key
        cutoff = settings.cutoff_A
        self.reach = settings.search_A if cutoff is None else cutoff + beyond

    def begin(self, system: System) -> str:
        """Prepare for a trajectory; returns why there is nothing to record, or an empty text."""
        self._system = system
        topology, wanted = system.topology, self._settings
        for role in ("cation", "ligand"):
            name = getattr(wanted, role)
            if name not in topology.species:
                known = ", ".join(system.ions)
                if name != type(wanted).model_fields[role].default:
                    raise SettingsError(f"{self._key}.{role} is {name!r}, which this liquid ({known}) does not have.")
                return (
                    f"There is no {name} in this liquid ({known}): set {self._key}.cation and {self._key}.ligand in "
                    "the study file (of ilforge analyse: --study)."
                )
        self.cations, self.ligands = system.ions[wanted.cation], system.ions[wanted.ligand]
        if self.n_candidates == 0:
            return (
                f"This liquid has a single {wanted.cation}, so no other {wanted.cation} is around it: choose another "
                f"{self._key}.ligand."
            )
        self._centres = self._centre_points(topology)
        self.sites = atoms_in(topology, wanted.ligand, wanted.ligand_atoms, f"{self._key}.ligand_atoms")
        self.ligand_of_site = np.searchsorted(self.ligands, topology.molecules[self.sites])
        self._codes, self._distances, self._counts = array("I"), array("f"), array("I")
        self._bins = int(round(self.reach / _BIN_A))
        self._n_blocks = min(_BLOCKS, max(system.n_frames, 1))
        self._histogram = np.zeros((self._n_blocks, self._bins))
        self._weights = np.zeros(self._n_blocks)
        return ""

    @property
    def n_frames(self) -> int:
        """Number of frames seen so far."""
        return len(self._counts)

    @property
    def n_candidates(self) -> int:
        """Number of ligands that each cation may meet: all except itself."""
        return len(self.ligands) - (self._settings.cation == self._settings.ligand)

    def centre_points(self, snapshot: Snapshot) -> np.ndarray:
        """Positions of the cations, ``(n_cations, 3)`` in Å, in any image."""
        found: np.ndarray = (
            snapshot.centres[self.cations] if self._centres is None else snapshot.positions[self._centres]
        )
        return found

    def look(self, snapshot: Snapshot) -> FrameContacts:
        """The contacts of one frame."""
        points = self.centre_points(snapshot)
        i, j, distance = close_pairs(points, snapshot.positions[self.sites], snapshot.cell, self.reach)
        if self._settings.cation == self._settings.ligand:
            other = i != self.ligand_of_site[j]
            i, j, distance = i[other], j[other], distance[other]
        counted = np.bincount((distance / self.reach * self._bins).astype(int), minlength=self._bins)
        codes = (i * len(self.sites) + j).astype(np.uintc)
        return FrameContacts(codes, distance.astype(np.float32), counted[: self._bins] * snapshot.volume)

    def add(self, seen: FrameContacts) -> None:
        """Add the contacts of the next frame."""
        block = self.n_frames * self._n_blocks // max(self._system.n_frames, 1)
        self._codes.frombytes(seen.codes.tobytes())
        self._distances.frombytes(seen.distances.tobytes())
        self._counts.append(len(seen.codes))
        self._histogram[block] += seen.histogram
        self._weights[block] += 1

    def pair_function(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances ``(n_bins,)`` in Å and g(r) of each block of the run, ``(n_blocks, n_bins)``."""
        edges = np.linspace(0.0, self.reach, self._bins + 1)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        possible = len(self.cations) * len(self.sites) * self.n_candidates / len(self.ligands)
        used = self._weights > 0
        g = self._histogram[used] / self._weights[used, None] / (possible * shells)
        return edges[:-1] + 0.5 * edges[1], g

    def cutoff(self) -> float | None:
        """The cutoff from the settings, or the first minimum of g(r), Å; None if g(r) has no minimum."""
        return self._settings.cutoff_A or gap(*self.pair_function())

    def no_cutoff(self) -> str:
        """Why there is no cutoff, in words."""
        wanted = self._settings
        return (
            f"g(r) between {wanted.cation} and {wanted.ligand_atoms} of {wanted.ligand} shows no first minimum below "
            f"{self.reach:g} Å in {self.n_frames} frames: give {self._key}.cutoff_A, or a larger search_A"
        )

    def contacts(self, within: float) -> Contacts:
        """All contacts closer than ``within`` Å, at most ``reach``."""
        distance = np.frombuffer(self._distances, dtype=np.float32)
        near = distance < within
        code = np.frombuffer(self._codes, dtype=np.uintc)[near]
        frame = np.repeat(np.arange(self.n_frames, dtype=np.int32), np.frombuffer(self._counts, dtype=np.uintc))[near]
        cation, site = np.divmod(code, np.uint32(len(self.sites)))
        cation, site = cation.astype(np.int32), site.astype(np.int32)
        return Contacts(frame, cation, self.ligand_of_site[site].astype(np.int32), site, distance[near])

    def _centre_points(self, topology: Topology) -> np.ndarray | None:
        """Atoms at the centres; None for centres of mass."""
        name = self._settings.cation_atom
        if name is None:
            single = topology.atom_counts[self.cations[0]] == 1
            return topology.first_atoms[self.cations] if single else None
        atoms = atoms_in(topology, self._settings.cation, name, f"{self._key}.cation_atom")
        if len(atoms) != len(self.cations):
            raise SettingsError(
                f"{self._key}.cation_atom is {name!r}: {len(atoms) // len(self.cations)} atoms of "
                f"{self._settings.cation}. Name one of them."
            )
        return atoms


def atoms_in(topology: Topology, ion: str, what: str, key: str) -> np.ndarray:
    """Atoms of an ion by element or name, in all its copies.

    Raises
    ------
    SettingsError
        When the ion has no such atoms; the message lists its elements and atoms.
    """
    inside = topology.atom_species == ion
    symbols, names = np.asarray(topology.symbols), np.asarray(topology.names)
    for labels in (symbols, names):
        found = np.flatnonzero(inside & (labels == what))
        if len(found):
            return found
    elements, known = (", ".join(dict.fromkeys(labels[inside])) for labels in (symbols, names))
    raise SettingsError(f"{key} is {what!r}, which {ion} does not have. It has elements {elements} and atoms {known}.")

"""Other programs that measure the same: GROMACS, freud, MDAnalysis, dynasor, on points that stand for ions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from ilforge import programs

_WRITTEN_PS = 10.0


@dataclass(frozen=True)
class Points:
    """A trajectory of one point an ion.

    Attributes
    ----------
    positions, cells
        ``(n_frames, n, 3)`` and ``(n_frames, 3, 3)``, Å.
    species, masses, charges
        ``(n,)``: points of one species one after the other.
    interval_ps
        Time between frames, ps.
    """

    positions: np.ndarray
    cells: np.ndarray
    species: tuple[str, ...]
    masses: np.ndarray
    charges: np.ndarray
    interval_ps: float

    def of(self, name: str) -> np.ndarray:
        """Indices of the points of one species."""
        return np.flatnonzero(np.array(self.species) == name)

    def universe(self):
        """The points as MDAnalysis has them, in single precision."""
        import MDAnalysis
        from MDAnalysis.lib.mdamath import triclinic_box

        n = len(self.species)
        universe = MDAnalysis.Universe.empty(n, n_residues=n, atom_resindex=range(n), trajectory=True)
        universe.add_TopologyAttr("names", self.species)
        universe.add_TopologyAttr("types", self.species)
        universe.add_TopologyAttr("resnames", self.species)
        universe.add_TopologyAttr("resids", list(range(1, n + 1)))
        universe.add_TopologyAttr("masses", self.masses)
        boxes = np.array([triclinic_box(*cell) for cell in self.cells])
        universe.load_new(self.positions.astype(np.float32), dimensions=boxes, dt=self.interval_ps)
        return universe


class Gromacs:
    """GROMACS's analysis programs, single precision, on points whose files it writes into a folder.

    An uncharged molecule of two atoms that rests comes last: ``gmx current`` (2022) looks for the end of the last
    molecule behind the list of molecules, which is memory it never set unless there are more atoms than molecules.
    Files say that frames are 10 ps apart, because ``gmx msd`` (2022) dies of less than 1 ps; times are put right here.
    """

    def __init__(self, points: Points, folder: Path):
        import MDAnalysis

        self._points, self._folder = points, folder
        n_frames = len(points.positions)
        rest = Points(
            np.concatenate([points.positions, np.zeros((n_frames, 2, 3))], axis=1),
            points.cells,
            (*points.species, "END", "END"),
            np.append(points.masses, [1.0, 1.0]),
            np.append(points.charges, [0.0, 0.0]),
            _WRITTEN_PS,
        )
        universe = rest.universe()
        universe.atoms.write(str(folder / "start.gro"))
        with MDAnalysis.Writer(str(folder / "run.trr"), len(rest.species)) as writer:
            for _ in universe.trajectory:
                writer.write(universe.atoms)
        (folder / "topol.top").write_text(self._topology())
        (folder / "run.mdp").write_text("cutoff-scheme = Verlet\nrcoulomb = 0.5\nrvdw = 0.5\n")
        self._run("grompp", "-f", "run.mdp", "-c", "start.gro", "-p", "topol.top", "-o", "run.tpr", "-maxwarn", "9")

    def msd(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """``gmx msd`` from every frame on: times in ps, mean squared displacement of one species in Å^2."""
        chosen = ["-sel", f"resname {name}", "-trestart", f"{_WRITTEN_PS:g}"]
        self._run("msd", *self._files, *chosen, "-o", "msd.xvg")
        time, msd = self._table("msd.xvg")
        return time * self._points.interval_ps / _WRITTEN_PS, 100.0 * msd

    def rdf(self, first: str, second: str, width_A: float) -> tuple[np.ndarray, np.ndarray]:
        """``gmx rdf``: centres of bins of this width in Å, and g."""
        pair = ["-ref", f"resname {first}", "-sel", f"resname {second}", "-bin", f"{width_A / 10:.10g}"]
        self._run("rdf", *self._files, *pair, "-o", "rdf.xvg")
        r, g = self._table("rdf.xvg")
        return 10.0 * r, g

    def charge_displacement(self, temperature_K: float) -> tuple[np.ndarray, np.ndarray]:
        """``gmx current``: times in ps, and <|ΔM|²>/(6 V k T) in S ps/m, whose slope is the conductivity."""
        (self._folder / "groups").write_text("0\n")
        options = ["-temp", f"{temperature_K:g}", "-sh", "1"]
        self._run("current", *self._files, *options, stdin="groups")
        time, moved = self._table("dsp.xvg")
        return time * self._points.interval_ps / _WRITTEN_PS, 1e12 * moved

    @property
    def _files(self) -> list[str]:
        return ["-f", "run.trr", "-s", "run.tpr"]

    def _topology(self) -> str:
        points, kinds = self._points, dict.fromkeys(self._points.species)
        lines = ["[ defaults ]", "1 2 no 1 1", "[ atomtypes ]", "X 1.0 0 A 0 0"]
        for kind in kinds:
            one = points.of(kind)[0]
            lines += ["[ moleculetype ]", f"{kind} 1", "[ atoms ]"]
            lines += [f"1 X 1 {kind} {kind} 1 {points.charges[one]:g} {points.masses[one]:.6f}"]
        lines += ["[ moleculetype ]", "END 1", "[ atoms ]", "1 X 1 END END 1 0 1", "2 X 1 END END 2 0 1"]
        lines += ["[ system ]", "points", "[ molecules ]"]
        lines += [*(f"{kind} {len(points.of(kind))}" for kind in kinds), "END 1"]
        return "\n".join(lines) + "\n"

    def _run(self, *arguments: str, stdin: str | None = None) -> None:
        source = None if stdin is None else self._folder / stdin
        command = ["gmx", "-nobackup", *arguments]
        programs.run(command, self._folder, log=f"{arguments[0]}.log", stdin=source)

    def _table(self, name: str) -> np.ndarray:
        lines = (self._folder / name).read_text().splitlines()
        return np.array([line.split() for line in lines if line and line[0] not in "#@&"], dtype=float).T


def gromacs_version(folder: Path) -> str:
    """What ``gmx`` says it is."""
    programs.run(["gmx", "--version"], folder, log="version.log")
    return re.search(r"GROMACS version:\s*(\S+)", (folder / "version.log").read_text())[1]


def freud_rdf(points: Points, first: str, second: str, r_max: float, n_bins: int) -> np.ndarray:
    """g(r) of freud in ``n_bins`` bins up to ``r_max`` Å, each frame by its own volume, as many pairs as there are."""
    import freud

    found = freud.density.RDF(n_bins, r_max, normalization_mode="finite_size" if first == second else "exact")
    a, b, total = points.of(first), points.of(second), np.zeros(n_bins)
    for frame, cell in zip(points.positions, points.cells, strict=True):
        # freud holds a cell in the axes of its own
        box = freud.box.Box.from_matrix(upright(cell).T)
        inside = box.wrap(frame @ np.linalg.inv(cell) @ upright(cell))
        query = None if first == second else inside[b]
        found.compute((box, inside[a]), query_points=query)  # of several frames it would know the last volume only
        total += found.rdf
    return total / len(points.cells)


def dynasor_structure_factors(points: Points, folder: Path, q_max: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """dynasor's S(q) on all wave vectors of a fixed cell up to ``q_max`` in 1/Å.

    Lengths of the wave vectors ``(n,)`` and, by pair of species ``"A-B"``, <ρ_A(q) ρ_B(-q)>/N, ``(n,)``.
    """
    from dynasor import Trajectory, compute_static_structure_factors, get_spherical_qpoints

    frames = [Atoms(points.species, frame, cell=points.cells[0], pbc=True) for frame in points.positions]
    write(folder / "points.xyz", frames, format="extxyz")
    groups = {name: points.of(name).tolist() for name in dict.fromkeys(points.species)}
    trajectory = Trajectory(str(folder / "points.xyz"), trajectory_format="extxyz", atomic_indices=groups)
    vectors = get_spherical_qpoints(points.cells[0], q_max)
    sample = compute_static_structure_factors(trajectory, vectors, logging_interval=0)
    found = {f"{a}-{b}": sample[f"Sq_{a}_{b}"].ravel() / (1.0 if a == b else 2.0) for a, b in sample.pairs}
    return np.linalg.norm(sample.q_points, axis=1), found


def mdanalysis_rdf(points: Points, first: str, second: str, r_max: float, n_bins: int) -> np.ndarray:
    """g(r) of MDAnalysis's ``InterRDF``, which takes the mean volume; told that no point pairs with itself."""
    from MDAnalysis.analysis.rdf import InterRDF

    universe = points.universe()
    groups = [universe.select_atoms(f"resname {name}") for name in (first, second)]
    block = (1, 1) if first == second else None
    return InterRDF(*groups, nbins=n_bins, range=(0.0, r_max), exclusion_block=block).run().results.rdf


def merged_bins(fine: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """g in bins of ``width`` about k ``width``, k = 1, 2, ..., as GROMACS has it, from bins half as wide from 0 on."""
    edges = 0.5 * width * np.arange(len(fine) + 1)
    counts = fine * np.diff(edges**3)
    n = (len(fine) - 1) // 2
    inside = counts[1 : 2 * n + 1].reshape(n, 2).sum(axis=1)
    return width * np.arange(1, n + 1), inside / (edges[3 : 2 * n + 2 : 2] ** 3 - edges[1 : 2 * n : 2] ** 3)


def upright(cell: np.ndarray) -> np.ndarray:
    """The same cell turned so that it is lower triangular, vectors as rows."""
    lower = np.linalg.cholesky(cell @ cell.T)
    return lower

"""Which pressure a method teaches: slopes of its energies over the volume, and its stress where it has one.

``python benchmarks/volume_scan.py FRAMES.xyz --store STORE '{"kind": "gpaw"}' '{"kind": "gpaw", "cutoff_eV": 800}'``
takes the first frames of a file (molecules stay rigid) to several densities, labels them by each potential (keys of
[reference] as JSON), each once: labels are kept in the store, and the same command goes on after a stop. With
``--count`` frames, means and standard errors over them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import frames, potentials
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.store import LabelStore
from ilforge.labelling.volume_scan import pressure_by_stress, pressures_by_energy, scan
from ilforge.liquid.liquid import Liquid

RATIOS = (1.1, 1.05, 1.0, 0.95, 0.9)
"""Densities relative to that of the frame, from small to large volume."""


def labelled(members: list[Atoms], spec: dict[str, Any], store: LabelStore) -> list[Label]:
    """Labels of frames by a potential: those that the store has, and the others computed and kept."""
    method = potentials.digest(potentials.create(spec))
    found = []
    for member in members:
        digest = frames.digest(member)
        if store.get(digest, method) is None:
            store.add(evaluate(member, spec))
        found.append(store.get(digest, method))
        if found[-1].failed or not found[-1].converged:
            raise SystemExit(f"no label at a density ratio of {member.info['density_ratio']}: {found[-1].error}")
    return found


def pressures(frame: Atoms, spec: dict[str, Any], store: LabelStore) -> tuple[np.ndarray, np.ndarray]:
    """By energies and by stress at the inner densities, GPa each; NaN where there is no stress."""
    topology = Liquid.of_frame(frame).topology
    labels = labelled(scan(frame, topology, RATIOS), spec, store)
    stress = [np.nan if label.stress is None else pressure_by_stress(label, topology) for label in labels[1:-1]]
    return pressures_by_energy(labels), np.array(stress)


def text(values: np.ndarray) -> str:
    """Mean over frames, and its standard error where there are several."""
    if np.isnan(values).any():
        return "-"
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("potentials", nargs="+", type=json.loads)
    parser.add_argument("--store", type=Path, default=Path("ilforge-store"))
    parser.add_argument("--count", type=int, default=1)
    arguments = parser.parse_args()
    chosen = frames.read(arguments.file)[: arguments.count]
    print("density ratio  -dE/dV, GPa       by stress, GPa    potential")
    with LabelStore(arguments.store / "labels") as store:
        for spec in arguments.potentials:
            slopes, stresses = map(np.array, zip(*(pressures(frame, spec, store) for frame in chosen), strict=True))
            for k, ratio in enumerate(RATIOS[1:-1]):
                print(
                    f"{ratio:<13g}  {text(slopes[:, k]):16s}  {text(stresses[:, k]):16s}  {json.dumps(spec)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""The gate: which labels are good enough to train on, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from ase import Atoms

from ilforge.labelling.labels import Label
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.topology import Topology
from ilforge.study.settings import GateSettings


def judge(label: Label, topology: Topology | None, gate: GateSettings) -> str | None:
    """Why a label is refused, or None when it is accepted.

    Parameters
    ----------
    label
        As it is stored.
    topology
        The molecules the frame must still consist of; None skips that check (a frame of unknown bonds).
    gate
        Limits on forces, and how far atoms may be apart and count as bonded.

    Returns
    -------
    str or None
        A sentence that begins with the kind of fault and a colon, for :func:`tally`: ``failed``,
        ``not converged``, ``not finite``, ``net force``, ``large force`` or ``fragmented``.
    """
    if label.error is not None or label.energy is None or label.forces is None:
        return f"failed: {label.error}"
    if not label.converged:
        return "not converged: the method ended before its energy settled"
    return _judge_forces(label.energy, label.forces, gate) or _judge_bonds(label.frame, topology, gate)


def tally(reasons: Iterable[str | None]) -> dict[str, int]:
    """Number of labels by verdict: ``accepted`` and the kinds of fault."""
    counts = Counter("accepted" if reason is None else reason.split(":", 1)[0] for reason in reasons)
    return dict(sorted(counts.items()))


def _judge_forces(energy: float, forces: np.ndarray, gate: GateSettings) -> str | None:
    if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
        return "not finite: NaN or infinity in energy or forces"
    net = float(np.max(np.abs(forces.sum(axis=0))))
    if net > gate.max_net_force_eV_A:
        return f"net force: {net:.3f} eV/Å, allowed {gate.max_net_force_eV_A:g} (gate.max_net_force_eV_A)"
    sizes = np.linalg.norm(forces, axis=1)
    worst = int(np.argmax(sizes))
    if sizes[worst] > gate.max_force_eV_A:
        return (
            f"large force: {sizes[worst]:.1f} eV/Å on atom {worst}, "
            f"allowed {gate.max_force_eV_A:g} (gate.max_force_eV_A)"
        )
    return None


def _judge_bonds(frame: Atoms, topology: Topology | None, gate: GateSettings) -> str | None:
    if topology is None:
        return None
    change = fragmentation(frame, topology, gate.bond_factor)
    return None if change is None else f"fragmented: {change}"

"""The gate: which labels are good enough to train on, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import Label
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.topology import Topology
from ilforge.potentials import POTENTIALS

_FEWEST_ALIKE = 5  # smallest number of frames of one recipe for which the median is meaningful
_ATOMS_OF_LIMIT = 70  # size of the frames for which the default limit of the net force was determined
_SIGMAS = 10.0  # sampled frames of PYR14BF4 by GFN1-xTB are at most 5 standard deviations from the median


def judge(label: Label, topology: Topology | None, gate: GateSettings) -> str | None:
    """Why a label is refused, or None when it is accepted.

    Parameters
    ----------
    label
        The stored label.
    topology
        The molecules that the frame must still contain intact; None skips this check (for a frame with unknown bonds).
    gate
        Limits of forces, and the largest length of a bond.

    Returns
    -------
    str or None
        A sentence that begins with the kind of fault and a colon, for :func:`tally`: ``failed``,
        ``not converged``, ``not finite``, ``net force``, ``large force`` or ``fragmented``.
    """
    if label.error is not None or label.energy is None or label.forces is None:
        return f"failed: {label.error}"
    if not label.converged:
        return "not converged: the calculation ended before the energy had converged"
    return _judge_forces(label, gate) or _judge_bonds(label.frame, topology, gate)


def judge_batch(
    labels: Mapping[str, Label], topology_of: Callable[[Atoms], Topology | None], gate: GateSettings
) -> dict[str, str | None]:
    """Judge labels one by one, then compare the energies of the accepted labels with each other.

    A self-consistent calculation may end in a wrong state, with an error of tens of eV, although it is converged,
    finite and without a net force. Frames with the same atoms and recipe do not differ by so much. A label is refused
    as an ``energy jump`` if its energy differs from their median by more than ``gate.max_energy_jump_eV_atom`` and by
    more than ten standard deviations (1.4826 times the median absolute deviation). Fewer than five frames are not
    compared.

    Parameters
    ----------
    labels
        Labels by one method, by digest of the frame.
    topology_of
        Function that gives the molecules of which a frame must still consist, or None.

    Returns
    -------
    dict
        The verdict of :func:`judge`, by digest.
    """
    reasons = {digest: judge(label, topology_of(label.frame), gate) for digest, label in labels.items()}
    groups: dict[tuple[Any, ...], list[str]] = {}
    for digest, label in labels.items():
        if reasons[digest] is None:
            info = label.frame.info
            alike = (label.frame.get_chemical_formula(), info.get("ions"), info.get("kind"), info.get("recipe"))
            groups.setdefault(alike, []).append(digest)
    for members in groups.values():
        if len(members) >= _FEWEST_ALIKE:
            reasons |= _energy_jumps({digest: labels[digest] for digest in members}, gate)
    return reasons


def _energy_jumps(alike: Mapping[str, Label], gate: GateSettings) -> dict[str, str]:
    energies = np.array([label.energy for label in alike.values()])
    n_atoms = len(next(iter(alike.values())).frame)
    away = energies - np.median(energies)
    spread = 1.4826 * float(np.median(np.abs(away)))
    limit = max(_SIGMAS * spread, gate.max_energy_jump_eV_atom * n_atoms)
    return {
        digest: f"energy jump: {off:+.2f} eV from the median of {len(alike)} frames of its recipe, whose spread is "
        f"{spread:.2f} eV, allowed {limit:.2f} (gate.max_energy_jump_eV_atom)"
        for digest, off in zip(alike, away, strict=True)
        if abs(off) > limit
    }


def tally(reasons: Iterable[str | None]) -> dict[str, int]:
    """Number of labels by verdict: ``accepted`` and the kinds of fault."""
    counts = Counter("accepted" if reason is None else reason.split(":", 1)[0] for reason in reasons)
    return dict(sorted(counts.items()))


def net_force_limit(gate: GateSettings, method: Mapping[str, Any], n_atoms: int) -> float:
    """Largest allowed component of the sum of forces of a label, eV/Å.

    Methods with a real-space grid or plane waves have independent errors of the forces on different atoms; their sum
    grows as the square root of ``n_atoms``. ``gate.max_net_force_eV_A`` is the limit for frames of up to 70 atoms (with
    the default 6 meV/Å per atom, a tenth of the error of a model); it is multiplied by :math:`\\sqrt{n/70}` for larger
    frames. Methods without a grid conserve momentum at any size, and their limit does not grow.
    """
    kind = method.get("kind")
    if kind in POTENTIALS and not POTENTIALS[str(kind)].has_grid:
        return gate.max_net_force_eV_A
    found: float = gate.max_net_force_eV_A * max(1.0, n_atoms / _ATOMS_OF_LIMIT) ** 0.5
    return found


def _judge_forces(label: Label, gate: GateSettings) -> str | None:
    energy, forces = label.result
    if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
        return "not finite: NaN or infinity in energy or forces"
    net, limit = float(np.max(np.abs(forces.sum(axis=0)))), net_force_limit(gate, label.method, len(forces))
    if net > limit:
        of_size = f" with {len(forces)} atoms" if limit > gate.max_net_force_eV_A else ""
        return f"net force: {net:.3f} eV/Å, allowed {limit:.3g}{of_size} (gate.max_net_force_eV_A, --max-net-force)"
    sizes = np.linalg.norm(forces, axis=1)
    worst = int(np.argmax(sizes))
    if sizes[worst] > gate.max_force_eV_A:
        return (
            f"large force: {sizes[worst]:.1f} eV/Å on atom {worst}, "
            f"allowed {gate.max_force_eV_A:g} (gate.max_force_eV_A, --max-force)"
        )
    return None


def _judge_bonds(frame: Atoms, topology: Topology | None, gate: GateSettings) -> str | None:
    if topology is None:
        return None
    change = fragmentation(frame, topology, gate.bond_factor)
    return None if change is None else f"fragmented: {change}"

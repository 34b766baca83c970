"""The pressure of a method: from energies of rigid molecules at several volumes, and from its stress.

The plane-wave basis for a fixed cutoff energy grows with the box, so the stress of a method need not be the slope of
its own energies. A model learns the slope from energies and forces. Molecules are kept rigid, because scaling all
positions would also strain the bonds, far more than the liquid; the slope would then be the stress itself.

For rigid molecules with centres of mass :math:`R`, and forces :math:`F_i` on atoms at :math:`r_i`,

.. math:: P = -\\frac{dE}{dV} = -\\frac{1}{3} \\mathrm{tr}\\,\\sigma - \\frac{1}{3V} \\sum_i F_i \\cdot (r_i - R_{m(i)})

with the stress :math:`\\sigma` positive in tension: the strain of all positions, minus the strain within molecules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.polynomial import Polynomial

from ilforge import frames
from ilforge.labelling.labels import Label
from ilforge.liquid.arrangements import Arrangement, scaled
from ilforge.liquid.connectivity import centres_of_mass, whole_molecules
from ilforge.liquid.topology import Topology
from ilforge.units import EV_PER_A3_IN_GPA


def scan(frame: Atoms, topology: Topology, density_ratios: Sequence[float]) -> list[Atoms]:
    """Copies of the frame with rigid molecules at other densities.

    Parameters
    ----------
    frame
        Periodic frame; its ``info`` is kept, with ``recipe`` ``scaled``.
    density_ratios
        Densities relative to the density of the frame.
    """
    start = Arrangement(whole_molecules(frame.positions, frame.cell.array, topology), frame.cell.array)
    made = []
    for ratio in density_ratios:
        there = scaled(start, topology, start.volume / ratio)
        copy = Atoms(frame.numbers, there.positions, cell=there.cell, pbc=True)
        copy.info = {**frame.info, "recipe": "scaled", "density_ratio": float(ratio)}
        made.append(frames.quantize(copy))
    return made


def pressures_by_energy(labels: Sequence[Label]) -> np.ndarray:
    """-dE/dV of each label except the first and the last of a scan, ``(n_labels - 2,)`` GPa.

    It is the slope of the polynomial through all energies. For CL&P, five volumes in steps of 5 % are accurate to
    0.01 GPa.

    Parameters
    ----------
    labels
        Labels of one frame at several volumes, in order of volume; about three to six.
    """
    volumes = np.array([label.frame.get_volume() for label in labels])
    through = Polynomial.fit(volumes, [label.result[0] for label in labels], deg=len(labels) - 1)
    return -through.deriv()(volumes[1:-1]) * EV_PER_A3_IN_GPA


def pressure_by_stress(label: Label, topology: Topology) -> float:
    """Pressure of rigid molecules from the stress and the forces of a label, GPa, by the equation above."""
    frame, forces, stress = label.frame, label.result[1], label.stress
    assert stress is not None
    positions = whole_molecules(frame.positions, frame.cell.array, topology)
    lever = positions - centres_of_mass(positions, topology)[topology.molecules]
    inside = np.sum(forces * lever) / (3 * frame.get_volume())
    return float(-np.mean(stress[:3]) - inside) * EV_PER_A3_IN_GPA

"""What a method says of the pressure: energies of rigid molecules at several volumes, and its stress beside them.

A basis of plane waves up to a fixed energy grows with the box, so that the stress of a method need not be the slope of
its own energies. The slope is what a model learns from energies and forces. Molecules are kept rigid since bonds would
otherwise be strained, by far more than the liquid is: scaling all positions alike, bonds too, gives the stress itself.

For rigid molecules with centres of mass :math:`R`, and forces :math:`F_i` on atoms at :math:`r_i`,

.. math:: P = -\\frac{dE}{dV} = -\\frac{1}{3} \\mathrm{tr}\\,\\sigma - \\frac{1}{3V} \\sum_i F_i \\cdot (r_i - R_{m(i)})

with the stress :math:`\\sigma` counted positive in tension: straining everything, less the strain of what stays rigid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.polynomial import Polynomial

from ilforge import frames
from ilforge.labelling.labels import Label
from ilforge.liquid.connectivity import centres_of_mass, whole_molecules
from ilforge.liquid.topology import Topology
from ilforge.sampling.intermolecular import Arrangement, scaled
from ilforge.units import EV_PER_A3_IN_GPA


def scan(frame: Atoms, topology: Topology, density_ratios: Sequence[float]) -> list[Atoms]:
    """The frame with its rigid molecules at other densities.

    Parameters
    ----------
    frame
        Periodic frame; its ``info`` is kept, with ``recipe`` ``scaled``.
    density_ratios
        Densities relative to that of the frame.
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
    """-dE/dV of each label but the first and last of a scan, ``(n_labels - 2,)`` GPa.

    It is the slope of the polynomial through all energies: five volumes in steps of 5 % give CL&P's to 0.01 GPa.

    Parameters
    ----------
    labels
        Of one frame at several volumes, in order of volume; three to six or so.
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

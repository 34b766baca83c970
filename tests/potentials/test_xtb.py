"""xTB: what does not converge is said so, and the charge is that of the ions."""

from __future__ import annotations

import pytest
from ase import Atoms

from ilforge.errors import DidNotConverge
from ilforge.liquid.ions import get_ion
from ilforge.liquid.topology import Topology
from ilforge.potentials.quantum.xtb import Xtb


def test_a_calculation_that_does_not_converge_has_no_energy(one_pair):
    calculator = Xtb(max_iterations=3).calculator()
    for _ in range(2):  # asking again gives no left-over either
        with pytest.raises(DidNotConverge, match="GFN1-xTB: SCF not converged in 3 cycles"):
            calculator.get_potential_energy(one_pair)


def test_charge_is_that_of_the_ions():
    from tblite.ase import TBLite

    ion = get_ion("BF4")
    frame = Atoms(list(ion.symbols), ion.positions)
    anion = TBLite(method="GFN1-xTB", charge=-1, verbosity=0).get_potential_energy(frame)
    frame.set_initial_charges([1, 0, 0, 0, 0])  # what a frame says of charges is not asked
    calculator = Xtb().calculator(Topology.of(((ion, 1),)))
    assert calculator.get_potential_energy(frame) == pytest.approx(anion, abs=1e-8)

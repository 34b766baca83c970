"""Elements from names of atoms, as in GRO files: only where the composition leaves one possibility."""

from __future__ import annotations

import MDAnalysis
import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.properties.reading.atom_names import elements_of_names
from ilforge.properties.reading.given import Composition
from ilforge.properties.reading.reader import open_trajectory


def test_names_of_force_fields():
    names = ["CR", "NA", "HO1", "1HB", "CL", "C12", "OW"]
    assert elements_of_names(names, ["C", "N", "H", "H", "Cl", "C", "O"]) == ["C", "N", "H", "H", "Cl", "C", "O"]


def test_names_that_two_compositions_explain_are_not_used():
    assert elements_of_names(["NA", "NB", "CL"], ["N", "Na", "Cl"]) == ["Na", "N", "Cl"]
    assert elements_of_names(["CA", "CL", "XX"], ["C", "Cl", "N"]) is None
    assert elements_of_names(["NA1", "NA2"], ["N", "Na"]) is None


def test_a_gro_file_of_a_stranger_with_its_ions_named(tmp_path):
    """Names of residues and atoms of one's own, no elements, no bonds; the volume is that of the box."""
    box = pack(Liquid.from_label("2 EMIM, 2 DCA"), 0.9, seed=1)
    universe = MDAnalysis.Universe.empty(len(box), n_residues=4, atom_resindex=np.repeat([0, 1, 2, 3], [19, 19, 5, 5]),
                                         trajectory=True)  # fmt: skip
    names = [f"{symbol}{number % 19}" for number, symbol in enumerate(box.get_chemical_symbols())]
    universe.add_TopologyAttr("names", names)
    universe.add_TopologyAttr("resnames", ["c2c", "c2c", "ncn", "ncn"])
    universe.atoms.positions, universe.dimensions = box.positions, box.cell.cellpar()
    universe.atoms.write(tmp_path / "run.gro")
    source = open_trajectory([tmp_path / "run.gro"], made_of=Composition(ions="2 EMIM, 2 DCA"))
    assert source.liquid == "2 EMIM, 2 DCA"
    (snapshot,) = source.snapshots()
    assert snapshot.volume == pytest.approx(box.get_volume(), rel=1e-3)
    with pytest.raises(SettingsError, match="does not contain elements"):
        open_trajectory([tmp_path / "run.gro"], made_of=Composition(ions="2 EMIM, 2 BF4"))
    with pytest.raises(SettingsError, match="does not contain elements"):
        open_trajectory([tmp_path / "run.gro"])

"""Details of VASP's outputs that decide whether a frame is a label: each was believed or lost once."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import GPa

from ilforge.potentials.quantum.vasp.outcar import read_outcar
from ilforge.potentials.quantum.vasp.output import read_vasprun
from support.vasp_look_alikes import Outcar, Step, vasprun


@pytest.fixture
def read(tmp_path):
    def of(outcar):
        (tmp_path / "OUTCAR").write_text(outcar.text())
        return read_outcar(tmp_path / "OUTCAR")

    return of


def agrees(reading, outcar, number):
    assert reading.fault is None
    assert reading.energy == pytest.approx(outcar.energy(number))
    assert reading.atoms.get_chemical_symbols() == outcar.symbols
    np.testing.assert_allclose(reading.atoms.positions, outcar.positions(number), atol=1e-5)
    np.testing.assert_allclose(reading.forces, outcar.forces(number), atol=1e-5)
    np.testing.assert_allclose(reading.stress, -0.1 * GPa * np.array([1, 2, 3, 5, 6, 4]))


@pytest.mark.parametrize(
    ("step", "converged"),
    [
        (Step(15, (-2.4e-3, 4e-5)), False),
        (Step(15, (-6e-7, 1e-8)), True),
        (Step(15, (-6e-7, 3e-6)), False),
        (Step(14, (-6e-7, 3e-6)), True),
        (Step(15, (-6e-7, 1e-8), "aborting loop EDIFF was not reached (unconverged)"), False),
        (Step(15, (-2.4e-3, 4e-5), None), False),
        (Step(15, (-6e-7, 1e-8), None), True),
        (Step(9, (-6e-7, 1e-8), "aborting loop because hard stop was set"), False),
    ],
)
def test_at_the_last_electronic_step_allowed_the_changes_decide(read, step, converged):
    """VASP 5.4.4 says "EDIFF is reached" at NELM whatever they are, here 2,400 times EDIFF."""
    outcar = Outcar(steps=[Step(), step, Step()])
    output = read(outcar)
    assert [reading.converged for reading in output.readings] == [True, converged, True]
    for number, reading in enumerate(output.readings):
        agrees(reading, outcar, number)


def test_the_xml_is_not_told_otherwise_by_that_sentence(tmp_path):
    """At NELM the XML asks the OUTCAR beside it, whose sentence does not count against its own changes."""
    (tmp_path / "vasprun.xml").write_text(vasprun([15], nelm=15))
    converged = {}
    for changes in ((-6e-7, 1e-8), (-6e-7, 3e-6)):
        (tmp_path / "OUTCAR").write_text(Outcar(steps=[Step(15, changes)]).text())
        converged[changes] = read_vasprun(tmp_path / "vasprun.xml").readings[0].converged
    assert list(converged.values()) == [True, False]


def test_steps_of_the_own_force_field_are_no_labels(read):
    outcar = Outcar(steps=[Step(own="too"), Step(own="only"), Step(own="only"), Step(own="too"), Step(own="only")])
    readings = read(outcar).readings
    assert [reading.fault is None for reading in readings] == [True, False, False, True, False]
    for number in (0, 3):
        agrees(readings[number], outcar, number)
    for number in (1, 2, 4):
        assert readings[number].fault.startswith("force field: a step of VASP's machine-learned")
        assert readings[number].forces is None
        np.testing.assert_allclose(readings[number].atoms.positions, outcar.positions(number), atol=1e-5)


def test_own_force_field_in_the_xml(tmp_path):
    (tmp_path / "vasprun.xml").write_text(vasprun([8, 0, 0, 7]))
    readings = read_vasprun(tmp_path / "vasprun.xml").readings
    assert [reading.fault and reading.fault.split(":")[0] for reading in readings] == [
        None, "force field", "force field", None,
    ]  # fmt: skip


def test_frames_whose_forces_were_not_printed_are_counted(read):
    outcar = Outcar(steps=[Step(), *[Step(forces=False)] * 3, Step()], nwrite=0)
    readings = read(outcar).readings
    assert len(readings) == 5
    agrees(readings[0], outcar, 0)
    agrees(readings[4], outcar, 4)
    for reading in readings[1:4]:
        assert reading.fault.startswith("missing:") and "NWRITE = 0" in reading.fault
        assert "vasprun.xml" in reading.fault


ELEVEN = [(symbol, 2) for symbol in ("C", "N", "O", "F", "B", "P", "S", "Li", "Cl", "Br", "H")]


@pytest.mark.parametrize("goes_on", [True, False])
def test_more_than_ten_types(read, goes_on):
    """Some versions print ten numbers of atoms; NIONS tells the eleventh."""
    outcar = Outcar(types=ELEVEN, counts_in_a_line=10, counts_go_on=goes_on)
    (reading,) = read(outcar).readings
    agrees(reading, outcar, 0)
    assert len(reading.atoms) == 22


@pytest.mark.parametrize("types", [[("C", 1200), ("H", 1000), ("N", 4)], [("C", 50), ("H", 1000), ("N", 1001)]])
def test_numbers_of_atoms_that_touch_each_other(read, types):
    outcar = Outcar(types=types)
    (reading,) = read(outcar).readings
    agrees(reading, outcar, 0)


def test_types_whose_numbers_nothing_tells_are_refused(read):
    (reading,) = read(Outcar(types=[*ELEVEN, ("Na", 3)], counts_in_a_line=10)).readings
    assert reading.fault.startswith("wrong number of atoms: 25 atoms") and len(reading.atoms) == 25


@pytest.mark.parametrize("titles", [True, False])
def test_elements_that_come_twice(read, titles):
    outcar = Outcar(types=[("C", 2), ("H", 3), ("C", 1), ("N", 1), ("H", 4)], titles=titles)
    output = read(outcar)
    agrees(output.readings[0], outcar, 0)
    assert output.method["potentials"] == [f"PAW_PBE {symbol} 08Apr2002" for symbol in "CHN"]


def test_forces_with_and_without_dispersion(read):
    """Three columns more: the forces without it, which do not belong to the energy."""
    outcar = Outcar(columns=9)
    agrees(read(outcar).readings[0], outcar, 0)


def test_without_titles_the_list_of_potentials_tells_elements(read):
    outcar = Outcar(titles=False)
    output = read(outcar)
    agrees(output.readings[0], outcar, 0)
    assert output.method["potentials"] == ["PAW_PBE H 08Apr2002", "PAW_PBE O 08Apr2002"]


@pytest.mark.parametrize("in_incar", [True, False])
@pytest.mark.parametrize("response", [True, False])
def test_electronic_steps_allowed_are_not_those_of_linear_response(tmp_path, in_incar, response):
    """Without NELM in the INCAR the one of the block "response functions", 1, stood last."""
    (tmp_path / "vasprun.xml").write_text(vasprun([8, 6, 60], in_incar=in_incar, response=response))
    readings = read_vasprun(tmp_path / "vasprun.xml").readings
    assert [reading.converged for reading in readings] == [True, True, False]

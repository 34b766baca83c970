"""A real run of CP2K 2023.1 (GFN1-xTB, ethylammonium nitrate, 5 steps) as strangers write it: names, units, formats."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from ilforge.errors import SettingsError
from ilforge.labelling.reading.foreign import Keys
from ilforge.labelling.reading.foreign_units import parse_units
from ilforge.labelling.reading.outputs import import_labels

STORED = Path("tests/data/outputs/cp2k_ean").resolve()
IONS = "1 EtNH3, 1 NO3"


@pytest.fixture
def run(tmp_path):
    for name in ("ean.out.gz", "ean_low.out.gz", "EAN-pos-1.xyz", "EAN-frc-1.xyz", "EAN-1.cell"):
        shutil.copy(STORED / name, tmp_path)
    return tmp_path


def rows(path, factor=1.0):
    """Numbers of the six frames of a file of CP2K, ``(6, 15, 3)``, read here without ilforge."""
    lines = path.read_text().splitlines()
    return factor * np.array([line.split()[1:] for line in lines if line.split()[0] in "HCNO"], float).reshape(6, 15, 3)


def came_in(found):
    assert len(found.labels) == 6 and not any(label.failed for label in found.labels)
    energies = [line.split()[-1] for line in (STORED / "EAN-pos-1.xyz").read_text().splitlines() if "E =" in line]
    np.testing.assert_allclose([label.energy for label in found.labels], np.array(energies, float) * Hartree, atol=1e-6)
    places, forces = rows(STORED / "EAN-pos-1.xyz"), rows(STORED / "EAN-frc-1.xyz", Hartree / Bohr)
    np.testing.assert_allclose([label.frame.positions for label in found.labels], places, atol=2e-6)
    np.testing.assert_allclose([label.forces for label in found.labels], forces, atol=1e-6)


def test_the_usual_files(run):
    came_in(import_labels([run / "ean.out.gz"], ions=IONS))


def test_positions_in_bohr_are_known_from_the_structure_in_the_output(run):
    shutil.copy(STORED / "bohr-pos-1.xyz", run / "EAN-pos-1.xyz")
    came_in(import_labels([run / "ean.out.gz"], ions=IONS))


def test_positions_of_no_known_unit_are_refused(run):
    text = (run / "EAN-pos-1.xyz").read_text()
    for line in set(text.splitlines()):
        if line.split()[0] in "HCNO":
            places = " ".join(f"{3 * float(part):.9f}" for part in line.split()[1:])
            text = text.replace(line, f"{line.split()[0]} {places}")
    (run / "EAN-pos-1.xyz").write_text(text)
    with pytest.raises(SettingsError, match="3 times as far apart"):
        import_labels([run / "ean.out.gz"], ions=IONS)


def test_forces_in_another_unit_are_refused_unless_the_user_gives_it(run):
    shutil.copy(STORED / "ev-frc-1.xyz", run / "EAN-frc-1.xyz")
    with pytest.raises(SettingsError, match="UNIT in MOTION/PRINT/FORCES"):
        import_labels([run / "ean.out.gz"], ions=IONS)
    came_in(import_labels([run / "ean.out.gz"], ions=IONS, keys=Keys(units=parse_units("forces=ev/a"))))


def test_files_with_names_of_the_users_own(run):
    text = gzip.decompress((run / "ean.out.gz").read_bytes()).decode()
    (run / "said.out").write_text(text.replace("EAN-pos-1.xyz", "water-x-pos-1.xyz"))
    (run / "EAN-pos-1.xyz").rename(run / "water-x-pos-1.xyz")
    came_in(import_labels([run / "said.out"], ions=IONS))
    (run / "water-x-pos-1.xyz").rename(run / "EAN-hot-pos-1.xyz")
    came_in(import_labels([run / "ean.out.gz"], ions=IONS))
    shutil.copy(run / "EAN-hot-pos-1.xyz", run / "EAN-cold-pos-1.xyz")
    with pytest.raises(SettingsError, match="There is no .*EAN-pos-1.xyz"):
        import_labels([run / "ean.out.gz"], ions=IONS)  # two files could be that of the run


def test_positions_without_energies_are_refused_with_the_format_to_write(run):
    (run / "EAN-pos-1.xyz").rename(run / "EAN-pos-1.dcd")
    with pytest.raises(SettingsError, match="FORMAT XYZ.*EAN-pos-1.dcd does not contain the step"):
        import_labels([run / "ean.out.gz"], ions=IONS)


def test_the_trajectory_alone_is_refused_in_words(run):
    with pytest.raises(SettingsError, match="Give the output of the run"):
        import_labels([run / "EAN-pos-1.xyz"], ions=IONS)


def test_an_output_that_does_not_name_its_method_counts_as_a_method_of_its_own(run):
    found = import_labels([run / "ean_low.out.gz"], ions=IONS)
    came_in(found)
    assert "PRINT_LEVEL LOW" in str(found.remarks)
    with pytest.raises(SettingsError, match="not made by the same method"):
        import_labels([run / "ean.out.gz", run / "ean_low.out.gz"], ions=IONS)
    shutil.copy(run / "ean_low.out.gz", run / "other.out.gz")
    named = import_labels([run / "ean_low.out.gz"], ions=IONS, method="GFN1")
    assert named.labels[0].method["method"] == "GFN1" and "PRINT_LEVEL" not in str(named.remarks)


def test_a_single_point_without_its_structure_says_how_to_print_it(run):
    text = gzip.decompress((run / "ean_low.out.gz").read_bytes()).decode()
    (run / "single.out").write_text(re.sub(r"(GLOBAL\| Run type +)MD", r"\1ENERGY_FORCE", text))
    with pytest.raises(SettingsError, match="PRINT_LEVEL MEDIUM"):
        import_labels([run / "single.out"], ions=IONS)

"""Reading what VASP, CP2K and GPAW wrote: real outputs, converged and not, whole and cut off."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa, Hartree

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.cp2k.output import read_cp2k
from ilforge.potentials.quantum.gpaw.output import read_gpaw
from ilforge.potentials.quantum.vasp.outcar import electronic_convergence, read_outcar
from ilforge.potentials.quantum.vasp.output import read_vasprun

OUTPUTS = Path(__file__).parents[1] / "data/outputs"


@pytest.fixture(scope="module")
def vasp():
    """Folder of real VASP outputs that come with ASE."""
    import ase

    folder = Path(ase.__file__).parent / "test/testdata/vasp"
    if not folder.is_dir():
        pytest.skip(f"this ASE comes without its test data: there is no {folder}")
    return folder


def cut(path, tmp_path, marker, after=0):
    """A copy that ends some characters after the last place of a marker, as when the time was over."""
    text = path.read_text()
    copy = tmp_path / path.name
    copy.write_text(text[: text.rindex(marker) + after])
    return copy


def test_vasprun_energy_is_the_free_energy_without_pv(vasp):
    """PSTRESS = 1 kB adds p V = 0.0071 eV to the last energy of a frame, not to those of its electronic steps."""
    output = read_vasprun(vasp / "vasprun_pstress.xml")
    (reading,) = output.readings
    assert output.ending is None and reading.fault is None and reading.converged is True
    assert reading.energy == pytest.approx(-20.24695937, abs=2e-8)
    assert reading.stress is None
    assert reading.forces.shape == (2, 3)
    assert output.method["version"] == "6.3.0" and output.method["potentials"] == ["PAW C 22Mar2012"]


def with_cutoff(source, path, cutoff):
    """A copy of an output that says another ENCUT, 400 eV in the XML and 300 in the OUTCAR of ASE."""
    text = source.read_text().replace(">    400.00000000<", f">    {cutoff:.8f}<")
    path.write_text(text.replace("ENCUT  =  300.0 eV", f"ENCUT  =  {cutoff:.1f} eV"))
    return path


def test_vasprun_stress_is_in_ev_per_cubic_angstrom_tension_positive(vasp, tmp_path):
    (reading,) = read_vasprun(with_cutoff(vasp / "vasprun_dfpt.xml", tmp_path / "vasprun.xml", 700.0)).readings
    np.testing.assert_allclose(reading.stress[:3], -36.08907525 * 0.1 * GPa, rtol=1e-8)
    assert reading.converged is True, "steps of linear response after the frame are not its own"


def test_vasprun_shear_and_skew_cell(vasp, tmp_path):
    source = with_cutoff(vasp / "vasprun_dfpt.xml", tmp_path / "vasprun.xml", 700.0)
    before = read_vasprun(source).readings[0]
    text = source.read_text()
    start = text.index('<varray name="stress" >')
    end = text.index("</varray>", start)
    rows = "".join(f"<v> {a} {b} {c} </v>" for a, b, c in ((1, 6, 5), (6, 2, 4), (5, 4, 3)))
    source.write_text(text[:start] + '<varray name="stress" >' + rows + text[end:])
    (reading,) = read_vasprun(source).readings
    np.testing.assert_allclose(reading.stress, -0.1 * GPa * np.arange(1.0, 7.0), rtol=1e-9)
    half = 2.72739551  # rows are lattice vectors: the cell of a face-centred lattice is its own transpose
    np.testing.assert_allclose(before.atoms.cell.array, half * (np.ones((3, 3)) - np.eye(3)))
    second = f"<v>       {half:.8f}       0.00000000"
    source.write_text(source.read_text().replace(second, second.replace("0.0", "0.5")))
    assert read_vasprun(source).readings[0].atoms.cell.array[1].tolist() == [half, 0.5, half]


def test_vasprun_that_used_up_its_electronic_steps_did_not_converge(vasp, tmp_path):
    """With NELM as many as it took and a last change above EDIFF, VASP has given up."""
    text = (vasp / "vasprun_pstress.xml").read_text()
    steps = text.count("<scstep>")
    given_up = tmp_path / "vasprun.xml"
    given_up.write_text(text.replace('name="NELM">    60<', f'name="NELM">    {steps}<'))
    assert read_vasprun(given_up).readings[0].converged is False, "the last change is below EDIFF by chance"
    outcar = (vasp / "OUTCAR_example_1").read_text().replace("-68.22868532 eV", "-20.24695937 eV")
    beside = tmp_path / "OUTCAR"
    beside.write_text(outcar)
    assert read_vasprun(given_up).readings[0].converged is True, "VASP says so of this frame"
    beside.write_text(outcar.replace("-20.24695937 eV", "-20.25695937 eV"))
    assert read_vasprun(given_up).readings[0].converged is False, "another run lies beside it"
    said = (vasp / "convergence_OUTCAR_y_n").read_text().splitlines()[-1]
    beside.write_text(re.sub(r"-+ aborting loop because EDIFF is reached -+", said, outcar))
    assert read_vasprun(given_up).readings[0].converged is False, "VASP says that EDIFF was not reached"
    beside.write_bytes(b"\x1f\x8bno gzip")
    assert read_vasprun(given_up).readings[0].converged is False
    tight = given_up.read_text().replace('name="EDIFF">      0.00010000<', 'name="EDIFF">      0.00000001<')
    given_up.write_text(tight)
    assert read_vasprun(given_up).readings[0].converged is False


@pytest.mark.parametrize("marker", ["<scstep>", '<varray name="forces"', "<eigenvalues>"])
def test_vasprun_that_was_cut_off_has_no_frame_and_says_so(vasp, tmp_path, marker):
    output = read_vasprun(cut(vasp / "vasprun_pstress.xml", tmp_path, marker, 30))
    assert output.readings == ()
    assert output.ending.startswith("truncated")


def test_vasprun_cut_off_in_a_second_frame_keeps_the_first(vasp, tmp_path):
    text = (vasp / "vasprun_pstress.xml").read_text()
    start, end = text.index(" <structure>\n", text.index("</atominfo>")), text.index("</calculation>") + 15
    path = tmp_path / "vasprun.xml"
    path.write_text(text[:end] + text[start : start + 3000])
    output = read_vasprun(path)
    assert len(output.readings) == 1 and output.readings[0].converged
    assert "frame 1" in output.ending


def test_stress_of_too_few_plane_waves_is_left_out_and_said(vasp, tmp_path):
    for reader, name, cutoff in ((read_vasprun, "vasprun_dfpt.xml", 400), (read_outcar, "OUTCAR_example_1", 300)):
        output = reader(vasp / name)
        assert output.readings[0].stress is None and output.readings[0].forces is not None
        (remark,) = output.remarks
        assert remark.startswith("the stress of 1 frames is left out") and f"ENCUT is {cutoff} eV" in remark
        assert "700 eV or more" in remark
        enough = reader(with_cutoff(vasp / name, tmp_path / name, 700.0))
        assert enough.readings[0].stress is not None and enough.remarks == ()


def test_outcar_agrees_with_what_it_prints(vasp, tmp_path):
    output = read_outcar(with_cutoff(vasp / "OUTCAR_example_1", tmp_path / "OUTCAR", 700.0))
    (reading,) = output.readings
    assert output.ending is None and reading.converged is True
    assert reading.energy == -68.22868532
    np.testing.assert_allclose(reading.atoms.cell.lengths(), 17.93435)
    assert reading.atoms.get_chemical_formula() == "Ni18"
    np.testing.assert_allclose(reading.forces[0], [0.030415, -0.114705, -0.460114])
    xx, yy, zz, xy, yz, zx = -4.29429, -4.58894, -4.50342, 0.50047, -0.94049, 0.36481  # "in kB", a pressure
    np.testing.assert_allclose(reading.stress, -0.1 * GPa * np.array([xx, yy, zz, yz, zx, xy]), rtol=1e-9)
    assert reading.notes["drift_eV_A"] == [-0.001515, 0.005134, -0.024883]


def test_outcar_cut_off_before_its_forces_has_no_frame(vasp, tmp_path):
    output = read_outcar(cut(vasp / "OUTCAR_example_1", tmp_path, "TOTAL-FORCE", 400))
    assert output.readings == () and "truncated" in output.ending
    output = read_outcar(cut(vasp / "OUTCAR_example_1", tmp_path, "aborting loop"))
    assert output.readings == () and "truncated" in output.ending


def test_outcar_with_stars_for_numbers_is_not_a_number(vasp, tmp_path):
    path = tmp_path / "OUTCAR"
    path.write_text((vasp / "OUTCAR_example_1").read_text().replace("0.030415", "********"))
    assert np.isnan(read_outcar(path).readings[0].forces[0, 0])


@pytest.mark.parametrize(
    ("name", "verdict", "without_it"), [("y_y", True, True), ("y_n", False, True), ("n_y", True, False)]
)
def test_vasp_says_why_it_left_the_loop(vasp, name, verdict, without_it):
    lines = (vasp / f"convergence_OUTCAR_{name}").read_text().splitlines()
    assert electronic_convergence(lines) is verdict
    assert electronic_convergence(lines[:-1]) is without_it
    assert electronic_convergence([]) is None


def test_cp2k_single_point():
    output = read_cp2k(OUTPUTS / "cp2k_lithium_pair.out")
    (reading,) = output.readings
    assert output.ending is None and reading.fault is None and reading.converged is True
    assert reading.energy == pytest.approx(-107.377192810688655 * Hartree, abs=1e-6)
    np.testing.assert_allclose(
        reading.forces[0] / 51.4220675, [0.003423884086, -0.000256396849, -0.012203878626], rtol=1e-6
    )
    assert reading.atoms.get_chemical_symbols() == ["Li", "B", "F", "F", "F", "F"]
    np.testing.assert_allclose(reading.atoms.cell.lengths(), 6.5)
    assert reading.stress is None, "the density was smoothed"
    assert output.method["version"] == "2023.1" and output.method["bases"] == ["DZVP-MOLOPT-SR-GTH"]


def test_cp2k_stress_is_the_tensor_and_not_its_eigenvectors():
    (reading,) = read_cp2k(OUTPUTS / "cp2k_stress.out.gz").readings
    as_printed = [  # GPa; CP2K's tensor is a pressure
        [-4.33502774196, 0.133034365542, 0.133095175096],
        [0.133034365542, 1.84009849943, -0.0587205680945],
        [0.133095175096, -0.0587205680945, 1.84012003634],
    ]
    np.testing.assert_allclose(reading.stress, full_3x3_to_voigt_6_stress(-GPa * np.array(as_printed)), rtol=1e-9)


def changed(path, tmp_path, *changes):
    """A recorded output with other words in some places."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    for old, new in changes:
        assert re.search(old, text, re.M)
        text = re.sub(old, new, text, flags=re.M)
    (tmp_path / "out").write_text(text)
    return tmp_path / "out"


def test_cp2k_kind_of_atom_that_begins_with_no_element_is_refused(tmp_path):
    path = changed(OUTPUTS / "cp2k_stress.out.gz", tmp_path, (r"^(\s+1\s+1) Li", r"\1 li"))
    with pytest.raises(SettingsError, match="kind of atom 'li'"):
        read_cp2k(path)


def test_cp2k_stress_in_its_other_units_and_older_layout(tmp_path):
    stored = OUTPUTS / "cp2k_stress.out.gz"
    (expected,) = read_cp2k(stored).readings
    for unit, size in (("bar", 1e-4), ("kbar", 0.1)):
        (reading,) = read_cp2k(changed(stored, tmp_path, (r"(stress tensor) \[GPa\]", rf"\1 [{unit}]"))).readings
        np.testing.assert_allclose(reading.stress, size * expected.stress)
    (reading,) = read_cp2k(changed(stored, tmp_path, (r"(stress tensor) \[GPa\]", r"\1 [Mbar]"))).readings
    assert reading.stress is None, "a unit that is not known"
    path = changed(
        stored,
        tmp_path,
        (r"^ STRESS\| Analytical stress tensor", " STRESS TENSOR"),
        (r"^ STRESS\| Eigenvectors and eigenvalues of the analytical stress tensor .*", ""),
        (r"^ STRESS\| +([xyz]) ", r"  \1 "),
    )
    (reading,) = read_cp2k(path).readings
    np.testing.assert_allclose(reading.stress, expected.stress)


def test_cp2k_skew_cell(tmp_path):
    """Rows are lattice vectors, whose lengths have more decimals than their components."""
    b = r"(CELL\| Vector b \[angstrom\]: +).*"
    path = changed(OUTPUTS / "cp2k_stress.out.gz", tmp_path, (b, r"\1 3.000     4.000     0.000   |b| =     5.000500"))
    (reading,) = read_cp2k(path).readings
    np.testing.assert_allclose(reading.atoms.cell.array, [[5, 0, 0], [3.0003, 4.0004, 0], [0, 0, 5]])


@pytest.mark.parametrize(
    "change", [(r"(XC density smoothing +)NONE", r"\1NN50"), (r"(XC derivatives +)PW", r"\1NN50_SMOOTH")]
)
def test_cp2k_stress_of_a_smoothed_density_is_left_out(change, tmp_path):
    (reading,) = read_cp2k(changed(OUTPUTS / "cp2k_stress.out.gz", tmp_path, change)).readings
    assert reading.forces is not None and reading.stress is None


def test_cp2k_periodicity(tmp_path):
    (reading,) = read_cp2k(
        changed(OUTPUTS / "cp2k_stress.out.gz", tmp_path, (r"(CELL\| Period.* )XYZ", r"\1 XY"))
    ).readings
    assert reading.atoms.pbc.tolist() == [True, True, False]
    (reading,) = read_cp2k(
        changed(OUTPUTS / "cp2k_stress.out.gz", tmp_path, (r"(CELL\| Period.* )XYZ", r"\1NONE"))
    ).readings
    assert not reading.atoms.pbc.any() and not reading.atoms.cell.array.any()


def test_cp2k_forces_as_version_2025_prints_them(tmp_path):
    """Its layout, from outputs of others: CP2K 2025 was not run here."""
    before = OUTPUTS / "cp2k_lithium_pair.out"
    path = changed(
        before,
        tmp_path,
        (
            r"^ ATOMIC FORCES in \[a\.u\.\]\n\n.*\n",
            " FORCES| Atomic forces [hartree/bohr]\n FORCES|   Atom  x  y  z  |f|\n",
        ),
        (r"^ +(\d+) +\d+ +(?:Li|B|F)((?: +-?\d\.\d{12}){3})$", r" FORCES| \1 \2 0.5"),
        (r"^ SUM OF ATOMIC FORCES", " FORCES| Sum"),
    )
    (reading,), (expected,) = read_cp2k(path).readings, read_cp2k(before).readings
    assert reading.fault is None
    np.testing.assert_array_equal(reading.forces, expected.forces)
    cut_off = tmp_path / "cut"
    cut_off.write_text(path.read_text().split(" FORCES| Sum")[0])
    assert "not all" in read_cp2k(cut_off).readings[0].fault


def test_cp2k_goes_on_after_a_failure_and_we_do_not():
    (reading,) = read_cp2k(OUTPUTS / "cp2k_unconverged.out").readings
    assert reading.energy is not None and reading.forces is not None, "CP2K prints them all the same"
    assert reading.converged is False


def test_cp2k_cut_off(tmp_path):
    whole = OUTPUTS / "cp2k_lithium_pair.out"
    output = read_cp2k(cut(whole, tmp_path, "ATOMIC FORCES in", 300))
    assert output.readings[0].fault.startswith("truncated") and output.ending.startswith("truncated")
    output = read_cp2k(cut(whole, tmp_path, "outer SCF loop converged"))
    assert output.readings == () and output.ending.startswith("truncated")


def test_cp2k_aimd_takes_frames_from_its_trajectories():
    output = read_cp2k(OUTPUTS / "cp2k_aimd/aimd.out")
    assert len(output.readings) == 4
    assert all(reading.converged and reading.fault is None for reading in output.readings)
    energies = np.array([reading.energy for reading in output.readings])
    work = [
        -0.5 * np.sum((a.forces + b.forces) * (b.atoms.positions - a.atoms.positions))
        for a, b in zip(output.readings, output.readings[1:], strict=False)
    ]
    np.testing.assert_allclose(np.diff(energies), work, atol=2e-3)


def every_second(source, path, number_of_lines=4):
    """A trajectory of two atoms as it is with EACH 2."""
    lines = source.read_text().splitlines(keepends=True)
    blocks = [lines[i : i + number_of_lines] for i in range(0, len(lines), number_of_lines)]
    path.write_text("".join(line for block in blocks[::2] for line in block))


def without_forces(output):
    """An output as it is without FORCE_EVAL/PRINT/FORCES."""
    text = output.read_text()
    output.write_text(re.sub(r" ATOMIC FORCES in \[a\.u\.\].*?SUM OF ATOMIC FORCES[^\n]*\n", "", text, flags=re.S))


@pytest.mark.parametrize("rare", ["frc", "pos"])
def test_cp2k_aimd_joins_its_files_by_the_step(tmp_path, rare):
    """With another EACH the second frame of one file is not that of the other."""
    folder = shutil.copytree(OUTPUTS / "cp2k_aimd", tmp_path / "aimd")
    every_second(OUTPUTS / f"cp2k_aimd/aimd-{rare}-1.xyz", folder / f"aimd-{rare}-1.xyz")
    without_forces(folder / "aimd.out")
    whole, output = read_cp2k(OUTPUTS / "cp2k_aimd/aimd.out"), read_cp2k(folder / "aimd.out")
    assert whole.remarks == () and len(output.readings) == 2
    for reading, wanted in zip(output.readings, whole.readings[::2], strict=True):
        assert reading.energy == wanted.energy
        np.testing.assert_array_equal(reading.atoms.positions, wanted.atoms.positions)
        np.testing.assert_array_equal(reading.forces, wanted.forces)
    (remark,) = output.remarks
    lacking = {"frc": "forces", "pos": "positions"}[rare]
    assert remark.startswith(f"2 of 4 steps are left out: 2 have no {lacking}")


def test_cp2k_forces_that_stand_only_in_the_output_are_taken_from_it(tmp_path):
    folder = shutil.copytree(OUTPUTS / "cp2k_aimd", tmp_path / "aimd")
    whole = read_cp2k(folder / "aimd.out")
    (folder / "aimd-frc-1.xyz").unlink()
    output = read_cp2k(folder / "aimd.out")
    assert len(output.readings) == 4 and output.remarks == ()
    for reading, wanted in zip(output.readings, whole.readings, strict=True):
        assert reading.fault is None and reading.converged
        np.testing.assert_allclose(reading.forces, wanted.forces, atol=2e-7)
    without_forces(folder / "aimd.out")
    with pytest.raises(SettingsError, match="the output has no forces of its steps"):
        read_cp2k(folder / "aimd.out")


@pytest.fixture
def npt(tmp_path):
    """A copy of a real NPT run of LiCl, CP2K 2023.1: every file that MD can print, and all of it in the output too."""
    return shutil.copytree(OUTPUTS / "cp2k_npt", tmp_path / "npt")


def test_cp2k_npt_has_boxes_and_stress_of_every_step(npt):
    output = read_cp2k(npt / "npt.out")
    assert [reading.converged for reading in output.readings] == [False, True, True, True]
    assert output.remarks == ()
    sides = [reading.atoms.cell.lengths()[0] for reading in output.readings]
    np.testing.assert_allclose(sides, [6.0, 6.00379263, 6.00687995, 6.00947001], atol=1e-8)
    first = output.readings[0].stress
    pressures_GPa = [-1.60702443151, 0.224]
    np.testing.assert_allclose(first[:2] / GPa, -np.array(pressures_GPa), atol=0.1)


def test_cp2k_boxes_that_stand_only_in_the_output(npt):
    whole = read_cp2k(npt / "npt.out")
    (npt / "npt-1.cell").unlink()
    output = read_cp2k(npt / "npt.out")
    assert output.remarks == () and len(output.readings) == 4
    for reading, wanted in zip(output.readings, whole.readings, strict=True):
        np.testing.assert_allclose(reading.atoms.cell.array, wanted.atoms.cell.array, atol=2e-7)


def test_cp2k_boxes_whose_orientation_the_output_does_not_say_are_left_out(npt):
    (npt / "npt-1.cell").unlink()
    angles = " MD| Cell angles [deg]            9.10000000E+01  9.00000000E+01  9.00000000E+01\n"
    lines = (npt / "npt.out").read_text().splitlines(keepends=True)
    lengths = [number for number, line in enumerate(lines) if line.startswith(" MD| Cell lengths [ang]")]
    lines.insert(lengths[1] + 1, angles)
    (npt / "npt.out").write_text("".join(lines))
    output = read_cp2k(npt / "npt.out")
    assert len(output.readings) == 3 and "1 of 4 steps are left out: 1 have no box" in output.remarks[0]


def test_cp2k_box_that_no_vectors_say_is_that_of_right_angles_only(npt):
    """With PRINT_LEVEL LOW an output has no vectors, and MD says lengths and angles."""
    (npt / "npt-1.cell").unlink()
    text = (npt / "npt.out").read_text().replace("NPT_I", "NVT  ")
    (npt / "npt.out").write_text(text)
    for reading in read_cp2k(npt / "npt.out").readings:
        np.testing.assert_allclose(reading.atoms.cell.array, np.diag([6.0, 6.2, 6.4]))
    (npt / "npt.out").write_text(text.replace("9.00000000E+01  9.00000000E+01", "9.00000000E+01  9.50000000E+01"))
    with pytest.raises(SettingsError, match="does not contain its cell"):
        read_cp2k(npt / "npt.out")


def without_stress(output):
    """An output as it is without FORCE_EVAL/PRINT/STRESS_TENSOR."""
    output.write_text("".join(line for line in output.open() if not line.startswith(" STRESS|")))


def test_cp2k_stress_file_without_the_motion_of_the_atoms_is_what_the_output_says(npt):
    """Of -1.stress CP2K says nothing, but it holds the kinetic pressure: velocities take it out again."""
    whole = read_cp2k(npt / "npt.out")
    without_stress(npt / "npt.out")
    output = read_cp2k(npt / "npt.out")
    for reading, wanted in zip(output.readings, whole.readings, strict=True):
        # 1 bar: the velocities in the file are those of the step's end, to their last digit
        np.testing.assert_allclose(reading.stress / GPa, wanted.stress / GPa, atol=2e-4)
    assert output.remarks == ()


def test_cp2k_stress_file_without_velocities_is_left_out_and_said(npt):
    without_stress(npt / "npt.out")
    (npt / "npt-vel-1.xyz").unlink()
    output = read_cp2k(npt / "npt.out")
    assert all(reading.stress is None for reading in output.readings)
    (remark,) = output.remarks
    assert remark.startswith("the stress of 4 frames is left out: -1.stress includes the motion of the atoms")


@pytest.mark.parametrize("ensemble", ["NPT_I", "REFTRAJ"])
def test_cp2k_boxes_that_change_are_those_of_their_step(tmp_path, ensemble):
    folder = shutil.copytree(OUTPUTS / "cp2k_aimd", tmp_path / "aimd")
    output = folder / "aimd.out"
    rows = [f"{i} {2.0 * i} {5 + i} 0 0 0 {5 + i} 0 0 0 {5 + i} {(5 + i) ** 3}\n" for i in (0, 2, 4)]
    (folder / "aimd-1.cell").write_text("#   Step   Time [fs]       Ax [Angstrom]\n" + "".join(rows))
    assert len(read_cp2k(output).readings) == 4, "the box of an NVE run is that of every step"
    output.write_text(
        output.read_text().replace(
            "Ensemble type                                                       NVE",
            f"Ensemble type                                                   {ensemble:>7s}",
        )
    )
    found = read_cp2k(output)
    np.testing.assert_allclose([reading.atoms.cell.lengths()[0] for reading in found.readings], [5, 7])
    assert "3 of 5 steps are left out: 1 have no positions, 1 have no forces, 2 have no box" in found.remarks[0]
    (folder / "aimd-1.cell").unlink()
    output.write_text("".join(line for line in output.open() if "Cell lengths" not in line))
    with pytest.raises(SettingsError, match="the box of this run changes"):
        read_cp2k(output)


def test_cp2k_files_of_two_runs_are_a_contradiction(tmp_path):
    folder = shutil.copytree(OUTPUTS / "cp2k_aimd", tmp_path / "aimd")
    forces = folder / "aimd-frc-1.xyz"
    forces.write_text(forces.read_text().replace("E =       -22.5012254143", "E =       -22.6012254143"))
    faults = [reading.fault for reading in read_cp2k(folder / "aimd.out").readings]
    assert [bool(fault) for fault in faults] == [False, True, False, False] and faults[1].startswith("contradiction")


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_outputs_are_read_as_they_are(vasp, tmp_path, module):
    aimd = [OUTPUTS / "cp2k_aimd" / name for name in ("aimd.out", "aimd-pos-1.xyz", "aimd-frc-1.xyz")]
    ending = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[module]
    plain = [vasp / "vasprun_pstress.xml", vasp / "OUTCAR_example_1", OUTPUTS / "gpaw_two_frames.txt", *aimd]
    for path in plain:
        with module.open(tmp_path / (path.name + ending), "wb") as packed:
            packed.write(path.read_bytes())
    readers = (read_vasprun, read_outcar, read_gpaw, read_cp2k)
    for reader, path in zip(readers, plain[:4], strict=True):
        found, wanted = reader(tmp_path / (path.name + ending)), reader(path)
        assert found.method == wanted.method and found.ending == wanted.ending
        assert [r.energy for r in found.readings] == [r.energy for r in wanted.readings]
        assert [r.converged for r in found.readings] == [r.converged for r in wanted.readings]
        for reading, other in zip(found.readings, wanted.readings, strict=True):
            np.testing.assert_array_equal(reading.forces, other.forces)
    torn = tmp_path / ("torn" + ending)
    torn.write_bytes((tmp_path / ("OUTCAR_example_1" + ending)).read_bytes()[:-4000])
    with pytest.raises(SettingsError, match="cannot be decompressed"):
        read_outcar(torn)


def test_gpaw_text_of_today():
    output = read_gpaw(OUTPUTS / "gpaw_two_frames.txt")
    assert output.ending is None and output.method["version"] == "26.7.0"
    first, second = output.readings
    assert first.converged and second.converged
    assert (first.energy, second.energy) == (-28.526250, -28.512905)
    np.testing.assert_allclose(second.forces[1], [-0.90464, 0.38571, -5.54283])
    assert first.atoms.get_chemical_formula() == "BF4Li" and all(first.atoms.pbc)
    assert not np.allclose(first.atoms.positions, second.atoms.positions)


def test_gpaw_text_of_older_versions(vasp):
    (reading,) = read_gpaw(vasp.parent / "gpaw_expected_text_output").readings
    assert reading.energy == -6.707307 and reading.converged
    np.testing.assert_allclose(reading.forces, [[0, 0, 0.44504], [0, 0, -0.44504]])


def test_gpaw_text_that_did_not_converge_or_was_cut_off(tmp_path):
    (reading,) = read_gpaw(OUTPUTS / "gpaw_unconverged.txt").readings
    assert reading.converged is False and reading.fault.startswith("not converged")
    output = read_gpaw(cut(OUTPUTS / "gpaw_two_frames.txt", tmp_path, "Forces", 60))
    assert output.readings[0].fault is None
    assert output.readings[1].fault.startswith("truncated") and "frame 1" in output.ending


@pytest.mark.parametrize("reader", [read_vasprun, read_outcar, read_cp2k, read_gpaw])
def test_files_that_are_none_are_refused_in_words(reader, tmp_path):
    with pytest.raises(SettingsError, match="There is no"):
        reader(tmp_path / "nothing")
    (tmp_path / "prose").write_text("Dear diary,\n")
    with pytest.raises(SettingsError, match="prose"):
        reader(tmp_path / "prose")

"""Labels in files of others: names, units, signs, and files that are torn or wrong in one place."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa, Hartree, kcal, mol

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.labelling.reading.foreign import Keys
from ilforge.labelling.reading.foreign_units import factor_of, header_units, parse_units
from ilforge.labelling.reading.outputs import import_labels
from ilforge.labelling.reading.units_check import ONLY_FORCES, unit_slopes
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.quantum.outputs import Reading

DATA = Path(__file__).parents[1] / "data"
KBAR = 0.1 * GPa


def labelled_by_clp(moved):
    """Frames with the energies, forces and stresses of CL&P."""
    topology = Liquid.of_frame(moved[0]).topology
    calculator = potentials.create({"kind": "clp", "cutoff_A": 4.0}).calculator(topology)
    for frame in moved:
        calculator.calculate(frame, ["energy", "forces", "stress"])
        results = {key: np.copy(calculator.results[key])[()] for key in ("energy", "forces", "stress")}
        frame.info = {"ions": frame.info["ions"]}
        frame.calc = SinglePointCalculator(frame, **results)
    return moved


@pytest.fixture(scope="module")
def still():
    """Ten frames of a motion in a box that does not change."""
    start = frames.read(DATA / "one_pair.xyz")[0]
    step = np.random.default_rng(1).normal(size=(len(start), 3)) * 0.004
    moved = [start.copy() for _ in range(10)]
    for number, frame in enumerate(moved):
        frame.positions += number * step
    return labelled_by_clp(moved)


@pytest.fixture(scope="module")
def breathing():
    """Sixteen frames of a motion in a box whose sides and angles change."""
    start, rng = frames.read(DATA / "one_pair.xyz")[0], np.random.default_rng(3)
    moved = []
    for _ in range(16):
        frame = start.copy()
        strain = rng.normal(size=(3, 3)) * 0.004
        frame.set_cell(frame.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        frame.positions += rng.normal(size=(len(start), 3)) * 0.003
        moved.append(frame)
    return labelled_by_clp(moved)


def text_of(members, energy="energy", forces="forces", stress=None, header="", factors=(1.0, 1.0, 1.0)):
    """Extended XYZ as others write it; ``stress`` is a function of the frame and its stress that gives a key."""
    lines = []
    for frame in members:
        results = frame.calc.results
        cell = " ".join(f"{value:.8f}" for value in frame.cell.array.ravel())
        said = [f'Lattice="{cell}"', f"Properties=species:S:1:pos:R:3:{forces}:R:3"]
        said += [f"{energy}={factors[0] * results['energy']:.10f}", 'pbc="T T T"']
        said += [stress(frame, factors[2] * results["stress"])] if stress else []
        said += [header] if header else []
        lines += [str(len(frame)), " ".join(said)]
        for symbol, place, force in zip(frame.symbols, frame.positions, factors[1] * results["forces"], strict=True):
            lines.append(f"{symbol:2s}" + "".join(f" {value:16.9f}" for value in (*place, *force)))
    return "\n".join(lines) + "\n"


def nine(key):
    def said(_, stress):
        return f'{key}="{" ".join(f"{value:.12f}" for value in voigt_6_to_full_3x3_stress(stress).ravel())}"'

    return said


def six(key):
    return lambda _, stress: f'{key}="{" ".join(f"{value:.12f}" for value in stress)}"'


def virial(key, sign=-1.0):
    return lambda frame, stress: nine(key)(frame, sign * frame.get_volume() * stress)


@pytest.fixture
def imported(tmp_path):
    def of(text, name="run.xyz", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return import_labels([path], **options)

    return of


def agree(found, members, stress=True):
    assert len(found.labels) == len(members)
    for label, frame in zip(found.labels, members, strict=True):
        assert not label.failed, label.error
        assert label.energy == pytest.approx(frame.calc.results["energy"], abs=1e-6)
        np.testing.assert_allclose(label.forces, frame.calc.results["forces"], atol=1e-6)
        if stress:
            np.testing.assert_allclose(label.stress, frame.calc.results["stress"], atol=1e-7)
        else:
            assert label.stress is None


@pytest.mark.parametrize(
    "stress",
    [
        *(shape(key) for shape in (six, nine) for key in ("stress", "REF_stress")),
        *(virial(key) for key in ("virial", "virials", "REF_virial", "REF_virials")),
    ],
)
def test_stress_and_virial_under_the_names_of_others(imported, still, stress):
    """QUIP (virial), MACE (REF_virials) and dpdata (virial): minus the derivative of the energy, eV."""
    found = imported(text_of(still, stress=stress))
    agree(found, still)
    assert found.remarks == {}


def test_stress_and_virial_that_contradict_each_other_are_no_label(imported, still):
    def both(frame, stress):
        return f"{nine('stress')(frame, stress)} {virial('virial', +1.0)(frame, stress)}"

    found = imported(text_of(still, stress=both))
    assert all("opposite signs (stress = -virial / volume)" in label.error for label in found.labels)
    agree(imported(text_of(still, stress=both), keys=Keys(units=parse_units("virial=none"))), still)


@pytest.mark.parametrize(("energy", "forces"), [("dft_energy", "dft_forces"), ("energy_eV", "my_forces")])
def test_names_that_nobody_knows_are_listed_and_can_be_given(imported, still, energy, forces):
    text = text_of(still, energy, forces, nine("my_stress"))
    with pytest.raises(SettingsError, match=f"It has {energy}.*--energy-key {energy} --forces-key {forces}"):
        imported(text)
    agree(imported(text, keys=Keys(energy=energy, forces=forces)), still, stress=False)
    agree(imported(text, keys=Keys(energy=energy, forces=forces, stress="my_stress")), still)
    with pytest.raises(SettingsError, match="no frame has its stress under the name tension"):
        imported(text, keys=Keys(energy=energy, forces=forces, stress="tension"))


@pytest.mark.parametrize(
    ("energy", "forces", "stress", "header"),
    [
        ("REF_energy", "REF_forces", nine("REF_stress"), "config_type=Default"),  # MACE
        ("energy", "force", virial("virial"), "config_type=liquid cutoff=-1.0 nneightol=1.2"),  # QUIP
        ("energy", "force", virial("virial"), ""),  # dpdata
        ("energy", "forces", six("stress"), "total_energy=1.0"),  # NequIP
    ],
    ids=["mace", "quip", "dpdata", "nequip"],
)
def test_files_as_other_packages_write_them(imported, still, energy, forces, stress, header):
    agree(imported(text_of(still, energy, forces, stress, header)), still)


def test_two_forces_that_differ_must_be_told_apart(imported, still):
    text = text_of(still, forces="force").replace("force:R:3", "force:R:3:forces:R:3")
    lines = [f"{line} 9.0 9.0 9.0" if line[:2].strip().isalpha() else line for line in text.splitlines()]
    with pytest.raises(SettingsError, match="contains both force and forces, and they differ"):
        imported("\n".join(lines) + "\n")


def test_two_energies_that_differ_must_be_told_apart(imported, still):
    text = text_of(still, header="REF_energy=-1.0")
    with pytest.raises(SettingsError, match="contains both energy and REF_energy, and they differ.*--energy-key"):
        imported(text)
    agree(imported(text, keys=Keys(energy="energy")), still, stress=False)


@pytest.mark.parametrize("name", ["run.exyz", "run.extxyz", "run.xyz"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_names_of_files_and_marks_of_byte_order(imported, still, name, begin):
    agree(imported(begin + text_of(still).encode(), name), still, stress=False)


def in_other_columns(text):
    """Positions first, atomic numbers, and columns that are no labels."""
    lines = text.replace(
        "species:S:1:pos:R:3:forces:R:3", "pos:R:3:Z:I:1:momenta:R:3:forces:R:3:magmoms:R:1"
    ).splitlines()
    for number, line in enumerate(lines):
        symbol, *values = line.split()
        if symbol in atomic_numbers and len(values) == 6:
            lines[number] = " ".join([*values[:3], str(atomic_numbers[symbol]), "0 0 0", *values[3:], "0.0"])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace("  ", "\t"),
        lambda text: text.replace('"', "'"),
        in_other_columns,
    ],
    ids=["crlf", "no last newline", "blank lines", "tabs", "single quotes", "columns"],
)
def test_the_same_frames_in_other_layouts(imported, still, change):
    agree(imported(change(text_of(still))), still, stress=False)


@pytest.mark.parametrize("how", ["rows", "columns", "digits", "header"])
def test_frames_before_a_torn_last_one_are_kept(imported, still, how):
    text = text_of(still)
    start = text.rindex("\n35\n") + 1
    end = {"rows": start + 800, "columns": len(text) - 20, "digits": len(text) - 5, "header": start + 60}[how]
    found = imported(text[:end])
    agree(found, still[:9], stress=False)
    (ending,) = found.endings.values()
    assert ending == "truncated: the file ends in the middle of frame 9"


def test_a_frame_that_cannot_be_read_costs_no_other(imported, still):
    lines = text_of(still).splitlines()
    lines[37 * 4 + 5] = "H  1.0 2.0 abc 1.0 1.0 1.0"
    found = imported("\n".join(lines) + "\n")
    assert found.labels[4].error.startswith("unreadable: ")
    assert [label.failed for label in found.labels].count(True) == 1


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('Lattice="8.50000000', 'Lattice="nan', "not finite: NaN or infinity in positions or box"),
        (
            'Lattice="8.50000000 0.00000000 0.00000000',
            'Lattice="0 0 0',
            "box: the frame is periodic, but its box has no",
        ),
    ],
)
def test_a_box_that_is_none_costs_no_other(imported, still, old, new, reason):
    text = text_of(still, stress=nine("stress"))
    assert old in text
    found = imported(text.replace(old, new, 1))
    assert found.labels[0].error.startswith(reason)
    assert sum(label.failed for label in found.labels) == 1


def test_what_stands_between_frames_ends_the_file(imported, still):
    lines = text_of(still).splitlines()
    found = imported("\n".join([*lines[: 37 * 6], "Dear diary,", *lines[37 * 6 :]]))
    assert len(found.labels) == 6
    (ending,) = found.endings.values()
    assert "after frame 5 a number of atoms was expected, found 'Dear diary,'" in ending


@pytest.mark.parametrize(
    "header",
    [
        "energy-unit=hartree force-unit=hartree/bohr",
        "energy_unit=Ha forces_unit=Ha/Bohr",
        "energy-units=Hartree forces-units=a.u.",
        "units=atomic",
    ],
)
def test_units_of_a_header_are_honoured(imported, still, header):
    members = [frame.copy() for frame in still]
    for frame, of in zip(members, still, strict=True):
        frame.calc = of.calc
    text = text_of(still, header=header, factors=(1 / Hartree, Bohr / Hartree, 1.0))
    if header == "units=atomic":  # lengths too
        text = scaled(text, still, 1 / Bohr)
    found = imported(text)
    agree(found, still, stress=False)
    assert found.remarks == {}
    np.testing.assert_allclose(found.labels[0].frame.positions, still[0].positions, atol=1e-5)


def scaled(text, members, factor):
    """The text with its lengths in another unit."""
    rows = text.splitlines()
    for number, frame in enumerate(members):
        place = number * (len(frame) + 2)
        cell = " ".join(f"{value:.10f}" for value in factor * frame.cell.array.ravel())
        rows[place + 1] = f'Lattice="{cell}"' + rows[place + 1].split('"', 2)[2]
        for i in range(len(frame)):
            symbol, x, y, z, *forces = rows[place + 2 + i].split()
            places = " ".join(f"{factor * float(value):.10f}" for value in (x, y, z))
            rows[place + 2 + i] = f"{symbol} {places} {' '.join(forces)}"
    return "\n".join(rows) + "\n"


def test_a_header_that_says_its_unit_is_believed_where_nothing_can_be_checked(imported, still):
    """One frame of a header in Hartree was once taken for eV."""
    text = text_of(still[:1], header="energy-unit=hartree", factors=(1 / Hartree, 1.0, 1.0))
    agree(imported(text), still[:1], stress=False)


@pytest.mark.parametrize("header", ["energy-unit=cal", "stress-unit=psi", "units=imperial"])
def test_units_that_nobody_knows_are_refused(imported, still, header):
    with pytest.raises(SettingsError, match="[Kk]nown units are"):
        imported(text_of(still, stress=nine("stress"), header=header))


def test_units_can_be_given(imported, still):
    text = text_of(still, stress=nine("stress"), factors=(1 / (kcal / mol), 1 / (kcal / mol), -1 / KBAR))
    keys = Keys(units=parse_units("energy=kcal/mol,forces=kcal/mol/ang,stress=-kbar"))
    agree(imported(text, keys=keys), still)
    with pytest.raises(SettingsError, match="'energy' is not understood"):
        parse_units("energy")
    assert parse_units("stress=none").stress == 0.0


@pytest.mark.parametrize(
    ("quantity", "unit", "expected"),
    [
        ("forces", "eV/Å", 1.0), ("forces", "eV/Angstrom", 1.0), ("forces", "Ry/Bohr", 25.71104309541616),
        ("stress", "eV/Ang^3", 1.0), ("stress", "ev/angstrom**3", 1.0), ("stress", "Ha/Bohr3", 183.6315),
        ("stress", "-GPa", -1 / 160.2176634), ("length", "nm", 10.0), ("virial", "-eV", -1.0),
        ("forces", "kJ/mol/nm", 0.0010364269656262175), ("energy", "meV", 1e-3),
    ],
)  # fmt: skip
def test_factors_of_units(quantity, unit, expected):
    assert factor_of(quantity, unit, "here") == pytest.approx(expected, rel=1e-6)


def test_words_of_a_header_that_are_no_units():
    assert header_units({"energy": 1.0, "community": "x", "unit_cell_name": "y"}, "f") == parse_units("")


@pytest.mark.parametrize("spoil", ["nan force", "nan energy", "false state", "huge force"])
def test_one_broken_frame_does_not_switch_the_check_off(imported, still, spoil):
    members = [frame.copy() for frame in still]
    for frame, of in zip(members, still, strict=True):
        frame.calc = SinglePointCalculator(frame, **{key: np.copy(value)[()] for key, value in of.calc.results.items()})
    results = members[4].calc.results
    if spoil == "nan force":
        results["forces"][3, 1] = np.nan
    elif spoil == "nan energy":
        results["energy"] = np.nan
    elif spoil == "false state":
        results["energy"] -= 46.5
    else:
        results["forces"][3, 1] = 1e6
    with pytest.raises(SettingsError, match="It looks like energies in Hartree with forces in eV/Å"):
        imported(text_of(members, factors=(1 / Hartree, 1.0, 1.0)))
    assert sum(label.failed for label in imported(text_of(members)).labels) == ("nan" in spoil)


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((1 / Hartree, Bohr / Hartree), "energies in Hartree with forces in Hartree/Bohr"),
        ((1.0, Bohr), "energies in eV with forces in eV/Bohr"),
        ((1 / (kcal / mol), 1 / (kcal / mol)), "forces are .* It looks like kcal/mol/Å"),
        ((-1.0, -1.0), "the wrong sign"),
    ],
)
def test_units_that_agree_with_each_other_and_are_wrong(imported, still, factors, words):
    """Energies follow forces in any system of units; GFN1-xTB and the size of forces tell which it is."""
    with pytest.raises(SettingsError, match=words):
        imported(text_of(still, factors=(*factors, 1.0)))


def test_units_of_frames_that_do_not_follow_each_other(imported, still):
    """No slope can be found, but GFN1-xTB knows forces of single frames."""
    assert list(imported(text_of(still[:1])).remarks.values()) == [(ONLY_FORCES,)]
    with pytest.raises(SettingsError, match="It looks like Hartree/Bohr"):
        imported(text_of(still[:1], factors=(1 / Hartree, Bohr / Hartree, 1.0)))


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / KBAR, "which no liquid has. It looks like kbar"),
        (1 / GPa, "which no liquid has. It looks like .*GPa"),
        (1e4 / GPa, "which no liquid has. It looks like bar"),
        (-1.0, "opposite sign"),
        (Bohr**3 / Hartree, "another unit"),
    ],
)
@pytest.mark.parametrize("motion", ["still", "breathing"])
def test_stress_of_another_unit_or_sign_is_refused(imported, request, motion, factor, words):
    """By its size, by how energies change with the box, or against GFN1-xTB where the box does not change."""
    members = request.getfixturevalue(motion)
    with pytest.raises(SettingsError, match=words):
        imported(text_of(members, stress=nine("stress"), factors=(1.0, 1.0, factor)))
    keys = Keys(units=parse_units(f"stress={'none'}"))
    agree(imported(text_of(members, stress=nine("stress"), factors=(1.0, 1.0, factor)), keys=keys), members, False)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_energies_change_with_the_box_as_the_stress_says(breathing, sign):
    readings = [
        Reading(frame, frame.calc.results["energy"], frame.calc.results["forces"], sign * frame.calc.results["stress"])
        for frame in breathing
    ]
    slopes = unit_slopes(readings)
    assert slopes.forces == pytest.approx(1.0, abs=0.05)
    assert slopes.stress == pytest.approx(sign, abs=0.1)


def test_stress_that_is_zero_or_no_number_is_none(imported, still):
    zero = imported(text_of(still, stress=lambda *_: 'stress="0 0 0 0 0 0 0 0 0"'))
    agree(zero, still, stress=False)
    (remarks,) = zero.remarks.values()
    assert remarks == ("the stress of 10 frames is left out: it is exactly zero, which does not occur in a liquid",)
    broken = imported(text_of(still, stress=lambda *_: 'stress="nan 0 0 0 0 0 0 0 0"'))
    agree(broken, still, stress=False)
    assert "the stress of 10 frames is left out: it is not a number" in next(iter(broken.remarks.values()))


def test_slabs_are_no_labels(imported, still):
    found = imported(text_of(still).replace('pbc="T T T"', 'pbc="T T F"'))
    assert all(label.error.startswith("periodicity: A frame is periodic along x, y only") for label in found.labels)
    assert found.remarks == {}


def test_isolated_frames_need_a_charge(tmp_path, still):
    members = [frame.copy() for frame in frames.read(DATA / "bf4_false_states.xyz")]
    for frame in members:
        del frame.info["ions"]
    path = tmp_path / "anions.xyz"
    ase.io.write(path, members, format="extxyz")
    found = import_labels([path])
    assert all(label.error.startswith("charge: A frame of 5 atoms (BF4)") for label in found.labels)
    charged, by_ions = import_labels([path], charge=-1), import_labels([path], ions="1 BF4")
    assert [label.frame_digest for label in charged.labels] == [label.frame_digest for label in by_ions.labels]
    assert not any(label.failed for label in charged.labels)
    for frame in members:
        frame.info["total_charge"] = 0
    ase.io.write(path, members, format="extxyz")
    wrong = import_labels([path], ions="1 BF4")
    assert all("+0 in the frame itself" in label.error for label in wrong.labels)


def test_voigt_order_is_that_of_ase(still):
    stress = still[0].calc.results["stress"]
    np.testing.assert_allclose(frames.voigt(voigt_6_to_full_3x3_stress(stress)), stress)
    np.testing.assert_allclose(full_3x3_to_voigt_6_stress(voigt_6_to_full_3x3_stress(stress)), stress)

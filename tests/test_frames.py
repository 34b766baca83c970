"""Files of frames: what is written is read again, whatever is said in a frame's info."""

from __future__ import annotations

import pytest
from ase import Atoms

from ilforge import frames
from support.labels import labelled_frame

SAID = 'killed by signal 9\nIt last said:\n  "iter: 12" = {3, 4} \\n'


@pytest.mark.parametrize(
    ("text", "read"),
    [(SAID, 'killed by signal 9 It last said: "iter: 12" = {3, 4} /n'), ("plain words", "plain words"), ("one", "one")],
)
def test_words_of_programs_do_not_tear_the_file(tmp_path, text, read):
    members = [labelled_frame(number, rejected=text) for number in range(3)]
    frames.write(tmp_path / "frames.xyz", members)
    back = frames.read(tmp_path / "frames.xyz")
    assert [frame.info["rejected"] for frame in back] == [read] * 3
    assert [frames.digest(frame) for frame in back] == [frames.digest(frame) for frame in members]
    assert members[0].info["rejected"] == text, "the frame itself is left as it is"


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_number(tmp_path):
    members = [labelled_frame(number) for number in range(2)]
    frames.write(tmp_path / "plain.xyz", members)
    (tmp_path / "marked.exyz").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "plain.xyz").read_bytes())
    back = frames.read(tmp_path / "marked.exyz")
    assert [frames.digest(frame) for frame in back] == [frames.digest(frame) for frame in members]


@pytest.mark.parametrize(
    ("key", "factor", "fits"),
    [
        ("density", 1.0, True),
        ("density", 1.01, True),  # rounded
        ("density", 1.1, False),
        ("density", 1000.0, True),  # kg/m^3, without a word
        ("rho", 0.5, False),
        ("density_g_cm3", 1.0, True),
        ("density_g_cm3", 1000.0, False),
        ("density_kg_m3", 1000.0, True),
        ("density_kg_m3", 1.0, False),
        ("Density_g_per_cm3", 1.2, False),
        ("mass_density", 0.9, False),
        ("density_ratio", 0.9, True),  # no density
        ("charge_density", 0.9, True),
    ],
)
def test_a_density_that_is_not_that_of_the_cell_is_named(key, factor, fits):
    frame = Atoms("NaCl", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    true = frame.get_masses().sum() * 1.66053906660 / 64
    frame.info[key] = factor * true
    said = frames.said_density(frame)
    assert (said is None) is fits, said
    assert fits or (f"{key} = " in said and f"but {true:.4g} g/cm^3 from its cell and masses" in said)
    many = frames.said_densities([Atoms("Li"), frame, frame])
    assert (many is None) is fits
    assert fits or many.startswith("the density in the header of 2 of 3 frames is wrong: frame 1 has")

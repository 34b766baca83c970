"""Files of frames: what is written is read again, whatever is said in a frame's info."""

from __future__ import annotations

import pytest

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

"""What a user keeps in a folder is never deleted or written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilforge import folders
from ilforge.errors import SettingsError
from ilforge.folders import on_network
from support.kills import killed_at


def test_a_new_and_an_empty_folder_become_ilforges_and_stay_so(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new/deep"):
        folder = folders.claim(tmp_path / name, "--out")
        (folder / "a").write_text("a")
        assert folders.is_ours(folder)
        assert folders.claim(folder, "--out") == folder


def test_a_folder_with_files_of_others_is_neither_claimed_nor_removed_nor_replaced(tmp_path):
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    (mine / "data" / "raw.csv").write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(mine)
    fill = folders.replacing_folder
    for act in (lambda p: folders.claim(p, "--out"), folders.remove, lambda p: fill(p).__enter__()):
        for path in (mine, link, mine / "data", mine / "data" / "raw.csv"):
            with pytest.raises(SettingsError, match="did not make it"):
                act(path)
    assert (mine / "data" / "raw.csv").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine"]


def test_a_link_to_a_marked_folder_is_not_deleted_through(tmp_path):
    folder = folders.claim(tmp_path / "folder", "--out")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(SettingsError):
        folders.remove(tmp_path / "link")
    assert folder.is_dir()


def test_users_folders_named_like_leftovers_stay(tmp_path):
    for ending in (".partial", ".replaced"):
        (tmp_path / f"data{ending}").mkdir()
        (tmp_path / f"data{ending}" / "raw.csv").write_text("precious")
        with pytest.raises(SettingsError), folders.replacing_folder(tmp_path / "data"):
            pass
        assert (tmp_path / f"data{ending}" / "raw.csv").read_text() == "precious"


def test_replacing_is_whole_at_every_kill(tmp_path):
    """The process is killed before its n-th change of the disk, for every n; then the next one succeeds."""

    def fill(value):
        with folders.replacing_folder(tmp_path / "data") as partial:
            for name in ("a", "b"):
                (partial / name).write_text(value)

    fill("0")
    n = 0
    killed = True
    while killed:
        n += 1
        killed = killed_at(n, lambda: fill("half"))
        if (tmp_path / "data").exists():
            assert len({(tmp_path / "data" / name).read_text() for name in ("a", "b")}) == 1
        fill("whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert n > 10


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local xfs rw 0 0
//host/share /mnt/my\\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
proc /proc proc rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [("/work/store", False), ("/home", True), ("/home/me/store", True), ("/homes/me", False),
     ("/home/local/store", False), ("/mnt/my share/store", True), ("/mnt/ssh/store", True)],
)  # fmt: skip
def test_file_systems_that_machines_share_are_known(path, shared):
    assert on_network(Path(path), MOUNTS) is shared


def test_a_temporary_folder_is_of_this_machine(tmp_path):
    assert not on_network(tmp_path)

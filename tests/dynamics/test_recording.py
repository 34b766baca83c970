"""The recorded files: what other programs read in them, and what is done with damaged ones."""

from __future__ import annotations

import json

import MDAnalysis
import numpy as np
import pytest

from ilforge.dynamics import dcd
from ilforge.dynamics.motion import Exploded, Sample
from ilforge.dynamics.recording import Recorder, pdb_text
from ilforge.dynamics.simulation import Job
from ilforge.dynamics.trajectory import Trajectory
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from support import md


def _job(directory):
    return Job(Clp(4.0), md.packed_box(), md.liquid().topology, md.short(), directory=directory)


def _sample(shift: float) -> Sample:
    box = md.packed_box()
    return Sample(box.positions + shift, np.zeros((70, 3)), box.cell.array, -1.0, 0.5, 400.0)


def test_a_dcd_file_is_read_by_others_and_can_be_cut_and_continued(tmp_path):
    path, rng = tmp_path / "a.dcd", np.random.default_rng(0)
    positions, cell = rng.normal(scale=20, size=(3, 5, 3)), np.diag([10.0, 11.0, 12.0])
    path.write_bytes(dcd.header(5, 20, 0.5) + b"".join(dcd.frame(frame, cell) for frame in positions) + b"torn")
    dcd.cut(path, 5, 2)
    with open(path, "ab") as file:
        file.write(dcd.frame(-positions[2], cell))
    with open(path, "r+b") as file:
        dcd.set_n_frames(file, 3)
    assert dcd.count(path, 5) == 3
    universe = MDAnalysis.Universe.empty(5, trajectory=True)
    universe.load_new(str(path))
    read = np.array([step.positions for step in universe.trajectory])
    np.testing.assert_allclose(read, [*positions[:2], -positions[2]], rtol=1e-6)
    np.testing.assert_allclose(universe.dimensions, [10, 11, 12, 90, 90, 90])
    assert universe.trajectory.dt == pytest.approx(0.01, rel=1e-6)
    assert universe.trajectory[0].time == pytest.approx(0.01, rel=1e-6)


def test_without_a_box_neither_file_has_a_cell(tmp_path):
    ion = md.lone_ion()
    (tmp_path / "a.pdb").write_text(pdb_text(Liquid.of_frame(ion).topology, ion.positions, np.zeros((3, 3))))
    path, other = tmp_path / "a.dcd", ion.positions[::-1]
    none = np.zeros((3, 3))
    path.write_bytes(dcd.header(30, 20, 0.5, periodic=False) + 2 * dcd.frame(ion.positions, none) + b"torn")
    dcd.cut(path, 30, 1, periodic=False)
    with open(path, "r+b") as file:
        file.seek(0, 2)
        file.write(dcd.frame(other, none))
        dcd.set_n_frames(file, 2)
    assert dcd.count(path, 30, periodic=False) == 2
    universe = MDAnalysis.Universe(str(tmp_path / "a.pdb"), str(path))
    assert [step.dimensions for step in universe.trajectory] == [None, None]
    read = np.array([step.positions for step in universe.trajectory])
    np.testing.assert_allclose(read, [ion.positions, other], atol=1e-5)


def test_names_and_bonds_survive_the_pdb_file(tmp_path):
    liquid = Liquid.of({"PYR14": 1, "Li": 1, "TFSI": 2})
    topology = liquid.topology
    positions = np.random.default_rng(0).uniform(0, 20, size=(topology.n_atoms, 3))
    (tmp_path / "a.pdb").write_text(pdb_text(topology, positions, np.eye(3) * 20))
    universe = MDAnalysis.Universe(str(tmp_path / "a.pdb"))
    assert tuple(universe.atoms.names) == topology.names
    assert tuple(universe.atoms.elements) == topology.symbols
    assert len(universe.residues) == 4
    np.testing.assert_allclose(universe.atoms.positions, positions, atol=6e-4)
    assert sorted(map(tuple, universe.bonds.indices)) == sorted(tuple(sorted(b)) for b in topology.bonds.tolist())


def test_frames_after_the_last_checkpoint_do_not_count(tmp_path):
    first = Recorder(_job(tmp_path), {"a": 1})
    for shift in (0.0, 1.0):
        first.append(_sample(shift))
    first.save(b"state\nof any bytes")
    first.append(_sample(2.0))  # and then the process dies
    first._sync()
    second = Recorder(_job(tmp_path), {"a": 1})
    assert (second.n_frames, second.state) == (2, b"state\nof any bytes")
    second.append(_sample(5.0))
    trajectory = second.close(Exploded("too hot", 0.015, ("C1 of PYR14 #1",)), {"name": "none"})
    assert trajectory.fault["message"] == "At 0.015 ps: too hot. Fastest atoms: C1 of PYR14 #1."
    assert trajectory.info()["n_frames"] == 3
    x = [step.positions[0, 0] for step in trajectory.universe().trajectory]
    np.testing.assert_allclose(np.diff(x), [1.0, 4.0], atol=1e-5)
    np.testing.assert_allclose(trajectory.thermo()["time_ps"], [0.005, 0.01, 0.015])


def test_a_damaged_checkpoint_and_another_run_are_refused(tmp_path):
    recorder = Recorder(_job(tmp_path), {"a": 1})
    recorder.append(_sample(0.0))
    recorder.save(b"state")
    with pytest.raises(SettingsError, match="contains a run with another start"):
        Recorder(_job(tmp_path), {"a": 2})
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(SettingsError, match="checkpoint is damaged"):
        Recorder(_job(tmp_path), {"a": 1})


@pytest.mark.parametrize(("change", "hint"), [({"length_ps": 2.0}, True), ({"length_ps": 2.0, "seed": 2}, False)])
def test_a_longer_run_is_told_how_to_go_on_from_one_that_has_ended(change, hint, tmp_path):
    about = {"start": "x", "protocol": {"length_ps": 1.0, "seed": 1, "pair": (1, 2)}}
    recorder = Recorder(_job(tmp_path), about)
    recorder.append(_sample(0.0))
    recorder.close(None, {"name": "none"})
    with pytest.raises(SettingsError, match="cannot be continued with these: name another folder") as caught:
        Recorder(_job(tmp_path), {**about, "protocol": {**about["protocol"], **change}})
    said = str(caught.value)
    assert (f"start from {tmp_path / 'last.xyz'} with its velocities" in said) is hint
    assert "remove" not in said and "delete" not in said


def test_a_trajectory_that_lost_its_frames_is_not_gone_on_with(tmp_path):
    recorder = Recorder(_job(tmp_path), {"a": 1})
    recorder.append(_sample(0.0))
    recorder.save(b"state")
    (tmp_path / "trajectory.dcd").unlink()
    with pytest.raises(SettingsError, match=r"trajectory\.dcd is damaged or missing"):
        Recorder(_job(tmp_path), {"a": 1})


@pytest.mark.parametrize("name", ["trajectory.dcd", "thermo.csv", "topology.pdb", "last.xyz", "checkpoint", "run.json"])
def test_files_of_somebody_else_are_refused_and_kept(name, tmp_path):
    (tmp_path / name).write_bytes(b"[1]\nof a user")
    with pytest.raises(
        SettingsError, match=f"holds {name}, which do not belong to a run of ilforge.* give another directory"
    ):
        Recorder(_job(tmp_path), {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"[1]\nof a user"


@pytest.mark.parametrize("about", [{"a": 1}, {"a": 2}])
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again_whatever_it_was(about, tmp_path):
    Recorder(_job(tmp_path), {"a": 1}).append(_sample(0.0))  # and then the process dies
    again = Recorder(_job(tmp_path), about)
    assert (again.n_frames, again.state) == (0, None)
    again.append(_sample(3.0))
    again.save(b"state")
    assert Recorder(_job(tmp_path), about).n_frames == 1


def test_a_folder_without_a_run_says_so(tmp_path):
    from ilforge.dynamics import load

    with pytest.raises(SettingsError, match="neither a finished run .* nor a checkpoint"):
        load(tmp_path)


def test_a_run_that_goes_on_is_read_up_to_its_checkpoint(tmp_path):
    from ilforge.properties.reading.reader import open_trajectory

    job = _job(tmp_path)
    about = {"ions": "2 PYR14, 2 BF4", "potential": {"kind": "clp"}, "protocol": job.protocol.as_dict()}
    recorder = Recorder(job, about)
    recorder.append(_sample(0.0))
    with pytest.raises(SettingsError, match="nor a checkpoint"):
        Trajectory(tmp_path).info()
    recorder.append(_sample(1.0))
    recorder.save(b"state")
    recorder.append(_sample(2.0))  # not in the checkpoint: the run may be killed, and this frame made anew
    recorder._sync()
    source = open_trajectory([tmp_path])
    assert source.system.n_frames == len(Trajectory(tmp_path).thermo()["time_ps"]) == 2
    recorded = 2 * job.protocol.frame_interval_ps
    assert f"its first {recorded:g} of {job.protocol.length_ps:g} ps are measured" in source.unended
    shift = source.frame(1).positions - source.frame(0).positions
    np.testing.assert_allclose(shift, 1.0, atol=1e-4)
    assert source.system.topology.species == md.liquid().topology.species
    recorder.close(None, {})
    ended = open_trajectory([tmp_path])
    assert (ended.unended, ended.system.n_frames) == ("", 3)


@pytest.fixture
def ended(tmp_path):
    job = _job(tmp_path)
    about = {"ions": "2 PYR14, 2 BF4", "potential": {"kind": "clp"}, "protocol": job.protocol.as_dict()}
    recorder = Recorder(job, about)
    for shift in (0.0, 1.0):
        recorder.append(_sample(shift))
    return recorder.close(None, {})


@pytest.mark.parametrize("name", ["topology.pdb", "trajectory.dcd", "thermo.csv"])
def test_a_run_that_lacks_a_file_says_which_and_what_to_do(ended, name):
    from ilforge.properties.reading.reader import open_trajectory

    (ended.directory / name).unlink()
    with pytest.raises(SettingsError, match=rf"/{name} is missing: .*Put it back, or run the MD again"):
        open_trajectory([ended.directory])


@pytest.mark.parametrize("change", [lambda text: text.rsplit("\n", 2)[0] + "\n", lambda text: text[:-9]])
def test_a_table_of_a_run_that_was_cut_is_refused(ended, change):
    """By a line, and within one."""
    assert ended.thermo()["time_ps"] == pytest.approx([0.005, 0.01])
    ended.thermo_file.write_text(change(ended.thermo_file.read_text()))
    with pytest.raises(SettingsError, match=r"thermo\.csv has [12] lines of numbers for 2 frames.*--frame-interval"):
        ended.thermo()


@pytest.mark.parametrize("text", ['{"ions": "2 PYR14, 2', "[1]", '{"n_frames": 2}'])
def test_a_damaged_run_file_is_said_to_be_that(ended, text):
    ended.run_file.write_text(text)
    with pytest.raises(SettingsError, match=r"run\.json is incomplete.*measure .*trajectory\.dcd, with --frame"):
        ended.info()


def test_a_checkpoint_of_an_earlier_version_says_how_its_frames_are_measured(tmp_path):
    """It does not say what its frames are."""
    recorder = Recorder(_job(tmp_path), {"a": 1})
    recorder.append(_sample(0.0))
    recorder.save(b"state")
    path = tmp_path / "checkpoint"
    head, _, state = path.read_bytes().partition(b"\n")
    said = {key: json.loads(head)[key] for key in ("fingerprint", "n_frames", "wall_s", "sha256")}
    path.write_bytes(json.dumps(said).encode() + b"\n" + state)
    with pytest.raises(SettingsError, match=r"earlier version.*topology\.pdb and .*trajectory\.dcd, with --frame-int"):
        Trajectory(tmp_path).info()


def test_a_run_is_found_by_the_name_of_its_folder(tmp_path):
    assert Trajectory(str(tmp_path)) == Trajectory(tmp_path)

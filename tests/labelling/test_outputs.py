"""Import of users' outputs: every frame a label or a reason, units checked, nothing taken for zero."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.labelling.gate import judge
from ilforge.labelling.outputs import import_labels
from ilforge.labelling.store import LabelStore
from ilforge.labelling.units_check import unit_ratio
from ilforge.liquid.liquid import Liquid
from ilforge.study.settings import GateSettings

OUTPUTS = Path(__file__).parents[1] / "data/outputs"
PAIR = "1 PYR14, 1 BF4"


@pytest.fixture
def aimd(straight_line):
    """The frames, for one test to do with as it likes."""
    trajectory = []
    for frame in straight_line:
        copy = frame.copy()
        copy.calc = SinglePointCalculator(copy, **{k: np.copy(v)[()] for k, v in frame.calc.results.items()})
        trajectory.append(copy)
    return trajectory


@pytest.fixture(scope="module")
def straight_line():
    """Six frames along a straight line with the energies and forces of CL&P, as an AIMD has them."""
    one_pair = frames.read(OUTPUTS.parent / "one_pair.xyz")[0]
    calculator = potentials.create({"kind": "clp", "cutoff_A": 4.0}).calculator(Liquid.from_label(PAIR).topology)
    step = np.random.default_rng(1).normal(size=(len(one_pair), 3)) * 0.004
    trajectory = []
    for number in range(6):
        frame = one_pair.copy()
        frame.info.pop("parent")
        frame.positions += number * step
        calculator.calculate(frame, ["energy", "forces", "stress"])
        frame.calc = SinglePointCalculator(frame, **{k: calculator.results[k] for k in ("energy", "forces", "stress")})
        trajectory.append(frame)
    return trajectory


def written(path, trajectory):
    ase.io.write(path, trajectory)
    return path


def with_results(frame, **changes):
    frame.calc.results.update(changes)
    for key, value in changes.items():
        if value is None:
            del frame.calc.results[key]
    return frame


@pytest.mark.parametrize("name", ["run.xyz", "run.db", "run.traj"])
def test_frames_of_ase_come_in_with_their_labels(aimd, tmp_path, name):
    found = import_labels([written(tmp_path / name, aimd)], ions=PAIR)
    assert len(found.labels) == 6 and not any(label.failed for label in found.labels)
    assert found.unstated == 6, "none of these files says whether it converged"
    for label, frame in zip(found.labels, aimd, strict=True):
        assert label.energy == pytest.approx(frame.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(label.forces, frame.get_forces(), atol=1e-6)
        np.testing.assert_allclose(label.stress, frame.get_stress(), atol=1e-8)
    assert len({label.frame.info["parent"] for label in found.labels}) == 1, "neighbours stay on one side of a split"


def test_outputs_of_programs_are_recognised_by_their_content(tmp_path):
    (tmp_path / "whatever").write_bytes((OUTPUTS / "gpaw_two_frames.txt").read_bytes())
    (tmp_path / "unnamed").write_bytes((OUTPUTS / "cp2k_lithium_pair.out").read_bytes())
    gpaw, cp2k = (import_labels([tmp_path / name]) for name in ("whatever", "unnamed"))
    assert [label.method["program"] for label in gpaw.labels] == ["GPAW", "GPAW"]
    assert [label.method["program"] for label in cp2k.labels] == ["CP2K"]
    assert gpaw.unstated == cp2k.unstated == 0


def test_all_faults_at_once_never_stop_the_batch_and_none_is_accepted(aimd, tmp_path):
    whole, no_forces, no_energy, zeros, nan, torn = aimd
    with_results(no_forces, forces=None)
    with_results(no_energy, energy=None)
    with_results(zeros, forces=np.zeros((35, 3)))
    broken = nan.get_forces()
    broken[3, 1] = np.nan
    with_results(nan, forces=broken)
    torn.positions[34] += 3.0  # a fluorine leaves its boron
    torn.calc.atoms = torn.copy()
    trajectory = [whole, no_forces, no_energy, zeros, nan, torn, whole]
    found = import_labels([written(tmp_path / "run.traj", trajectory)], ions=PAIR)
    topology = Liquid.from_label(PAIR).topology
    reasons = [label.error or judge(label, topology, GateSettings()) for label in found.labels]
    assert reasons[0] is None
    kinds = [reason.split(":")[0] for reason in reasons[1:]]
    assert kinds == ["missing", "missing", "zero forces", "not finite", "fragmented", "duplicate"]
    assert "forces" in reasons[1] and "energy" in reasons[2]
    with LabelStore(tmp_path / "store") as store:
        store.add_many(found.labels)
        assert store.census() | {"waiting": 0} == store.census()
        assert store.census()["results"] == 2, "the torn frame is a result that the gate refuses"


def test_a_proton_that_changed_sides_is_named(aimd):
    from ilforge.labelling.labels import Label

    moved = aimd[0].copy()
    hydrogen = int(np.flatnonzero(moved.numbers == 1)[0])
    fluorine = int(np.flatnonzero(moved.numbers == 9)[0])
    moved.positions[hydrogen] = moved.positions[fluorine] + [0.9, 0.0, 0.0]
    label = Label(moved, {}, -1.0, np.zeros((35, 3)) + 1e-9, converged=True)
    assert "proton transfer" in judge(label, Liquid.from_label(PAIR).topology, GateSettings())


def test_wrong_number_of_atoms_for_the_ions_is_refused(aimd, tmp_path):
    (label, *_) = import_labels([written(tmp_path / "run.traj", aimd)], ions="2 PYR14, 2 BF4").labels
    frame = label.frame
    frame.info["ions"] = "2 PYR14, 2 BF4"
    assert "35 atoms" in judge(label, Liquid.from_label("2 PYR14, 2 BF4").topology, GateSettings())


def test_unconverged_frames_of_programs_are_rejected():
    (label,) = import_labels([OUTPUTS / "gpaw_unconverged.txt"]).labels
    assert label.failed and label.error.startswith("not converged")
    (label,) = import_labels([OUTPUTS / "cp2k_unconverged.out"]).labels
    assert judge(label, None, GateSettings()).startswith("not converged")


def test_same_frame_with_another_energy_is_a_contradiction(aimd, tmp_path):
    again = aimd[0].copy()
    again.calc = SinglePointCalculator(again, energy=aimd[0].get_potential_energy() + 0.5, forces=aimd[0].get_forces())
    files = [written(tmp_path / "a.traj", aimd[:1]), written(tmp_path / "b.traj", [again])]
    first, second = import_labels(files, method="PBE of ours").labels
    assert not first.failed
    assert second.error.startswith("contradiction") and "0.5 eV" in second.error


def test_files_of_different_methods_are_refused_unless_asked_for(aimd, tmp_path):
    files = [OUTPUTS / "gpaw_two_frames.txt", OUTPUTS / "cp2k_lithium_pair.out"]
    with pytest.raises(SettingsError, match="not made by the same method; they differ in .*program"):
        import_labels(files)
    assert len(import_labels(files, one_method=False).labels) == 3
    files = [written(tmp_path / "a.traj", aimd[:2]), written(tmp_path / "b.traj", aimd[2:])]
    with pytest.raises(SettingsError, match="--method"):
        import_labels(files)
    assert len(import_labels(files, method="PBE").labels) == 6


@pytest.mark.parametrize(
    ("energy", "force", "words"),
    [
        (1 / Hartree, 1.0, "energies in Hartree"),
        (1.0, Bohr / Hartree, "forces in Hartree/Bohr"),
        (1.0, -1.0, "wrong sign"),
        (23.0605, 1.0, r"23\.0"),
    ],
)
def test_wrong_units_are_found_out(aimd, tmp_path, energy, force, words):
    for frame in aimd:
        results = frame.calc.results
        results.update(energy=energy * results["energy"], forces=force * results["forces"])
    with pytest.raises(SettingsError, match=words):
        import_labels([written(tmp_path / "run.traj", aimd)])


def test_units_that_agree_have_a_ratio_of_one(aimd, tmp_path):
    from ilforge.labelling.outputs import read_output

    readings = read_output(written(tmp_path / "run.traj", aimd)).readings
    assert unit_ratio(readings) == pytest.approx(1.0, abs=0.02)
    assert unit_ratio(readings[:2]) is None, "one pair of neighbours proves nothing"


def test_what_is_no_output_is_refused_in_words(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary,\n")
    with pytest.raises(SettingsError, match="Known are vasprun.xml"):
        import_labels([tmp_path / "notes.txt"])
    with pytest.raises(SettingsError, match="There is no file"):
        import_labels([tmp_path / "nothing.xyz"])
    with pytest.raises(SettingsError, match="neither vasprun.xml nor OUTCAR"):
        import_labels([tmp_path])


def test_imported_frames_can_be_written_and_read(aimd, tmp_path):
    labels = import_labels([written(tmp_path / "run.traj", aimd)], ions=PAIR).labels
    frames.write(tmp_path / "labelled.xyz", [label.on(label.frame) for label in labels])
    assert len(frames.read(tmp_path / "labelled.xyz")) == 6

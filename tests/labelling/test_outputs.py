"""Import of users' outputs: every frame a label or a reason, units checked, nothing taken for zero."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.labelling.gate import judge
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.reading.outputs import import_labels
from ilforge.labelling.reading.units_check import ONLY_FORCES, ONLY_TOGETHER, STRESS_UNCHECKED, UNCHECKED, unit_ratio
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid

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
    from ilforge.labelling.reading.outputs import read_output

    readings = read_output(written(tmp_path / "run.traj", aimd)).readings
    assert unit_ratio(readings) == pytest.approx(1.0, abs=0.02)
    assert unit_ratio(readings[:2]) is None, "one pair of neighbours proves nothing"


def shuffled(frame, order):
    """The same frame with its atoms and forces in another order."""
    moved = frame[order]
    results = {**frame.calc.results, "forces": frame.calc.results["forces"][order]}
    moved.calc = SinglePointCalculator(moved, **results)
    return moved


@pytest.mark.parametrize("how", ["by element", "at random"])
def test_atoms_in_another_order_are_put_in_that_of_the_ions(aimd, tmp_path, how):
    """Forces go with their atoms: CL&P gives just these forces for the frame as it is then."""
    order = np.argsort(aimd[0].get_chemical_symbols(), kind="stable")
    if how == "at random":
        order = np.random.default_rng(3).permutation(len(aimd[0]))
    path = written(tmp_path / "run.traj", [shuffled(frame, order) for frame in aimd])
    found = import_labels([path], ions=PAIR)
    topology = Liquid.from_label(PAIR).topology
    calculator = potentials.create({"kind": "clp", "cutoff_A": 4.0}).calculator(topology)
    for label in found.labels:
        assert judge(label, topology, GateSettings()) is None
        assert tuple(label.frame.get_chemical_symbols()) == topology.symbols
        calculator.calculate(label.frame, ["energy", "forces"])
        np.testing.assert_allclose(label.forces, calculator.results["forces"], atol=1e-4)
        assert label.energy == pytest.approx(calculator.results["energy"], abs=1e-4)
    (remark,) = found.remarks[str(path)]
    assert remark.startswith("the atoms of 6 frames were put in the order of their ions")


def test_a_frame_that_broke_is_told_from_one_in_another_order(aimd, tmp_path):
    order = np.argsort(aimd[0].get_chemical_symbols(), kind="stable")
    aimd[0].positions[34] += 3.0  # a fluorine leaves its boron
    trajectory = [shuffled(frame, order) for frame in aimd]
    found = import_labels([written(tmp_path / "run.traj", trajectory)], ions=PAIR)
    reasons = [label.error or judge(label, Liquid.from_label(PAIR).topology, GateSettings()) for label in found.labels]
    assert reasons[0].startswith("fragmented: broken bond") and reasons[0].count("broken bond") == 1
    assert reasons[1:] == [None] * 5


def test_frames_of_other_ions_say_that_order_or_ions_differ(aimd, tmp_path):
    order = np.argsort(aimd[0].get_chemical_symbols(), kind="stable")
    other = shuffled(aimd[0], order)
    other.positions[np.flatnonzero(other.numbers == 9)] *= 0.5  # no BF4 any more
    other.calc.atoms = other.copy()
    found = import_labels([written(tmp_path / "run.traj", [other])], ions=PAIR)
    assert found.labels[0].error.startswith(
        f"order: the atoms do not form the molecules of {PAIR}, in this order or any other"
    )
    assert found.labels[0].failed


def test_monatomic_ions_are_told_apart_by_their_element(tmp_path):
    from ilforge.liquid.atom_order import order_by_bonds

    frame = frames.read(OUTPUTS.parent / "two_lithium_chlorides.xyz")[0]
    topology = Liquid.of_frame(frame).topology
    order = np.argsort(-frame.numbers, kind="stable")
    back = order_by_bonds(frame[order], topology, 1.25)
    assert tuple(frame[order][back].get_chemical_symbols()) == topology.symbols
    assert order_by_bonds(frame[order][1:], topology, 1.25) is None


def test_files_of_one_name_are_not_taken_for_one_method(aimd, tmp_path):
    files = []
    for number, functional in enumerate(("pbe", "scan")):
        (tmp_path / functional).mkdir()
        files.append(written(tmp_path / functional / "run.xyz", aimd[3 * number : 3 * number + 3]))
    with pytest.raises(SettingsError, match="--method"):
        import_labels(files)
    labels = import_labels(files, one_method=False).labels
    assert len({label.method_digest for label in labels}) == 2
    (again,) = {label.method_digest for label in import_labels(files[:1]).labels}
    assert again == labels[0].method_digest, "the same file is the same method wherever it is read"


def test_what_units_cannot_be_checked_says_so(aimd, tmp_path):
    path = written(tmp_path / "two.traj", aimd[:2])
    assert import_labels([path]).remarks == {str(path): (ONLY_FORCES,)}, "of two frames no slope says anything"
    for number, frame in enumerate(aimd):
        with_results(frame, energy=float((-1) ** number))
    path = written(tmp_path / "noise.traj", aimd)
    assert import_labels([path]).remarks == {str(path): (ONLY_FORCES,)}
    rng = np.random.default_rng(4)
    for frame in aimd:
        with_results(frame, forces=rng.normal(size=(35, 3)), stress=rng.normal(size=6) * 0.01)
    path = written(tmp_path / "invented.traj", aimd)
    assert import_labels([path]).remarks == {str(path): (UNCHECKED, STRESS_UNCHECKED)}
    assert import_labels([OUTPUTS / "gpaw_two_frames.txt"]).remarks == {}, "units of a program are known"


def test_where_all_is_checked_nothing_is_said(aimd, tmp_path):
    """A remark that appears on every file warns of nothing."""
    assert import_labels([written(tmp_path / "run.traj", aimd)], ions=PAIR).remarks == {}


def test_what_tight_binding_cannot_tell_says_so(tmp_path):
    """Springs in place of ions: energies follow forces, but no method of electrons agrees with them."""
    rng, frames_of_springs = np.random.default_rng(2), []
    start = np.array([[0.0, 0, 0], [3.0, 0, 0], [0, 3.1, 0], [0, 0, 2.9]])
    for number in range(24):
        frame = Atoms("Ne4", start + 0.01 * number * rng.normal(size=(4, 3)), cell=9 * np.eye(3), pbc=True)
        away = frame.positions - start
        frame.calc = SinglePointCalculator(frame, energy=float(5 * np.sum(away**2)), forces=-10 * away)
        frames_of_springs.append(frame)
    path = written(tmp_path / "springs.traj", frames_of_springs)
    assert import_labels([path]).remarks == {str(path): (ONLY_TOGETHER,)}


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_outputs_of_programs_go_through_our_readers(tmp_path, module):
    """ASE would read them too, and take every frame for converged."""
    import ase

    said = Path(ase.__file__).parent / "test/testdata/vasp/OUTCAR_example_1"
    if not said.is_file():
        pytest.skip(f"this ASE comes without its test data: there is no {said}")
    given_up = said.read_text().replace("aborting loop because EDIFF is reached", "aborting loop EDIFF was not reached")
    ending = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[module]
    for folder, content in (("unconverged", given_up), ("converged", said.read_text())):
        (tmp_path / folder).mkdir()
        with module.open(tmp_path / folder / f"OUTCAR{ending}", "wt") as file:
            file.write(content)
    for path in (tmp_path / "unconverged" / f"OUTCAR{ending}", tmp_path / "unconverged"):
        (label,) = import_labels([path]).labels
        assert label.method["program"] == "VASP" and not label.converged
        assert judge(label, None, GateSettings()).startswith("not converged")
    (label,) = import_labels([tmp_path / "converged"]).labels
    assert label.converged and label.stress is None
    (remark,) = import_labels([tmp_path / "converged"]).remarks.values()
    assert "ENCUT is 300 eV" in remark[0]


def test_what_is_no_output_is_refused_in_words(tmp_path):
    (tmp_path / "notes.txt").write_text("Dear diary,\n")
    with pytest.raises(SettingsError, match="Supported are vasprun.xml"):
        import_labels([tmp_path / "notes.txt"])
    with pytest.raises(SettingsError, match="There is no file"):
        import_labels([tmp_path / "nothing.xyz"])
    with pytest.raises(SettingsError, match="neither vasprun.xml nor OUTCAR"):
        import_labels([tmp_path])


def test_imported_frames_can_be_written_and_read(aimd, tmp_path):
    labels = import_labels([written(tmp_path / "run.traj", aimd)], ions=PAIR).labels
    frames.write(tmp_path / "labelled.xyz", [label.on(label.frame) for label in labels])
    assert len(frames.read(tmp_path / "labelled.xyz")) == 6

"""Labels from and to other programs: units, signs, and nothing taken for zero."""

from __future__ import annotations

import shutil

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.exchange import (
    export_deepmd,
    export_extxyz,
    import_deepmd,
    import_extxyz,
    read_deepmd,
    virial_from_stress,
)
from ilforge.labelling.datasets.exchange_hdf5 import export_deepmd_hdf5, import_deepmd_hdf5
from ilforge.potentials import create
from support.labels import labelled_frame

ELEMENTS = ("H", "B", "C", "N", "F")


def same_labels(a, b, tolerance=1e-8):
    assert a.info[frames.ENERGY] == pytest.approx(b.info[frames.ENERGY], abs=tolerance)
    np.testing.assert_allclose(a.arrays[frames.FORCES], b.arrays[frames.FORCES], atol=tolerance)
    np.testing.assert_allclose(a.info[frames.STRESS], b.info[frames.STRESS], atol=tolerance)


def test_deepmd_systems_there_and_back(tmp_path):
    members = [labelled_frame(number) for number in range(4)]
    for number in (1, 3):  # two compositions, mixed
        members[number].numbers = members[1].numbers
    for number in (0, 2):
        members[number].numbers = members[0].numbers
    folders = export_deepmd(tmp_path, members, ELEMENTS)
    assert len(folders) == 2
    back = import_deepmd(tmp_path)
    by_digest = {frames.digest(frame): frame for frame in back}
    assert len(by_digest) == 4
    for frame in members:
        same_labels(by_digest[frames.digest(frame)], frame)
    assert len({frame.info["parent"] for frame in back}) == 2
    assert len({frame.info["parent"] for frame in import_deepmd(tmp_path, independent=True)}) == 4


def test_virial_is_minus_the_strain_derivative_of_the_energy(two_pairs, topology_of):
    """DeePMD's virial is -dE/d(strain); the stress of a real potential must turn into just that."""
    two_pairs.calc = create({"kind": "clp", "cutoff_A": 4.0}).calculator(topology_of(two_pairs))
    virial = virial_from_stress(two_pairs.get_stress(), two_pairs.get_volume())
    step = 1e-4
    for i, j in ((0, 0), (2, 2), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = two_pairs.copy()
            strained.set_cell(two_pairs.cell.array @ strain, scale_atoms=True)
            strained.calc = two_pairs.calc
            energies.append(strained.get_potential_energy())
        assert virial[i, j] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-3)


def test_deepmd_frames_without_a_stress_cost_others_no_virial(tmp_path):
    """They are a system of their own: DeePMD takes virials by system."""
    members = [labelled_frame(number) for number in range(4)]
    for member in members[1:]:
        member.numbers = members[0].numbers
    del members[2].info[frames.STRESS]
    with_virials, without = export_deepmd(tmp_path, members, ELEMENTS)
    assert np.load(with_virials / "set.000" / "virial.npy").shape == (3, 9)
    assert not (without / "set.000" / "virial.npy").exists()
    by_digest = {frames.digest(frame): frame for frame in import_deepmd(tmp_path)}
    assert len(by_digest) == 4
    for number, member in enumerate(members):
        assert (frames.STRESS in by_digest[frames.digest(member)].info) == (number != 2)
    (one,) = export_deepmd(tmp_path / "none", members, ELEMENTS, virials=False)
    assert not (one / "set.000" / "virial.npy").exists()


@pytest.fixture
def system(tmp_path):
    """A DeePMD system of five frames, and the frames."""
    members = [labelled_frame(number) for number in range(5)]
    for member in members[1:]:
        member.numbers = members[0].numbers
    (folder,) = export_deepmd(tmp_path / "system", members, ELEMENTS)
    return folder, members


def as_raw(folder):
    """The same system as it is before ``raw_to_set.sh``: text, and no sets."""
    for path in sorted((folder / "set.000").glob("*.npy")):
        np.savetxt(folder / f"{path.stem}.raw", np.load(path))
        path.unlink()
    (folder / "set.000").rmdir()


def test_deepmd_raw_files_are_read(system):
    folder, members = system
    as_raw(folder)
    for found, member in zip(import_deepmd(folder), members, strict=True):
        same_labels(found, member)
        np.testing.assert_allclose(found.info[frames.STRESS], member.info[frames.STRESS], atol=1e-10)


@pytest.mark.parametrize("name", ["coord", "force", "energy", "box"])
def test_deepmd_array_that_is_shorter_is_said(system, name):
    folder, members = system
    path = folder / "set.000" / f"{name}.npy"
    np.save(path, np.load(path)[:3])
    found, (remark,) = read_deepmd(folder)
    assert remark.startswith("2 frames of ") and f"{name} 3" in remark
    for frame, member in zip(found, members[:3], strict=True):
        same_labels(frame, member)


def test_deepmd_virials_that_lack_or_are_no_numbers_cost_no_frame(system):
    folder, _ = system
    path = folder / "set.000" / "virial.npy"
    virials = np.load(path)[:4]
    virials[1] = np.nan
    np.save(path, virials)
    assert [frames.STRESS in frame.info for frame in import_deepmd(folder)] == [True, False, True, True, False]


def reshaped(name, shape):
    """A change of the arrays of that name of a system: the frames first, then this shape."""

    def change(folder):
        for path in folder.glob(f"set.*/{name}.npy"):
            array = np.load(path)
            np.save(path, array.reshape(len(array), *shape))

    return change


@pytest.mark.parametrize(
    "change",
    [
        reshaped("energy", (1,)),
        reshaped("force", (-1, 3)),
        reshaped("coord", (-1, 3)),
        reshaped("box", (3, 3)),
        reshaped("virial", (3, 3)),
        lambda folder: (folder / "set.000").rename(folder / "set.017"),
        lambda folder: (folder / "type.raw").write_text(" ".join((folder / "type.raw").read_text().split())),
    ],
    ids=["energy", "force", "coord", "box", "virial", "number of the set", "types in one line"],
)
def test_deepmd_systems_in_other_shapes_are_the_same(system, change):
    folder, _ = system
    before = import_deepmd(folder)
    change(folder)
    for one, other in zip(import_deepmd(folder), before, strict=True):
        assert (
            one.info[frames.ENERGY] == other.info[frames.ENERGY] and one.positions.tolist() == other.positions.tolist()
        )
        np.testing.assert_array_equal(one.arrays[frames.FORCES], other.arrays[frames.FORCES])
        np.testing.assert_array_equal(one.info.get(frames.STRESS, 0), other.info.get(frames.STRESS, 0))
        np.testing.assert_array_equal(one.cell.array, other.cell.array)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "type.raw").write_text("9\n" * 20), "types up to 9, but type_map.raw names"),
        (lambda folder: (folder / "type_map.raw").write_text("BT CW NA HC X1 X2"), "names BT, CW, NA, HC, which"),
        (lambda folder: (folder / "type.raw").write_text("C H\n"), "expected whole numbers"),
        (lambda folder: (folder / "type_map.raw").unlink(), "has no type_map.raw: .* Write this file"),
        (lambda folder: (folder / "set.000/energy.npy").unlink(), "has no energy. Missing labels are not taken as"),
        (lambda folder: np.save(folder / "set.000/force.npy", np.zeros((5, 7))), "force has shape"),
        (lambda folder: (folder / "set.000/force.npy").write_bytes(b"torn"), "force.npy could not be read"),
        (lambda folder: shutil.rmtree(folder / "set.000"), "contain no frames"),
    ],
)  # fmt: skip
def test_deepmd_systems_that_are_wrong_are_refused_in_words(system, spoil, words):
    folder, _ = system
    spoil(folder)
    with pytest.raises(SettingsError, match=words):
        import_deepmd(folder)


@pytest.mark.parametrize("write", ["deepmd", "hdf5"])
def test_deepmd_knows_no_slabs(tmp_path, write):
    member = labelled_frame(0)
    member.pbc = (True, True, False)
    with pytest.raises(SettingsError, match="periodic along x, y only"):
        {"deepmd": export_deepmd, "hdf5": export_deepmd_hdf5}[write](tmp_path / "out", [member], ELEMENTS)


def test_deepmd_system_that_is_written_again_keeps_nothing_of_the_old_one(tmp_path):
    """An old virial beside new labels would be learnt as theirs."""
    member = labelled_frame(0)
    (folder,) = export_deepmd(tmp_path / "data", [member], ELEMENTS)
    assert (folder / "set.000" / "virial.npy").exists()
    (folder / "set.001").mkdir()
    export_deepmd(tmp_path / "data", [member], ELEMENTS, virials=False)
    assert not (folder / "set.000" / "virial.npy").exists() and not (folder / "set.001").exists()
    assert [path.name for path in (tmp_path / "data").iterdir()] == [folder.name]
    export_deepmd(tmp_path / "data", [member], ELEMENTS)
    del member.info[frames.STRESS]
    export_deepmd(tmp_path / "data", [member], ELEMENTS)
    assert frames.STRESS not in import_deepmd(tmp_path / "data")[0].info
    with pytest.raises(ValueError):  # an element without a type: the old system stays whole
        export_deepmd(tmp_path / "data", [member], ["H"])
    assert len(import_deepmd(tmp_path / "data")) == 1


def test_what_a_killed_export_left_is_neither_read_nor_in_the_way(tmp_path):
    (folder,) = export_deepmd(tmp_path, [labelled_frame(0)], ELEMENTS)
    shutil.copytree(folder, folder.with_name(folder.name + ".partial"))
    shutil.copytree(folder, folder.with_name(folder.name + ".replaced"))
    assert len(import_deepmd(tmp_path)) == 1
    assert export_deepmd(tmp_path, [labelled_frame(0)], ELEMENTS) == [folder]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_deepmd_systems_of_other_labels_are_not_left_beside_the_new_ones(tmp_path):
    member, other = labelled_frame(0), labelled_frame(1)
    (folder,) = export_deepmd(tmp_path, [member], ELEMENTS)
    other.numbers[:] = 1
    with pytest.raises(SettingsError, match=f"holds other DeePMD systems .{folder.name}"):
        export_deepmd(tmp_path, [other], ELEMENTS)


@pytest.mark.parametrize("virials", [True, False])
def test_deepmd_in_one_hdf5_file_there_and_back(tmp_path, virials):
    members = [labelled_frame(0), labelled_frame(1)]
    path = tmp_path / "labels.hdf5"
    path.write_text("what was there")
    systems = export_deepmd_hdf5(path, members, ELEMENTS, virials)
    assert [system.partition("#")[0] for system in systems] == [str(path)] * len(systems)
    back = {frames.digest(frame): frame for frame in import_deepmd_hdf5(path)}
    for frame in members:
        read = back[frames.digest(frame)]
        assert (frames.STRESS in read.info) == virials
        if virials:
            same_labels(read, frame)


@pytest.mark.parametrize("periodic", [True, False])
def test_deepmd_itself_reads_the_hdf5_file(tmp_path, periodic):
    """Coordinates, forces, energies and virials as DeePMD's own reader takes them."""
    data = pytest.importorskip("deepmd.utils.data")
    member = labelled_frame(0)
    member.pbc = periodic
    (system,) = export_deepmd_hdf5(tmp_path / "labels.hdf5", [member], ELEMENTS)
    (folder,) = export_deepmd(tmp_path / "npy", [member], ELEMENTS)

    def batch(path):
        reader = data.DeepmdData(path, set_prefix="set", shuffle_test=False, type_map=list(ELEMENTS))
        reader.add("energy", 1, atomic=False, must=True)
        reader.add("force", 3, atomic=True, must=True)
        reader.add("virial", 9, atomic=False, must=True)
        assert reader.pbc == periodic
        return reader.get_test()

    ours, npy = batch(system), batch(str(folder))
    for key in ("coord", "energy", "force", "virial", "box", "type"):
        np.testing.assert_array_equal(ours[key], npy[key])
    assert ours["energy"][0, 0] == pytest.approx(member.info[frames.ENERGY])


def test_hdf5_files_that_are_none_are_refused_in_words(tmp_path):
    import h5py

    (tmp_path / "no.hdf5").write_text("Dear diary,")
    with pytest.raises(SettingsError, match=r"no\.hdf5 could not be read as HDF5"):
        import_deepmd_hdf5(tmp_path / "no.hdf5")
    with h5py.File(tmp_path / "empty.hdf5", "w"):
        pass
    with pytest.raises(SettingsError, match=r"no DeePMD system .* in .*empty\.hdf5"):
        import_deepmd_hdf5(tmp_path / "empty.hdf5")
    (tmp_path / "empty.hdf5").rename(tmp_path / "vaspout.h5")
    with pytest.raises(SettingsError, match=r"import vasprun\.xml or OUTCAR of the same run"):
        import_deepmd_hdf5(tmp_path / "vaspout.h5")
    export_deepmd_hdf5(tmp_path / "torn.hdf5", [labelled_frame(0)], ELEMENTS)
    with h5py.File(tmp_path / "torn.hdf5", "a") as file:
        del file[next(iter(file))]["set.000/force.npy"]
    with pytest.raises(SettingsError, match="no force"):
        import_deepmd_hdf5(tmp_path / "torn.hdf5")


@pytest.mark.parametrize("hdf5", [False, True])
def test_deepmd_systems_of_mixed_type_have_their_own_atoms_in_every_frame(tmp_path, hdf5):
    """Elements are in real_atom_types, and -1 fills up frames with fewer atoms."""
    from ase.build import molecule

    water, fluoride = molecule("H2O"), molecule("HF")
    coordinates, forces = np.zeros((2, 9)), np.arange(18.0).reshape(2, 9)
    coordinates[0], coordinates[1, :6] = water.positions.ravel(), fluoride.positions.ravel()
    parts = {"coord": coordinates, "force": forces, "box": np.tile(10 * np.eye(3).ravel(), (2, 1)),
             "energy": np.array([[-14.0], [-7.0]]), "real_atom_types": np.array([[1, 0, 0], [2, 0, -1]])}  # fmt: skip
    if hdf5:
        import h5py

        with h5py.File(tmp_path / "mixed.hdf5", "w") as file:
            file["3/type.raw"], file["3/type_map.raw"] = [0, 0, 0], np.array(["H", "O", "F"], dtype="S")
            for name, values in parts.items():
                file[f"3/set.000/{name}.npy"] = values
        found = import_deepmd_hdf5(tmp_path / "mixed.hdf5")
    else:
        (tmp_path / "3/set.000").mkdir(parents=True)
        (tmp_path / "3/type.raw").write_text("0\n0\n0\n")
        (tmp_path / "3/type_map.raw").write_text("H\nO\nF\n")
        for name, values in parts.items():
            np.save(tmp_path / "3/set.000" / f"{name}.npy", values)
        found = import_deepmd(tmp_path)
    assert [list(frame.symbols) for frame in found] == [["O", "H", "H"], ["F", "H"]]
    np.testing.assert_allclose(found[1].positions, fluoride.positions)
    np.testing.assert_array_equal(found[1].arrays["REF_forces"].ravel(), forces[1, :6])


def test_deepmd_system_without_forces_is_refused(tmp_path):
    (folder,) = export_deepmd(tmp_path, [labelled_frame(0)], ELEMENTS)
    (folder / "set.000" / "force.npy").unlink()
    with pytest.raises(SettingsError, match="no force"):
        import_deepmd(tmp_path)
    with pytest.raises(SettingsError, match=r"type\.raw"):
        import_deepmd(tmp_path / "nowhere")


def test_extxyz_there_and_back(tmp_path):
    members = [labelled_frame(number) for number in range(3)]
    export_extxyz(tmp_path / "a.xyz", members)
    back = import_extxyz(
        tmp_path / "a.xyz", energy=frames.ENERGY, forces=frames.FORCES, stress=frames.STRESS
    )  # fmt: skip
    for ours, theirs in zip(members, back, strict=True):
        same_labels(ours, theirs)
        assert theirs.info["parent"] == ours.info["parent"]


def test_extxyz_of_another_program(tmp_path):
    """ASE hides ``energy`` and ``forces`` in a calculator when it reads them: they must be found there."""
    members = [labelled_frame(number) for number in range(3)]
    foreign = []
    for frame in members:
        bare = frame.copy()
        bare.info.clear()
        del bare.arrays[frames.FORCES]
        bare.calc = SinglePointCalculator(
            bare, energy=frame.info[frames.ENERGY], forces=frame.arrays[frames.FORCES],
            stress=frame.info[frames.STRESS],
        )  # fmt: skip
        foreign.append(bare)
    ase.io.write(tmp_path / "aimd.xyz", foreign, format="extxyz")
    back = import_extxyz(tmp_path / "aimd.xyz", kind="nEQ")
    for ours, theirs in zip(members, back, strict=True):
        same_labels(ours, theirs)
        assert theirs.info["kind"] == "nEQ"
        assert theirs.info["parent"] == "aimd"
    assert import_extxyz(tmp_path / "aimd.xyz", independent=True)[2].info["parent"] == "aimd/2"


def test_extxyz_under_the_wrong_key_is_refused_and_says_what_is_there(tmp_path):
    export_extxyz(tmp_path / "a.xyz", [labelled_frame(0)])
    with pytest.raises(SettingsError, match="has no energy 'dft_energy'. It has .*REF_energy"):
        import_extxyz(tmp_path / "a.xyz", energy="dft_energy", forces=frames.FORCES)

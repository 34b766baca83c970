"""The gate on the command line: its options, where refused labels are, and what a run without any label says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.labelling.datasets.published import open_published
from ilforge.labelling.gate import judge, net_force_limit
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.labelling.refusals import read_refusals, refusals_beside
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.rings import rings_of
from ilforge.liquid.vacuum import in_vacuum

ROOT = Path(__file__).parents[2]
CLP = {"kind": "clp", "cutoff_A": 4.0}


@pytest.fixture
def labelled(two_pairs):
    """Four frames with labels of CL&P and a net force of 0.08 eV/Å."""
    members = []
    for number in range(4):
        frame = two_pairs.copy()
        frame.rattle(0.01, seed=number)
        frames.quantize(frame)
        labelled = evaluate(frame, CLP).on(frame)
        labelled.arrays[frames.FORCES] += [0.08 / len(frame), 0.0, 0.0]
        members.append(labelled)
    frames.write("labelled-by-others.xyz", members)
    return members


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_net_force_grows_with_the_square_root_of_the_atoms_of_methods_on_a_grid():
    gate = GateSettings()
    for n_atoms, expected in ((2, 0.05), (70, 0.05), (280, 0.1), (1020, 0.1908)):
        assert net_force_limit(gate, {"program": "CP2K"}, n_atoms) == pytest.approx(expected, abs=1e-4)
        assert net_force_limit(gate, {"kind": "gpaw"}, n_atoms) == pytest.approx(expected, abs=1e-4)
        assert net_force_limit(gate, {"kind": "xtb"}, n_atoms) == 0.05, "it conserves momentum at any size"


def large(net, n_atoms=1020, method=None):
    """A label of many atoms with a net force along x, eV/Å."""
    from ase import Atoms

    forces = np.random.default_rng(1).normal(0, 0.5, (n_atoms, 3))
    forces -= forces.mean(axis=0) - [net / n_atoms, 0, 0]
    frame = Atoms(f"H{n_atoms}", np.random.default_rng(2).uniform(0, 20, (n_atoms, 3)), cell=20 * np.eye(3), pbc=True)
    return Label(frame, method or {"program": "CP2K"}, -1.0, forces, converged=True)


def test_the_net_force_of_a_published_run_of_a_thousand_atoms_is_no_fault():
    """2e-3 Hartree/Bohr remain of 1,020 atoms of an ionic liquid on CP2K's grid."""
    gate = GateSettings()
    assert judge(large(0.103), None, gate) is None
    assert judge(large(0.2), None, gate).startswith("net force: 0.200 eV/Å, allowed 0.191 with 1020 atoms")
    assert judge(large(0.103, method={"kind": "xtb"}), None, gate).startswith("net force: 0.103 eV/Å, allowed 0.05 (")


def test_the_shipped_labels_are_judged_as_they_were():
    """70 atoms each: what was accepted is accepted, 0.0494 eV/Å, and what was refused is refused, 0.0501."""
    for entry in open_published(ROOT / "data/pyr14bf4-pbe-d3").entries():
        reason = judge(entry.label, None, GateSettings())
        assert (reason is None) == (entry.rejected is None)


def test_import_refuses_and_says_where_the_refused_are(ilforge, labelled):
    code, out, err = ilforge("import", "labelled-by-others.xyz", "--out", "mine.xyz")
    assert code == 4 and "No label was accepted: 4 net force" in err
    assert "rejected labelled-by-others.xyz#0: net force: 0.080 eV/Å, allowed 0.05" in out
    assert "(and 3 more of this kind)" in out and "--max-net-force" in out
    assert "All 4 rejected frames with their reasons are in mine.rejected.xyz" in out
    refusals = read_refusals(Path("mine.xyz"))
    assert [refusal.source for refusal in refusals] == [f"labelled-by-others.xyz#{n}" for n in range(4)]
    for refusal, frame in zip(refusals, labelled, strict=True):
        np.testing.assert_allclose(refusal.frame.positions, frame.positions, atol=1e-6)
        assert refusal.reason.startswith("net force: 0.080 eV/Å")
    for path in ("mine.xyz", "mine.rejected.xyz"):
        code, out, _ = ilforge("rejected", path)
        assert code == 0 and out.splitlines()[-1] == "4 rejected: 4 net force"
        assert "labelled-by-others.xyz#2: net force: 0.080 eV/Å" in out


def test_the_gate_of_an_import_can_be_set(ilforge, labelled):
    code, out, _ = ilforge("import", "labelled-by-others.xyz", "--max-net-force", "0.1")
    assert code == 0 and "4 accepted. Wrote the accepted ones" in out
    assert not refusals_beside(Path("labelled.xyz")).exists()
    code, _, err = ilforge("import", "labelled-by-others.xyz", "--max-net-force", "0.1", "--max-force", "0.001")
    assert code == 4 and "4 large force" in err
    assert refusals_beside(Path("labelled.xyz")).exists()
    assert ilforge("import", "labelled-by-others.xyz", "--max-net-force", "0.1")[0] == 0
    assert not refusals_beside(Path("labelled.xyz")).exists(), "those of the run before are not these"
    code, out, _ = ilforge("rejected", "labelled.xyz")
    assert code == 0 and out == "0 rejected\n"


@pytest.mark.parametrize("command", ["import", "label"])
@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-net-force", "-1"), ("--max-force", "0"), ("--bond-factor", "3"), ("--max-energy-jump", "nan")],
)
def test_limits_that_are_none_are_refused_by_their_option(ilforge, labelled, command, option, value):
    code, _, err = ilforge(command, "labelled-by-others.xyz", option, value)
    assert code == 2 and (f"{option} is" in err or f"'{option}'" in err)


def test_label_names_every_frame_it_refuses(ilforge, two_pairs):
    torn = two_pairs.copy()
    torn.positions[-1] += 1.5
    frames.write(Path("mixed.xyz"), [two_pairs, torn])
    how = ("--potential", "clp:4.0", "--store", "store")
    code, out, _ = ilforge("label", "mixed.xyz", *how, "--max-force", "1000")
    assert code == 0 and "1 accepted, 1 fragmented. Wrote the accepted ones" in out
    assert "rejected mixed.xyz#1: fragmented: broken bond" in out
    (refusal,) = read_refusals(Path("labelled.xyz"))
    assert refusal.source == "mixed.xyz#1"
    code, out, err = ilforge("label", "mixed.xyz", "--store", "store", "--max-force", "0.01")
    assert code == 4 and "No label was accepted: 2 large force" in err


def test_label_of_a_cation_is_that_of_its_charge(ilforge):
    """Without ions a vacuum frame may be a radical; the same label is found whoever says the charge."""
    frame = in_vacuum(Liquid.of({"EMIM": 1}, vacuum=True), seed=4)
    del frame.info["ions"]
    frames.write(Path("cation.xyz"), [frame])
    code, _, err = ilforge("label", "cation.xyz", "--store", "store")
    assert code == 2 and "does not give its charge" in err and "--charge" in err
    assert not (Path("store") / "labels" / "labels.sqlite").exists()
    energies = []
    for number, option in enumerate((("--ions", "1 EMIM"), ("--charge", "1"), ("--charge", "0"))):
        code, _, err = ilforge("label", "cation.xyz", "--store", "store", *option, "--out", f"{number}.xyz")
        assert code == 0, err
        energies.append(frames.read(Path(f"{number}.xyz"))[0].info[frames.ENERGY])
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)
    assert abs(energies[2] - energies[0]) > 3
    with LabelStore(Path("store/labels")) as store:
        assert store.census()["results"] == 2


def test_label_refuses_a_slab(ilforge, two_pairs):
    two_pairs.pbc = (True, True, False)
    frames.write(Path("slab.xyz"), [two_pairs])
    code, _, err = ilforge("label", "slab.xyz")
    assert code == 2 and "periodic along x, y only" in err


def test_label_puts_atoms_in_the_order_of_their_ions(ilforge, two_pairs):
    order = np.argsort(two_pairs.get_chemical_symbols(), kind="stable")
    ions = two_pairs.info.pop("ions")
    frames.write(Path("sorted.xyz"), [two_pairs[order]])
    code, out, err = ilforge("label", "sorted.xyz", "--ions", ions)
    assert code == 0 and "1 accepted" in out and "The atoms of 1 frames were put in the order" in err
    (labelled,) = frames.read(Path("labelled.xyz"))
    assert tuple(labelled.get_chemical_symbols()) == Liquid.from_label(ions).topology.symbols
    expected = evaluate(labelled, {"kind": "xtb"})
    np.testing.assert_allclose(labelled.arrays[frames.FORCES], expected.forces, atol=1e-6)


def test_validate_is_told_the_ions(ilforge, labelled):
    members = frames.read(Path("labelled-by-others.xyz"))
    for member in members:
        del member.info["ions"]
    frames.write(Path("bare.xyz"), members)
    code, _, err = ilforge("validate", "bare.xyz", "--potential", "clp:4.0")
    assert code == 2 and "does not name the ions of its frames: name them with --ions" in err
    code, out, _ = ilforge("validate", "bare.xyz", "--potential", "clp:4.0", "--ions", "2 PYR14, 2 BF4")
    assert code == 0 and "force" in out
    code, _, err = ilforge("validate", "bare.xyz", "--potential", "clp:4.0", "--ions", "2 EMIM, 2 BF4")
    assert code == 2 and "bare.xyz: 2 EMIM, 2 BF4 has 48 atoms, C12H22B2F8N4, but frame 0 has 70, " in err
    code, _, err = ilforge("md", "bare.xyz", "--potential", "clp:4.0", "--length", "1", "--ions", "2 EMIM, 2 BF4")
    assert code == 2 and "Name the ions of the frames with --ions" in err


def test_export_of_a_stress_of_nine_numbers(ilforge, labelled):
    text = Path("labelled-by-others.xyz").read_text()
    import re

    def nine(found):
        xx, yy, zz, yz, xz, xy = found[1].split()
        return f'REF_stress="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'

    Path("nine.xyz").write_text(re.sub(r'REF_stress="([^"]+)"', nine, text))
    code, _, err = ilforge("export-labels", "nine.xyz", "--format", "deepmd", "--out", "nine")
    assert code == 0, err
    ilforge("export-labels", "labelled-by-others.xyz", "--format", "deepmd", "--out", "six")
    (nine_file,), (six_file,) = (list(Path(name).rglob("virial.npy")) for name in ("nine", "six"))
    np.testing.assert_allclose(np.load(nine_file), np.load(six_file))


def test_rejected_of_a_dataset_and_of_nothing(ilforge):
    code, out, _ = ilforge("rejected", ROOT / "data/pyr14bf4-pbe-d3")
    assert code == 0 and out.splitlines()[-1] == "15 rejected: 15 net force"
    code, _, err = ilforge("rejected", "nothing.xyz")
    assert code == 2 and "There is no file nothing.xyz" in err


def test_import_takes_names_and_units_from_options(ilforge, labelled):
    from ase.units import Bohr, Hartree

    members = frames.read(Path("labelled-by-others.xyz"))
    for member in members:
        member.info["dft_energy"] = member.info.pop(frames.ENERGY) / Hartree
        member.arrays["dft_forces"] = (member.arrays.pop(frames.FORCES) - [0.08 / 70, 0, 0]) * Bohr / Hartree
        del member.info[frames.STRESS]
    frames.write(Path("dft.xyz"), members)
    code, _, err = ilforge("import", "dft.xyz")
    assert code == 2 and "--energy-key dft_energy --forces-key dft_forces" in " ".join(err.split())
    keys = ("--energy-key", "dft_energy", "--forces-key", "dft_forces")
    code, _, err = ilforge("import", "dft.xyz", *keys)
    assert code == 2 and "with forces in Hartree/Bohr" in " ".join(err.split())
    code, out, _ = ilforge("import", "dft.xyz", *keys, "--units", "energy=hartree,forces=hartree/bohr")
    assert code == 0 and "4 accepted" in out
    back = frames.read(Path("labelled.xyz"))
    for frame, wanted in zip(back, labelled, strict=True):
        assert frame.info[frames.ENERGY] == pytest.approx(wanted.info[frames.ENERGY], abs=1e-6)
    code, _, err = ilforge("import", "dft.xyz", *keys, "--units", "energy=furlong")
    assert code == 2 and "'furlong' is not a known unit of energy" in err


def test_densities_of_headers_are_held_against_the_boxes(ilforge, labelled):
    for frame in labelled:
        frame.info["density"] = 1.5
    frames.write(Path("said.xyz"), labelled)
    code, out, err = ilforge("import", "said.xyz", "--out", "mine.xyz", "--max-net-force", "0.2")
    assert code == 0 and "Warning: said.xyz: the density in the header of 4 of 4 frames is wrong" in out, out + err
    code, _, err = ilforge("validate", "said.xyz", "--potential", "clp:4.0")
    assert code == 0 and "density = 1.5 in its header, but" in err


def test_md_says_that_a_ring_is_pierced(ilforge, two_pairs):
    box, topology = two_pairs.copy(), Liquid.from_label(two_pairs.info["ions"]).topology
    ring = rings_of(topology)[0]
    centre = box.positions[list(ring)].mean(axis=0)
    normal = np.linalg.svd(box.positions[list(ring)] - centre)[2][2]
    boron = topology.symbols.index("B")
    box.positions[boron], box.positions[boron + 1] = centre - 0.7 * normal, centre + 0.7 * normal
    frames.write(Path("box.xyz"), [box])
    _, _, err = ilforge("md", "box.xyz", "--potential", "clp:4.0", "--length", "0.002", "--interval", "0.001")
    assert "goes through the ring" in err and "pack the box again" in err

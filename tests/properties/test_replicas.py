"""Independent runs of one system measured as one: honest errors, what too short runs say together, refusals."""

from dataclasses import replace

import MDAnalysis
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.constants import Boltzmann, elementary_charge

from ilforge.cli import ilforge, load_commands
from ilforge.errors import SettingsError
from ilforge.properties import System, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.combining.replicas import measure_replicas, pooled_population
from ilforge.properties.density import pooled_density
from ilforge.properties.reading.reader import Source
from ilforge.properties.shared.settings import DensitySettings
from ilforge.results import HOLDS_LIQUID, Estimate, Holding
from support.motion import (
    atomic_ions,
    breathing_cells,
    brownian,
    estimate,
    ornstein_uhlenbeck_pressure,
    snapshots,
    tumbling_ions,
)

INTERVAL, SIDE, T = 2.0, 30.0, 423.0
UNIT = 1e-8
SIGMA = elementary_charge**2 * 1e-8 / (SIDE**3 * 1e-30 * Boltzmann * T)


def source_of(system, positions, cells):
    frames = list(snapshots(system, positions, cells))
    return Source(system, frames.__getitem__, "ions")


def charges(free, n_frames, rng, counts=(8, 8)):
    """One run of Brownian ions of the same mass, at fixed volume."""
    topology = atomic_ions(Cs=sum(counts))
    topology = replace(
        topology, species=("C",) * counts[0] + ("A",) * counts[1], charges=(1,) * counts[0] + (-1,) * counts[1]
    )
    system = System(topology, n_frames, INTERVAL, T, ensemble="NVT")
    return source_of(system, brownian(np.full(sum(counts), free), n_frames, INTERVAL, rng) % SIDE, SIDE * np.eye(3))


def test_errors_of_diffusion_and_conductivity_are_honest():
    """Three runs of 150 frames each: inside the 95 % interval in nine of ten of 40 seeds, and narrower than one run."""
    true_d, true_sigma = 0.1 * (1 - 1 / 16), SIGMA * 16 * 0.1
    inside, wide = {"self_diffusion": [], "conductivity": []}, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        runs = [charges(0.1, 150, rng) for _ in range(3)]
        found = measure_replicas(runs, ["diffusion", "conductivity"])
        d, sigma = estimate(found["diffusion"], "self_diffusion", "C"), estimate(found["conductivity"], "conductivity")
        assert d.converged
        inside["self_diffusion"].append(abs(d.value / UNIT - true_d) < 1.96 * d.error / UNIT)
        if sigma.converged:
            inside["conductivity"].append(abs(sigma.value - true_sigma) < 1.96 * sigma.error)
        if seed < 10:
            one = estimate(measure(runs[0], ["diffusion"])["diffusion"], "self_diffusion", "C")
            wide.append(d.error / one.error if one.converged else np.nan)
    assert len(inside["conductivity"]) >= 32
    for name, hits in inside.items():
        assert np.mean(hits) >= 0.9, (name, np.mean(hits))
    assert np.nanmedian(wide) < 0.8


def moved(run, by):
    """The same run with every atom moved by as many Å: to a comparison of frames it is another one."""

    def frame(index):
        before = run.frame(index)
        return replace(before, positions=before.positions + by)

    return replace(run, frame=frame)


def test_copies_of_one_run_say_what_it_says():
    """The mean is the same; the error of D is that of as many independent runs, which the copies pretend to be."""
    run = charges(0.1, 300, np.random.default_rng(1))
    names = ["diffusion", "conductivity", "rdf"]
    one, four = measure(run, names), measure_replicas([moved(run, by) for by in range(4)], names)
    for name, quantity, species in (("diffusion", "self_diffusion", "A"), ("conductivity", "conductivity", None)):
        alone, together = estimate(one[name], quantity, species), estimate(four[name], quantity, species)
        assert together.value == pytest.approx(alone.value, rel=0.1)
        assert species is None or 0.35 * alone.error < together.error < 0.75 * alone.error
    np.testing.assert_allclose(four["rdf"].curves["rdf C-A"].y, one["rdf"].curves["rdf C-A"].y, rtol=1e-9)


def test_runs_too_short_alone_are_enough_together():
    rng = np.random.default_rng(2)
    runs = [charges(0.2, 45, rng, (2, 2)) for _ in range(16)]
    found = estimate(measure_replicas(runs, ["diffusion"])["diffusion"], "self_diffusion", "C")
    assert not estimate(measure(runs[0], ["diffusion"])["diffusion"], "self_diffusion", "C").converged
    assert found.converged and abs(found.value / UNIT - 0.2 * 3 / 4) < 3 * found.error / UNIT


def test_runs_that_disagree_are_refused():
    rng = np.random.default_rng(3)
    runs = [charges(d, 300, rng) for d in (0.1, 0.1, 0.3)]
    found = measure_replicas(runs, ["diffusion", "conductivity"])
    assert "3 runs of the same state disagree" in estimate(found["diffusion"], "self_diffusion", "C").note
    assert "disagree" in estimate(found["conductivity"], "conductivity").note
    densities = [Estimate(1.0, 0.001, 50, "g/cm^3"), Estimate(1.02, 0.001, 50, "g/cm^3")]
    assert "disagree" in pooled_density(densities, DensitySettings()).note


def density_run(n_frames, rng):
    topology = atomic_ions(Cs=10)
    system = System(topology, n_frames, INTERVAL, T, ensemble="NPT")
    return source_of(system, np.zeros((n_frames, 10, 3)), breathing_cells(SIDE, n_frames, rng, size=0.005))


def test_density_of_runs_is_honest_and_needs_fewer_frames_of_each():
    """g = 19 frames: 300 of them hold 16 independent samples, four runs 63."""
    true = 10 * 132.905 / SIDE**3 * 1.66053907
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = estimate(measure_replicas([density_run(300, rng) for _ in range(4)], ["density"])["density"], "density")
        if found.converged:
            inside.append(abs(found.value - true) < 1.96 * found.error)
    assert len(inside) >= 35 and np.mean(inside) >= 0.88, (len(inside), np.mean(inside))
    rng = np.random.default_rng(1)
    short = [density_run(60, rng) for _ in range(10)]
    assert not estimate(measure(short[0], ["density"])["density"], "density").converged
    assert estimate(measure_replicas(short, ["density"])["density"], "density").converged


def viscosity_of(pressures):
    """Of runs of three frames each whose pressure tensors are these."""
    system, rng = System(atomic_ions(Cs=2), 3, INTERVAL, T, ensemble="NVT"), np.random.default_rng(0)
    positions = SIDE * rng.random((len(pressures), 3, 2, 3))
    runs = [
        source_of(replace(system, pressure=pressure), of_run, SIDE * np.eye(3))
        for pressure, of_run in zip(pressures, positions, strict=True)
    ]
    measured = measure_replicas(runs, ["viscosity"])["viscosity"]
    return estimate(measured, "viscosity"), measured.notes


def test_viscosity_of_runs_that_just_resolve_the_decay_is_not_too_small():
    """Ten runs of 25 times the decay: alone those in which it looks slow are refused, and others find too little."""
    size, decay, interval = 300.0, 0.5, 0.025
    sampled = interval * (0.5 + 1 / np.expm1(interval / decay))
    true = (SIDE * 1e-10) ** 3 / (Boltzmann * T) * (size * 1e5) ** 2 * sampled * 1e-12
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found.append(viscosity_of([ornstein_uhlenbeck_pressure(500, interval, decay, size, rng) for _ in range(10)])[0])
    assert all(one.converged for one in found)
    ratios = np.array([one.value / true for one in found])
    errors = np.array([one.error / true for one in found])
    assert abs(ratios.mean() - 1) < 0.05 and np.mean(np.abs(ratios - 1) < 1.96 * errors) >= 0.8


def test_what_the_viscosity_of_runs_leaves_out_is_said():
    rng = np.random.default_rng(1)
    runs = [ornstein_uhlenbeck_pressure(n, 0.02, 0.5, 300.0, rng) for n in (3000, 4000)]
    found, notes = viscosity_of([*runs, None])
    assert found.converged and notes == [
        "Of the pressure tensor of each run the first 60 ps were used.",
        "The pressure tensor was recorded in 2 of 3 runs.",
    ]
    assert "was not recorded" in viscosity_of([None, None])[0].note
    slower = ornstein_uhlenbeck_pressure(3000, 0.04, 0.5, 300.0, rng)
    assert "equally often" in viscosity_of([runs[0], slower])[0].note
    stronger = ornstein_uhlenbeck_pressure(3000, 0.02, 0.5, 600.0, rng)
    assert "disagree" in viscosity_of([*runs, stronger])[0].note


def test_density_that_drifts_in_all_runs_is_not_converged():
    """A drift of twice the fluctuations over each run, which most of them hide alone."""
    topology, n = atomic_ions(Cs=10), 400
    drift = 1 + 0.01 * np.linspace(1, 0, n)[:, None, None]
    notes = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        system = System(topology, n, INTERVAL, T, ensemble="NPT")
        cells = [breathing_cells(SIDE, n, rng, size=0.005) for _ in range(5)]
        still, moving = (
            [source_of(system, np.zeros((n, 10, 3)), of_run * by) for of_run in cells] for by in (1.0, drift)
        )
        assert estimate(measure_replicas(still, ["density"])["density"], "density").converged
        found = estimate(measure_replicas(moving, ["density"])["density"], "density")
        assert not found.converged
        notes.append(found.note)
    assert sum("still drifting, by" in note and note.endswith("ps: run longer") for note in notes) >= 3


def test_one_run_of_two_that_boils_leaves_no_number_of_both_converged():
    topology, n, rng = atomic_ions(Cs=10), 200, np.random.default_rng(4)
    system = System(topology, n, INTERVAL, T, ensemble="NPT")
    cells = [breathing_cells(SIDE, n, rng, size=0.005) for _ in range(2)]
    swelling = np.linspace(1, 1.25, n)[:, None, None]
    settings = AnalysisSettings(health={"max_cavity_radius_A": 90.0, "max_empty_fraction": 1.0})

    def of(*runs):
        sources = [source_of(system, np.zeros((n, 10, 3)), run) for run in runs]
        return measure_replicas(sources, ["density", "health"], settings)

    sound, lost = of(*cells), of(cells[0], cells[1] * swelling)
    assert sound["health"].liquid.holding is Holding.HOLDS and estimate(sound["density"], "density").converged
    assert lost["health"].liquid.lost and estimate(lost["health"], HOLDS_LIQUID).value == 0.0
    assert not estimate(lost["density"], "density").converged
    assert "does not hold the liquid: the density fell" in estimate(lost["density"], "density").note


def test_distribution_of_runs_is_that_of_all_frames():
    rng = np.random.default_rng(4)
    runs = [tumbling_ions(n, rng) for n in (20, 30)]
    system = replace(runs[0][0], n_frames=50)
    whole = source_of(system, *(np.concatenate([run[k] for run in runs]) for k in (1, 2)))
    expected = measure(whole, ["rdf", "structure_factor"])
    found = measure_replicas([source_of(*run) for run in runs], ["rdf", "structure_factor"])
    for name in expected:
        for title, curve in expected[name].curves.items():
            np.testing.assert_allclose(found[name].curves[title].y, curve.y, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found[name].curves[title].error, curve.error, rtol=1e-6, atol=1e-12)


def test_runs_of_unequal_length_are_followed_as_far_as_the_shortest():
    rng = np.random.default_rng(5)
    found = measure_replicas([charges(0.1, n, rng) for n in (200, 300)], ["diffusion"])["diffusion"]
    assert estimate(found, "self_diffusion", "C").converged
    assert found.notes == ["Runs have 200 to 300 frames: ions were followed in the first 200 of each."]
    assert found.curves["msd C"].x.max() <= 0.2 * 200 * INTERVAL


def test_other_properties_are_those_of_each_run():
    rng = np.random.default_rng(6)
    settings = AnalysisSettings(properties=["health", "shapes"])
    found = measure_replicas([source_of(*tumbling_ions(12, rng)) for _ in range(2)], settings=settings)
    cavity = estimate(found["health"], "largest_cavity_radius")
    assert cavity.value == max(curve.y.max() for name, curve in found["health"].curves.items() if "cavity" in name)
    assert cavity.note.startswith("of 2 runs, in run ")
    assert {verdict.what[:6] for verdict in found["health"].verdicts} == {"run 1:", "run 2:"}
    assert {title[-5:] for title in found["shapes"].tables} == {"run 1", "run 2"}


def test_runs_of_different_systems_are_refused():
    rng = np.random.default_rng(7)
    run = charges(0.1, 60, rng)
    for other, said in (
        (charges(0.1, 60, rng, (7, 9)), "ions"),
        (replace(run, system=replace(run.system, temperature_K=353.0)), "temperature"),
        (replace(run, system=replace(run.system, frame_interval_ps=1.0)), "time between frames"),
        (replace(run, system=replace(run.system, pressure_bar=1e3)), "set pressure"),
        (replace(run, potential="clpol"), "potential"),
    ):
        with pytest.raises(SettingsError, match=f"Runs 1 and 3 do not have the same {said}"):
            measure_replicas([run, run, other], ["density"])


def shortened(run, start, stop):
    """Frames of a run from one to before another."""
    return replace(run, system=replace(run.system, n_frames=stop - start), frame=lambda index: run.frame(start + index))


def test_a_run_given_twice_is_refused_whole_or_in_part():
    rng = np.random.default_rng(9)
    run, other = charges(0.1, 60, rng), charges(0.1, 60, rng)
    for copy in (run, moved(run, SIDE), shortened(run, 20, 60), shortened(run, 0, 40)):
        with pytest.raises(SettingsError, match="Runs 1 and 3 are the same: .*A run counts once"):
            measure_replicas([run, other, copy], ["density"])
    with pytest.raises(SettingsError, match="last frame of run 1 is also in run 2"):
        measure_replicas([shortened(run, 0, 40), run], ["density"])


def test_runs_from_one_start_are_no_copies():
    rng = np.random.default_rng(10)
    run, other = charges(0.1, 60, rng), charges(0.1, 60, rng)
    branched = replace(other, frame=lambda index: (other if index else run).frame(index))
    for second in (branched, shortened(branched, 0, 50)):
        assert "density" in measure_replicas([run, second], ["density"])


def test_atoms_in_place_in_a_box_of_another_size_are_another_run():
    rng = np.random.default_rng(11)
    assert "density" in measure_replicas([density_run(60, rng) for _ in range(2)], ["density"])


@pytest.fixture
def files(tmp_path):
    """A topology, and two runs of it as a user has them."""
    system, positions, cells = tumbling_ions(24, np.random.default_rng(8))
    topology = system.topology
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    for name, values in (("elements", topology.symbols), ("names", topology.names), ("resnames", topology.species)):
        universe.add_TopologyAttr(name, list(values))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    for number in range(2):
        with MDAnalysis.Writer(str(tmp_path / f"{number}.dcd"), topology.n_atoms, dt=1.0) as writer:
            for frame, cell in zip(positions[number::2], cells[number::2], strict=True):
                universe.atoms.positions, universe.dimensions = frame, [*np.diag(cell), 90, 90, 90]
                writer.write(universe.atoms)
    universe.atoms.write(str(tmp_path / "top.pdb"), bonds="all")
    return [tmp_path / name for name in ("top.pdb", "0.dcd", "1.dcd")]


def test_the_command_takes_runs_or_pieces(files, tmp_path):
    def call(*words):
        load_commands()
        return CliRunner().invoke(ilforge, [str(word) for word in words], catch_exceptions=False)

    arguments = ["--property", "rdf", "--property", "diffusion", "--out", tmp_path / "out"]
    done = call("analyse", "--replicas", *files, *arguments)
    assert done.exit_code == 0 and "12 frames are too few to follow ions" in done.output
    assert (tmp_path / "out" / "rdf" / "rdf-PYR14-BF4.csv").is_file()  # though a PDB file cuts names
    assert "24 frames are too few" in call("analyse", *files, *arguments).output  # as pieces of one run
    for words, said in (
        ([*files[:2]], "two runs or more, found 1"),
        ([tmp_path, files[1]], "not a mixture"),
        ([*files, "--pressure", files[0]], "--pressure belongs to one run"),
    ):
        with pytest.raises(SettingsError, match=said):
            call("analyse", "--replicas", *words)
    with pytest.raises(SettingsError, match="with --replicas the directories"):
        call("analyse", tmp_path, tmp_path)


def clusters_of(seed, crowded=0.0):
    """Eight lithium with three or four fluorine each, and for a share of the run one more about one of them."""
    rng = np.random.default_rng(seed)
    n_frames, n = 400, 8
    more = np.zeros((n_frames, n), dtype=bool)
    for t in range(1, n_frames):
        more[t] = np.where(rng.random(n) < 0.5, more[t - 1], rng.random(n) < 0.5)
    spots = 20.0 * np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    ways = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
    distance = np.full((n_frames, n, 5), 2.0)
    distance[..., 3] = np.where(more, 2.0, 6.0)
    distance[..., 4] = 6.0
    when = rng.choice(n_frames, round(crowded * n_frames), replace=False)
    distance[when, rng.integers(n, size=len(when)), 3:] = 2.0
    ligands = (spots[:, None] + distance[..., None] * ways).reshape(n_frames, -1, 3)
    positions = np.concatenate([np.tile(spots, (n_frames, 1, 1)), ligands], axis=1)
    system = System(atomic_ions(Li=n, F=5 * n), n_frames, INTERVAL, T)
    return source_of(system, positions, 40.0 * np.eye(3))


def test_a_cluster_that_one_run_of_three_saw_is_as_rare_as_in_all_of_them():
    """3 % of the ions in one run and none in the others are 1 %, with the error of that spread."""
    how = {"ligand": "F", "ligand_atoms": "F", "cutoff_A": 3.0, "count_atom": "F", "pictures": 0}
    settings = AnalysisSettings(properties=["clusters"], clusters=how)
    runs = [clusters_of(1, crowded=0.24), clusters_of(2), clusters_of(3)]
    alone = estimate(measure(runs[0], settings=settings)["clusters"], "cluster_population", "Li(F)5")
    found = measure_replicas(runs, settings=settings)["clusters"]
    rare = estimate(found, "cluster_population", "Li(F)5")
    assert alone.value == pytest.approx(3.0) and rare.value == pytest.approx(1.0)
    assert rare.error >= 0.99 and (not rare.converged or rare.value < 3 * rare.error)
    parts = [one.value for quantity, _, one in found.estimates if quantity == "cluster_population"]
    assert sum(parts) == pytest.approx(100.0)
    both = estimate(found, "cluster_population", "Li(F)3")
    assert both.converged and abs(both.value - 49) < 4 * both.error


def test_pooled_populations_are_those_of_all_frames():
    """Weights by error would give 4.1 %: the run that saw least would count most."""
    found = [Estimate(8.0, 2.5, 100, "%"), Estimate(4.0, 1.0, 100, "%"), Estimate(6.0, 2.0, 100, "%")]
    together = pooled_population(found, [100, 100, 200], 20)
    assert (
        together.value == pytest.approx(6.0) and together.converged and together.n_eff == pytest.approx(300, rel=0.01)
    )
    assert together.error == pytest.approx(np.linalg.norm([2.5, 1.0, 4.0]) / 4)
    assert not pooled_population(found, [1, 1, 1], 400).converged
    spread = pooled_population([Estimate(v, 9.0, 100, "%") for v in (60.0, 30.0, 33.0)], [100, 100, 100], 20)
    assert spread.n_eff == pytest.approx(41 * 59 / spread.error**2) and spread.error > 9.0
    apart = pooled_population([Estimate(8.0, 0.1, 100, "%"), Estimate(4.0, 0.1, 100, "%")], [10, 10], 20)
    assert "disagree" in apart.note and not apart.converged

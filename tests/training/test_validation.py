"""Validation: the errors of made-up predictions are known, and so are the errors of the errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers

from ilforge.errors import SettingsError
from ilforge.labelling.label import evaluate
from ilforge.labelling.volume_scan import pressures_by_energy, scan
from ilforge.liquid.liquid import Liquid
from ilforge.training.validation import Predictions, errors, predict
from ilforge.units import EV_PER_A3_IN_GPA
from support.labels import salt_frames

RNG_SEED = 3


def made_up(n_parents=40, frames_per_parent=1, spread=0.1, seed=1) -> Predictions:
    """Frames of 2 H and 1 F; force errors with a size that is one parent's own."""
    rng = np.random.default_rng(seed)
    n_frames = n_parents * frames_per_parent
    sizes = np.repeat(np.exp(spread * rng.normal(size=n_parents)), frames_per_parent)
    reference = rng.normal(size=(3 * n_frames, 3))
    frame_of_atom = np.repeat(np.arange(n_frames), 3)
    elements = np.tile(["H", "H", "F"], n_frames)
    scale = np.where(elements == "F", 0.3, 0.1)[:, None] * sizes[frame_of_atom][:, None]
    energies = rng.normal(size=n_frames)
    return Predictions(
        kinds=np.where(np.arange(n_frames) < n_frames // 2, "EQ", "nEQ"),
        recipes=np.full(n_frames, "nvt"),
        parents=np.repeat([f"box-{i}" for i in range(n_parents)], frames_per_parent),
        reference_energies=energies,
        predicted_energies=energies + 0.5 + rng.normal(scale=0.01, size=n_frames),
        reference_forces=reference,
        predicted_forces=reference + scale * rng.choice([-1.0, 1.0], size=reference.shape),
        elements=elements,
        frame_of_atom=frame_of_atom,
        volumes=np.full(n_frames, 100.0),
        ion_of_atom=np.full(3 * n_frames, -1),
        arms=np.zeros((3 * n_frames, 3)),
    )


def table(predictions, seed=RNG_SEED):
    found = errors(predictions, np.random.default_rng(seed))
    return {(quantity, species, dataset): estimate for quantity, species, dataset, estimate in found}


def test_values_are_what_they_should_be():
    found = table(made_up(spread=0.0))
    assert found["force_rmse", "H", "all"].value == pytest.approx(0.1)
    assert found["force_rmse", "F", "EQ"].value == pytest.approx(0.3)
    assert found["force_rmse", None, "nEQ"].value == pytest.approx(np.sqrt((2 * 0.1**2 + 0.3**2) / 3))
    assert found["force_mae", None, "all"].value == pytest.approx((2 * 0.1 + 0.3) / 3)
    rms = np.sqrt(np.mean(made_up().reference_forces ** 2))
    assert found["force_rmse_ratio", None, "all"].value == pytest.approx(
        found["force_rmse", None, "all"].value / rms, rel=1e-6
    )
    assert found["energy_rmse_per_atom", None, "all"].value == pytest.approx(0.5, abs=0.01)
    assert found["energy_mae_per_atom", None, "all"].value == pytest.approx(0.5, abs=0.01)
    assert found["energy_rmse_per_atom_offset_removed", None, "all"].value == pytest.approx(0.01, rel=0.3)
    assert found["energy_mae_per_atom_offset_removed", None, "all"].value == pytest.approx(0.008, rel=0.3)
    assert found["force_rmse", None, "all"].unit == "eV/Å"
    assert found["energy_rmse_per_atom", None, "EQ"].unit == "eV/atom"
    assert {dataset for _, _, dataset in found} == {"EQ", "nEQ", "all"}


def test_error_bars_are_as_wide_as_the_scatter_over_repeated_samples():
    repeated = [table(made_up(spread=0.4, seed=seed))["force_rmse", None, "all"] for seed in range(60)]
    scatter = np.std([estimate.value for estimate in repeated])
    assert np.mean([estimate.error for estimate in repeated]) == pytest.approx(scatter, rel=0.25)


def test_frames_of_one_parent_count_as_one():
    many = table(made_up(n_parents=10, frames_per_parent=20, spread=0.4))["force_rmse", None, "all"]
    few = table(made_up(n_parents=10, frames_per_parent=1, spread=0.4))["force_rmse", None, "all"]
    assert many.n_eff == few.n_eff == 10
    assert many.error == pytest.approx(few.error, rel=0.3)


def test_same_seed_same_error_bars():
    assert table(made_up()) == table(made_up())


def test_one_parent_has_no_error_bar():
    estimate = table(made_up(n_parents=1, frames_per_parent=6))["force_rmse", None, "all"]
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.error) and not estimate.converged
    assert "one packed box" in str(estimate) and f"{estimate.value:.3f}" not in str(estimate)


def test_failed_predictions_are_left_out_and_said():
    predictions = made_up()
    forces, energies = predictions.predicted_forces.copy(), predictions.predicted_energies.copy()
    forces[:3], energies[0] = np.nan, np.nan
    found = table(replace(predictions, predicted_forces=forces, predicted_energies=energies))
    estimate = found["force_rmse", None, "all"]
    assert np.isfinite(estimate.value)
    assert not estimate.converged
    assert estimate.note == "1 of 40 predictions failed"
    assert found["force_rmse", None, "nEQ"].converged
    none = table(replace(predictions, predicted_energies=np.full(40, np.nan)))["energy_rmse_per_atom", None, "EQ"]
    assert np.isnan(none.value)
    assert none.note == "20 of 20 predictions failed"


def test_predictions_survive_a_file(tmp_path):
    predictions = made_up()
    predictions.save(tmp_path / "predictions.npz")
    again = Predictions.load(tmp_path / "predictions.npz")
    for name in ("kinds", "parents", "predicted_forces", "elements", "frame_of_atom", "reference_energies"):
        np.testing.assert_array_equal(getattr(again, name), getattr(predictions, name))


def test_a_potential_agrees_with_its_own_labels_and_not_with_anothers():
    labelled = salt_frames(6)
    truth = table(predict({"kind": "clp", "cutoff_A": 3.9}, labelled))
    assert truth["force_rmse", None, "all"].value < 1e-7
    assert truth["energy_rmse_per_atom", None, "all"].value < 1e-7
    assert truth["force_rmse", "Li", "EQ"].n_eff == 2
    other = predict({"kind": "clp", "cutoff_A": 3.5}, labelled)
    assert table(other)["force_rmse", None, "all"].value > 1e-4
    assert other.reference_energies[0] == pytest.approx(labelled[0].info["REF_energy"] / 12)
    assert other.elements.tolist() == labelled[0].get_chemical_symbols() * 6


def test_a_frame_the_potential_fails_on_is_a_failed_prediction():
    labelled = salt_frames(4)
    predictions = predict({"kind": "xtb", "max_iterations": 2}, labelled)
    assert np.isnan(predictions.predicted_energies).all()
    assert np.isnan(predictions.predicted_forces).all()


def test_frames_without_labels_are_refused():
    (frame, *_) = salt_frames(1)
    del frame.arrays["REF_forces"]
    with pytest.raises(SettingsError, match="no label"):
        predict({"kind": "clp", "cutoff_A": 3.9}, [frame])
    with pytest.raises(SettingsError, match="no labelled frames"):
        predict({"kind": "clp"}, [])


def test_forces_on_ions_are_left_out_where_frames_do_not_say_their_ions_and_pressure_at_one_density():
    assert not {quantity for quantity, *_ in table(made_up())} & {"ion_force_rmse", "pressure_error"}


def test_an_error_of_the_pressure_is_found_in_the_energies():
    """The energy error of a model whose pressure is P too high is -P V, whatever else it does to single frames."""
    predictions = made_up(n_parents=200)
    rng = np.random.default_rng(4)
    volumes = rng.uniform(80.0, 120.0, size=200)
    excess = 0.3 / EV_PER_A3_IN_GPA
    energies = predictions.reference_energies + (7.0 - excess * volumes + rng.normal(scale=0.01, size=200)) / 3
    found = table(replace(predictions, volumes=volumes, predicted_energies=energies))["pressure_error", None, "all"]
    assert found.unit == "GPa"
    assert found.value == pytest.approx(0.3, abs=4 * found.error)
    assert 0.003 < found.error < 0.02  # 0.01 eV over 200 volumes with a spread of 11.5 Å3: 0.0098 GPa


def test_pressure_error_of_few_densities_is_no_result():
    """Three boxes, two of one density: some resamples hold one density alone."""
    predictions = made_up(n_parents=3, frames_per_parent=10)
    found = table(replace(predictions, volumes=np.repeat([90.0, 110.0, 110.0], 10)))["pressure_error", None, "all"]
    assert not found.converged
    assert str(found) == "not converged: too few packed boxes to know its error"


def test_pressure_error_of_clp_is_the_difference_of_its_pressures_by_finite_differences():
    liquid = Liquid.from_label("2 Li, 2 BF4")
    base = salt_frames(1)[0]
    members = scan(base, liquid.topology, np.linspace(1.03, 0.95, 9))
    near, far = ({"kind": "clp", "cutoff_A": cutoff} for cutoff in (3.5, 3.9))
    labelled = [evaluate(member, far) for member in members]
    frames_of = []
    for label in labelled:
        frame = label.frame.copy()
        frame.info |= {"REF_energy": label.energy, "kind": "EQ"}
        frame.arrays["REF_forces"] = label.forces
        frames_of.append(frame)
    found = table(predict(near, frames_of, liquid))["pressure_error", None, "all"].value
    triples = [slice(k, k + 3) for k in range(len(members) - 2)]
    nearer = [evaluate(member, near) for member in members]
    differences = [pressures_by_energy(nearer[k])[0] - pressures_by_energy(labelled[k])[0] for k in triples]
    assert np.ptp(differences) > 1e-4  # it differs from density to density, and the number is a mean over these
    assert min(differences) < found < max(differences)
    assert found == pytest.approx(np.mean(differences), rel=0.1)


def test_ion_forces_see_a_wrong_push_on_ions_and_no_wrong_bond():
    labelled = salt_frames(6)
    exact = predict({"kind": "clp", "cutoff_A": 3.9}, labelled)
    pushed = exact.predicted_forces.copy()
    anion = exact.ion_of_atom == exact.ion_of_atom[-1]
    masses = atomic_masses[[atomic_numbers[element] for element in exact.elements[anion]]]
    pushed[anion] += 0.6 * masses[:, None] / masses.sum() * np.array([1.0, 0, 0])
    found = table(replace(exact, predicted_forces=pushed))
    n_ions = exact.ion_of_atom.max() + 1
    assert found["ion_force_rmse", None, "all"].value == pytest.approx(0.6 / np.sqrt(3 * n_ions), rel=1e-5)
    assert found["ion_torque_rmse", None, "all"].value < 1e-6
    assert found["internal_force_rmse", None, "all"].value < 1e-6
    stretched = exact.predicted_forces.copy()
    atoms = np.flatnonzero(anion)[:2]
    along = exact.arms[atoms[1]] - exact.arms[atoms[0]]
    stretched[atoms] += np.array([-0.5, 0.5])[:, None] * along / np.linalg.norm(along)
    found = table(replace(exact, predicted_forces=stretched))
    assert found["ion_force_rmse", None, "all"].value < 1e-6
    assert found["ion_torque_rmse", None, "all"].value < 1e-6
    assert found["internal_force_rmse", None, "all"].value == pytest.approx(
        np.sqrt(2 * 0.25 / exact.predicted_forces.size), rel=1e-5
    )

"""Train a MACE model with the ``mace_run_train`` program.

Architecture: Batatia et al., NeurIPS 2022 (arXiv:2206.07697), with scaled and shifted energies (ScaleShiftMACE).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import devices, files, frames, programs
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset, census, require_labels
from ilforge.potentials.learned.fast_mace.variations import spanning
from ilforge.potentials.learned.mace import Mace
from ilforge.training import curve, mace_session
from ilforge.training.alignment import per_element
from ilforge.training.kind import Size, TrainerKind, Tuning
from ilforge.training.mace import tuning as mace_tuning
from ilforge.training.mace.command import NAME, command_line, schedule
from ilforge.training.mace.settings import MaceSettings
from ilforge.training.mace.snippets import BY_ION_NAME, SNIPPETS

MODEL = "model.model"
_LOG, _PLAN = "mace.log", "training.json"
_FOLDERS = ("results", "checkpoints", "models", "logs")


def train_mace(
    dataset: Dataset,
    settings: MaceSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
    tuning: Tuning | None = None,
) -> Path:
    """Train one model; with one thread on one kind of machine the same seed gives the same model.

    The training uses the processor, or the GPU of this process (:mod:`ilforge.devices`) with cuEquivariance's kernels
    if they are installed. A training that was stopped continues from its last finished epoch, and gives the same model
    as without the stop.

    Parameters
    ----------
    dataset
        Frames with energies and forces, and with stresses if ``stress_weight`` is not zero. MACE keeps the weights of
        the epoch that is best on the ``stop`` frames.
    settings
        Network, loss and learning rate.
    seed
        Of the initial weights and of the order of frames.
    directory
        Where everything is written; made when it is not there.
    start_from
        Model of an earlier training that is continued. The number of epochs is then multiplied by
        ``settings.retrain_fraction``, and the learning rate is ``settings.retrain_learning_rate``.
    isolated_atoms
        Energy of each element's isolated atom by the reference method, eV. By default see :func:`atom_energies`.

    Returns
    -------
    Path
        ``model.model``; beside it are ``learning_curve.csv`` and the log.

    Raises
    ------
    SettingsError
        When labels are missing, there are fewer frames than a batch, a requested GPU is missing, or the directory
        contains folders with MACE's names that ilforge did not make.
    DidNotFinish
        When MACE fails; the message quotes its output.
    Unphysical
        When the training ended with NaN.
    """
    _refuse_unfit(dataset, settings)
    device = devices.resolved("torch")
    directory = Path(directory)
    epochs, second_stage = schedule(settings, warm=start_from is not None and tuning is None)
    made_from = [] if start_from is None else [files.file_digest(Path(start_from))]
    labels = len(dataset.train)
    if start_from is not None and tuning is not None:
        start_from, dataset = _aligned(start_from, dataset, isolated_atoms, directory, tuning, settings, threads)
    energies = dict(isolated_atoms or atom_energies(dataset.train, dataset.elements))
    stress = settings.stress_weight > 0 and census(dataset.train)["stress"]["present"] > 0
    tuned = tuning is not None
    command = command_line(settings, seed, epochs, second_stage, energies, device, start_from, stress, tuned)
    _prepare(directory, dataset, epochs, settings.batch_size, [*command, str(threads)], made_from)
    programs.find(command[0])  # the error says what to install; otherwise Python would only report a missing module
    session = [sys.executable, "-m", mace_session.__name__, *command[1:]]
    programs.run(session, directory, log=_LOG, threads=threads, environment=devices.visible(device))
    if tuning is not None:
        mace_tuning.require_replay((directory / _LOG).read_text(), labels, len(tuning.replay))
    curve.keep(directory, parse_curve(_curve_text(directory)), "MACE")
    model = _keep_model(directory, second_stage < epochs)
    Mace(model, file_digest(model)).prepare(spanning(dataset.train))
    return model


def _aligned(
    start: Path,
    dataset: Dataset,
    isolated_atoms: Mapping[str, float] | None,
    directory: Path,
    tuning: Tuning,
    settings: MaceSettings,
    threads: int,
) -> tuple[Path, Dataset]:
    """The start model with its energies aligned to the labels, and the training frames including the replayed ones."""
    directory.mkdir(parents=True, exist_ok=True)
    everything = [*dataset.frames, *tuning.replay]
    elements = sorted({symbol for frame in everything for symbol in frame.get_chemical_symbols()})
    out = directory / mace_tuning.START
    alignment = mace_tuning.align(start, tuning.sha256, dataset.train, elements, isolated_atoms, out, threads)
    replayed = mace_tuning.replayed(out, tuning.replay, threads)
    mace_tuning.write_report(directory, alignment, tuning.sha256, settings.frozen, len(replayed))
    return out, replace(dataset, train=dataset.train + tuple(replayed))


def _refuse_unfit(dataset: Dataset, settings: MaceSettings) -> None:
    require_labels(dataset, "energy", "forces")  # MACE treats a missing label as zero
    if len(dataset.train) < settings.batch_size:
        raise SettingsError(
            f"batch_size of this MACE is {settings.batch_size}, but there are only {len(dataset.train)} training "
            "frames: MACE would train on none. Choose a smaller batch or sample more frames."
        )


def _prepare(
    directory: Path, dataset: Dataset, epochs: int, batch_size: int, command: list[str], made_from: list[str]
) -> None:
    """Write the frames in MACE's format, and the number of steps.

    Files of a stopped training with the same frames and settings are kept, and this training continues. Files of
    another training are removed, because MACE would append to them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    before = _planned(directory)
    with tempfile.TemporaryDirectory(prefix="ilforge-mace-") as folder:
        written = {}
        for part in ("train", "stop"):
            path = Path(folder) / f"{part}.xyz"
            frames.write(path, [_for_mace(frame) for frame in getattr(dataset, part)])
            written[path.name] = path.read_bytes()
    versions = programs.installed_versions()
    made_of: list[Any] = [command, *(hashlib.sha256(content).hexdigest() for content in written.values())]
    made_of += [versions.get("torch"), versions.get("mace-torch"), *made_from]
    plan = {"epochs": epochs, "batches": len(dataset.train) // batch_size, "made_of": made_of}
    if before != json.loads(json.dumps(plan)) or (directory / MODEL).is_file():
        _clear(directory, ours=before is not None)
    for name, content in written.items():
        files.write_bytes(directory / name, content)
    files.write_text(directory / _PLAN, json.dumps(plan))


def _planned(directory: Path) -> dict[str, Any] | None:
    """Description of the training in this directory; None if there is none."""
    try:
        plan = json.loads((directory / _PLAN).read_text())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) and {"epochs", "batches"} <= set(plan) else None


def progress(directory: Path) -> tuple[int, int]:
    """Number of finished optimiser steps and of all steps of the training in this directory."""
    plan = _planned(Path(directory))
    if plan is None:
        return 0, 0
    total = plan["epochs"] * plan["batches"]
    return min(total, _curve_text(directory).count('"mode": "opt"')), total


def seconds(settings: MaceSettings, size: Size) -> float:
    """Rough time of a training on one core, s: for planning only."""
    # 16x0e + 16x1o at 4.5 Å, float32: 1.4 ms an atom and epoch, 2.5 with max_ell = 3 and correlation = 3
    order = 2.5e-3 if max(settings.max_ell, settings.correlation) > 2 else 1.4e-3
    channels = int(settings.hidden_irreps.split("x")[0])
    per_atom_epoch = order * (settings.r_max_A / 4.5) ** 3 * max(0.5, channels / 16)
    return 10.0 + settings.epochs * size.atoms * per_atom_epoch * (1 if settings.dtype == "float32" else 2)


def seconds_per_step(settings: MaceSettings, n_atoms: int) -> float:
    """Rough time of a step of MD on one core, s: 350 atoms at 6 Å take 7 ms by compiled kernels, 1 s in float64."""
    per_frame = 7e-3 if settings.dtype == "float32" else 1.0
    return per_frame * n_atoms / 350 * (settings.r_max_A / 6.0) ** 3


def atom_energies(labelled: Sequence[Atoms], elements: Sequence[str]) -> dict[str, float]:
    """Energy per element that MACE subtracts before it learns, eV.

    The least-squares solution of :math:`E = \\sum_z n_z E_z` of smallest norm over the frames. If all frames have one
    composition, the data do not determine the energies of single elements; with several compositions, charge neutrality
    still leaves some combinations undetermined. Then only sums over compositions like those of training are meaningful,
    and energies of single ions or other liquids by such a model are not.
    """
    return per_element(labelled, [frame.info[frames.ENERGY] for frame in labelled], elements)


def parse_curve(text: str) -> list[curve.Point]:
    """The learning curve in MACE's JSON lines; an unfinished last line is left out."""
    train_losses: dict[int, list[float]] = defaultdict(list)
    points = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        epoch = record.get("epoch")
        if epoch is None:  # the evaluation before any training
            continue
        if record["mode"] == "opt":
            train_losses[epoch].append(record["loss"])
        elif record["mode"] == "eval":
            points.append(
                curve.Point(
                    step=epoch + 1,
                    train_loss=float(np.mean(train_losses[epoch])) if train_losses[epoch] else math.nan,
                    stop_loss=record["loss"],
                    energy_rmse_eV_atom=record["rmse_e_per_atom"],
                    force_rmse_eV_A=record["rmse_f"],
                )
            )
    return points


def _for_mace(frame: Atoms) -> Atoms:
    """Only structure and labels, because some keys of ``info``, such as ``head``, have a meaning for MACE."""
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    bare.info[frames.ENERGY] = frame.info[frames.ENERGY]
    bare.arrays[frames.FORCES] = frame.arrays[frames.FORCES]
    if frames.STRESS in frame.info:
        bare.info[frames.STRESS] = frame.info[frames.STRESS]
    return bare


def _clear(directory: Path, ours: bool) -> None:
    """Remove the files of another training.

    Raises
    ------
    SettingsError
        When there are folders with MACE's names that ilforge did not make.
    """
    found = [directory / name for name in _FOLDERS if os.path.lexists(directory / name)]
    if found and not ours:
        raise SettingsError(
            f"{found[0]} is not from a training by ilforge (there is no {_PLAN} beside it), and MACE would write into "
            "it: train in a new or empty folder."
        )
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    for name in (mace_session.STATE, MODEL):
        (directory / name).unlink(missing_ok=True)


def _curve_text(directory: Path) -> str:
    return "".join(path.read_text() for path in sorted((Path(directory) / "results").glob("*_train.txt")))


def _keep_model(directory: Path, two_stages: bool) -> Path:
    made = directory / "models" / f"{NAME}{'_stagetwo' if two_stages else ''}.model"
    if not made.is_file():
        raise DidNotFinish("MACE left no model", directory, programs.last_lines(directory / _LOG))
    os.replace(made, directory / MODEL)
    for name in ("checkpoints", "models"):  # several times as large as the model, and not needed any more
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (mace_session.STATE, mace_tuning.START):
        (directory / name).unlink(missing_ok=True)
    return directory / MODEL


KIND = TrainerKind(
    name="mace",
    title="MACE",
    settings=MaceSettings,
    train=train_mace,
    file=MODEL,
    potential="mace",
    seconds=seconds,
    seconds_per_step=seconds_per_step,
    retrained_share=lambda settings: settings.retrain_fraction,
    counts_from_atoms=True,
    learns_stress=lambda settings: settings.stress_weight > 0,
    progress=progress,
    note=mace_tuning.note,
    step="epoch",
    programs=("mace_run_train",),
    computes_with="torch",
    memory_GB=2.0,
    snippets=SNIPPETS,
    snippets_by_ion_name=BY_ION_NAME,
)

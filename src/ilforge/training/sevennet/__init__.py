"""Fine-tune a SevenNet model, or train one from scratch, in the environment that ``sevenn`` is installed in.

Labels may have dispersion in them that the network is run with: it is taken out of the labels, the network learns the
rest, and what runs the model adds it (``potential.json``). So it is counted once, whatever the labels are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import devices, environments, files, frames
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.dataset import Dataset, require_labels
from ilforge.potentials.learned.dispersed import functional_to_add
from ilforge.potentials.learned.outside.calculator import WORKER
from ilforge.potentials.learned.sevennet import Sevennet
from ilforge.potentials.quantum.dispersion import d3bj
from ilforge.training import alignment, outside
from ilforge.training.kind import Size, TrainerKind, Tuning
from ilforge.training.sevennet.settings import SevennetModelSettings
from ilforge.training.sevennet.snippets import SNIPPETS

MODEL, RUNS_WITH = "model.pth", "potential.json"
SESSION = Path(__file__).with_name("session.py")
_LOG, _ENERGIES = "sevennet.log", "energies.json"


def train_sevennet(
    dataset: Dataset,
    settings: SevennetModelSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | Mapping[str, Any] | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
    tuning: Tuning | None = None,
) -> Path:
    """Train one model. A training that was stopped goes on from the last epoch that it finished.

    Parameters
    ----------
    dataset
        Frames with energies and forces, and with stresses where ``stress_weight`` weighs them. The weights of the epoch
        that was best on its ``stop`` frames are kept; a start model that gets no better is kept as it is.
    seed
        Of the initial weights and of the order of frames.
    directory
        Where everything is written; made when it is not there.
    start_from
        Model of an earlier training, or a potential of this kind as :func:`ilforge.potentials.create` takes it.
        Without ``tuning`` the training goes on from it: the share ``settings.retrain_fraction`` of the epochs is made.
    isolated_atoms
        Energy of each element's isolated atom by the reference method, eV; for models from scratch.

    Returns
    -------
    Path
        ``model.pth``; beside it are ``potential.json`` (what is added when it runs), ``learning_curve.csv`` and the
        log.

    Raises
    ------
    SettingsError
        When labels are missing, or the start lacks an element or a layer.
    MissingProgram
        When the environment, or the library of D3, is not there.
    DidNotFinish, Unphysical
        When the training fails, or ends in NaN.
    """
    require_labels(dataset, "energy", "forces")
    python = environments.interpreter(Sevennet.environment.name)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    start = _start(start_from, tuning)
    added = dispersion_of(settings, start)
    orders = _orders(dataset, settings, seed, threads, start, warm=start is not None and tuning is None)
    decided_by = outside.made_of(Sevennet.environment.name, dataset, orders, added, dict(isolated_atoms or {}))
    plan, held = {"made_of": decided_by, "dispersion": added}, outside.read(directory / outside.ORDERS)
    if outside.read(directory / outside.PLAN) == plan and held:
        files.write_text(directory / outside.ORDERS, json.dumps({**orders, "shift": held["shift"]}))
    else:
        _prepare(directory, dataset, orders, added, isolated_atoms, python)
        files.write_text(directory / outside.PLAN, json.dumps(plan))
    _run(python, "train", directory, threads)
    _write_runs_with(directory, added)
    outside.finish(directory, "SevenNet")
    (directory / _ENERGIES).unlink(missing_ok=True)
    return directory / MODEL


def dispersion_of(settings: SevennetModelSettings, start: Sevennet | None) -> str | None:
    """Functional whose D3(BJ) is taken out of the labels, and added when the model runs; None for none.

    Raises
    ------
    SettingsError
        When D3(BJ) is asked for, and the functional is not known or has no published damping.
    """
    if settings.dispersion is None:
        return None if start is None else start.added_dispersion
    of_start = None if start is None else start.functional_of_labels
    return functional_to_add(settings.dispersion, settings.functional or of_start)


def start_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a training starts from where a study names a potential: its weights, and what is added to them.

    Raises
    ------
    SettingsError
        For a model of several levels of theory.
    """
    if spec.get("modality") is not None:
        raise SettingsError(
            f"{Sevennet(**{key: value for key, value in spec.items() if key != 'kind'}).title} has weights for several "
            "levels of theory, and fine-tuning of those is not offered: start from a model that has one."
        )
    return dict(spec)


def note(directory: Path) -> str:
    """How a model was fine-tuned, and what is added to it, in sentences; nothing where there is nothing to know."""
    told, said = alignment.read_report(directory), []
    if told is not None:
        frozen = f"; the embedding and {told['frozen']} layers frozen" if told["frozen"] else ""
        said.append(f"{alignment.words(told)}{frozen}.")
    if found := KIND.keys(directory):
        said.append(
            f"It was trained on the labels without {found['dispersion']} of {found['functional']}, which is added when "
            "it runs."
        )
    return " ".join(said)


def seconds(settings: SevennetModelSettings, size: Size) -> float:
    """Rough time of a training on one core, s: for planning only."""
    per_atom = _TUNING_S if settings.start is not None else _TUNING_S * _share(settings)
    return 30.0 + settings.epochs * size.atoms * per_atom


def seconds_per_step(settings: SevennetModelSettings, n_atoms: int) -> float:
    """Rough time of a step of MD on one core, s."""
    whole = Sevennet().seconds_per_frame(n_atoms)
    return whole if settings.start is not None else whole * _share(settings)


_TUNING_S = 0.04
"""Of an atom and epoch of SevenNet-0, s: a frame of 70 atoms took 2.5 to 3.7 s of processor time
(``benchmarks/fine_tune_sevennet.py``)."""


def _share(settings: SevennetModelSettings) -> float:
    """Work of a network beside that of SevenNet-0 (128 channels, lmax 2, 5 layers, 5 Å)."""
    size = settings.channels / 128 * ((settings.lmax + 1) / 3) ** 2 * settings.layers / 5
    return max(0.02, size * (settings.r_max_A / 5.0) ** 3)


def _start(start_from: Path | Mapping[str, Any] | None, tuning: Tuning | None) -> Sevennet | None:
    """The potential that a training starts from, with what is added to it."""
    if start_from is None:
        return None
    if isinstance(start_from, Mapping):
        return Sevennet(**{key: value for key, value in start_from.items() if key != "kind"})
    path = Path(start_from)
    digest = tuning.sha256 if tuning is not None else files.file_digest(path)
    return Sevennet(path=path, sha256=digest, **KIND.keys(path.parent))


def _orders(
    dataset: Dataset, settings: SevennetModelSettings, seed: int, threads: int, start: Sevennet | None, warm: bool
) -> dict[str, Any]:
    """What the session is told, but for the shift of energies."""
    keys = ("batch_size", "learning_rate_decay", "energy_weight", "forces_weight", "stress_weight", "frozen")
    told = {key: getattr(settings, key) for key in keys}
    weights = None if start is None else start.worker_settings()
    return {
        **told,
        "epochs": max(1, round(settings.retrain_fraction * settings.epochs)) if warm else settings.epochs,
        "learning_rate": settings.retrain_learning_rate if warm else settings.learning_rate,
        "seed": seed,
        "threads": threads,
        "device": str(devices.resolved(Sevennet.environment.name)),
        "worker": str(WORKER),
        "start": weights and {key: weights[key] for key in ("path", "package", "file", "sha256") if key in weights},
        "elements": list(dataset.elements),
        "network": {
            "channel": settings.channels,
            "lmax": settings.lmax,
            "num_convolution_layer": settings.layers,
            "cutoff": settings.r_max_A,
            "is_parity": False,
            "self_connection_type": "linear",
        },
    }


def _prepare(
    directory: Path,
    dataset: Dataset,
    orders: dict[str, Any],
    added: str | None,
    isolated_atoms: Mapping[str, float] | None,
    python: Path,
) -> None:
    """Write the frames, with energies counted from the zero of the model that is trained, and the orders."""
    for name in (outside.PLAN, outside.STATE, MODEL, outside.PROGRESS, alignment.REPORT, RUNS_WITH):
        (directory / name).unlink(missing_ok=True)
    train, stop = ([_without(frame, added) for frame in part] for part in (dataset.train, dataset.stop))
    if orders["start"] is None:
        totals = [frame.info[frames.ENERGY] for frame in train]
        shift = dict(isolated_atoms or alignment.per_element(train, totals, dataset.elements))
    else:
        outside.write_frames(directory / outside.FRAMES, {"train": train})
        files.write_text(directory / outside.ORDERS, json.dumps(orders))
        found = _align(directory, train, orders, python)
        shift = found.shift_eV
    outside.write_frames(directory / outside.FRAMES, {"train": _counted(train, shift), "stop": _counted(stop, shift)})
    files.write_text(directory / outside.ORDERS, json.dumps({**orders, "shift": shift}))


def _align(directory: Path, train: Sequence[Atoms], orders: Mapping[str, Any], python: Path) -> alignment.Alignment:
    """Fit the energies of the start model to the labels, element by element."""
    _run(python, "energies", directory, orders["threads"])
    told, start, frozen = outside.read(directory / _ENERGIES), orders["start"], orders["frozen"]
    name = start.get("path") or start["file"]
    if told["strange"]:
        raise SettingsError(
            f"The start model {name} does not know {', '.join(told['strange'])}; it knows {', '.join(told['elements'])}"
            ". Fine-tuning adds no elements: start from a model that has them, or train from scratch."
        )
    if frozen > told["layers"]:
        raise SettingsError(f"frozen is {frozen}, but the start model {name} has {told['layers']} interaction layers.")
    elements = sorted({symbol for frame in train for symbol in frame.get_chemical_symbols()})
    shift = alignment.fitted_shift(train, told["energies"], elements)
    found = alignment.alignment_by("fit", train, told["energies"], shift)
    alignment.write_report(directory, found, start_sha256=start["sha256"], frozen=frozen)
    return found


def _without(frame: Atoms, functional: str | None) -> Atoms:
    """A labelled frame without the D3(BJ) dispersion of a functional."""
    bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    energy, forces, stress = (0.0, 0.0, 0.0) if functional is None else d3bj(frame, functional)
    bare.info[frames.ENERGY] = frame.info[frames.ENERGY] - energy
    bare.arrays[frames.FORCES] = frame.arrays[frames.FORCES] - forces
    if frames.STRESS in frame.info and stress is not None:
        bare.info[frames.STRESS] = np.asarray(frame.info[frames.STRESS], dtype=float) - stress
    return bare


def _counted(labelled: Sequence[Atoms], shift: Mapping[str, float]) -> list[Atoms]:
    """The frames with energies counted from the shift of their elements; elements without one keep theirs."""
    moved = []
    for frame in labelled:
        copy = frame.copy()
        copy.info[frames.ENERGY] -= sum(shift.get(symbol, 0.0) for symbol in frame.get_chemical_symbols())
        moved.append(copy)
    return moved


def _run(python: Path, task: str, directory: Path, threads: int) -> None:
    outside.run(python, SESSION, task, directory, _LOG, threads)


def _write_runs_with(directory: Path, added: str | None) -> None:
    if added is not None:
        told = {"dispersion": "D3(BJ)", "functional": added}
        files.write_text(directory / RUNS_WITH, json.dumps(told))


KIND = TrainerKind(
    name="sevennet",
    title="SevenNet",
    settings=SevennetModelSettings,
    train=train_sevennet,
    file=MODEL,
    potential="sevennet",
    seconds=seconds,
    seconds_per_step=seconds_per_step,
    retrained_share=lambda settings: settings.retrain_fraction,
    counts_from_atoms=True,
    learns_stress=lambda settings: settings.stress_weight > 0,
    progress=outside.progress,
    note=note,
    step="epoch",
    computes_with=Sevennet.environment.name,
    memory_GB=4.0,
    start_of=start_of,
    keys_file=RUNS_WITH,
    snippets=SNIPPETS,
)

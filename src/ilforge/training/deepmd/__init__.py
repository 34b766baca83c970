"""Train a DeePMD model (se_e2_a, TensorFlow backend) with DeePMD-kit's ``dp``.

Descriptor: Zhang et al., NeurIPS 2018 (arXiv:1805.09003); program: Zeng et al., J. Chem. Phys. 159 (2023) 054801.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import devices, files, frames, programs, trust
from ilforge.devices import Device
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.files import file_digest
from ilforge.labelling.datasets.dataset import Dataset, census, require_labels
from ilforge.labelling.datasets.exchange import export_deepmd
from ilforge.potentials.learned.deepmd.room import neighbour_counts, overflow
from ilforge.training import curve, deepmd_session
from ilforge.training.deepmd.compression import TOLERANCE, compression_note, settle_compression
from ilforge.training.deepmd.settings import DeepmdSettings
from ilforge.training.deepmd.snippets import SNIPPETS
from ilforge.training.kind import Size, TrainerKind

MODEL, FROZEN = "model.pb", "frozen.pb"
_LOG, _CURVE, _INPUT, _DATA = "dp.log", "lcurve.out", "input.json", "data"
_PLAN = "made_of.json"
_HEADROOM = 1.3  # factor on the largest number of neighbours in training frames
_TABLE_STEP = {"float64": 0.01, "float32": 0.1}  # a finer table would only contain more rounding of float32
_POINTS = 50  # on the learning curve
_COMPARED = 8  # frames on which the compressed model is compared with the frozen one


def train_deepmd(
    dataset: Dataset,
    settings: DeepmdSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | None = None,
) -> Path:
    """Train, freeze and compress one model; with one thread the same seed gives the same model.

    A training that was stopped continues from its last checkpoint, and gives the same model as without the stop.

    Parameters
    ----------
    dataset
        Frames with energies and forces. If they have stresses, ``virial_prefactor`` is their weight; without stresses
        (for example plane waves below the cutoff that stresses need) it has no effect.
    settings
        Network, loss and learning rate.
    seed
        Of the initial weights and of the order of frames.
    directory
        Where everything is written; made when it is not there.
    start_from
        Folder of an earlier training, or its model, that is continued. The number of steps is then multiplied by
        ``settings.retrain_fraction``, and the learning rate begins at ``settings.retrain_learning_rate_start``.

    Returns
    -------
    Path
        The model ``model.pb``, compressed if this changes neither energies nor forces nor virials (otherwise see
        :func:`compression_note`). Its folder also has ``frozen.pb``, ``learning_curve.csv`` and the log.

    Raises
    ------
    SettingsError
        When labels are missing, the earlier model does not fit these settings, a requested GPU is missing, or the
        directory contains files with DeePMD's names that ilforge did not make.
    DidNotFinish
        When ``dp`` fails; the message quotes its output.
    Unphysical
        When the training ended with NaN.
    """
    virials = any(settings.virial_prefactor) and _has_stresses(dataset)
    require_labels(dataset, "energy", "forces", *(["stress"] if virials else []))
    device = devices.resolved("deepmd")
    directory = Path(directory)
    before = None if start_from is None else _folder(start_from)
    if not virials:
        settings = settings.model_copy(update={"virial_prefactor": (0.0, 0.0)})
    script = _script_for(dataset, settings, seed, before)
    resume = _prepare(directory, dataset, script, before, threads)
    _write_inputs(directory, dataset, script, virials)
    warm = [] if before is None else ["--init-frz-model", str(before / FROZEN)]
    _run_session(directory, dataset, settings.dtype, warm, threads, device, resume)
    curve.keep(directory, parse_curve((directory / _CURVE).read_text()), "DeePMD")
    settle_compression(directory, directory / FROZEN, directory / MODEL, TOLERANCE[settings.dtype])
    _tidy(directory)
    return directory / MODEL


def _has_stresses(dataset: Dataset) -> bool:
    """Whether any frame has a stress; frames without one are refused if others have one."""
    return any(census(part)["stress"]["present"] for part in (dataset.train, dataset.stop))


def _script_for(dataset: Dataset, settings: DeepmdSettings, seed: int, before: Path | None) -> dict[str, Any]:
    """Input of ``dp train`` without its data, with room for all neighbours; the room of an earlier model is kept."""
    script = input_script(settings, dataset.elements, seed, warm=before is not None)
    crowd = neighbour_counts(dataset.frames, dataset.elements, settings.r_cut_A)
    sel = selection(crowd) if before is None else _selection_of(before, script)
    found = overflow(crowd, sel, dataset.elements, settings.r_cut_A)
    if found:
        raise SettingsError(f"{found} Train it anew on frames as dense as these, not from an earlier model.")
    script["model"]["descriptor"]["sel"] = sel
    return script


def _write_inputs(directory: Path, dataset: Dataset, script: dict[str, Any], virials: bool) -> None:
    """Write frames in DeePMD's form, and the input that names them."""
    for part, members in (("training_data", dataset.train), ("validation_data", dataset.stop)):
        systems = export_deepmd(directory / _DATA / part, members, dataset.elements, virials)
        script["training"][part]["systems"] = [str(system.relative_to(directory)) for system in systems]
    script["training"]["validation_data"]["numb_btch"] = min(len(dataset.stop), 10)
    (directory / _INPUT).write_text(json.dumps(script, indent=1))


def progress(directory: Path) -> tuple[int, int]:
    """Number of finished steps and of all steps of the training in this directory."""
    try:
        total = json.loads((Path(directory) / _INPUT).read_text())["training"]["numb_steps"]
    except (OSError, ValueError):
        return 0, 0
    try:
        points = parse_curve((Path(directory) / _CURVE).read_text())
    except OSError:
        points = []
    return (points[-1].step if points else 0), total


def input_script(settings: DeepmdSettings, elements: Sequence[str], seed: int, warm: bool) -> dict[str, Any]:
    """Content of ``input.json`` without the data and the room for neighbours."""
    steps = max(1, round(settings.retrain_fraction * settings.steps)) if warm else settings.steps
    names = {"e": settings.energy_prefactor, "f": settings.force_prefactor, "v": settings.virial_prefactor}
    loss = {f"start_pref_{key}": start for key, (start, _) in names.items()}
    loss |= {f"limit_pref_{key}": limit for key, (_, limit) in names.items()}
    every = max(1, steps // _POINTS)
    return {
        "model": {
            "type_map": list(elements),
            "descriptor": {
                "type": "se_e2_a",
                "rcut": settings.r_cut_A,
                "rcut_smth": settings.r_smooth_A,
                "neuron": settings.embedding,
                "axis_neuron": settings.axis_neurons,
                "type_one_side": settings.one_side_embedding,
                "precision": settings.dtype,
                "seed": seed,
            },
            "fitting_net": {
                "neuron": settings.fitting,
                "resnet_dt": True,
                "precision": settings.dtype,
                "seed": seed + 1,
            },
        },
        "learning_rate": {
            "type": "exp",
            "start_lr": settings.retrain_learning_rate_start if warm else settings.learning_rate_start,
            "stop_lr": settings.learning_rate_stop,
            "decay_steps": max(1, min(5000, steps // 100)),
        },
        "loss": {"type": "ener", **loss},
        "training": {
            "training_data": {"batch_size": settings.batch_size},
            "validation_data": {"batch_size": 1},
            "numb_steps": steps,
            "seed": seed + 2,
            "disp_file": _CURVE,
            "disp_freq": every,
            "save_freq": every if steps >= 1000 else 5 * every,
        },
    }


def seconds(settings: DeepmdSettings, size: Size) -> float:
    """Rough time of one training on one core, s: for planning only."""
    # measured: 70 atoms, 16 ms a step with the quick preset, 0.3-0.5 s with the published one
    width = math.sqrt(math.prod(settings.embedding[-2:]) / 800)
    per_atom = 1.6e-4 * (settings.r_cut_A / 4.5) ** 3 * width * settings.batch_size
    return 22.0 + settings.steps * (5e-3 + per_atom * size.largest)


def seconds_per_step(settings: DeepmdSettings, n_atoms: int) -> float:
    """Rough time of a step of MD on one core, s: 350 atoms take 0.44 s at 10 Å, 15 ms by the quick preset."""
    return 0.44 * n_atoms / 350 * (settings.r_cut_A / 10.0) ** 3 * settings.embedding[-1] / 100


def selection(counts: np.ndarray) -> list[int]:
    """Room for neighbours: 1.3 times the largest count, rounded up to a multiple of four, which is fastest for the
    kernels."""
    return [max(4, 4 * math.ceil(_HEADROOM * int(count) / 4)) for count in counts]


def spread_over(members: Sequence[Atoms], count: int) -> list[Atoms]:
    """At most ``count`` frames, from the densest to the least dense, so that numbers of neighbours differ."""
    ordered = sorted(members, key=lambda frame: frame.cell.volume / len(frame) if all(frame.pbc) else math.inf)
    places = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
    return [ordered[place] for place in places]


def parse_curve(text: str) -> list[curve.Point]:
    """The learning curve in ``lcurve.out``; an unfinished last line is left out."""
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    header = next((line for line in lines if line.startswith("#") and "step" in line), None)
    if header is None:
        return []
    names = header.lstrip("#").split()
    points = []
    seen: set[str] = set()
    for line in lines:
        values = line.split()
        if line.startswith("#") or len(values) != len(names) or values[0] in seen:  # written again by a restart
            continue
        seen.add(values[0])
        row = dict(zip(names, map(float, values), strict=True))
        points.append(
            curve.Point(
                step=int(row["step"]),
                train_loss=row["rmse_trn"],
                stop_loss=row["rmse_val"],
                energy_rmse_eV_atom=row["rmse_e_val"],
                force_rmse_eV_A=row["rmse_f_val"],
            )
        )
    return points


def _prepare(directory: Path, dataset: Dataset, script: dict[str, Any], before: Path | None, threads: int) -> bool:
    """Prepare the directory, and return whether the training in it can be continued.

    A training can be continued if it has the same frames and settings, and this user began it in this folder. (The
    graph in a checkpoint can run code.) Files of any other training are removed.

    Raises
    ------
    SettingsError
        When there are files with DeePMD's names that ilforge did not make.
    """
    directory.mkdir(parents=True, exist_ok=True)
    labels = hashlib.sha256()
    for frame in (*dataset.train, *dataset.stop):
        labels.update(frames.digest(frame).encode() + np.asarray(frame.arrays[frames.FORCES]).tobytes())
        labels.update(repr((float(frame.info[frames.ENERGY]), frame.info.get(frames.STRESS))).encode())
    versions = programs.installed_versions()
    made_of = {
        "script": script,
        "frames": labels.hexdigest(),
        "before": None if before is None else file_digest(before / FROZEN),
        "threads": threads,
        "versions": [versions.get("deepmd-kit"), versions.get("tensorflow-cpu")],
        "begun": trust.token(f"training in {directory.resolve()} {directory.stat().st_ino}"),
    }
    made_of = json.loads(json.dumps(made_of))
    try:
        found = json.loads((directory / _PLAN).read_text())
    except (OSError, ValueError):
        found = None
    if found == made_of and not (directory / MODEL).is_file():
        return True
    _clear(directory, ours=found is not None or (directory / "session.json").is_file())
    files.write_text(directory / _PLAN, json.dumps(made_of))
    return False


def _clear(directory: Path, ours: bool) -> None:
    """Remove the files of a training that was killed."""
    if not ours and (left := [*directory.glob(_DATA), *directory.glob("model.ckpt*"), *directory.glob("checkpoint")]):
        raise SettingsError(
            f"{left[0]} is not from a training by ilforge (there is no {_PLAN} beside it), and DeePMD would replace "
            "it: train in a new or empty folder."
        )
    shutil.rmtree(directory / _DATA, ignore_errors=True)
    for leftover in (_CURVE, MODEL, FROZEN, deepmd_session.PARITY):
        (directory / leftover).unlink(missing_ok=True)
    _tidy(directory)


def _tidy(directory: Path) -> None:
    """Remove files that are not needed any more: the data are in the dataset, and the weights in the frozen model."""
    for folder in (_DATA, "model-compression"):
        shutil.rmtree(directory / folder, ignore_errors=True)
    for pattern in (
        "model.ckpt*",
        "checkpoint",
        "out.json",
        "compress.json",
        "session.json",
        "input_v2_compat.json",
        _PLAN,
    ):
        for path in directory.glob(pattern):
            path.unlink()


def _run_session(
    directory: Path, dataset: Dataset, dtype: str, warm: list[str], threads: int, device: Device, resume: bool
) -> None:
    programs.find("dp")  # the error says what to install; otherwise Python would only report a missing module
    index = {element: number for number, element in enumerate(dataset.elements)}
    session = {
        "resume": resume,
        "input": _INPUT,
        "commands": [
            ["train", *warm, _INPUT],
            ["freeze", "-o", FROZEN],
            ["compress", "-i", FROZEN, "-o", MODEL, "--step", str(_TABLE_STEP[dtype])],
        ],
        "compare": {
            "first": FROZEN,
            "second": MODEL,
            "frames": [
                {
                    "positions": frame.positions.tolist(),
                    "cell": frame.cell.array.tolist() if all(frame.pbc) else None,
                    "types": [index[symbol] for symbol in frame.get_chemical_symbols()],
                }
                for frame in spread_over(dataset.frames, _COMPARED)
            ],
        },
    }
    (directory / "session.json").write_text(json.dumps(session))
    programs.run(
        [sys.executable, "-m", deepmd_session.__name__],
        directory,
        log=_LOG,
        threads=threads,
        environment={
            **devices.visible(device),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "DP_AUTO_PARALLELIZATION": "0",
        },
    )
    if not (directory / MODEL).is_file():
        raise DidNotFinish("dp left no model", directory, programs.last_lines(directory / _LOG))


def _folder(start_from: Path) -> Path:
    """Folder of an earlier training, after a check that it has everything that is needed to continue."""
    folder = Path(start_from).absolute()
    folder = folder if folder.is_dir() else folder.parent
    for name in (FROZEN, _INPUT):
        if not (folder / name).is_file():
            raise SettingsError(f"DeePMD training cannot go on from {folder}: {name} is missing there.")
    return folder


def _selection_of(folder: Path, script: dict[str, Any]) -> list[int]:
    """Room for neighbours of an earlier model, after a check that elements and network are those of the settings."""
    before = json.loads((folder / _INPUT).read_text())["model"]
    sel: list[int] = before["descriptor"].pop("sel")
    wanted = json.loads(json.dumps(script["model"]))
    for model in (before, wanted):
        for part in ("descriptor", "fitting_net"):
            model[part].pop("seed")
    if before != wanted:
        raise SettingsError(
            f"The model in {folder} has other elements or another network than the settings ask for: training "
            "cannot go on from it. Train from the start."
        )
    return sel


KIND = TrainerKind(
    name="deepmd",
    title="DeePMD",
    settings=DeepmdSettings,
    train=train_deepmd,
    file=MODEL,
    potential="deepmd",
    seconds=seconds,
    seconds_per_step=seconds_per_step,
    retrained_share=lambda settings: settings.retrain_fraction,
    progress=progress,
    note=compression_note,
    learns_stress=lambda settings: any(settings.virial_prefactor),
    programs=("dp",),
    computes_with="deepmd",
    numbered=True,
    snippets=SNIPPETS,
)

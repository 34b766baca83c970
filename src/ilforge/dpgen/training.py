"""``default_training_param`` of DP-GEN, in its layouts since DeePMD-kit 0.12, as ``[models.deepmd]``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ilforge.dpgen.book import Book, Path, as_number, leaves
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError

PARAM = "default_training_param"
_DESCRIPTORS = ("se_a", "se_e2_a")
_SAID = "not in the file: DeePMD's default"

# key of ilforge, DeePMD's default, and where DeePMD-kit 1 to 3 and 0.12 have it
_NUMBERS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("r_cut_A", 6.0, ("model.descriptor.rcut", "rcut")),
    ("r_smooth_A", 0.5, ("model.descriptor.rcut_smth", "rcut_smth")),
)
_WIDTHS: tuple[tuple[str, list[int], tuple[str, ...]], ...] = (
    ("embedding", [10, 20, 40], ("model.descriptor.neuron", "filter_neuron")),
    (
        "fitting",
        [120, 120, 120],
        ("model.fitting_net.neuron", "model.fitting_net.n_neuron", "n_neuron", "fitting_neuron"),
    ),
)
_WHOLE: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("axis_neurons", 4, ("model.descriptor.axis_neuron", "n_axis_neuron", "axis_neuron")),
)  # fmt: skip
_STEPS = ("training.numb_steps", "training.stop_batch", "stop_batch", "numb_steps")
_PREFACTORS: tuple[tuple[str, str, tuple[float, float]], ...] = (
    ("energy_prefactor", "pref_e", (0.02, 1.0)),
    ("force_prefactor", "pref_f", (1000.0, 1.0)),
    ("virial_prefactor", "pref_v", (0.0, 0.0)),
)


def move_training(book: Book, notes: list[str]) -> Table:
    """``[models.deepmd]`` with every key written out.

    Parameters
    ----------
    notes
        List to which sentences for the user are appended.

    Raises
    ------
    SettingsError
        When a value is of another type than DeePMD takes, or there are no training steps.
    """
    table = Table("models.deepmd")
    _committee(book, table)
    if not isinstance(book.get(PARAM), dict):
        raise SettingsError(f"{book.file}: {PARAM} is missing: it holds the input of DeePMD-kit.")
    _descriptor(book, notes)
    for key, default, paths in _NUMBERS:
        _put(book, table, key, paths, default, lambda path: book.number(*path))
    for name, widths, paths in _WIDTHS:
        _put(book, table, name, paths, widths, lambda path: [int(one) for one in book.numbers(*path)])
    for name, count, paths in _WHOLE:
        _put(book, table, name, paths, count, lambda path: book.whole(*path))
    one_side = _put(book, table, "one_side_embedding", ("model.descriptor.type_one_side",), False, _is_true(book))
    assert isinstance(one_side, bool)
    _precision(book, table)
    steps = _steps(book, table)
    _batch(book, table)
    start = _rates(book, table, steps)
    _prefactors(book, table)
    _again(book, table, steps, start)
    _explain(book)
    return table


def _committee(book: Book, table: Table) -> None:
    models = book.whole("numb_models")
    if models is None:
        raise SettingsError(f"{book.file}: numb_models is missing: the number of models that DP-GEN trains.")
    table.add("committee", min(max(models, 2), 20), f"{book.file}: numb_models = {models}")
    book.take(("numb_models",), "study.toml: models.deepmd.committee")
    if not 2 <= models <= 20:
        book.leave(("numb_models",), "a committee that explores has 2 to 20 models")


def _path(dotted: str) -> Path:
    return (PARAM, *dotted.split("."))


def _at(book: Book, dotted: Sequence[str]) -> Path | None:
    """The first of these paths that the file has."""
    return next((path for one in dotted if book.has(*(path := _path(one)))), None)


def _put(
    book: Book, table: Table, key: str, dotted: Sequence[str], default: Any, read: Callable[[Path], Any]
) -> Any:  # the value of a key may be of any type
    """Write a key with its value in the file, or with DeePMD's default."""
    path = _at(book, dotted)
    value = default if path is None else read(path)
    if path is None:
        table.add(key, value, _SAID)
    else:
        table.add(key, value, f"{book.file}: {'.'.join(map(str, path))}")
        book.take(path, f"study.toml: models.deepmd.{key}")
    return value


def _is_true(book: Book) -> Callable[[Path], bool]:
    def read(path: Path) -> bool:
        value = book.get(*path)
        if not isinstance(value, bool):
            raise book.fault(path, "true or false")
        return value

    return read


def _descriptor(book: Book, notes: list[str]) -> None:
    path = _path("model.descriptor.type")
    kind = book.get(*path, default="se_e2_a")
    if kind in _DESCRIPTORS:
        book.take(path, "study.toml: the kind of [models.deepmd]")
        return
    book.leave(path, "ilforge trains descriptors se_e2_a; MACE is its model of higher accuracy")
    notes.append(
        f"DP-GEN trained DeePMD models with the descriptor {kind!r}, and ilforge trains se_e2_a: the models of the "
        "study differ from yours."
    )


def _precision(book: Book, table: Table) -> None:
    path = _at(book, ("model.descriptor.precision", "model.fitting_net.precision"))
    said = "default" if path is None else str(book.get(*path))
    value = "float32" if said in ("float32", "single") else "float64"
    table.add("dtype", value, _SAID if path is None else f"{book.file}: {'.'.join(map(str, path))}")
    for dotted in ("model.descriptor.precision", "model.fitting_net.precision"):
        book.take(_path(dotted), "study.toml: models.deepmd.dtype")
    if said not in ("default", "float64", "double", "float32", "single") and path is not None:
        book.leave(path, "networks have the precision float32 or float64")


def _steps(book: Book, table: Table) -> int:
    path = _at(book, _STEPS)
    steps = None if path is None else book.whole(*path)
    if steps is None or path is None or steps < 1:
        raise SettingsError(f"{book.file}: {PARAM}.training.numb_steps is missing: the number of training steps.")
    table.add("steps", steps, f"{book.file}: {'.'.join(map(str, path))}")
    book.take(path, "study.toml: models.deepmd.steps")
    return steps


def _batch(book: Book, table: Table) -> None:
    """The batch size: ``init_batch_size`` and ``sys_batch_size`` have priority, and have one for each system."""
    paths: list[Path] = [("init_batch_size",), ("sys_batch_size",)]
    inner = [path for path in (_at(book, (one,)) for one in (
        "training.training_data.batch_size", "training.batch_size", "batch_size")) if path]  # fmt: skip
    given = [path for path in paths if book.has(*path)]
    sizes = {one for path in given for one in _flat(book.get(*path))}
    if not given:
        given, sizes = inner, {one for path in inner for one in _flat(book.get(*path))}
    size = as_number(next(iter(sizes))) if len(sizes) == 1 else None
    if size is not None and size >= 1 and size == int(size):
        table.add("batch_size", int(size), f"{book.file}: {'.'.join(map(str, given[0]))}")
        for path in given:
            book.take(path, "study.toml: models.deepmd.batch_size")
    else:
        table.add("batch_size", 1, "not from DP-GEN: frames of a step")
        for path in given:
            book.leave(path, "a model has one batch size, in frames, for all boxes: 1, the usual one")
    for path in inner:
        if not book.entered(path):
            book.leave(path, "init_batch_size and sys_batch_size take its place in DP-GEN")


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _rates(book: Book, table: Table, steps: int) -> float:
    start = _put(
        book, table, "learning_rate_start", ("learning_rate.start_lr", "start_lr"), 1e-3, lambda p: book.number(*p)
    )
    path = _at(book, ("learning_rate.stop_lr", "stop_lr"))
    rate, every = _at(book, ("learning_rate.decay_rate", "decay_rate")), _at(
        book, ("learning_rate.decay_steps", "decay_steps")
    )  # fmt: skip
    stop, said = 1e-8, _SAID
    if path is not None:
        stop, said = book.number(*path) or stop, f"{book.file}: {'.'.join(map(str, path))}"
        book.take(path, "study.toml: models.deepmd.learning_rate_stop")
    elif rate is not None and every is not None:
        decay, interval = book.number(*rate) or 1.0, book.number(*every) or 1.0
        stop = float(f"{start * math.pow(decay, steps / interval):.6g}")
        said = f"{book.file}: decay_rate = {decay:g} every {interval:g} steps, after all steps"
        for one in (rate, every):
            book.take(one, "study.toml: models.deepmd.learning_rate_stop")
    table.add("learning_rate_stop", stop, said)
    if every is not None and not book.entered(every):
        book.leave(every, "ilforge lets the rate decay in a hundred parts of the training, at most 5000 steps each")
    if rate is not None and not book.entered(rate):
        book.leave(rate, "stop_lr takes its place")
    return float(start)


def _prefactors(book: Book, table: Table) -> None:
    for key, name, default in _PREFACTORS:
        ends = []
        said = []
        for end, value in zip(("start", "limit"), default, strict=True):
            path = _at(book, (f"loss.{end}_{name}", f"{end}_{name}"))
            ends.append(value if path is None else book.number(*path) or 0.0)
            if path is not None:
                said.append(".".join(map(str, path)))
                book.take(path, f"study.toml: models.deepmd.{key}")
        table.add(key, ends, f"{book.file}: {', '.join(said)}" if said else _SAID)


def _again(book: Book, table: Table, steps: int, start: float) -> None:
    """Training after an iteration: from the models before (``training_reuse_*``), or from the start."""
    reuse = book.get("training_reuse_iter") is not None or bool(book.get("training_init_model"))
    numb = next((key for key in ("training_reuse_numb_steps", "training_reuse_stop_batch") if book.has(key)), None)
    share, said = 1.0, "DP-GEN trains as many steps in every iteration"
    if reuse and numb is not None and (again := book.whole(numb)):
        share, said = min(1.0, max(again / steps, 1e-6)), f"{book.file}: {numb} = {again} of {steps} steps"
        book.take((numb,), "study.toml: models.deepmd.retrain_fraction")
        if again > steps:
            book.leave((numb,), "training again takes at most as many steps as the first training")
    table.add("retrain_fraction", share, said)
    rate, said = start, "the same as in the first training"
    if reuse and (found := book.number("training_reuse_start_lr")):
        rate, said = found, f"{book.file}: training_reuse_start_lr"
        book.take(("training_reuse_start_lr",), "study.toml: models.deepmd.retrain_learning_rate_start")
    table.add("retrain_learning_rate_start", rate, said)
    for key in ("training_reuse_iter", "training_init_model"):
        book.leave((key,), "ilforge trains on from the models of the iteration before, in every iteration")
    for key in ("training_reuse_numb_steps", "training_reuse_stop_batch", "training_reuse_start_lr"):
        if not book.entered((key,)):
            book.leave((key,), "DP-GEN uses it only where training_reuse_iter or training_init_model is given")


def _explain(book: Book) -> None:
    for key, why in _OF_FILE.items():
        book.leave((key,), why)
    if not book.entered(_path("learning_rate.type")):
        book.leave(_path("learning_rate.type"), "the rate of ilforge decays exponentially")
    if book.get(PARAM, "loss", "type") == "ener":
        book.take(_path("loss.type"), "the same in ilforge: ener")
    for path in leaves(book.get(PARAM), (PARAM,)):
        if not book.entered(path) and (reason := _OF_DEEPMD.get(str(path[-1]))):
            book.leave(path, reason)


_FILES = "a file or a message of `dp train`; ilforge writes its own"
_OF_DEEPMD = {
    "sel": "ilforge counts the neighbours in the labels, and leaves room for 1.3 times as many",
    "sel_a": "ilforge counts the neighbours in the labels, and leaves room for 1.3 times as many",
    "seed": "each model of a committee has a seed of its own, derived from that of the study",
    "resnet_dt": "DeePMD's default in the embedding; true in the fitting net",
    "filter_resnet_dt": "DeePMD's default",
    "type_map": "elements follow from the ions",
    "set_prefix": _FILES, "systems": "labels of the study; those of DP-GEN are in labels.xyz",
    "activation_function": "networks have tanh", "use_smooth": "descriptors are smooth",
    "coord_norm": "a setting of DeePMD-kit 0.12", "type_fitting_net": "a setting of DeePMD-kit 0.12",
    "disp_file": _FILES, "disp_freq": _FILES, "numb_test": _FILES, "save_freq": _FILES, "save_ckpt": _FILES,
    "load_ckpt": _FILES, "disp_training": _FILES, "time_training": _FILES, "profiling": _FILES,
    "profiling_file": _FILES, "tensorboard": _FILES, "tensorboard_log_dir": _FILES, "tensorboard_freq": _FILES,
}  # fmt: skip
_FROM_FILES = "models of a study are trained from scratch; MACE can be fine-tuned from a file (start)"
_OF_FILE = {
    "mlp_engine": "models are DeePMD and MACE",
    "train_backend": "ilforge trains DeePMD with TensorFlow",
    "train_param": "the name of a file of `dp train`",
    "training_iter0_model_path": _FROM_FILES,
    "training_init_frozen_model": _FROM_FILES,
    "training_finetune_model": _FROM_FILES,
    "training_reuse_old_ratio": "old and new labels have the same weight",
    "training_reuse_start_pref_e": "prefactors are those of the first training",
    "training_reuse_start_pref_f": "prefactors are those of the first training",
    "model_devi_activation_func": "the models of a committee differ only in their seed",
    "dp_compress": "ilforge compresses models for MD by itself",
    "dp_train_skip_neighbor_stat": "ilforge counts the neighbours in the labels",
    "srtab_file_path": "DeePMD models of ilforge have no table of a short-range potential",
    "one_h5": "ilforge writes the files of a training itself",
    "use_atom_pref": "all atoms have the same weight",
}

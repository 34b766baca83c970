"""Fine-tuning of MACE: energies of the start model are aligned with the labels before anything is learned.

Total energies of two methods differ by electron volts for each atom. A training that begins with that difference spends
its first epochs on it and forgets what the start model knew. So the zero of the start model is moved first, element by
element, by one of

``fit``
    the least-squares solution of smallest norm of :math:`E_\\text{label} - E_\\text{start} = \\sum_z n_z \\delta_z`
    over the training frames, where :math:`n_z` is the number of atoms of element z. Where all frames have one
    composition the split between elements is not determined by the data; sums over compositions like those of training
    are.
``isolated atoms``
    energies of isolated atoms by the reference method in the place of those of the start model.

The aligned model is written to a file, because MACE 0.3.16 copies the energies of the start model over those that it
is given on the command line whenever the elements of both are the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from ilforge import files, frames
from ilforge.arrays import Floats
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.potentials.learned.mace import Mace

REPORT, START = "tuning.json", "start.model"
HEAD = "Default"
"""The one head of the model: replayed frames and labels share it."""
_LARGEST_OFFSET = 0.3  # eV/atom; cohesive energies by two density functionals differ by less
_DIGITS = 6  # of shifts, eV


@dataclass(frozen=True)
class Alignment:
    """How the zero of a start model was moved.

    Attributes
    ----------
    by
        ``"fit"`` or ``"isolated atoms"``.
    shift_eV
        What was added to the energy of each atom, by element.
    offset_eV_atom
        Mean of label minus start model before, over the training frames.
    residual_eV_atom, spread_eV_atom
        Mean and standard deviation of the same after it.
    """

    by: str
    shift_eV: dict[str, float]
    offset_eV_atom: float
    residual_eV_atom: float
    spread_eV_atom: float


def per_element(labelled: Sequence[Atoms], totals: ArrayLike, elements: Sequence[str]) -> dict[str, float]:
    """Energy of each element, eV: the least-squares solution of smallest norm for the totals of these frames, eV."""
    counts = np.array([[frame.get_chemical_symbols().count(z) for z in elements] for frame in labelled], dtype=float)
    solution = np.linalg.lstsq(counts, np.asarray(totals), rcond=1e-8)[0]
    return dict(zip(elements, solution.tolist(), strict=True))


def fitted_shift(labelled: Sequence[Atoms], energies: ArrayLike, elements: Sequence[str]) -> dict[str, float]:
    """The shift of each element, eV, that fits energies of a start model, eV, to the labels of these frames."""
    offsets = np.array([frame.info[frames.ENERGY] for frame in labelled]) - np.asarray(energies)
    fitted = per_element(labelled, offsets, elements)
    return {element: round(shift, _DIGITS) for element, shift in fitted.items()}


def align(
    start: Path,
    sha256: str,
    labelled: Sequence[Atoms],
    elements: Sequence[str],
    isolated_atoms: Mapping[str, float] | None,
    out: Path,
    threads: int = 1,
) -> Alignment:
    """Write the start model with its energies aligned to the labels.

    Parameters
    ----------
    start, sha256
        The model file and its digest.
    labelled
        Training frames.
    elements
        Of all frames that the model is to know.
    isolated_atoms
        Energies by the reference method, eV; None for a fit.
    out
        The file to write.

    Raises
    ------
    SettingsError
        When the start model lacks an element or has several heads, or energies of isolated atoms leave a large offset.
    """
    potential = Mace(start, sha256)
    model = potential.torch_model()
    known = [chemical_symbols[int(z)] for z in model.atomic_numbers]
    lacking = sorted(set(elements) - set(known))
    if lacking:
        raise SettingsError(
            f"The start model {start} does not know {', '.join(lacking)}; it knows {', '.join(known)}. Fine-tuning "
            "adds no elements: start from a model that has them, or train from scratch."
        )
    energies = np.array([energy for energy, _ in _computed(potential.calculator(threads=threads), labelled)])
    own = _atom_energies(model, start)
    if isolated_atoms is None:
        shift = fitted_shift(
            labelled, energies, sorted({s for frame in labelled for s in frame.get_chemical_symbols()})
        )
    else:
        shift = {z: round(isolated_atoms[z] - own[known.index(z)], _DIGITS) for z in elements}
    found = _alignment("fit" if isolated_atoms is None else "isolated atoms", labelled, energies, shift)
    if isolated_atoms is not None and abs(found.residual_eV_atom) > _LARGEST_OFFSET:
        raise SettingsError(
            f'atom_energies = "isolated atoms" leaves the energies of the start model {found.residual_eV_atom:+.2f} '
            "eV/atom from the labels: its own are not counted from isolated atoms. Write atom_energies = "
            '"fit".'
        )
    _write_shifted(model, known, shift, out)
    return found


def replayed(aligned: Path, asked: Sequence[Atoms], threads: int = 1) -> list[Atoms]:
    """Frames of other liquids with energies and forces of the aligned start model as their labels.

    Raises
    ------
    SettingsError
        When the model cannot compute one.
    """
    if not asked:
        return []
    calculator = Mace(aligned, files.file_digest(aligned)).calculator(threads=threads)
    try:
        answers = list(_computed(calculator, asked))
    except Exception as error:  # an element that it lacks, or a calculator's own
        raise SettingsError(f"The start model cannot compute a frame of replay: {error}") from error
    kept = []
    for frame, (energy, forces) in zip(asked, answers, strict=True):
        copy = frame.copy()
        copy.info.pop(frames.STRESS, None)  # of another method
        copy.info[frames.ENERGY], copy.arrays[frames.FORCES] = energy, forces
        kept.append(copy)
    return kept


def write_report(directory: Path, alignment: Alignment, sha256: str, frozen: str, replay: int) -> None:
    """Write ``tuning.json``: how energies were aligned, what is frozen, how many frames are replayed in which head."""
    told = {**asdict(alignment), "start_sha256": sha256, "frozen": frozen, "replay_frames": replay, "head": HEAD}
    files.write_text(directory / REPORT, json.dumps(told, indent=1, sort_keys=True))


def read_report(directory: Path) -> dict[str, Any] | None:
    """What :func:`write_report` wrote; None where a training did not start from another model."""
    path = Path(directory) / REPORT
    return json.loads(path.read_text()) if path.is_file() else None


def note(directory: Path) -> str:
    """How a model was fine-tuned, in a sentence; nothing where it was trained from scratch."""
    told = read_report(directory)
    if told is None:
        return ""
    by = "a least-squares fit to the labels" if told["by"] == "fit" else "isolated atoms by the reference method"
    text = (
        f"Fine-tuned from {told['start_sha256'][:12]}: energies aligned by {by} ({told['offset_eV_atom']:+.3f} eV/atom "
        f"before, {told['residual_eV_atom']:+.4f} after)"
    )
    if told["frozen"] != "nothing":
        text += f"; frozen up to {told['frozen']}"
    if told["replay_frames"]:
        text += f"; {told['replay_frames']} frames replayed in head {told['head']}, labelled by the start model"
    return text + "."


def require_replay(log: str, labels: int, replay: int) -> None:
    """Refuse a training whose log says that it did not see the labels and all replayed frames in one head.

    Raises
    ------
    DidNotFinish
        Says what was asked for and what the log says.
    """
    heads = re.findall(r"Using heads: \[(.*)\]", log)
    counts = re.findall(r"Total number of configurations: train=(\d+)", log)
    seen, head = (int(counts[-1]) if counts else None), (heads[-1] if heads else "none")
    if seen != labels + replay or head != f"'{HEAD}'":
        raise DidNotFinish(
            f"Replay is off: {labels} labels and {replay} replayed frames were to be trained on in head {HEAD}, but "
            f"MACE says {seen} frames and head {head}"
        )


def _alignment(by: str, labelled: Sequence[Atoms], energies: np.ndarray, shift: Mapping[str, float]) -> Alignment:
    sizes = np.array([len(frame) for frame in labelled])
    before = (np.array([frame.info[frames.ENERGY] for frame in labelled]) - energies) / sizes
    added = np.array([sum(shift[symbol] for symbol in frame.get_chemical_symbols()) for frame in labelled]) / sizes
    after = before - added
    return Alignment(by, dict(shift), float(before.mean()), float(after.mean()), float(after.std()))


def _computed(calculator: Calculator, asked: Iterable[Atoms]) -> Iterator[tuple[float, Floats]]:
    """Energy, eV, and forces, ``(n_atoms, 3)`` eV/Å, of each frame."""
    for frame in asked:
        calculator.calculate(frame.copy(), ["energy", "forces"])
        yield float(calculator.results["energy"]), np.array(calculator.results["forces"], dtype=float)


def _atom_energies(model: Any, path: Path) -> Floats:
    """Energies of isolated atoms in a model, eV, in the order of its elements."""
    found: Floats = model.atomic_energies_fn.atomic_energies.detach().double().numpy()
    if found.ndim > 1 and len(found) > 1:
        raise SettingsError(f"The start model {path} has {len(found)} heads; only models with one can be fine-tuned.")
    return found.reshape(-1)


def _write_shifted(model: Any, known: Sequence[str], shift: Mapping[str, float], out: Path) -> None:
    import torch

    added = torch.tensor([shift.get(element, 0.0) for element in known], dtype=torch.float64)
    energies = model.atomic_energies_fn.atomic_energies
    energies.copy_((energies.double() + added).to(energies.dtype))
    with files.replacing(out) as partial:
        torch.save(model, partial)

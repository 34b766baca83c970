"""Fine-tuning of MACE: its energies are aligned (:mod:`ilforge.training.alignment`), and frames can be replayed.

The aligned model is written to a file, because MACE 0.3.16 overwrites energies from the command line with those of the
start model if the elements of both are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from ilforge import files, frames
from ilforge.arrays import Floats
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.potentials.learned.mace import Mace
from ilforge.training.alignment import Alignment, alignment_by, fitted_shift, read_report, words
from ilforge.training.alignment import write_report as keep_report

START = "start.model"
HEAD = "Default"
"""The only head of the model; replayed frames and labels share it."""
_LARGEST_OFFSET = 0.3  # eV/atom; cohesive energies by two density functionals differ by less


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
        Elements of all frames that the model must know.
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
        shift = {z: round(isolated_atoms[z] - own[known.index(z)], 6) for z in elements}
    found = alignment_by("fit" if isolated_atoms is None else "isolated atoms", labelled, energies, shift)
    if isolated_atoms is not None and abs(found.residual_eV_atom) > _LARGEST_OFFSET:
        raise SettingsError(
            f'atom_energies = "isolated atoms" leaves the energies of the start model {found.residual_eV_atom:+.2f} '
            "eV/atom from the labels: they are not relative to isolated atoms. Write atom_energies = "
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
    except Exception as error:  # an unknown element, or an error of the calculator
        raise SettingsError(f"The start model cannot compute a frame of replay: {error}") from error
    kept = []
    for frame, (energy, forces) in zip(asked, answers, strict=True):
        copy = frame.copy()
        copy.info.pop(frames.STRESS, None)  # labels of another method
        copy.info[frames.ENERGY], copy.arrays[frames.FORCES] = energy, forces
        kept.append(copy)
    return kept


def write_report(directory: Path, alignment: Alignment, sha256: str, frozen: str, replay: int) -> None:
    """Write ``tuning.json``: how energies were aligned, what is frozen, how many frames are replayed in which head."""
    keep_report(directory, alignment, start_sha256=sha256, frozen=frozen, replay_frames=replay, head=HEAD)


def note(directory: Path) -> str:
    """A sentence about the fine-tuning of a model; empty if it was trained from scratch."""
    told = read_report(directory)
    if told is None:
        return ""
    text = words(told)
    if told["frozen"] != "nothing":
        text += f"; frozen up to {told['frozen']}"
    if told["replay_frames"]:
        text += f"; {told['replay_frames']} frames replayed in head {told['head']}, labelled by the start model"
    return text + "."


def require_replay(log: str, labels: int, replay: int) -> None:
    """Refuse a training if its log does not confirm that it used the labels and all replayed frames in one head.

    Raises
    ------
    DidNotFinish
        The message gives the requested numbers and those of the log.
    """
    heads = re.findall(r"Using heads: \[(.*)\]", log)
    counts = re.findall(r"Total number of configurations: train=(\d+)", log)
    seen, head = (int(counts[-1]) if counts else None), (heads[-1] if heads else "none")
    if seen != labels + replay or head != f"'{HEAD}'":
        raise DidNotFinish(
            f"Replay is off: {labels} labels and {replay} replayed frames were to be trained on in head {HEAD}, but "
            f"MACE says {seen} frames and head {head}"
        )


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

"""Whole steps in one call each, as the commands make them: run a study, train a model, validate a potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilforge.errors import IlforgeError

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Console

    from ilforge.labelling.datasets.dataset import Dataset
    from ilforge.liquid.liquid import Liquid
    from ilforge.results import Estimate, Record
    from ilforge.study import load
    from ilforge.study.machine import Machine

STOP_FRACTION = 0.1
"""Share of the labelled frames that a training is watched on."""


@dataclass(frozen=True)
class Study:
    """A study file and the machine that it runs on.

    >>> study = Study.load("study.toml")
    >>> report = study.run() / "report.html"
    >>> densities = [record for record in study.records() if record.quantity == "density"]

    Attributes
    ----------
    checked
        The study file as it was read, every key checked.
    machine
        Workers, threads, devices, and the folders of results and reports.
    """

    checked: load.Study
    machine: Machine

    @classmethod
    def load(
        cls,
        path: str | Path,
        machine: str | Path | None = None,
        store: str | Path | None = None,
        output: str | Path | None = None,
    ) -> Study:
        """Read and check a study file.

        Parameters
        ----------
        machine
            ``machine.toml``; without it the one beside the study, else the user's own, else the defaults.
        store, output
            Folder of results and labels, and folder of reports, in place of the machine's.

        Raises
        ------
        SettingsError
            Naming every key that is wrong.
        """
        from ilforge.study.load import load_study
        from ilforge.study.machine import load_machine

        checked = load_study(path)
        here = load_machine(machine, checked.folder)
        folders = {key: str(value) for key, value in (("store", store), ("output", output)) if value}
        return cls(checked, here.model_copy(update=folders))

    def run(self, quiet: bool = True, trusted: bool = False, console: Console | None = None) -> Path:
        """Compute what is missing and write the report; the same call goes on after a stop.

        Work is done by processes that begin by importing the script that calls this: a script needs
        ``if __name__ == "__main__":`` around the call.

        Parameters
        ----------
        quiet
            Show no progress.
        trusted
            Load models in the store that were not made by this user; they can run code.
        console
            Where progress is shown; without it the standard output.

        Returns
        -------
        Path
            The folder of ``report.html``, ``results.json``, ``results.csv`` and ``data``.

        Raises
        ------
        SettingsError, MissingProgram
            Before anything is computed, where that can be known.
        IlforgeError
            When some work failed; what does not depend on it is done, and kept.
        """
        from rich.console import Console

        from ilforge.workflow.study_run import run_study

        outcome, folder = run_study(self.checked, self.machine, console or Console(), quiet, trusted)
        if not outcome.complete:
            lines = [f"  - {stage.name}: {error}" for stage, error in outcome.failed]
            waiting = f"\n{len(outcome.blocked)} stages wait for these." if outcome.blocked else ""
            raise IlforgeError("Some work failed:\n" + "\n".join(lines) + waiting)
        return folder

    def records(self) -> list[Record]:
        """Every number that is finished, with its error; results that are damaged are left out."""
        from ilforge.workflow.study_run import study_records

        return study_records(self.checked, self.machine)[0]


def run(study: Study | str | Path) -> Path:
    """Run a study, or the study in a file: see :meth:`Study.run`."""
    return (study if isinstance(study, Study) else Study.load(study)).run()


def train(
    labelled: Dataset | Sequence[Atoms],
    kind: str = "mace",
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    directory: str | Path = "model",
    threads: int = 1,
) -> Path:
    """Train a model on labelled frames.

    Parameters
    ----------
    labelled
        Frames with labels, of which a tenth is set aside to watch the training on; or both parts of a dataset.
    kind
        ``"mace"`` or ``"deepmd"``.
    settings
        Keys of this kind of model in a study file; without any ``{"preset": "quick"}``. ``start`` is the path of a
        model file here, beside its digest ``start_sha256``: the model is fine-tuned.
    seed
        Of the split and of the training.
    directory
        Folder to train in, of which ilforge takes possession: new, or empty, or of an earlier training.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    SettingsError
        For a kind or a key that is not there, or frames without labels.
    MissingProgram
        When the packages of this kind of model are not installed; names the extra that brings them.
    """
    from ilforge.folders import claim
    from ilforge.labelling.datasets.dataset import Dataset, split
    from ilforge.settings_file import check_settings
    from ilforge.training import TRAINERS, Tuning
    from ilforge.training import train as train_model

    keys = {"kind": kind, **(settings or {"preset": "quick"})}
    checked = check_settings(TRAINERS.named(kind).settings, keys, "settings")
    dataset = labelled if isinstance(labelled, Dataset) else split(labelled, STOP_FRACTION, seed)
    start, tuning = None, None
    if checked.start is not None:
        start, tuning = Path(checked.start), Tuning(checked.start_sha256 or "")
    folder = claim(Path(directory), "directory")
    return train_model(dataset, checked, seed, folder, threads, start_from=start, tuning=tuning)


def validate(
    potential: Mapping[str, Any],
    labelled: Sequence[Atoms],
    liquid: Liquid | None = None,
    *,
    seed: int = 1,
    threads: int = 1,
) -> list[tuple[str, str | None, str, Estimate]]:
    """Errors of a potential's energies and forces on labelled frames, each with its own error.

    Parameters
    ----------
    potential
        As :func:`ilforge.create` takes it: ``{"kind": "clp", "cutoff_A": 4.0}``.
    liquid
        What the frames are made of; without it their ``ions`` say so.
    seed
        Of the bootstrap.

    Returns
    -------
    list
        ``(quantity, element or None, dataset, Estimate)``; a dataset is a kind of frame, or ``"all"``.

    Raises
    ------
    SettingsError
        When there are no frames, or one has no label.
    """
    import numpy as np

    from ilforge.training.validation import errors, predict

    return errors(predict(potential, labelled, liquid, threads), np.random.default_rng(seed))

"""The main commands as functions: run a study, train a model, validate a potential."""

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
"""Share of the labelled frames for early stopping."""


@dataclass(frozen=True)
class Study:
    """A study file and the machine that it runs on.

    >>> study = Study.load("study.toml")
    >>> report = study.run() / "report.html"
    >>> densities = [record for record in study.records() if record.quantity == "density"]

    Attributes
    ----------
    checked
        The study file, with every key checked.
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
            ``machine.toml``; by default the one beside the study, else the user's own, else the default values.
        store, output
            Folder of results and labels, and folder of reports, instead of those in ``machine.toml``.

        Raises
        ------
        SettingsError
            With all faults; the message names every wrong key.
        """
        from ilforge.study.load import load_study
        from ilforge.study.machine import load_machine

        checked = load_study(path)
        here = load_machine(machine, checked.folder)
        folders = {key: str(value) for key, value in (("store", store), ("output", output)) if value}
        return cls(checked, here.model_copy(update=folders))

    def run(self, quiet: bool = True, trusted: bool = False, console: Console | None = None) -> Path:
        """Compute missing results and write the report; after a stop, the same call continues.

        The work is done by processes that first import the calling script. Therefore a script needs
        ``if __name__ == "__main__":`` around the call.

        Parameters
        ----------
        quiet
            Show no progress.
        trusted
            Also load models in the store that this user did not make; they can run code.
        console
            Console for the progress; by default the standard output.

        Returns
        -------
        Path
            The folder of ``report.html``, ``results.json``, ``results.csv`` and ``data``.

        Raises
        ------
        SettingsError, MissingProgram
            Before anything is computed, if possible.
        IlforgeError
            When some work failed; all work that does not depend on it has been done and is kept.
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
        """All finished numbers with their errors; damaged results are left out."""
        from ilforge.workflow.study_run import FinishedStudy

        return FinishedStudy(self.checked, self.machine).records()


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
        Frames with labels, of which a tenth is used for early stopping; or a dataset with both parts.
    kind
        ``"mace"``, ``"deepmd"``, or another kind of ``[models]``.
    settings
        Keys of this kind of model in a study file; by default ``{"preset": "quick"}``. ``start`` is the path of a
        model file here, beside its digest ``start_sha256``, or the name of a pretrained potential
        (``"sevennet"``): the model is fine-tuned.
    seed
        Seed of the split and of the training.
    directory
        Folder for the training, which ilforge may empty: it must be new, empty, or from an earlier training.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    SettingsError
        For an unknown kind or key, or frames without labels.
    MissingProgram
        When the packages of this kind of model are not installed; the message names the extra to install.
    """
    from ilforge.folders import claim
    from ilforge.labelling.datasets.dataset import Dataset, split
    from ilforge.potentials import known_names
    from ilforge.settings_file import check_settings
    from ilforge.training import TRAINERS, Tuning
    from ilforge.training import train as train_model

    keys = {"kind": kind, **(settings or {"preset": "quick"})}
    checked = check_settings(TRAINERS.named(kind).settings, keys, "settings")
    dataset = labelled if isinstance(labelled, Dataset) else split(labelled, STOP_FRACTION, seed)
    start: Any = None
    tuning = None
    if checked.start is not None:
        trainer, given = TRAINERS[checked.kind], known_names().get(checked.start)
        named = given is not None and given["kind"] == trainer.potential
        start = trainer.start_of(given) if given is not None and named else Path(checked.start)
        tuning = Tuning(checked.start_sha256 or "")
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
    """Errors of a potential's energies and forces on labelled frames, with standard errors.

    Parameters
    ----------
    potential
        As :func:`ilforge.create` takes it: ``{"kind": "clp", "cutoff_A": 4.0}``.
    liquid
        Ions of the frames; by default those named in ``ions`` of each frame.
    seed
        Seed of the bootstrap.

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

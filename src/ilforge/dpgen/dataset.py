"""DP-GEN's labels as the dataset of a study, on the user's word that they are by the method of its ``[reference]``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilforge import potentials
from ilforge.dpgen.labels import MovedLabels
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.dataset import parent_of
from ilforge.labelling.datasets.published import Entry, Published
from ilforge.labelling.datasets.publishing import publish
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import Label
from ilforge.study.load import Study
from ilforge.workflow.steps.structures import reference_spec

_VALIDATION = 0.1  # share of the frames


def write_dataset(directory: Path, study: Study, moved: MovedLabels, gate: GateSettings) -> Published:
    """Write the accepted labels as a dataset with the method of the study's reference.

    Parameters
    ----------
    study
        The study that names the dataset.

    Raises
    ------
    SettingsError
        When all labels are of one system, so that none can validate.
    MissingProgram
        When the program of the reference is not here: its version is part of the method.
    """
    reference = potentials.create(reference_spec(study))
    method, settings = reference.describe(), potentials.settings(reference)
    reasons = {refusal.source: refusal.reason for refusal in moved.refusals}
    now = time.time()
    labels = [replace(label, method=method, host="DP-GEN", time=now) for label in moved.labels]
    usable = [label for label in labels if label.energy is not None]
    validating = _validating(usable)
    entries = [
        Entry(
            label,
            "validation" if parent_of(label.frame) in validating else "training",
            reasons.get(label.frame.info["source"]),
        )
        for label in usable
    ]
    potential = study.settings.potential(study.settings.reference.potential)
    return publish(
        directory,
        f"{study.settings.name}-dpgen",
        entries,
        title=f"{potential.title}, by DP-GEN",
        settings=settings,
        study=study.text,
        gate=gate,
        isolated_atoms={},
        programs={},
    )


def _validating(labels: Sequence[Label]) -> frozenset[str]:
    """Systems that validate: drawn by chance until they hold a tenth of the frames of each composition."""
    chosen: set[str] = set()
    for ions in sorted({str(label.frame.info["ions"]) for label in labels}):
        parents = [parent_of(label.frame) for label in labels if label.frame.info["ions"] == ions]
        names = sorted(set(parents))
        if len(names) < 2:
            raise SettingsError(
                f"--same-method: all labels of {ions} are of one system, {names[0]}, and the frames that validate a "
                "model must be of another one. Leave the option out, and train on labels.xyz with `ilforge train`."
            )
        held = 0
        for name in np.random.default_rng(1).permutation(names)[: len(names) - 1]:
            if held >= _VALIDATION * len(parents):
                break
            chosen.add(str(name))
            held += parents.count(str(name))
    return frozenset(chosen)

"""Write ``models/NAME/`` beside the report for every model: its file, digest, card, and files that run it.

::

    models/tuned/
      model.model       the model (of a committee the first; the others are model-2.model, ...)
      SHA256            its digest, as ``sha256sum -c SHA256`` reads it
      README.md         the card: what it was trained on, its errors, whether it holds the liquid, limits, licence
      frame.xyz         a frame of the liquid to try it on, and frame.data, the same for LAMMPS
      run_ase.py, ...   a few lines for other programs, which run as they are
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import files, frames
from ilforge.errors import SettingsError
from ilforge.folders import replacing_folder
from ilforge.results import Record
from ilforge.training import TRAINERS
from ilforge.workflow.model_card import CARD, card_text
from ilforge.workflow.plan import Plan
from ilforge.workflow.records import collect_records
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.store import ResultStore, read_manifest

FOLDER, DIGESTS, FRAME, DATA = "models", "SHA256", "frame.xyz", "frame.data"


def hand_over(plan: Plan, store: ResultStore, folder: Path) -> list[str]:
    """Write the folder ``models`` of a study's output folder; returns the names of the models in it.

    All trained models of the last iteration are written, except those that this user neither made nor trusts.
    """
    members = {name: plan.trained.get((plan.last_iteration, name), []) for name in plan.study.settings.models}
    ready = {name: stages for name, stages in members.items() if stages and _all_trusted(store, stages)}
    if not ready:
        return []
    records = collect_records(plan, store)
    with replacing_folder(folder / FOLDER) as partial:
        for name, stages in ready.items():
            (partial / name).mkdir()
            _hand_over_one(plan, store, records, name, stages, partial / name)
    return list(ready)


def _hand_over_one(
    plan: Plan, store: ResultStore, records: Sequence[Record], name: str, members: Sequence[Stage], folder: Path
) -> None:
    kind = TRAINERS[members[0].kind]
    digests = {}
    for number, stage in enumerate(members, 1):
        plain, dot, suffixes = kind.file.partition(".")
        target = kind.file if number == 1 else f"{plain}-{number}{dot}{suffixes}"
        shutil.copyfile(store.path(stage) / kind.file, folder / target)
        digests[target] = read_manifest(store.path(stage))["files"][kind.file]
    if kind.keys_file and (store.path(members[0]) / kind.keys_file).is_file():
        shutil.copyfile(store.path(members[0]) / kind.keys_file, folder / kind.keys_file)
    files.write_text(folder / DIGESTS, "".join(f"{digest}  {file}\n" for file, digest in digests.items()))
    frame = _frame(plan, store)
    snippets = {} if frame is None else _snippets(plan, name, frame, digests[kind.file], kind.keys(folder))
    if frame is not None and snippets:
        _write_frame(frame, folder)
    for file, text in snippets.items():
        files.write_text(folder / file, text)
    files.write_text(folder / CARD, card_text(plan, store, records, name, digests, snippets))


def _all_trusted(store: ResultStore, stages: Sequence[Stage]) -> bool:
    """Whether all are finished, undamaged, and made or trusted by this user. Only then are their digests passed on."""
    try:
        return all(store.holds(stage) and bool(store.require_trusted(stage)) for stage in stages)
    except SettingsError:
        return False


def _frame(plan: Plan, store: ResultStore) -> Atoms | None:
    """The first validation frame, without its labels; None if there is none yet."""
    for stage in plan.labels_for("validation").values():
        if store.holds(stage):
            found = frames.read(store.path(stage) / ACCEPTED)
            if found:
                bare = Atoms(found[0].numbers, found[0].positions, cell=found[0].cell, pbc=found[0].pbc)
                bare.info["ions"] = found[0].info["ions"]
                return bare
    return None


def _snippets(plan: Plan, name: str, frame: Atoms, sha256: str, keys: Mapping[str, Any]) -> dict[str, str]:
    """Files that run a model, by name. Those that look ions up by name are left out where the study defines its own.

    ``keys`` are those of the potential beside its file.
    """
    settings = plan.study.settings
    model = settings.models[name]
    kind = TRAINERS[model.kind]
    words: dict[str, Any] = {
        "file": kind.file,
        "sha256": sha256,
        "elements": " ".join(sorted(set(frame.get_chemical_symbols()))),
        "dtype": getattr(model, "dtype", "float64"),
        "temperature_K": f"{settings.liquid.temperature_K:g}",
        "spec": json.dumps({"kind": kind.potential, "path": kind.file, "sha256": sha256, **keys}),
        "added": "add {dispersion} of {functional}".format(**keys)
        if "dispersion" in keys
        else "nothing is to be added",
    }
    return {
        file: text.format(**words)
        for file, text in kind.snippets.items()
        if not (settings.liquid.define and file in kind.snippets_by_ion_name)
    }


def _write_frame(frame: Atoms, folder: Path) -> None:
    import ase.io

    frames.write(folder / FRAME, [frame])
    order = sorted(set(frame.get_chemical_symbols()))
    with files.replacing(folder / DATA) as partial:
        ase.io.write(partial, frame, format="lammps-data", specorder=order, masses=True, atom_style="atomic")

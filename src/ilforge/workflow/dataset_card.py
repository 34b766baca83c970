"""The card of a dataset, ``README.md``: what is in it, how it was made, what it cost, its limits, how to cite it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ase import Atoms

from ilforge import potentials
from ilforge.frames import density_g_cm3
from ilforge.labelling.datasets.published import PURPOSES, STUDY, Published
from ilforge.potentials import POTENTIALS
from ilforge.report.citations import works_on
from ilforge.study.load import load_study
from ilforge.workflow.steps.structures import sampling_spec

CARD = "README.md"
NO_LICENCE = "Its authors have not stated one yet: ask them before you use it."


def card_text(dataset: Published, licence: str = "", note: str = "") -> str:
    """The card in Markdown, from the manifest and the frames.

    Parameters
    ----------
    licence
        What others may do with the labels, one sentence.
    note
        What else a reader must know, above all whether the dataset is finished.
    """
    accepted = {purpose: dataset.frames(purpose) for purpose in PURPOSES}
    sections = {
        "What is in it": _content(accepted),
        "How it was made": _method(dataset),
        "What it cost": [f"{dataset.manifest['wall_h']:,.1f} h of computing, finished {_date(dataset)}."],
        "Limits": _limits(dataset),
        "How to read it": _reading(dataset),
        "Licence": [licence or NO_LICENCE],
        "What to cite": [f"- {work}" for work in (f"ilforge {_version(dataset)}.", *_works(dataset))],
    }
    lines = [
        f"# {dataset.name}",
        "",
        f"{_total(accepted):,} labels of {_liquids(dataset)} by {dataset.manifest['title']}.",
    ]
    lines += ["", note] if note else []
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _content(accepted: dict[str, list[Atoms]]) -> list[str]:
    """A table of sets, compositions and recipes, with the densities of their boxes."""
    lines = ["| set | made of | atoms | density, g/cm³ | frames | of these |", "|---|---|---|---|---|---|"]
    for purpose, members in accepted.items():
        for ions in sorted({frame.info["ions"] for frame in members}):
            of = [frame for frame in members if frame.info["ions"] == ions]
            kinds = Counter(f"{frame.info['kind']} {frame.info['recipe']}" for frame in of)
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            low, high = _extremes(of)
            lines.append(f"| {purpose} | {ions} | {len(of[0])} | {low:.2f} to {high:.2f} | {len(of)} | {listed} |")
    return [*lines, "", "EQ: from MD at equilibrium. nEQ: all others. Training and validation share no box."]


def _extremes(members: Iterable[Atoms]) -> tuple[float, float]:
    densities = [density_g_cm3(frame) for frame in members]
    return min(densities), max(densities)


def _method(dataset: Published) -> list[str]:
    gate = dataset.manifest["gate"]
    method = ", ".join(f"{key} {value}" for key, value in sorted(dataset.method.items()))
    lines = [
        f"`study.toml` says how the frames were sampled; `ilforge run study.toml` makes them and the labels again. The "
        f"method: {method}.",
        "",
        f"A label is accepted when it converged, its net force is below {gate['max_net_force_eV_A']:g} eV/Å, no force "
        f"is above {gate['max_force_eV_A']:g} eV/Å, every molecule has its bonds, and its energy is not far from those "
        "of its recipe. Refused labels and their reasons are in `rejected.xyz.gz`.",
    ]
    atoms = dataset.isolated_atoms
    if atoms:
        listed = ", ".join(f"{element} {energy:.4f}" for element, energy in sorted(atoms.items()))
        lines += ["", f"Energies of isolated atoms by the same method, eV: {listed}."]
    return lines


def _limits(dataset: Published) -> list[str]:
    manifest = dataset.manifest
    refused = sum(sum(reasons.values()) for reasons in manifest["rejected"].values())
    sides = ", ".join(f"{side:.1f} Å for {ions}" for ions, side in manifest["smallest_side_A"].items())
    stress = "with" if dataset.method.get("stress") else "no"
    return [
        f"- Energies and forces, {stress} stress.",
        f"- Small boxes, whose shortest sides are {sides}: a potential with a longer range sees periodic images.",
        f"- {refused} labels were refused and are not among those above.",
        *([] if dataset.isolated_atoms else ["- No energies of isolated atoms."]),
        "- A model trained on these frames is at best as accurate as this method. It is valid only for these ions and "
        "densities.",
    ]


def _reading(dataset: Published) -> list[str]:
    return [
        "```python",
        "import ase.io",
        "",
        'frames = ase.io.read("training.xyz.gz", ":", format="extxyz")',
        'frames[0].info["REF_energy"], frames[0].arrays["REF_forces"]  # eV, eV/Å',
        "```",
        "",
        f'or `ilforge.Dataset.open("{dataset.name}").frames("training")`; in a study, `dataset = "{dataset.name}"`. To '
        "take the labels into a store, so that no study computes them again: `ilforge import` with the path of this "
        "folder and `--store ilforge-store`.",
    ]


def _total(accepted: dict[str, list[Atoms]]) -> int:
    return sum(map(len, accepted.values()))


def _liquids(dataset: Published) -> str:
    return " and of ".join(dataset.compositions)


def _works(dataset: Published) -> tuple[str, ...]:
    """Works on what was used: the method, and the potential and the packages that made the frames."""
    sampled_by = potentials.settings(potentials.create(sampling_spec(load_study(dataset.directory / STUDY))))
    engine = POTENTIALS[sampled_by["kind"]].computes_with or ""
    return works_on((dataset.method, sampled_by), (engine, "packmol", "ase"))


def _version(dataset: Published) -> str:
    return str(dataset.manifest["programs"]["ilforge"])


def _date(dataset: Published) -> str:
    return str(dataset.manifest["finished_date"])

"""Why frames of an exploration were labelled or not: numbers by state, reasons, and advice where nothing is left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ilforge.sampling.exploration import Conditions, Exploration
from ilforge.sampling.selection import (
    ACCURATE,
    BONDS,
    CANDIDATES,
    FAILURES,
    TOO_HIGH,
    UNKNOWN_DENSITY,
    Selection,
    Window,
)

_NAMED = 3  # kinds of bonds that are named
_LEFT = {
    "boiled": "boiled",
    "collapsed": "collapsed",
    "bonds": "broke or formed a bond",
    "deviation": "reached too high a deviation",
    "exploded": "exploded",
}


def as_json(selection: Selection, window: Window) -> dict[str, Any]:
    """Contents of ``selection.json``: numbers, reasons, and the deviation of every frame by state."""
    return {
        "accurate": selection.accurate,
        "candidate": selection.candidate,
        "failed": selection.failed,
        "chosen": len(selection.frames),
        "classes": dict(selection.counts),
        "window": vars(window),
        "states": states(selection),
        "runs": [_run(number, run) for number, run in enumerate(selection.explorations)],
        "labelled": _labelled(selection),
        "advice": advice(selection, window),
    }


def states(selection: Selection) -> list[dict[str, Any]]:
    """Numbers of frames by ensemble, temperature and pressure, with the bonds that broke and how runs ended."""
    found: dict[str, dict[str, Any]] = {}
    ends = np.cumsum([len(run.frames) for run in selection.explorations])
    parts = np.split(np.array(selection.classes, dtype=object), ends[:-1]) if selection.explorations else []
    chosen = set(selection.chosen)
    for run, names, end in zip(selection.explorations, parts, ends, strict=True):
        state = found.setdefault(
            str(run.conditions),
            {**vars(run.conditions), "runs": 0, "chosen": 0, "classes": Counter(), "bonds": Counter(),
             "left": [], "deviations": []},
        )  # fmt: skip
        state["runs"] += 1
        state["chosen"] += sum(index in chosen for index in range(end - len(names), end))
        state["classes"].update(names.tolist())
        state["bonds"].update(kind for kinds in run.bonds for kind in kinds)
        state["left"] += [vars(part) for part in run.parts if part.cause != "length"]
        state["deviations"] += [float(f"{value:.6g}") if np.isfinite(value) else None for value in run.deviations]
    return list(found.values())


def conditions_of(state: dict[str, Any]) -> Conditions:
    """Ensemble, temperature and pressure of one of :func:`states`."""
    return Conditions(state["ensemble"], state["temperature_K"], state["pressure_bar"])


def in_words(state: dict[str, Any]) -> str:
    """What was found in one state: numbers of frames, why some failed, and where runs left the trusted region."""
    classes, labelled = state["classes"], state["chosen"]
    candidates = sum(classes.get(name, 0) for name in CANDIDATES)
    words = [f"{classes.get(ACCURATE, 0):,} accurate", f"{candidates:,} candidates", f"{labelled:,} to be labelled"]
    if unknown := classes.get(UNKNOWN_DENSITY):
        words[1] += f" ({unknown:,} at a density outside that of the training frames)"
    if failed := why_failed(state):
        words.append(f"failed: {failed}")
    if left := where_left(state):
        words.append(f"runs that ended early: {left}")
    return ", ".join(words)


def why_failed(state: dict[str, Any]) -> str:
    """Number of failed frames by reason, with the most frequent kinds of bonds; empty if none failed."""
    found = []
    for name in FAILURES:
        if count := state["classes"].get(name):
            kinds = sorted(state["bonds"].items(), key=lambda item: -item[1])[:_NAMED] if name == BONDS else []
            named = f" ({', '.join(kind for kind, _ in kinds)})" if kinds else ""
            found.append(f"{count:,} {name}{named}")
    return ", ".join(found)


def where_left(state: dict[str, Any]) -> str:
    """How many runs left the trusted region and how, with time and density of the first; empty if none did."""
    found = []
    for cause, how in _LEFT.items():
        parts = [part for part in state["left"] if part["cause"] == cause]
        if parts:
            density = parts[0]["density_g_cm3"]
            at = f" and {density:.2f} g/cm3" if density is not None and cause in ("boiled", "collapsed") else ""
            first = "at" if len(parts) == 1 else "the first at"
            found.append(f"{len(parts)} {how} ({first} {parts[0]['time_ps']:.3g} ps{at})")
    return ", ".join(found)


def _run(number: int, run: Exploration) -> dict[str, Any]:
    return {"run": number, "conditions": vars(run.conditions), "parts": [vars(part) for part in run.parts]}


def _labelled(selection: Selection) -> list[dict[str, Any]]:
    """For each chosen frame: its run, its number there, why it is a candidate, deviation and density."""
    places = [(number, k) for number, run in enumerate(selection.explorations) for k in range(len(run.frames))]
    found = []
    for index in selection.chosen:
        number, k = places[index]
        run = selection.explorations[number]
        density = float(run.densities[k])
        found.append(
            {
                "run": number,
                "frame": k,
                "class": selection.classes[index],
                "deviation_eV_A": float(run.deviations[k]),
                "density_g_cm3": density if np.isfinite(density) else None,
            }
        )
    return found


def advice(selection: Selection, window: Window) -> str | None:
    """If there is not one candidate and not all frames are accurate: why, and what to do, in a sentence."""
    counts, explored = selection.counts, len(selection.classes)
    if selection.candidate or (explored and selection.accurate == explored):
        return None
    if not explored:
        causes = [part.words for run in selection.explorations for part in run.parts if part.words]
        first = f" ({causes[0].rstrip('.')})" if causes else ""
        return (
            f"Every run ended before its first frame{first}: record more often (learning.interval_ps), or train the "
            "first models on more frames (sampling.training)."
        )
    why = max(FAILURES, key=lambda name: counts[name])
    verdict = f"{selection.failed:,} of {explored:,} frames failed, and no frame is a candidate"
    if why == TOO_HIGH:
        median = float(np.nanmedian(selection.deviations))
        return (
            f"{verdict}, mostly because the models differ by more than {window.high:g} eV/Å (median {median:.2g}): "
            "train the first models longer or on more frames (sampling.training), or explore at a lower temperature "
            "(learning.temperatures_K)."
        )
    if why == BONDS:
        kinds = Counter(kind for run in selection.explorations for kinds in run.bonds for kind in kinds)
        worst = kinds.most_common(1)[0][0] if kinds else BONDS
        return (
            f"{verdict}, mostly because bonds broke or formed ({worst}): add hot, packed or distorted frames to "
            "sampling.training, explore at a lower temperature (learning.temperatures_K), or record more often "
            "(learning.interval_ps)."
        )
    return (
        f"{verdict}, mostly because forces or positions are not finite: use a shorter learning.timestep_fs, or train "
        "the first models on more frames (sampling.training)."
    )

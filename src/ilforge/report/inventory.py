"""Inventory tables: frames, labels, rounds of learning, health of runs, stages, costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ilforge.report.blocks import Cell, Table
from ilforge.report.content import Cost, FrameRow, LearningRound, ReportContent, StageRow, Verdict
from ilforge.report.palette import Palette
from ilforge.report.wording import duration, number, sentence

_VERDICTS = {"sound": ("● Sound", "good"), "doubtful": ("▲ Doubtful", "doubt"), "unphysical": ("■ Unphysical", "fault")}


def frames_table(rows: Sequence[FrameRow]) -> Table:
    """Frames by set, kind and recipe, with totals."""
    head = tuple(map(Cell, ("Set", "Kind", "Recipe", "Made", "Accepted", "Rejected")))
    body = [_frame_cells(r.dataset, r.kind, r.recipe, r.made, r.accepted, sum(r.rejected.values())) for r in rows]
    if len(rows) > 1:
        made, accepted = sum(r.made for r in rows), sum(r.accepted for r in rows)
        rejected = sum(sum(r.rejected.values()) for r in rows)
        body.append(_frame_cells("All", "", "", made, accepted, rejected))
    return Table("Frames made, accepted and rejected", head, tuple(body), frozenset({3, 4, 5}))


def rejections_table(rows: Sequence[FrameRow]) -> Table | None:
    """Reasons of rejected labels, most frequent first; None if no label was rejected."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        for reason, count in row.rejected.items():
            key = (reason, row.dataset, row.recipe)
            counts[key] = counts.get(key, 0) + count
    if not counts:
        return None
    body = [
        (Cell(reason), Cell(dataset), Cell(recipe), Cell(f"{count:,}"))
        for (reason, dataset, recipe), count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    head = tuple(map(Cell, ("Reason", "Set", "Recipe", "Frames")))
    return Table("Why labels were rejected", head, tuple(body), frozenset({3}))


def learning_table(rounds: Sequence[LearningRound]) -> Table:
    """Rounds of concurrent learning in numbers of frames."""
    names = ("Iteration", "Explored", "Agreed", "Candidates", "Labelled", "Failed", "Window (eV/Å)")
    body = [
        (
            Cell(str(r.iteration)),
            *(Cell(f"{n:,}") for n in (len(r.deviations), r.accurate, r.candidate, r.labelled, r.failed)),
            Cell(f"{number(r.low_eV_A, 2)} to {number(r.high_eV_A, 2)}"),
        )
        for r in rounds
    ]
    return Table("Frames explored in each iteration", tuple(map(Cell, names)), tuple(body), frozenset(range(1, 7)))


def explored_table(rounds: Sequence[LearningRound]) -> Table | None:
    """What was found in each state, and why frames failed; None if that is not known."""
    several = len({state.liquid for r in rounds for state in r.states}) > 1
    names = ("Iteration", *(["Liquid"] if several else []), "State", "Runs", "Agreed", "Candidates", "Unknown density",
             "Labelled", "Why frames failed", "Where runs ended early")  # fmt: skip
    body = [
        (
            Cell(str(r.iteration)),
            *([Cell(one.liquid)] if several else []),
            Cell(one.conditions),
            *(Cell(f"{n:,}") for n in (one.runs, one.accurate, one.candidate, one.unknown_density, one.labelled)),
            Cell(sentence(one.failed) if one.failed else ""),
            Cell(sentence(one.left) if one.left else ""),
        )
        for r in rounds
        for one in r.states
    ]
    if not body:
        return None
    first = 2 + several
    caption = "Explored frames by state; candidates include frames at a density outside that of the training frames"
    return Table(caption, tuple(map(Cell, names)), tuple(body), frozenset(range(first, first + 5)))


def health_table(verdicts: Iterable[Verdict], palette: Palette) -> Table:
    """One line for each run, with the verdict as a word (not only a colour) and the reasons."""
    body = []
    for verdict in verdicts:
        word, tone = _VERDICTS[verdict.state]
        potential = Cell(palette.label(verdict.potential), swatch=palette.colour(verdict.potential))
        seen = "; ".join((*verdict.faults, *verdict.lines)) or "all checks passed"
        body.append((Cell(verdict.protocol), potential, Cell(word, tone), Cell(sentence(seen))))
    return Table("Health of every run", tuple(map(Cell, ("Run", "Potential", "Verdict", "Observations"))), tuple(body))


def stages_table(stages: Sequence[StageRow]) -> Table:
    """Every stage, with the data needed to find and repeat it."""
    names = ("Stage", "Result", "Took", "Finished", "Seed", "Host", "Programs")
    body = [
        (
            Cell(s.stage),
            Cell(s.key[:12], "code", s.key if len(s.key) <= 12 else ""),
            Cell(duration(s.seconds)),
            Cell(s.finished),
            Cell("" if s.seed is None else str(s.seed)),
            Cell(s.host),
            Cell(", ".join(f"{name} {version}" for name, version in s.programs.items())),
        )
        for s in stages
    ]
    return Table("Stages", tuple(map(Cell, names)), tuple(body), frozenset({2}))


def costs_table(costs: Sequence[Cost]) -> Table:
    """Computing time by kind of work, in total and for each piece of work."""
    body = [
        (
            Cell(c.what),
            Cell(f"{c.number:,g} {c.unit}"),
            Cell(duration(c.seconds)),
            Cell(duration(c.seconds / c.number) + f" per {_singular(c.unit)}" if c.number else "–"),
        )
        for c in costs
    ]
    body.append((Cell("All"), Cell(""), Cell(duration(sum(c.seconds for c in costs))), Cell("")))
    head = tuple(map(Cell, ("Work", "Amount", "Computing time", "Each")))
    return Table("Computing time", head, tuple(body), frozenset({1, 2, 3}))


def programs(content: ReportContent) -> tuple[str, ...]:
    """All programs used in the study with their versions, each once."""
    seen = {f"{name} {version}": None for stage in content.stages for name, version in stage.programs.items()}
    return tuple(sorted(seen, key=str.lower))


def _frame_cells(dataset: str, kind: str, recipe: str, made: int, accepted: int, rejected: int) -> tuple[Cell, ...]:
    counts = (Cell(f"{made:,}"), Cell(f"{accepted:,}"), Cell(f"{rejected:,}", "doubt" if rejected else "muted"))
    return (Cell(dataset), Cell(kind), Cell(recipe), *counts)


def _singular(unit: str) -> str:
    return unit[:-1] if unit.endswith("s") and unit not in ("ps", "fs", "ns") else unit

"""The findings of a study, in sentences."""

from __future__ import annotations

from ilforge.report import tables
from ilforge.report.content import ReportContent
from ilforge.report.palette import Palette
from ilforge.report.wording import counted, joined, number, quantity_name
from ilforge.results import HOLDS_LIQUID, Holding


def findings(content: ReportContent, palette: Palette) -> tuple[str, ...]:
    """The findings of the study, in a few sentences."""
    sentences = [_liquid_finding(content, palette)]
    sentences += [_force_finding(content, palette, dataset) for dataset in ("EQ", "nEQ")]
    sentences += [_health_finding(content, palette), _refused_finding(content), _label_finding(content)]
    return tuple(sentence for sentence in sentences if sentence)


def _liquid_finding(content: ReportContent, palette: Palette) -> str:
    """Which potentials hold the liquid."""
    said = {potential: tables.holding(content.records, potential) for potential in palette}
    named = [
        f"{joined([palette.label(potential) for potential, verdict in said.items() if verdict == holding])} {words}"
        for holding, words in _HELD.items()
        if holding in said.values()
    ]
    return f"{'; '.join(named)}." if named else ""


_HELD = {
    Holding.HOLDS: "held the liquid",
    Holding.DOES_NOT_HOLD: "did not hold the liquid",
    Holding.NOT_JUDGED: "cannot be judged, because the runs are too short or at constant volume",
}


def _force_finding(content: ReportContent, palette: Palette, dataset: str) -> str:
    """The models with the smallest force error on a dataset, also relative to the forces."""
    records = [
        r for r in tables.key_numbers(content.records)
        if (r.quantity, r.dataset) == ("force_rmse", dataset) and r.converged
    ]  # fmt: skip
    if not records:
        return ""
    parts = []
    for record in sorted(records, key=lambda r: r.value):
        size = tables.rms_force(content, record)
        share = f", {100 * record.value / size:.0f} % of the RMS force" if size else ""
        parts.append(f"{palette.label(record.potential)} {number(record.value)} eV/Å{share}")
    return f"Force RMSE on {dataset} frames: {'; '.join(parts)}."


def _health_finding(content: ReportContent, palette: Palette) -> str:
    if not content.verdicts:
        return ""
    bad = [v for v in content.verdicts if v.state != "sound"]
    sound = len(content.verdicts) - len(bad)
    named = joined([f"{palette.label(v.potential)} in {v.protocol} is {v.state}" for v in bad])
    runs = counted(len(content.verdicts), "run")
    return f"{sound} of {runs} passed all checks{f'; {named}' if named else ''}."


def _refused_finding(content: ReportContent) -> str:
    numbers = [r for r in content.records if r.quantity != HOLDS_LIQUID]
    refused = [r for r in numbers if tables.cell(r).tone == "refused"]
    if not refused:
        return ""
    names = joined(tuple(dict.fromkeys(quantity_name(r.quantity).lower() for r in refused)))
    return (
        f"{len(refused)} of {counted(len(numbers), 'number')} cannot be quoted ({names}); the notes give the reasons, "
        "and what would be needed."
    )


def _label_finding(content: ReportContent) -> str:
    made = sum(row.made for row in content.frames)
    rejected = sum(sum(row.rejected.values()) for row in content.frames)
    if not made:
        return ""
    return f"{counted(made, 'frame')} were labelled, {rejected} of them rejected ({100 * rejected / made:.1f} %)."

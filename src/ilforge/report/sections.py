"""The chapters of the page: first the findings, then the work in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ilforge.report import citations, inventory, tables
from ilforge.report.blocks import (
    Beside,
    Block,
    Code,
    Details,
    Figure,
    FigureRow,
    Heading,
    Items,
    Paragraph,
    Section,
    Table,
)
from ilforge.report.content import NamedCurve, Parity, ReportContent, TrainingCurve, Verdict
from ilforge.report.coverage import coverage_figures, coverage_table
from ilforge.report.figures import (
    deviation_figure,
    improvement_figure,
    msd_figure,
    plain_figure,
    rdf_figure,
    slope_figure,
    state_deviation_figure,
    training_figure,
)
from ilforge.report.findings import findings
from ilforge.report.lineage import origins_table, teacher_table
from ilforge.report.maps import divergence_table, map_rows
from ilforge.report.markov import exchange_blocks
from ilforge.report.palette import Palette
from ilforge.report.parity import OUTLIER, energy_parity, error_distribution, force_parity
from ilforge.report.structure import galleries, viewer
from ilforge.report.wording import counted, duration
from ilforge.results import HOLDS_LIQUID, TO_TEACHER, Record


def sections(content: ReportContent) -> list[Section]:
    """All chapters that are not empty."""
    palette = palette_of(content)
    chapters = [_summary, _structures, _labels, _models, _learning, _properties, _health, _provenance]
    built = [chapter(content, palette) for chapter in chapters]
    return [section for section in built if section and section.blocks]


def palette_of(content: ReportContent) -> Palette:
    """Colours for all potentials in the content."""
    named: tuple[Record | Parity | NamedCurve | Verdict | TrainingCurve, ...] = (
        *content.records, *content.parity, *content.curves, *content.verdicts, *content.training,
    )  # fmt: skip
    potentials = [item.potential for item in named]
    return Palette.of(filter(None, potentials), content.potential_labels, content.kinds)


def palette_of_records(records: Sequence[Record], kinds: Mapping[str, str] | None = None) -> Palette:
    """Colours and printed names for the potentials of some records, in their order; ``kinds`` by their names."""
    return Palette.of((record.potential for record in records), kinds=kinds)


def _summary(content: ReportContent, palette: Palette) -> Section | None:
    verdicts = tables.verdicts(content.records, palette)
    blocks: list[Block] = [] if verdicts is None else [verdicts]
    if content.records:
        blocks.append(tables.summary(content.records, palette))
    said = findings(content, palette)
    if said:
        blocks += [Heading("In words"), Items(said)]
    return Section("summary", "Summary", "", tuple(blocks))


def _structures(content: ReportContent, palette: Palette) -> Section:
    blocks: list[Block] = [viewer(content.structure)] if content.structure is not None else []
    if content.frames:
        blocks.append(inventory.frames_table(content.frames))
    blocks = [Beside(tuple(blocks))] if len(blocks) > 1 else blocks
    if content.coverage:
        figures = FigureRow(tuple(coverage_figures(content.coverage)), columns=3)
        blocks += [Heading("Coverage"), coverage_table(content.coverage), figures]
    lead = (
        "EQ frames come from equilibrated molecular dynamics at several densities; nEQ frames come directly from "
        "packing, or have molecules distorted by heat or noise. Training and validation frames share no box."
    )
    return Section("structures", "Structures", lead if content.frames else "", tuple(blocks))


def _labels(content: ReportContent, palette: Palette) -> Section:
    blocks: list[Block] = []
    if content.frames:
        table = inventory.rejections_table(content.frames)
        blocks.append(table or Paragraph("No label was rejected."))
    lead = (
        f"Energies, forces and, if available, stress by {content.reference}. A label is accepted if it converged, the "
        "forces add up to zero, no force exceeds the limit, no bond is broken, and its energy is not far from the "
        "median of its recipe."
    )
    return Section("labels", "Labels", lead, tuple(blocks))


def _models(content: ReportContent, palette: Palette) -> Section:
    errors = [r for r in content.records if r.quantity in tables.ERROR_QUANTITIES]
    latest = tables.last_iteration(errors)
    blocks: list[Block] = []
    if latest:
        found = (
            origins_table(latest, palette),
            teacher_table(content.records, palette),
            tables.error_table(content, palette, latest),
            tables.cohesion_table(content, palette, latest),
            tables.element_table(content, palette, latest),
        )
        blocks += [table for table in found if table is not None]
    last, earlier = _split_by_iteration(content.parity)
    if last:
        blocks.append(Heading("Parity"))
        blocks.append(
            Paragraph(
                "Shaded squares contain all points, darker for more points (logarithmic). Every component with an "
                f"error above {OUTLIER:g} × RMSE is also drawn as a dot; hover over it for its frame and atom."
            )
        )
        blocks += [_parity_row(parity, palette) for parity in last]
        blocks.append(FigureRow((error_distribution(list(last), _datasets(last), palette),), columns=1))
    if content.training:
        units = dict.fromkeys(curve.progress_unit for curve in content.training)
        figures = [training_figure([c for c in content.training if c.progress_unit == u], palette) for u in units]
        blocks += [Heading("Training"), FigureRow(tuple(figures))]
    blocks += [Paragraph(note) for note in content.training_notes]
    if earlier:
        old = [r for r in errors if r not in latest]
        rows = [_parity_row(parity, palette) for parity in earlier]
        blocks.append(
            Details("Earlier iterations", (*([tables.error_table(content, palette, old)] if old else []), *rows))
        )
    lead = "Each model is compared with the reference on frames from boxes that were not used for training."
    return Section("models", "Models", lead, tuple(blocks))


def _learning(content: ReportContent, palette: Palette) -> Section | None:
    if not content.learning:
        return None
    rounds = content.learning
    figures = [
        deviation_figure(rounds, palette),
        state_deviation_figure(rounds[-1]),
        improvement_figure(content.records, palette),
    ]
    row = FigureRow(tuple(figure for figure in figures if figure is not None))
    lead = (
        "A committee of models with different seeds explores. Frames on which they disagree, but which are not "
        "unphysical, are labelled, and the models are trained again."
    )
    notes = tuple(f"Iteration {one.iteration}: {note}" for one in rounds for note in one.notes)
    tables_of = [inventory.learning_table(rounds), inventory.explored_table(rounds)]
    blocks: list[Block] = [table for table in tables_of if table is not None]
    return Section("learning", "Concurrent learning", lead, (*blocks, *([Items(notes)] if notes else []), row))


def _properties(content: ReportContent, palette: Palette) -> Section:
    named = (
        {name for _, quantities, drawn in _PROPERTIES for name in (*quantities, *drawn)}
        | set(_HEALTH)
        | set(_ELSEWHERE)
        | {HOLDS_LIQUID}
    )
    further = dict.fromkeys(r.quantity for r in content.records if not _is_error(r.quantity))
    further |= dict.fromkeys(curve.property for curve in content.curves)
    others = tuple(name for name in further if name not in named)
    blocks: list[Block] = []
    for title, quantities, drawn in (*_PROPERTIES, ("Other properties", others, others)):
        measured = _measured(content, f"{title} with each potential", quantities, palette)
        found: list[Block] = list(measured)
        if measured and len(measured[0].rows) > _LONG:
            found = [Details(f"All {len(measured[0].rows)} numbers", tuple(found))]
        found += [row for name in drawn for row in _curve_rows(content, (name,), palette)]
        found = [*(_FURTHER[title](content, palette) if title in _FURTHER else []), *found]
        blocks += [Heading(title), *found] if found else []
    lead = (
        "All potentials run with the same protocol from the same start. A number is printed only if it has converged; "
        "otherwise the note gives the reason."
    )
    return Section("properties", "Molecular dynamics and properties", lead, tuple(blocks))


def _is_error(quantity: str) -> bool:
    """Whether it is an error of a model, against the reference or against its teacher."""
    return quantity in tables.ERROR_QUANTITIES or quantity.endswith(TO_TEACHER)


_PROPERTIES = (
    ("Density", ("density",), ("density",)),
    ("Self-diffusion", ("self_diffusion", "self_diffusion_infinite"), ("msd", "msd_slope")),
    (
        "Charge transport",
        (
            "conductivity",
            "conductivity_nernst_einstein",
            "conductivity_green_kubo",
            "haven_ratio",
            "transference_number",
            "onsager_coefficient",
        ),
        ("charge_msd", "charge_msd_slope"),
    ),
    ("Viscosity", ("viscosity",), ("viscosity_spectrum",)),
    ("Structure", ("rdf_first_peak", "rdf_first_minimum", "coordination_number", "coordination"), ("rdf",)),
    (
        "Structure factor",
        ("structure_factor_main_peak",),
        ("structure_factor_xray", "structure_factor_neutron", "structure_factor"),
    ),
    (
        "Solvation clusters",
        (
            "cluster_population",
            "near_population",
            "coordinating_ligands",
            "coordinating_atoms",
            "bidentate_ligands",
            "bridged_cations",
            "aggregate_size",
            "residence_time_continuous",
            "residence_time_intermittent",
        ),  # fmt: skip
        ("pair_function", "residence_continuous", "residence_intermittent"),
    ),
    ("Shapes of ions", ("shape_population", "shape_lifetime"), ("distribution",)),
    (
        "Exchange of ligands",
        ("exchange_time_scale", "cluster_lifetime", "markov_population"),
        ("exchange_pair_function",),
    ),
)
"""Headings, the quantities in their tables, and the curves in their figures."""


def _shape_blocks(content: ReportContent, palette: Palette) -> list[Block]:
    return [block for block in (*map_rows(content, palette), divergence_table(content.records, palette)) if block]


_FURTHER: dict[str, Callable[[ReportContent, Palette], Sequence[Block]]] = {
    "Solvation clusters": galleries,
    "Shapes of ions": _shape_blocks,
    "Exchange of ligands": exchange_blocks,
}
"""Blocks that come first under a heading."""

_ELSEWHERE = ("shape_divergence", "implied_time_scale")
"""Quantities shown there, which need no other table or figure."""

_LONG = 16
"""A table with more rows is hidden in details."""

_HEALTH = (*tables.HEALTH_QUANTITIES, "cavity", "density_profile")


def _measured(content: ReportContent, caption: str, quantities: tuple[str, ...], palette: Palette) -> list[Table]:
    """The table that compares the potentials on some quantities, if there is anything to compare."""
    records = [r for name in quantities for r in content.records if r.quantity == name]
    return [tables.comparison(caption, records, content.records, palette)] if records else []


def _health(content: ReportContent, palette: Palette) -> Section:
    blocks: list[Block] = [inventory.health_table(content.verdicts, palette)] if content.verdicts else []
    blocks += _measured(content, "Largest void of every run", tables.HEALTH_QUANTITIES, palette)
    blocks += [row for name in _HEALTH for row in _curve_rows(content, (name,), palette)]
    lead = (
        "A force field can reproduce forces and still be wrong. Every run is checked for broken bonds, cavities, "
        "collapse and drift. If a run does not hold the liquid, only the numbers that show this are quoted on this "
        "page, and its lines are dotted."
    )
    return Section("health", "Health of the runs", lead, tuple(blocks))


def _provenance(content: ReportContent, palette: Palette) -> Section:
    blocks: list[Block] = []
    if content.costs:
        blocks.append(inventory.costs_table(content.costs))
    if content.stages:
        programs = inventory.programs(content)
        took = duration(sum(stage.seconds for stage in content.stages))
        line = f"{counted(len(content.stages), 'stage')}, {took} of wall time in total."
        blocks.append(Paragraph(f"{line} Programs: {', '.join(programs)}." if programs else line))
        table = inventory.stages_table(content.stages)
        blocks.append(Details("Stages, with keys, seeds, hosts and versions", (table,)))
    if content.records:
        every = Details(f"All {counted(len(content.records), 'number')}", (tables.all_records(content, palette),))
        blocks.append(every)
    if content.study_file:
        blocks.append(Details("Study file", (Code(content.study_file),)))
    blocks += [Heading("How to cite"), Items(citations.works(content))]
    return Section("provenance", "Provenance", "", tuple(blocks))


def _parity_row(parity: Parity, palette: Palette) -> FigureRow:
    """Forces and energies of one model, dataset by dataset."""
    draw: tuple[Callable[[Parity, str, Palette], Figure], ...] = (force_parity, energy_parity)
    figures = [figure(parity, dataset, palette) for figure in draw for dataset in _datasets([parity])]
    title = palette.label(parity.potential) + ("" if parity.iteration is None else f", iteration {parity.iteration}")
    title += f", {parity.liquid}" if parity.liquid else ""
    return FigureRow(tuple(figures), title, palette.colour(parity.potential), columns=4)


def _datasets(parities: Iterable[Parity]) -> list[str]:
    present = dict.fromkeys(name for parity in parities for name in parity.datasets)
    return sorted(present, key=lambda name: ({"EQ": 0, "nEQ": 1}.get(name, 2), name))


def _split_by_iteration(parities: tuple[Parity, ...]) -> tuple[list[Parity], list[Parity]]:
    """Parities of each potential's last iteration, and the earlier ones."""
    last = {p.potential: max(q.iteration or 0 for q in parities if q.potential == p.potential) for p in parities}
    newest = [p.iteration is None or p.iteration == last[p.potential] for p in parities]
    pairs = list(zip(parities, newest, strict=True))
    return [p for p, new in pairs if new], [p for p, new in pairs if not new]


def _curve_rows(content: ReportContent, properties: tuple[str, ...], palette: Palette) -> list[FigureRow]:
    """One row of figures for each protocol; each figure compares the potentials."""
    order = {potential: place for place, potential in enumerate(palette)}
    groups: dict[tuple[str, str], dict[str, list[NamedCurve]]] = {}
    for curve in sorted(content.curves, key=lambda curve: order[curve.potential]):
        if curve.property in properties:
            groups.setdefault((curve.property, curve.protocol), {}).setdefault(curve.key, []).append(curve)
    rows = []
    for keys in groups.values():
        figures = [_draw(members, content, palette) for members in keys.values()]
        rows.append(FigureRow(tuple(figures), columns=3 if len(figures) > 2 else len(figures)))
    return rows


def _draw(members: list[NamedCurve], content: ReportContent, palette: Palette) -> Figure:
    """The figure for a property."""
    name, protocol, key = members[0].property, members[0].protocol, members[0].key
    unphysical = {v.potential for v in content.verdicts if v.protocol == protocol and v.state == "unphysical"}
    if name in ("msd", "msd_slope"):
        return (msd_figure if name == "msd" else slope_figure)(members, palette, unphysical)
    if name == "rdf":
        beside = [c for c in content.curves if (c.property, c.protocol, c.key) == ("coordination", protocol, key)]
        return rdf_figure(members, beside, palette, unphysical)
    return plain_figure(members, palette, unphysical)

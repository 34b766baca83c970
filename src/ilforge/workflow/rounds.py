"""Concurrent learning in the plan: explorations and labels of each iteration, and whether another one follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ilforge.study.load import Study
from ilforge.study.md_settings import MdSettings
from ilforge.workflow import loop
from ilforge.workflow.loop import Results
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps import gathering, labels, learning, md, models, structures
from ilforge.workflow.steps.taken import count_in, taken_in

if TYPE_CHECKING:
    from ilforge.workflow.plan import Plan

_HOLDING_FRAMES = 400  # of a run that asks whether a model holds the liquid


def goes_on(plan: Plan, iteration: int, results: Results | None) -> bool:
    """Plan the explorations of an iteration, and decide whether the rest of it follows.

    If a decision needs a result that is not finished, the plan ends there for now. Only ``stop.candidates`` makes
    labelling wait for all explorations: it may end the learning before anything of them is labelled.
    """
    if iteration == 0:
        return True
    stop = plan.study.settings.learning.stop
    if stop.holds_liquid_ps is not None:
        _plan_holding(plan, iteration - 1, stop.holds_liquid_ps)
    judge = results if stop.rules else None
    if judge is not None and iteration > 1 and not _settled(plan, iteration, judge, exploring=False):
        return False
    for part in plan.study.parts:
        _plan_exploration(plan, part, iteration)
    return judge is None or stop.candidates is None or _settled(plan, iteration, judge, exploring=True)


def _settled(plan: Plan, iteration: int, results: Results, exploring: bool) -> bool:
    """Whether the results for a decision are finished, and concurrent learning continues.

    Results never change once they are finished, and a decision waits for all that it depends on. Therefore it is the
    same whenever it is made, also if labels or runs of earlier iterations are not finished yet.
    """
    plan.waits_for = [stage for stage in _asked(plan, iteration, results, exploring) if not results.holds(stage)]
    if plan.waits_for:
        return False
    rounds = [_round(plan, number, results) for number in range(1, iteration + exploring)]
    if not exploring:
        rounds[-1] = _with_models(plan, iteration - 1, results, rounds[-1])
    reason = loop.reason_to_stop(rounds, plan.study.settings.learning.stop, exploring)
    if reason is not None:
        plan.notes.append(f"Concurrent learning ended after iteration {iteration - 1}: {reason}.")
    return reason is None


def _asked(plan: Plan, iteration: int, results: Results, exploring: bool) -> list[Stage]:
    """The stages whose results decide whether an iteration follows or, if ``exploring``, whether it is labelled."""
    if exploring:
        return _selections(plan, iteration)
    stop = plan.study.settings.learning.stop
    asked: list[Stage] = []
    if stop.force_rmse_gain is not None:
        asked += [*_validated(plan, iteration - 2), *_validated(plan, iteration - 1)]
    if stop.holds_liquid_ps is not None:
        asked += [*_holding(plan, iteration - 2), *_holding(plan, iteration - 1)]
    earlier = range(1, iteration)
    if loop.budget_is_open([_round(plan, number, results) for number in earlier], stop):
        asked += [stage for number in earlier for stage in _selections(plan, number)]
    return asked


def _round(plan: Plan, iteration: int, results: Results) -> loop.Round:
    """What is known of the frames of an iteration."""
    selections = _selections(plan, iteration)
    ended = [results.path(stage) / learning.SELECTION for stage in selections if results.holds(stage)]
    to_come = (len(selections) - len(ended)) * plan.study.settings.learning.max_candidates
    return loop.round_of(ended, to_come=to_come)


def _with_models(plan: Plan, iteration: int, results: Results, found: loop.Round) -> loop.Round:
    """An iteration with what rules ask about the explorer's models before and after it."""
    stop, rmse, densities = plan.study.settings.learning.stop, None, None
    if stop.force_rmse_gain is not None:
        before, after = (
            loop.force_rmse([results.path(stage) / models.ERRORS for stage in _validated(plan, number)])
            for number in (iteration - 1, iteration)
        )
        rmse = before, after
    if stop.holds_liquid_ps is not None:
        held_before, held_after = (
            tuple(loop.held_density(results.path(stage) / md.MEASUREMENT) for stage in _holding(plan, number))
            for number in (iteration - 1, iteration)
        )
        densities = held_before, held_after
    return replace(found, force_rmse=rmse, densities=densities)


def _holding(plan: Plan, iteration: int) -> list[Stage]:
    """Health of the liquid with the explorer's model after an iteration, one for each composition."""
    return [stage for (number, _), stage in plan.holding.items() if number == iteration]


def _plan_holding(plan: Plan, iteration: int, length_ps: float) -> None:
    """Does the explorer's model hold the liquid after an iteration? A run of each composition, and its health."""
    explorer = plan.study.settings.explorer
    for part in plan.study.parts:
        name = structures.of_composition(part, f"iteration-{iteration}").replace(", ", "-")
        compositions = [part.composition] if part.composition else None
        protocol = MdSettings(
            name=name,
            ensemble="NPT",
            compositions=compositions,
            potentials=[explorer],
            length_ps=length_ps,
            interval_ps=length_ps / _HOLDING_FRAMES,
        )
        start = structures.start_stage(part, protocol)
        run = md.md_stage(part, protocol, explorer, start, plan.trained[iteration, explorer][0], None)
        plan.holding[iteration, part.composition] = md.analysis_stage(part, protocol, run, "health")


def _selections(plan: Plan, iteration: int) -> list[Stage]:
    """Selections from the explorations of an iteration, one for each composition."""
    return [stage for (number, _), stage in plan.explorations.items() if number == iteration]


def _validated(plan: Plan, iteration: int) -> list[Stage]:
    """Validations of the explorer after an iteration, one for each composition."""
    explorer = plan.study.settings.explorer
    return [stage for (number, name, _), stage in plan.validations.items() if (number, name) == (iteration, explorer)]


def _plan_exploration(plan: Plan, part: Study, iteration: int) -> None:
    """MD of the explorer's committee in one composition."""
    starts = plan.frames[structures.of_composition(part, "training")]
    committee = plan.trained[iteration - 1, plan.study.settings.explorer]
    dataset, validation = plan.datasets[iteration - 1], plan.labels[structures.of_composition(part, "validation")]
    search = learning.plan_search(part, iteration, committee, starts, dataset, validation)
    plan.searches[iteration, part.composition] = search


def plan_explored_labels(plan: Plan, part: Study, iteration: int) -> Stage:
    """Labels of what the committee disagrees on in one composition: first frames of each run, then all others."""
    search = plan.searches[iteration, part.composition]
    ahead = learning.ahead_stages(part, iteration, search, plan.method)
    found = labels.label_stage(
        part,
        f"label explored frames, iteration {iteration}",
        search.selected,
        expected=0,  # without those that are labelled ahead: the shares that some runs leave to others
        method=plan.method,
        ahead=ahead,
    )
    plan.labels[plan.add_set(f"learning {iteration}", "learning", part)] = found
    return found


def plan_gathering(plan: Plan, iteration: int, ended: bool = False) -> Stage:
    """The decision which labels the training of an iteration takes; the last training takes all.

    ``ended`` says that a rule ended concurrent learning after the iteration before.
    """
    sources = [
        gathering.Source(part, plan.searches[number, part.composition], _explored_labels(plan, part, number))
        for number in range(1, iteration + (not ended))
        for part in plan.study.parts
    ]
    before = plan.gatherings.get(iteration - 1)
    if iteration < plan.study.settings.learning.iterations and not ended:
        found = gathering.gather_stage(plan.study, iteration, sources, plan.method, before)
    else:
        found = gathering.last_gather_stage(plan.study, sources, plan.method, before)
    plan.gatherings[iteration] = found
    return found


def taken_labels(plan: Plan, iteration: int, results: Results | None, foresee: bool = False) -> str | None:
    """Digest of the labels that the training of an iteration takes, if a decision says so.

    If this decision is not taken yet, the plan ends there for now; if it is foreseen, it goes on without the digest.
    """
    decision = plan.gatherings.get(iteration)
    if decision is None or results is None:
        return None
    taken = taken_in(results.path(decision)) if results.holds(decision) else None
    if taken is None and not foresee:
        plan.waits_for = [decision]
    return taken


def left_labels(plan: Plan, iteration: int, results: Results | None) -> tuple[Stage, str] | None:
    """The labels that no training has taken when a rule has ended concurrent learning, and their digest.

    Returns
    -------
    tuple or None
        The decision that takes them; None without any, or as long as they are not finished. The plan ends there then.
    """
    if not plan.gatherings or results is None:
        return None
    decision = plan_gathering(plan, iteration, ended=True)
    taken = taken_labels(plan, iteration, results)
    if taken is None or not count_in(results.path(decision)):
        return None
    plan.notes.append(
        f"Iteration {iteration} only trains, with the labels that were not finished when concurrent learning ended."
    )
    return decision, taken


def _explored_labels(plan: Plan, part: Study, iteration: int) -> Stage:
    return plan.labels[structures.of_composition(part, f"learning {iteration}")]

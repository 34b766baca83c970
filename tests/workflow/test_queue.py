"""The order of tasks: the urgent first, none that would not fit, none that waits for ever."""

from __future__ import annotations

import pytest

from ilforge.workflow.executors import Resources
from ilforge.workflow.executors.queue import Queue, Task
from support import tasks


def task(memory_GB=0.5, urgency=0.0, cores=1, gpus=0, **more):
    return Task(tasks.sleep, (0.0,), Resources(cores, gpus, memory_GB), urgency, **more)


def queue_of(*waiting, slots=4, cores=4, gpus=9, memory_GB=10.0):
    queue = Queue(slots, Resources(cores, gpus, memory_GB))
    for one in waiting:
        queue.add(one)
    return queue


def started(queue, running=()):
    """What starts one after the other, beside what runs already."""
    running = list(running)
    while (one := queue.take(running)) is not None:
        running.append(one)
        yield one


def test_the_urgent_and_then_the_earlier_go_first():
    late, early, urgent = task(urgency=1.0), task(urgency=1.0), task(urgency=2.0)
    assert list(started(queue_of(early, late, urgent), [])) == sorted([early, late, urgent], key=lambda one: one.order)


def test_no_more_run_side_by_side_than_slots_cores_memory_and_gpus_allow():
    assert len(list(started(queue_of(*(task() for _ in range(9)), slots=3)))) == 3
    assert len(list(started(queue_of(*(task(memory_GB=4.0) for _ in range(9)))))) == 2
    assert len(list(started(queue_of(*(task(cores=2) for _ in range(9)))))) == 2
    assert len(list(started(queue_of(*(task(gpus=1) for _ in range(9)), gpus=1)))) == 1


def test_one_task_always_runs_whatever_it_needs():
    large, small = task(memory_GB=1000.0, cores=64, gpus=99, urgency=1.0), task()
    assert list(started(queue_of(large, small))) == [large]


def test_a_task_that_does_not_fit_is_overtaken_by_those_that_leave_its_room():
    running = [task(memory_GB=6.0)]
    large, small, middle = task(memory_GB=8.0, urgency=1.0), task(memory_GB=1.5), task(memory_GB=1.0)
    queue = queue_of(large, small, middle)
    assert list(started(queue, running)) == [small], "beside both, the large one would not fit"
    assert list(started(queue, [small])) == [large]


def test_a_task_that_needs_the_whole_machine_is_not_overtaken():
    large, small = task(memory_GB=10.0, urgency=1.0), task()
    assert list(started(queue_of(large, small), [task()])) == []


def test_what_ran_out_of_memory_waits_until_nothing_else_does_and_then_runs_alone():
    again, other = task(urgency=9.0, alone=True), task()
    queue = queue_of(again, other)
    assert list(started(queue)) == [other]
    queue.add(third := task())
    assert list(started(queue, [other])) == [third]
    assert list(started(queue)) == [again]
    assert list(started(queue_of(task()), [again])) == []


@pytest.mark.parametrize("runs", [False, True])
def test_a_task_that_was_cancelled_is_not_started(runs):
    gone, other = task(urgency=1.0), task()
    gone.future.cancel()
    assert list(started(queue_of(gone, other), [task()] if runs else [])) == [other]

"""The task DAG: order, limits, skips and its faults."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.assignments import PlannedTask
from ledger.vocabulary import TaskKind
from workflows.schedule import Schedule, ScheduleError, problems


def task(name: str, *needs: str, priority: int = 0) -> PlannedTask:
    return PlannedTask(id=name, title=name, kind=TaskKind.CHANGE, instructions="x", depends_on=needs, priority=priority)


def ids(tasks: list[PlannedTask]) -> list[str]:
    return [one.id for one in tasks]


def test_only_tasks_without_open_dependencies_start() -> None:
    schedule = Schedule([task("b", "a"), task("a"), task("c")], limit=9)
    assert ids(schedule.start()) == ["a", "c"]
    assert schedule.start() == []
    schedule.finish("a", succeeded=True)
    assert ids(schedule.start()) == ["b"]


def test_higher_priority_first_then_the_plans_order() -> None:
    schedule = Schedule([task("a"), task("b", priority=5), task("c", priority=5), task("d")], limit=1)
    order: list[str] = []
    while not schedule.done:
        (begun,) = schedule.start()
        order.append(begun.id)
        schedule.finish(begun.id, succeeded=True)
    assert order == ["b", "c", "a", "d"]


def test_everything_behind_a_failed_task_is_skipped_and_nothing_else() -> None:
    schedule = Schedule([task("a"), task("b", "a"), task("c", "b"), task("d")], limit=9)
    schedule.start()
    assert ids(schedule.finish("a", succeeded=False)) == ["b", "c"]
    assert not schedule.done
    schedule.finish("d", succeeded=True)
    assert schedule.done


def test_a_cycle_is_named_in_the_direction_of_the_dependencies() -> None:
    with pytest.raises(ScheduleError, match="circle") as fault:
        Schedule([task("a", "b"), task("b", "c"), task("c", "a"), task("d")], limit=1)
    text = str(fault.value)
    assert any(circle in text for circle in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"))
    assert "d" not in text.split(": ")[1]


def test_a_task_that_needs_itself_is_a_cycle() -> None:
    assert "a -> a" in problems([task("a", "a")])[0]


def test_unknown_dependencies_and_repeated_ids_are_named() -> None:
    faults = problems([task("a", "ghost"), task("b"), task("b")])
    assert faults == ["task id 'b' is used 2 times", "task 'a' depends on 'ghost', which does not exist"]


def test_tasks_of_earlier_sprints_may_be_depended_on() -> None:
    assert ids(Schedule([task("b", "a")], limit=1, known=["a"]).start()) == ["b"]


@st.composite
def dags(draw: st.DrawFn) -> list[PlannedTask]:
    count = draw(st.integers(1, 12))
    tasks: list[PlannedTask] = []
    for number in range(count):
        needs = draw(st.sets(st.integers(0, number - 1))) if number else set[int]()
        tasks.append(task(f"t{number}", *(f"t{need}" for need in sorted(needs)), priority=draw(st.integers(-2, 2))))
    return draw(st.permutations(tasks))


@given(dags(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_task_ends_exactly_once_within_the_limit_and_after_what_it_needs(
    tasks: list[PlannedTask], limit: int, random: Random
) -> None:
    schedule = Schedule(tasks, limit)
    needs = {one.id: set(one.depends_on) for one in tasks}
    succeeded: set[str] = set()
    ended: list[str] = []
    running: list[str] = []
    while not schedule.done:
        for begun in schedule.start():
            assert needs[begun.id] <= succeeded
            running.append(begun.id)
        assert 0 < len(running) <= limit
        name = running.pop(random.randrange(len(running)))
        success = random.random() < 0.7
        skipped = ids(schedule.finish(name, succeeded=success))
        ended += [name, *skipped]
        if success:
            succeeded.add(name)
        assert all(needs[other] - succeeded for other in skipped)
    assert sorted(ended) == sorted(needs)


@given(dags(), st.integers(1, 4))
def test_the_order_depends_on_nothing_but_the_plan(tasks: list[PlannedTask], limit: int) -> None:
    def order() -> list[str]:
        schedule, found = Schedule(tasks, limit), list[str]()
        while not schedule.done:
            begun = ids(schedule.start())
            found += begun
            for name in begun:
                schedule.finish(name, succeeded=True)
        return found

    assert order() == order()


def test_a_task_that_is_added_runs_and_one_that_is_dropped_does_not() -> None:
    schedule = Schedule([task("a"), task("b")], limit=1)
    schedule.start()
    schedule.add(task("c", "a", priority=9))
    schedule.drop("b")
    assert not schedule.done
    schedule.finish("a", succeeded=True)
    assert ids(schedule.start()) == ["c"]
    schedule.finish("c", succeeded=True)
    assert schedule.done


def test_what_is_left_out_takes_its_dependents_along_unless_they_run_without() -> None:
    tasks = [task("a"), task("b", "a"), task("c", "b"), task("d")]
    assert ids(Schedule(tasks, limit=9).leave_out("a", dependents_run=False)) == ["b", "c"]
    schedule = Schedule(tasks, limit=9)
    assert schedule.leave_out("a", dependents_run=True) == []
    assert ids(schedule.start()) == ["b", "d"]


def test_a_failed_task_begins_again_and_revives_what_it_had_starved() -> None:
    schedule = Schedule([task("a"), task("b", "a"), task("c", "b"), task("d", "a", "e"), task("e")], limit=9)
    schedule.start()
    schedule.finish("e", succeeded=False)
    assert ids(schedule.finish("a", succeeded=False)) == ["b", "d", "c"]
    assert schedule.lost_needs(task("x", "a", "b")) == ["a", "b"]
    # What also depends on another failure stays left out.
    assert ids(schedule.again("a")) == ["b", "c"]
    assert ids(schedule.start()) == ["a"]

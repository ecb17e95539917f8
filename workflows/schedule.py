"""The task DAG of a sprint: what may start now, in which order, and what can no longer run. Pure, over graphlib."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from agents.assignments import PlannedTask


class ScheduleError(ValueError):
    """The tasks cannot be put in an order."""


def problems(tasks: Sequence[PlannedTask], known: Collection[str] = ()) -> list[str]:
    """Everything that keeps the tasks from being scheduled, each naming the tasks; empty when all is well.

    Args:
        tasks: the tasks of one sprint.
        known: ids of tasks of earlier sprints, which may be depended on as well.
    """
    ids = [task.id for task in tasks]
    found = [f"task id {name!r} is used {ids.count(name)} times" for name in dict.fromkeys(ids) if ids.count(name) > 1]
    for task in tasks:
        unknown = [name for name in task.depends_on if name not in ids and name not in known]
        found += [f"task {task.id!r} depends on {name!r}, which does not exist" for name in unknown]
    try:
        TopologicalSorter(_graph(tasks)).prepare()
    except CycleError as error:
        # graphlib follows the edges backwards; reversed, each task of the message depends on the one after it.
        circle: list[str] = error.args[1]
        found.append("tasks depend on each other in a circle: " + " -> ".join(reversed(circle)))
    return found


class Schedule:
    """Hands out tasks as they become ready, at most `limit` at a time, by priority and then by place in the plan.

    Raises:
        ScheduleError: duplicate ids, unknown dependencies or a cycle.
    """

    def __init__(self, tasks: Sequence[PlannedTask], limit: int, known: Collection[str] = ()) -> None:
        if found := problems(tasks, known):
            raise ScheduleError("; ".join(found))
        self._tasks = {task.id: task for task in tasks}
        self._place = {task.id: place for place, task in enumerate(tasks)}
        self._limit = limit
        self._sorter = TopologicalSorter(_graph(tasks))
        self._sorter.prepare()
        self._ready: list[str] = []
        self._running: set[str] = set()
        self._unsuccessful: set[str] = set()
        self._finished: set[str] = set()
        self._collect()

    @property
    def done(self) -> bool:
        return len(self._finished) == len(self._tasks)

    @property
    def may_start(self) -> bool:
        """Whether `start` would hand out a task."""
        return bool(self._ready) and len(self._running) < self._limit

    def start(self) -> list[PlannedTask]:
        """Take out of the queue what may run now; each task comes exactly once."""
        self._ready.sort(key=lambda name: (-self._tasks[name].priority, self._place[name]))
        room = self._limit - len(self._running)
        begun, self._ready = self._ready[:room], self._ready[room:]
        self._running.update(begun)
        return [self._tasks[name] for name in begun]

    def finish(self, name: str, *, succeeded: bool) -> list[PlannedTask]:
        """Note the end of a running task; returns the tasks that are skipped because it did not succeed."""
        self._running.remove(name)
        self._end(name, succeeded=succeeded)
        return self._collect()

    def _end(self, name: str, *, succeeded: bool) -> None:
        self._finished.add(name)
        if not succeeded:
            self._unsuccessful.add(name)
        self._sorter.done(name)

    def _collect(self) -> list[PlannedTask]:
        skipped: list[PlannedTask] = []
        while fresh := self._in_plan_order(self._sorter.get_ready()):
            for name in fresh:
                if self._unsuccessful.isdisjoint(self._tasks[name].depends_on):
                    self._ready.append(name)
                else:
                    self._end(name, succeeded=False)
                    skipped.append(self._tasks[name])
        return skipped

    def _in_plan_order(self, names: Iterable[str]) -> list[str]:
        # graphlib hands out a set's order, which no workflow may depend on.
        return sorted(names, key=self._place.__getitem__)


def _graph(tasks: Sequence[PlannedTask]) -> dict[str, list[str]]:
    ids = {task.id for task in tasks}
    return {task.id: [name for name in task.depends_on if name in ids] for task in tasks}

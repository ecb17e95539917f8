"""The task DAG of a sprint: what may start now, in which order, what can no longer run, and how people change it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from agents.assignments import PlannedTask


class ScheduleError(ValueError):
    """The tasks cannot be put in an order."""


class _State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNSUCCESSFUL = "unsuccessful"
    STARVED = "starved"
    """Left out because a task it depends on did not succeed."""


_OVER = frozenset({_State.SUCCEEDED, _State.UNSUCCESSFUL, _State.STARVED})


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
        self._states = dict.fromkeys(self._tasks, _State.WAITING)
        self._limit = limit

    @property
    def done(self) -> bool:
        return all(state in _OVER for state in self._states.values())

    @property
    def may_start(self) -> bool:
        """Whether `start` would hand out a task."""
        return self._room > 0 and bool(self._ready())

    def is_waiting(self, name: str) -> bool:
        return self._states.get(name) is _State.WAITING

    def is_running(self, name: str) -> bool:
        return self._states.get(name) is _State.RUNNING

    def start(self) -> list[PlannedTask]:
        """Take out of the queue what may run now; each task comes exactly once."""
        # The sort keeps the places of the plan where priorities are equal.
        begun = sorted(self._ready(), key=lambda task: -task.priority)[: max(self._room, 0)]
        self._states |= dict.fromkeys((task.id for task in begun), _State.RUNNING)
        return begun

    def finish(self, name: str, *, succeeded: bool) -> list[PlannedTask]:
        """Note the end of a running task; returns the tasks that are skipped because it did not succeed."""
        self._states[name] = _State.SUCCEEDED if succeeded else _State.UNSUCCESSFUL
        return self._starve()

    # What people change.

    def add(self, task: PlannedTask) -> None:
        """One more task, behind the others; the caller has looked at its `problems`."""
        self._tasks[task.id] = task
        self._states[task.id] = _State.WAITING

    def replace(self, task: PlannedTask) -> None:
        """A task that has not begun, changed."""
        self._tasks[task.id] = task

    def drop(self, name: str) -> None:
        """A task that has not begun and that nothing depends on."""
        del self._tasks[name], self._states[name]

    def leave_out(self, name: str, *, dependents_run: bool) -> list[PlannedTask]:
        """A task that has not begun; returns what is skipped with it."""
        self._states[name] = _State.SUCCEEDED if dependents_run else _State.UNSUCCESSFUL
        return self._starve()

    def again(self, name: str) -> list[PlannedTask]:
        """A task that has ended waits once more; returns what waits again with it, having been skipped for its sake."""
        self._states[name] = _State.WAITING
        revived: list[PlannedTask] = []
        while fresh := [task for task in self._in(_State.STARVED) if not self._lacks(task)]:
            self._states |= dict.fromkeys((task.id for task in fresh), _State.WAITING)
            revived += fresh
        return revived

    def is_lost(self, name: str) -> bool:
        """Whether a task has ended without success, so that nothing that depends on it can run."""
        return self._states.get(name) in (_State.UNSUCCESSFUL, _State.STARVED)

    def lost_needs(self, task: PlannedTask) -> list[str]:
        """What a task depends on and can no longer get."""
        return [name for name in task.depends_on if self.is_lost(name)]

    def dependents(self, name: str) -> list[str]:
        """Tasks that depend on one directly."""
        return [task.id for task in self._tasks.values() if name in task.depends_on]

    # How things stand.

    @property
    def _room(self) -> int:
        return self._limit - len(self._in(_State.RUNNING))

    def _in(self, state: _State) -> list[PlannedTask]:
        return [task for name, task in self._tasks.items() if self._states[name] is state]

    def _needs(self, task: PlannedTask) -> list[_State]:
        return [self._states[name] for name in task.depends_on if name in self._states]

    def _lacks(self, task: PlannedTask) -> bool:
        return bool(self.lost_needs(task))

    def _ready(self) -> list[PlannedTask]:
        return [task for task in self._in(_State.WAITING) if {*self._needs(task)} <= {_State.SUCCEEDED}]

    def _starve(self) -> list[PlannedTask]:
        """Skip what cannot run any more, wave by wave, once all that it depends on is over."""
        skipped: list[PlannedTask] = []
        while fresh := [task for task in self._in(_State.WAITING) if self._lacks(task) and self._settled(task)]:
            self._states |= dict.fromkeys((task.id for task in fresh), _State.STARVED)
            skipped += fresh
        return skipped

    def _settled(self, task: PlannedTask) -> bool:
        return all(state in _OVER for state in self._needs(task))


def _graph(tasks: Sequence[PlannedTask]) -> dict[str, list[str]]:
    ids = {task.id for task in tasks}
    return {task.id: [name for name in task.depends_on if name in ids] for task in tasks}

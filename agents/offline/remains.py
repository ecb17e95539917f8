"""The project manager's plan between sprints: what is left and can still succeed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from agents.assignments import Plan, PlannedSprint, PlannedTask
from agents.offline.papers import find
from agents.offline.script import Desk, End, finish
from agents.offline.wishes import read_wishes
from ledger.vocabulary import Role, TaskState

_HOPELESS = {TaskState.FAILED, TaskState.REFUSED}
"""The rules are the same in the next sprint: what they could not do once they cannot do twice."""


def plan_remains(desk: Desk) -> End:
    """Plan the tasks that were never tried; leave out what failed, and say so."""
    params = desk.assignment.params
    rows: list[Any] = [*(params.get("left") or ()), *(params.get("unfinished") or ())]
    former = find(desk.assignment, Plan)
    known = {task.id: task for sprint in (former.sprints if former else ()) for task in sprint.tasks}
    wishes = read_wishes(desk.feedback)
    tasks: list[PlannedTask] = []
    risks: list[str] = [f"I could not follow this wish: {text}" for text in wishes.unheard]
    for row in rows:
        task, state, why = _row(row, known)
        if task is None:
            risks.append(f"left undone, since no plan describes it: {_name(row)}")
        elif state in _HOPELESS:
            risks.append(f"left undone, since the same rules would fail again: {task.id} {why}".strip())
        elif task.id not in wishes.tasks and wishes.allows(str(task.params.get("intent"))):
            tasks.append(task)
    sprints = _sprints(tasks, params.get("remaining") or ())
    if not sprints:
        summary = f"Nothing is left that could still succeed; {len(rows)} task(s) stay undone."
        return finish("No further sprint.", Plan(summary=summary, risks=tuple(risks)))
    summary = f"{len(sprints)} more sprint(s), {len(tasks)} task(s) in them were not tried yet."
    return finish("There is more to do.", Plan(summary=summary, sprints=tuple(sprints), risks=tuple(risks)))


def is_replan(desk: Desk) -> bool:
    """Whether this is the project manager's plan between sprints."""
    marks = {"replan", "left", "unfinished", "remaining"}
    return desk.assignment.role is Role.PROJECT_MANAGER or bool(marks & desk.assignment.params.keys())


def _sprints(tasks: list[PlannedTask], remaining: Iterable[Any]) -> list[PlannedSprint]:
    """The tasks left over first, then the sprints that were planned anyway. Nobody waits for what will not come."""
    sprints: list[PlannedSprint] = []
    if tasks:
        sprints.append(PlannedSprint(goal=f"What is left: {', '.join(t.id for t in tasks)}", tasks=tuple(tasks)))
    for row in remaining:
        try:
            sprints.append(PlannedSprint.model_validate(row))
        except ValidationError:
            continue
    return [sprint.model_copy(update={"tasks": _independent(sprint.tasks)}) for sprint in sprints]


def _independent(tasks: Iterable[PlannedTask]) -> tuple[PlannedTask, ...]:
    kept = tuple(tasks)
    ids = {task.id for task in kept}
    return tuple(t.model_copy(update={"depends_on": tuple(d for d in t.depends_on if d in ids)}) for t in kept)


def _row(row: Any, known: dict[str, PlannedTask]) -> tuple[PlannedTask | None, str, str]:
    """One entry of `left`: an id, a planned task, or a task's report."""
    if isinstance(row, str):
        return known.get(row), "", ""
    if not isinstance(row, dict):
        return None, "", ""
    inner = row.get("task")
    name = str(inner if isinstance(inner, str) else row.get("id", ""))
    described = inner if isinstance(inner, dict) else row
    try:
        task: PlannedTask | None = PlannedTask.model_validate(described)
    except ValidationError:
        task = known.get(name)
    return task, str(row.get("state", "")), str(row.get("summary", ""))[:300]


def _name(row: Any) -> str:
    return str(row.get("id") or row.get("task") or row) if isinstance(row, dict) else str(row)

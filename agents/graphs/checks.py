"""What a result must hold beyond its schema, said in sentences that a model can act on."""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel

from agents.assignments import Plan, PlannedSprint


def faults(result: BaseModel) -> list[str]:
    """Everything that makes a validated result useless all the same."""
    return _plan_faults(result) if isinstance(result, Plan) else []


def _plan_faults(plan: Plan) -> list[str]:
    ids = Counter(task.id for sprint in plan.sprints for task in sprint.tasks)
    found = [f"task id {name!r} is used {count} times" for name, count in ids.items() if count > 1]
    for number, sprint in enumerate(plan.sprints, 1):
        found += [f"sprint {number}: {fault}" for fault in _sprint_faults(sprint)]
    return found


def _sprint_faults(sprint: PlannedSprint) -> list[str]:
    own = {task.id for task in sprint.tasks}
    graph = {task.id: set(task.depends_on) for task in sprint.tasks}
    found = [
        f"task {name!r} depends on {other!r}, which is no task of this sprint"
        for name, others in graph.items()
        for other in sorted(others - own)
    ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("tasks depend on each other in a circle: " + " -> ".join(error.args[1]))
    return found

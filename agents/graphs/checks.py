"""What a result must hold beyond its schema, said in sentences that a model can act on."""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel

from agents.assignments import Assignment, Mediation, Plan, PlannedSprint, Supervision
from agents.situations import Situation, Trouble


def faults(result: BaseModel, assignment: Assignment) -> list[str]:
    """Everything that makes a validated result useless all the same."""
    if isinstance(result, Supervision):
        return supervision_faults(result, Situation.model_validate(assignment.params["situation"]))
    if isinstance(result, Mediation):
        options = assignment.params["options"]
        return [] if result.choice in options else [f"`choice` must be one of the options: {', '.join(options)}"]
    return _plan_faults(result) if isinstance(result, Plan) else []


def supervision_faults(result: Supervision, situation: Situation) -> list[str]:
    """What keeps a situation as it is: no ruling on its questions, nobody who can take the task."""
    if situation.trouble is Trouble.HANDOVER:
        takers = [handover.role for handover in result.handovers if handover.task == situation.task]
        if takers and takers[0] in situation.candidates:
            return []
        return [f"`handovers` must give task {situation.task!r} to one of: {', '.join(situation.candidates)}"]
    ids = [question.id for question in situation.questions]
    found = [
        f"{ruling.question!r} is none of the open questions" for ruling in result.rulings if ruling.question not in ids
    ]
    return found if found or result.rulings else [f"`rulings` must answer at least one of: {', '.join(ids)}"]


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

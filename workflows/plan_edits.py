"""Editing a plan that is not confirmed yet: each edit gives another plan, or a reason. Pure."""

from __future__ import annotations

from agents.assignments import Plan, PlannedSprint, PlannedTask
from agents.profiles import TeamPlan
from ledger.chain import digest
from ledger.vocabulary import Record
from workflows import briefs, reassigning
from workflows.edits import Add, Drop, Edit, EditError, Reassign, Skip
from workflows.specs import ProjectSpec


class Draft(Record):
    """A plan as it can be confirmed, with the agents that persons named for its tasks."""

    plan: Plan
    agents: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """Of the plan alone where no agent is named, so that it is the one that was proposed."""
        plan = self.plan.model_dump(mode="json")
        return digest({"plan": plan, "agents": self.agents} if self.agents else plan)


class Limits(Record):
    """What a draft must keep to."""

    project: str
    scope: tuple[str, ...]
    sprints_left: int
    known: tuple[str, ...] = ()
    """Tasks of earlier sprints."""
    team: TeamPlan = TeamPlan()

    @staticmethod
    def of(spec: ProjectSpec, project: str, sprints: int, known: tuple[str, ...], team: TeamPlan) -> Limits:
        """Those of a brief after so many sprints."""
        return Limits(
            project=project, scope=spec.scope, sprints_left=spec.max_sprints - sprints, known=known, team=team
        )


def edited(draft: Draft, edit: Edit, limits: Limits) -> Draft:
    """The draft after an edit.

    Raises:
        EditError: it cannot be made, or the plan could not be carried out any more.
    """
    match edit:
        case Add():
            draft = _added(draft, edit, limits)
        case Drop():
            draft = _without(draft, _known(draft, edit.task), drop_dependents=False)
        case Skip():
            draft = _skipped(draft, edit)
        case Reassign():
            draft = _reassigned(draft, edit, limits)
        case _:
            raise EditError(
                f"{edit.do}: the plan is not confirmed, no task has begun; add, drop, skip or reassign tasks"
            )
    if not draft.plan.sprints:
        raise EditError("a plan without tasks is none: reject it instead")
    if faults := briefs.plan_faults(draft.plan, limits.sprints_left, limits.known):
        raise EditError("; ".join(faults))
    return draft


def _known(draft: Draft, name: str) -> PlannedTask:
    found = [task for sprint in draft.plan.sprints for task in sprint.tasks if task.id == name]
    if not found:
        known = ", ".join(task.id for sprint in draft.plan.sprints for task in sprint.tasks)
        raise EditError(f"there is no task {name!r} in the plan; there are {known}")
    return found[0]


def _added(draft: Draft, edit: Add, limits: Limits) -> Draft:
    task = briefs.planned(edit.task, limits.scope)
    if faults := briefs.scope_faults(task, limits.scope):
        raise EditError("; ".join(faults))
    sprints = list(draft.plan.sprints)
    number = edit.sprint or 1
    if number > len(sprints) + 1:
        raise EditError(
            f"the plan has {len(sprints)} sprints: add the task to one of them, or to sprint {len(sprints) + 1}"
        )
    if number > len(sprints):
        sprints.append(PlannedSprint(goal=task.title, tasks=(task,)))
    else:
        sprint = sprints[number - 1]
        sprints[number - 1] = sprint.model_copy(update={"tasks": (*sprint.tasks, task)})
    return _with(draft, sprints)


def _skipped(draft: Draft, edit: Skip) -> Draft:
    task = _known(draft, edit.task)
    if edit.dependents == "skip":
        return _without(draft, task, drop_dependents=True)
    freed = [
        sprint.model_copy(update={"tasks": tuple(_freed(one, task.id) for one in sprint.tasks)})
        for sprint in draft.plan.sprints
    ]
    return _without(_with(draft, freed), task, drop_dependents=False)


def _freed(task: PlannedTask, of: str) -> PlannedTask:
    needs = tuple(name for name in task.depends_on if name != of)
    return task.model_copy(update={"depends_on": needs})


def _without(draft: Draft, task: PlannedTask, *, drop_dependents: bool) -> Draft:
    everything = [one for sprint in draft.plan.sprints for one in sprint.tasks]
    gone = {task.id}
    while behind := [one.id for one in everything if one.id not in gone and not gone.isdisjoint(one.depends_on)]:
        if not drop_dependents:
            raise EditError(f"{', '.join(behind)} depends on task {task.id!r}; skip it instead, or drop those first")
        gone |= set(behind)
    kept = [
        sprint.model_copy(update={"tasks": left})
        for sprint in draft.plan.sprints
        if (left := tuple(one for one in sprint.tasks if one.id not in gone))
    ]
    agents = {name: agent for name, agent in draft.agents.items() if name not in gone}
    return _with(draft, kept).model_copy(update={"agents": agents})


def _reassigned(draft: Draft, edit: Reassign, limits: Limits) -> Draft:
    task = _known(draft, edit.task)
    role, agent = reassigning.chosen(edit, task, limits.project, limits.team)
    instructions = f"{task.instructions}\n\n{edit.note}" if edit.note else task.instructions
    changed = task.model_copy(update={"role": role, "instructions": instructions})
    sprints = [
        sprint.model_copy(update={"tasks": tuple(changed if one.id == task.id else one for one in sprint.tasks)})
        for sprint in draft.plan.sprints
    ]
    agents = {name: named for name, named in draft.agents.items() if name != task.id}
    return _with(draft, sprints).model_copy(update={"agents": agents if agent is None else {**agents, task.id: agent}})


def _with(draft: Draft, sprints: list[PlannedSprint]) -> Draft:
    return draft.model_copy(update={"plan": draft.plan.model_copy(update={"sprints": tuple(sprints)})})

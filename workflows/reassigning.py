"""Who can be given a task: roles that may do its kind, and agents that the team has. Pure."""

from __future__ import annotations

from agents.assignments import PlannedTask
from agents.profiles import TeamPlan
from ledger.vocabulary import Role
from workflows import briefs, team
from workflows.edits import EditError, Reassign


def chosen(edit: Reassign, task: PlannedTask, project: str, plan: TeamPlan) -> tuple[Role, str | None]:
    """The role, and the agent id where one is named.

    Raises:
        EditError: the role cannot do the task, there is no such agent, or it works in another folder.
    """
    role, agent = _named(edit, task, project, plan)
    takers = briefs.TAKERS[task.kind]
    if role not in takers:
        known = ", ".join(taker.value for taker in takers)
        raise EditError(f"the role {role.value} cannot take task {task.id!r} ({task.kind.value}); who can: {known}")
    if agent is not None and plan.narrowed(agent, task.scope) is None:
        raise EditError(f"{agent} works in a folder that task {task.id!r} does not touch")
    return role, agent


def names_for(role: Role, plan: TeamPlan) -> tuple[str, ...]:
    """Names that agents of a role can have, those of profiles first."""
    return tuple(dict.fromkeys((*plan.names_of(role), *team.NAMES)))


def _named(edit: Reassign, task: PlannedTask, project: str, plan: TeamPlan) -> tuple[Role, str | None]:
    role = edit.role or task.role
    if edit.agent is None:
        return role, None
    *place, name = edit.agent.removeprefix(f"{project}.").split(".")
    if len(place) > 1 or (place and place[0] not in list(Role)):
        raise EditError(f"{edit.agent!r} is no agent of this project: write a name, or {project}.ROLE.NAME")
    own = Role(place[0]) if place else role
    if edit.role not in (None, own):
        raise EditError(f"{edit.agent} is a {own.value}, not a {role.value}")
    if name not in names_for(own, plan):
        raise EditError(f"there is no {own.value} {name!r}; there are {', '.join(names_for(own, plan))}")
    return own, team.named(project, own, name)

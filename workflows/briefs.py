"""From what a person wrote to what activities take: gates, addresses, plans and their faults. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from agents.assignments import Plan, PlannedSprint, PlannedTask
from agents.profiles import check_team
from agents.target import GateSpec
from ledger.vocabulary import ApprovalKind, Record, Role, TaskKind
from workflows import checkpoints, schedule
from workflows.approval_policy import KindPolicy
from workflows.messages import InvalidBriefError, parse_start
from workflows.specs import GateBrief, ProjectSpec, TaskBrief

_ADDRESS = re.compile(
    r"project/([a-z0-9][a-z0-9-]{0,47})(?:/sprint/([1-9]\d{0,5})(?:/task/([a-z0-9][a-z0-9-]{0,47}))?)?"
)

WRITERS = frozenset({Role.ENGINEER, Role.DEVOPS})
"""Roles whose tier lets them change files."""

PRODUCERS = WRITERS | {Role.ANALYST, Role.QA, Role.ARCHITECT}

TAKERS = {
    kind: tuple(role for role in Role if role in roles)
    for kind, roles in ((TaskKind.CHANGE, WRITERS), (TaskKind.ANALYSIS, PRODUCERS))
}
"""Who can take a task over, by its kind: a change stays with roles that may write."""

EVERYTHING = ("**",)


class BriefError(ValueError):
    """The brief cannot be worked on."""


class Address(Record):
    """What a workflow id names."""

    project: str
    sprint: int | None = None
    task: str | None = None


def address_of(workflow_id: str) -> Address | None:
    """Parse `project/<project>[/sprint/<n>[/task/<task>]]`; None for any other id."""
    match = _ADDRESS.fullmatch(workflow_id)
    if match is None:
        return None
    return Address(project=match[1], sprint=int(match[2]) if match[2] else None, task=match[3])


def gate_specs(gates: Sequence[GateBrief] | None) -> tuple[GateSpec, ...] | None:
    """Gates as they are run; None stays None, which means: detect them.

    Raises:
        BriefError: a command that no shell could split, an empty one, or a name used twice.
    """
    if gates is None:
        return None
    names = [gate.name for gate in gates]
    if len(set(names)) != len(names):
        raise BriefError(f"gates: names must differ, got {', '.join(names)}")
    return tuple(_gate(gate) for gate in gates)


def _gate(gate: GateBrief) -> GateSpec:
    return GateSpec(
        name=gate.name, kind=gate.kind, argv=argv_of(f"gate {gate.name!r}", gate.run), timeout_s=gate.timeout_s
    )


def argv_of(what: str, command: str) -> tuple[str, ...]:
    """A command line as it is run, without a shell.

    Raises:
        BriefError: no shell could split it, or it is empty.
    """
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise BriefError(f"{what}: {error} in {command!r}") from None
    if not argv:
        raise BriefError(f"{what}: there is nothing to run")
    return argv


def check_models(models: Mapping[str, Sequence[str]]) -> None:
    """Raises BriefError for a key that is no role, and for an empty chain."""
    known = ["default", *(role.value for role in Role)]
    for name, chain in models.items():
        if name not in known:
            raise BriefError(f"models: {name!r} is no role; known: {', '.join(known)}")
        if not chain or not all(chain):
            raise BriefError(f"models: the chain of {name!r} is empty")


def check_project_spec(values: Sequence[object], workflow_id: str) -> tuple[ProjectSpec, str]:
    """The spec of a `Project` and the project's id.

    Raises:
        InvalidBriefError: it is malformed, disagrees with the workflow id, or cannot be carried out.
    """
    spec = parse_start(values, ProjectSpec)
    address = address_of(workflow_id)
    if address is None or address.sprint is not None:
        raise InvalidBriefError(f"ProjectSpec: the workflow id must be 'project/<project>', it is {workflow_id!r}")
    if spec.project_id not in (None, address.project):
        raise InvalidBriefError(
            f"ProjectSpec: project_id {spec.project_id!r} disagrees with the workflow id {workflow_id!r}"
        )
    try:
        gate_specs(spec.gates)
        for hook in (*spec.hooks.before_plan, *spec.hooks.after_plan):
            argv_of(f"hook {hook.name!r}", hook.run)
        check_models(spec.models)
        if faults := check_team(dict(spec.prompts), spec.profiles):
            raise BriefError("; ".join(faults))
        check_asking(spec.approvals)
        fixed_plan(spec)
    except BriefError as error:
        raise InvalidBriefError(f"ProjectSpec: {error}") from None
    return spec, address.project


def check_asking(rules: Mapping[ApprovalKind, KindPolicy]) -> None:
    """Raises BriefError."""
    if faults := checkpoints.faults(rules):
        raise BriefError("; ".join(faults))


def fixed_plan(spec: ProjectSpec) -> Plan | None:
    """The plan of a brief that lists its tasks; None where the architect plans.

    Raises:
        BriefError: a cycle, an unknown dependency or a role that cannot do its task.
    """
    if not spec.tasks:
        return None
    tasks = tuple(planned(task) for task in spec.tasks)
    plan = Plan(summary=f"{len(tasks)} tasks as briefed", sprints=(PlannedSprint(goal=spec.goal, tasks=tasks),))
    if faults := plan_faults(plan, spec.max_sprints):
        raise BriefError("tasks: " + "; ".join(faults))
    return plan


def planned(task: TaskBrief, scope: tuple[str, ...] = EVERYTHING) -> PlannedTask:
    """A task that a person wrote as a plan has it, with the brief's scope where it names none."""
    title = task.title or (task.instructions.strip() or task.id).splitlines()[0][:80]
    return _narrowed(PlannedTask.model_validate({**task.model_dump(), "title": title}), scope)


def task_faults(tasks: Sequence[PlannedTask], known: Collection[str] = ()) -> list[str]:
    """Why the tasks of one sprint cannot be carried out; `known` are the tasks of earlier sprints."""
    return schedule.problems(tasks, known) + [fault for task in tasks if (fault := _role_fault(task))]


def scope_faults(task: PlannedTask, scope: tuple[str, ...]) -> list[str]:
    """Where a task would leave the brief's scope; what cannot be told from the globs counts as outside."""
    if scope == EVERYTHING:
        return []
    outside = [glob for glob in task.scope if not glob.startswith("!") and not any(_holds(own, glob) for own in scope)]
    return [f"task {task.id!r}: {glob!r} is not within the brief's scope ({', '.join(scope)})" for glob in outside]


def _holds(own: str, glob: str) -> bool:
    folder = own.removesuffix("**")
    return glob == own or own == "**" or (own.endswith("/**") and glob.startswith(folder) and ".." not in glob)


def plan_faults(plan: Plan, sprints_left: int, known: Collection[str] = ()) -> list[str]:
    """Why a plan cannot be carried out; empty when it can. `known` are the tasks of earlier sprints."""
    faults: list[str] = []
    if len(plan.sprints) > sprints_left:
        faults.append(f"the plan has {len(plan.sprints)} sprints, {sprints_left} are left")
    earlier = list(known)
    for sprint in plan.sprints:
        faults += task_faults(sprint.tasks, earlier)
        earlier += [task.id for task in sprint.tasks]
    return faults


def _role_fault(task: PlannedTask) -> str | None:
    if task.kind is TaskKind.CHANGE and task.role not in WRITERS:
        return f"task {task.id!r} changes files, which the role {task.role.value} may not"
    if task.role not in PRODUCERS:
        return f"task {task.id!r}: the role {task.role.value} takes no tasks"
    return None


def within(scope: tuple[str, ...], plan: Plan) -> Plan:
    """The plan with the brief's scope on every task that names none of its own."""
    if scope == EVERYTHING:
        return plan
    sprints = tuple(
        sprint.model_copy(update={"tasks": tuple(_narrowed(task, scope) for task in sprint.tasks)})
        for sprint in plan.sprints
    )
    return plan.model_copy(update={"sprints": sprints})


def _narrowed(task: PlannedTask, scope: tuple[str, ...]) -> PlannedTask:
    return task.model_copy(update={"scope": scope}) if task.scope == EVERYTHING else task

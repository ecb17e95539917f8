"""What projects, sprints and tasks are started with: additive changes only.

What a person writes (`ProjectSpec`, `TaskSpec` when a task starts alone) forbids unknown fields and is plain JSON.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from pydantic import Field

from agents.assignments import Feedback, PlannedTask
from agents.consensus import ConsensusRule
from agents.profiles import NamedProfile, Prompt, TeamPlan
from agents.runs import TimeLimits
from agents.target import GateKind
from agents.topology import TopologyName
from ledger.vocabulary import (
    ApprovalKind,
    ArtifactRef,
    Autonomy,
    Brief,
    Json,
    Mode,
    Money,
    Record,
    Role,
    Slug,
    TaskKind,
    Tokens,
)
from workflows.approval_policy import Approver, KindPolicy
from workflows.reports import TaskReport
from workflows.views import RefusalView


class GateBrief(Brief):
    """A gate as a person writes it; `run` is split like a shell would, and no shell runs it."""

    name: str
    run: str
    kind: GateKind = GateKind.COMMAND
    timeout_s: int = Field(default=300, gt=0, le=3600)


class TaskBrief(Brief):
    """A task that a person fixes in the brief instead of leaving the plan to the architect."""

    id: Slug
    title: str = ""
    kind: TaskKind = TaskKind.CHANGE
    instructions: str = Field(min_length=1)
    role: Role = Role.ENGINEER
    depends_on: tuple[str, ...] = ()
    scope: tuple[str, ...] = ("**",)
    acceptance: tuple[str, ...] = ()
    priority: int = 0
    params: dict[str, Json] = {}


class HookBrief(Brief):
    """A command of the target that is run around a plan's confirmation; `run` is split like a shell would."""

    name: str = Field(min_length=1)
    run: str
    timeout_s: int = Field(default=300, gt=0, le=3600)
    blocking: bool = True
    """Whether the plan stays open when it fails."""


class HooksBrief(Brief):
    """Commands around the confirmation of each plan, in order."""

    before_plan: tuple[HookBrief, ...] = ()
    """After a person's yes, before the plan is confirmed."""
    after_plan: tuple[HookBrief, ...] = ()
    """Once it is confirmed, before the sprint starts."""


class TimeLimitsBrief(Brief):
    """How long an agent may stay in one state, in seconds; what is left out is as the workers are set."""

    thinking_s: int | None = Field(default=None, gt=0)
    executing_s: int | None = Field(default=None, gt=0)
    blocked_s: int | None = Field(default=None, gt=0)

    def over(self, limits: TimeLimits) -> TimeLimits:
        """These where they are given, else those."""
        return limits.model_copy(update=self.model_dump(exclude_none=True))


class Carried(Record):
    """What a project takes along when it continues as new, between sprints."""

    commit: str
    base: str
    baseline: ArtifactRef
    target: dict[str, Json]
    documents: tuple[ArtifactRef, ...] = ()
    plan: dict[str, Json]
    sprint: int
    tasks: tuple[TaskReport, ...] = ()
    approvals: int = 0
    repairs: int = 0
    paused: bool = False
    autonomy: Autonomy
    mode: Mode | None = None
    """As a person changed it; None: as the brief has it."""
    head: str | None = None
    """Where the next sprint starts."""
    models: dict[str, tuple[str, ...]] = {}
    started_at: datetime | None = None
    """When the first run of the project began: `timeout_minutes` counts from here."""
    warnings: tuple[str, ...] = ()
    merged: tuple[int, ...] = ()
    """Sprints that are on the project branch."""
    held: tuple[int, ...] = ()
    """Sprints that are built on but not on the project branch."""
    refused: tuple[RefusalView, ...] = ()
    model_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    budget_usd: Money | None = None
    """The limit as a person raised it."""
    budget_tokens: int | None = None
    feedback: tuple[Feedback, ...] = ()
    """What persons said and no agent has been told yet."""
    kept: dict[str, tuple[Feedback, ...]] = {}
    """What they said to tasks that have not begun."""
    agents: dict[str, str] = {}
    """Task -> agent that a person named for it."""
    team: TeamPlan = TeamPlan()
    """With the profiles that were read from the repository."""
    limits: TimeLimits = TimeLimits()


class ProjectSpec(Brief):
    """Input of `Project`: a goal and a git repository."""

    goal: str = Field(min_length=3, max_length=4000)
    repository: str
    """Absolute path of a git repository on the workers' machine, or a URL that git can fetch without asking."""
    project_id: Slug | None = None
    """Must agree with the workflow id `project/<project>` where it is given."""
    base: str | None = None
    mode: Mode = Mode.AUTO
    autonomy: Autonomy = Autonomy.MILESTONE
    budget_usd: Money = Decimal("5")
    budget_tokens: Tokens | None = None
    """Prompt and completion, reasoning included; None means that only money limits."""
    models: dict[str, tuple[str, ...]] = {}
    """Role (or `default`) -> chain of LiteLLM model names, first choice first."""
    topology: TopologyName = TopologyName.SUPERVISOR
    """How tasks find their agents, and who may speak to whom."""
    consensus: ConsensusRule = ConsensusRule()
    """When a vote of the team decides."""
    prompts: dict[str, Prompt] = {}
    """Role (or `default`) -> what its agents are told beside the usual."""
    profiles: tuple[NamedProfile, ...] = Field(default=(), max_length=20)
    """Kinds of agents: written here, or the name of a file in the repository's `.syndic/profiles`."""
    time_limits: TimeLimitsBrief = TimeLimitsBrief()
    setup: tuple[str, ...] | None = None
    gates: tuple[GateBrief, ...] | None = None
    hooks: HooksBrief = HooksBrief()
    scope: tuple[str, ...] = ("**",)
    tasks: tuple[TaskBrief, ...] = ()
    max_parallel: int = Field(default=3, ge=1, le=64)
    max_sprints: int = Field(default=3, ge=1, le=50)
    max_steps: int = Field(default=60, ge=1, le=1000)
    """Model calls one agent run may make."""
    timeout_minutes: int = Field(default=24 * 60, ge=1)
    """Whole project; what is merged by then stays."""
    approval_timeout_minutes: int = Field(default=7 * 24 * 60, ge=1)
    approvers: tuple[Approver, ...] = Field(default=(), max_length=50)
    """Who may decide, with their public keys."""
    approvals: dict[ApprovalKind, KindPolicy] = {}
    """Kind of request -> its rules."""
    carried: Carried | None = None


class SprintSpec(Record):
    """Input of `Sprint`; made by `Project`."""

    project: Slug
    sprint: int
    goal: str
    """The project's goal."""
    sprint_goal: str
    tasks: tuple[PlannedTask, ...]
    base_commit: str
    """Head of the project branch when the sprint starts."""
    baseline: ArtifactRef
    baseline_commit: str
    documents: tuple[ArtifactRef, ...] = ()
    earlier: dict[str, tuple[ArtifactRef, ...]] = {}
    """Documents of tasks of earlier sprints by task id, for tasks that depend on them."""
    feedback: tuple[Feedback, ...] = ()
    """What a person said about the sprint before; every task is told."""
    models: dict[str, tuple[str, ...]] = {}
    mode: Mode
    merge: bool = True
    """False: accepted changes stay on their task branches (`dry_run`, or a repository without gates)."""
    autonomy: Autonomy
    max_parallel: int
    max_steps: int
    approval_timeout_minutes: int
    approvers: tuple[Approver, ...] = ()
    approvals: dict[ApprovalKind, KindPolicy] = {}
    budget_usd: Money | None = None
    """The project's limit, shown when more money is asked for."""
    budget_tokens: int | None = None
    team: TeamPlan = TeamPlan()
    limits: TimeLimits = TimeLimits()
    paused: bool = False
    scope: tuple[str, ...] = ("**",)
    """The brief's; tasks that people add stay within it."""
    agents: dict[str, str] = {}
    """Task -> agent that a person named for it."""
    kept: dict[str, tuple[Feedback, ...]] = {}
    """What persons said to tasks that had not begun."""


class TaskSpec(Brief):
    """Input of `AgentTask`. Alone it needs `repository`; under a sprint the project's store is open already."""

    project: Slug
    task: PlannedTask
    goal: str
    sprint: int = 1
    repository: str | None = None
    base: str | None = None
    setup: tuple[str, ...] | None = None
    gates: tuple[GateBrief, ...] | None = None
    base_commit: str | None = None
    baseline: ArtifactRef | None = None
    baseline_commit: str | None = None
    documents: tuple[ArtifactRef, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    """Why the sprint sends the task back: a conflict or a gate that failed after the merge."""
    generation: int = 1
    models: dict[str, tuple[str, ...]] = {}
    mode: Mode = Mode.AUTO
    autonomy: Autonomy = Autonomy.MILESTONE
    budget_usd: Money | None = None
    """Alone: the project's budget. Under a sprint: the project's limit, shown when more money is asked for."""
    budget_tokens: Tokens | None = None
    place: int | None = None
    """Place in the plan; neighbours get agents of different names."""
    agent: str | None = None
    """Who was given the task; None leaves it to the place."""
    team: TeamPlan = TeamPlan()
    limits: TimeLimits = TimeLimits()
    colleagues: tuple[str, ...] = ()
    """Agent ids of the team, of whom its topology says who may be asked."""
    max_steps: int = 60
    approval_timeout_minutes: int = 7 * 24 * 60
    approvers: tuple[Approver, ...] = Field(default=(), max_length=50)
    """Who may decide, with their public keys."""
    approvals: dict[ApprovalKind, KindPolicy] = {}
    """Kind of request -> its rules."""
    paused: bool = False

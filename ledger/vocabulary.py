"""The words every layer speaks: ids, roles, tiers, states, decisions and money.

Pure and light: workflow code imports this module through the sandbox, so nothing heavier than pydantic may appear here.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Json = Any
"""A JSON value: what `json.loads` can return."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$")]
"""A project or task id: 1 to 48 of a-z, 0-9 and inner hyphens. It becomes part of workflow ids and branch names."""

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=9, ge=0)]
"""US dollars, never negative; nine places hold the price of one token."""

Tokens = Annotated[int, Field(gt=0, le=10**15)]
"""A limit of tokens; far more than anybody has, and far less than a database's whole number holds."""


def dollars(amount: Decimal) -> str:
    """An amount as people read it: two to four decimals; the exact value belongs into `--json`.

    >>> [dollars(Decimal(text)) for text in ("0E-9", "5", "0.05", "0.0123", "0.00000003", "12.3456")]
    ['0.00', '5.00', '0.05', '0.0123', '<0.0001', '12.35']
    """
    if 0 < amount < Decimal("0.0001"):
        return "<0.0001"
    text = f"{amount:.4f}" if abs(amount) < 1 else f"{amount:.2f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


SOFT_LIMIT_PERCENT = 80
"""Share of a budget at which a notice is given; `ledger/sql` has the same number."""


def is_low(spent: Decimal | int, limit: Decimal | int | None) -> bool:
    """Whether the soft limit is reached."""
    return limit is not None and limit > 0 and spent * 100 >= limit * SOFT_LIMIT_PERCENT


class Record(BaseModel):
    """Base of internal contracts: frozen, unknown fields ignored so that old and new builds can talk during a rollout."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Brief(BaseModel):
    """Base of what people write (specs, signals): frozen, unknown fields refused so that a typo is never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What an agent is for. The four judges share one role and differ by `Seat`."""

    PRODUCT_OWNER = "product_owner"
    ANALYST = "analyst"
    ARCHITECT = "architect"
    PROJECT_MANAGER = "project_manager"
    ENGINEER = "engineer"
    QA = "qa"
    DEVOPS = "devops"
    JUDGE = "judge"


class Seat(StrEnum):
    """A seat on the council of judges."""

    CONSTITUTIONAL = "constitutional"
    TECHNICAL = "technical"
    QUALITY = "quality"
    INTEGRATION = "integration"


class Tier(IntEnum):
    """What an agent may do, each tier including the ones below it."""

    OBSERVE = 0
    """T0: read the assignment, nothing else."""
    READ = 1
    """T1: list, read and search the worktree."""
    RUN = 2
    """T2: run gates, linters and allowed programs in the sandbox."""
    WRITE = 3
    """T3: change files of the worktree within the task's scope."""
    MERGE = 4
    """T4: integrate branches; held by no agent, only by the system's own activities."""


class TaskKind(StrEnum):
    CHANGE = "change"
    ANALYSIS = "analysis"


class Mode(StrEnum):
    """`dry_run`: nothing is merged, diffs are reported. `auto`: what passes is merged.

    `strict`: as `auto`, with approval before each task and each merge, and every decision bound to a digest.
    """

    DRY_RUN = "dry_run"
    AUTO = "auto"
    STRICT = "strict"


class Autonomy(StrEnum):
    """`autonomous`: only budget and escalation ask. `milestone`: the plan and each sprint ask too.

    `supervised`: every checkpoint asks.
    """

    AUTONOMOUS = "autonomous"
    MILESTONE = "milestone"
    SUPERVISED = "supervised"


class Phase(StrEnum):
    """Where a project, sprint or task stands; the value of the search attribute `SyndicPhase`."""

    DISCOVERY = "discovery"
    ARCHITECTURE = "architecture"
    APPROVAL = "approval"
    SPRINTS = "sprints"
    CLOSING = "closing"
    WORKING = "working"
    GATES = "gates"
    REVIEW = "review"
    INTEGRATION = "integration"
    RETROSPECTIVE = "retrospective"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    ACCEPTED = "accepted"
    """Gates and council passed; not yet integrated (a task that was started alone, or `dry_run`, ends here)."""
    MERGED = "merged"
    NOTHING_TO_DO = "nothing_to_do"
    REPORTED = "reported"
    """An analysis task delivered its report."""
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A task it depends on did not succeed."""
    CANCELLED = "cancelled"


TASK_SUCCEEDED = frozenset({TaskState.ACCEPTED, TaskState.MERGED, TaskState.NOTHING_TO_DO, TaskState.REPORTED})


class AgentState(StrEnum):
    """Published to the live feed at each change."""

    IDLE = "idle"
    THINKING = "thinking"
    EXECUTING = "executing"
    WAITING_INPUT = "waiting_input"
    WAITING_REVIEW = "waiting_review"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    ERROR = "error"


class StepKind(StrEnum):
    MODEL = "model"
    TOOL = "tool"
    INPUT = "input"


class StepStatus(StrEnum):
    RESERVED = "reserved"
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


class OutcomeKind(StrEnum):
    """How one `agent_run` ended."""

    FINISHED = "finished"
    NEEDS_HUMAN = "needs_human"
    NEEDS_TEAMMATE = "needs_teammate"
    HANDOFF = "handoff"
    REFUSED = "refused"
    FAILED = "failed"
    PAUSED = "paused"
    OVER_BUDGET = "over_budget"


class ApprovalKind(StrEnum):
    """What a person is asked about."""

    PLAN = "plan"
    ARCHITECTURE = "architecture"
    TASK = "task"
    """A task is about to start."""
    TOOL = "tool"
    """A tool call above the agent's tier."""
    REVIEW = "review"
    MERGE = "merge"
    MILESTONE = "milestone"
    BUDGET = "budget"
    ESCALATION = "escalation"
    QUESTION = "question"


class Risk(StrEnum):
    """What is at stake with a decision."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class OnExpiry(StrEnum):
    """What becomes of a request that nobody answered in time."""

    REJECT = "reject"
    ESCALATE = "escalate"
    """Others are asked, with a new expiry."""
    CONTINUE = "continue"
    """The work goes on as if it had been approved; for low risk alone."""


class Answer(StrEnum):
    """What a person can decide. `revise` carries text that reaches the agents."""

    APPROVE = "approve"
    REJECT = "reject"
    REVISE = "revise"


class Standing(StrEnum):
    """Whether a subject (`project`, `project/task` or an agent) may start new steps."""

    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"
    CANCELLED = "cancelled"


class Exceeded(StrEnum):
    """Which limit of a budget refused a call."""

    USD = "usd"
    TOKENS = "tokens"


class Usage(Record):
    """Tokens of one model call as the provider billed them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def tokens(self) -> int:
        """What counts against a limit of tokens; cached and reasoning tokens are among those of prompt and completion."""
        return max(self.prompt_tokens, 0) + max(self.completion_tokens, 0)


class ArtifactRef(Record):
    """A content-addressed document. `digest` is the SHA-256 of the bytes in lower-case hex, `size` is in bytes."""

    name: str
    digest: str
    media_type: str = "text/plain"
    size: int = 0


def project_workflow_id(project: str) -> str:
    return f"project/{project}"


def sprint_workflow_id(project: str, sprint: int) -> str:
    return f"project/{project}/sprint/{sprint}"


def task_workflow_id(project: str, sprint: int, task: str) -> str:
    return f"project/{project}/sprint/{sprint}/task/{task}"


def project_branch(project: str) -> str:
    return f"syndic/{project}"


def sprint_branch(project: str, sprint: int) -> str:
    return f"syndic/{project}.s{sprint}"


def task_branch(project: str, sprint: int, task: str) -> str:
    return f"syndic/{project}.s{sprint}.{task}"


def project_scope(project: str) -> str:
    """Budget scope of a project; a child scope is its parent's plus `/` and a name."""
    return project


def sprint_scope(project: str, sprint: int) -> str:
    return f"{project}/s{sprint}"


def task_scope(project: str, sprint: int, task: str) -> str:
    return f"{project}/s{sprint}/{task}"


def scope_path(scope: str) -> list[str]:
    """A budget scope after its ancestors, root first."""
    parts = scope.split("/")
    return ["/".join(parts[: length + 1]) for length in range(len(parts))]


def thread_id(project: str, sprint: int, task: str, lineage: str) -> str:
    """One agent run's lineage. Sprint 0 holds the runs that belong to the project itself (requirements, plan)."""
    return f"{project}/s{sprint}/{task}/{lineage}"


def parse_workflow_id(workflow_id: str | None) -> dict[str, str]:
    """Project, sprint and task of a workflow id, as far as it names them; empty for ids of other shapes."""
    parts = (workflow_id or "").split("/")
    if len(parts) % 2 or parts[0] != "project":
        return {}
    return dict(zip(parts[::2], parts[1::2], strict=True))

"""What one agent run is asked and how it ended: the input and result of the activity `agent_run`. Pure pydantic."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from agents.assignments import Feedback, Work
from ledger.vocabulary import ArtifactRef, Exceeded, Json, OutcomeKind, Record, Role, Seat


class TimeLimits(Record):
    """How long an agent may stay in one state, in seconds."""

    thinking_s: int = Field(default=300, gt=0)
    """One answer of a model; a turn may take as often as long as its chain has models left."""
    executing_s: int = Field(default=600, gt=0)
    """One tool call."""
    blocked_s: int = Field(default=1800, gt=0)
    """Waiting for a colleague."""


class PendingCall(Record):
    """A tool call that waits for a person's word."""

    place: str
    """The step that would make it, as `<thread>/<ordinal>/<sub>`."""
    tool: str
    tier: str
    arguments: dict[str, Json] | None
    """None where they are long; `document` holds them then."""
    document: ArtifactRef | None = None
    digest: str
    """SHA-256 of the canonical JSON of tool and arguments, as the journal has it."""
    why: str
    """Why it waits."""


class ToolRuling(Record):
    """A person's word on one tool call; it holds at that place, for that digest, and so once."""

    place: str
    digest: str
    allowed: bool
    reason: str
    """Who decided what; where the call is not allowed, the agent reads it as the tool's answer."""


class AgentRun(Record):
    """Run one agent to its next outcome. The thread decides what is served from the journal."""

    project: str
    sprint: int
    task: str
    lineage: str
    """Distinguishes runs of one task: `<role>[-<seat>]-<generation>`; with the ids above it forms the thread."""
    role: Role
    agent: str
    seat: Seat | None = None
    guidance: str = ""
    """What the project's people ask of this agent; stands at the end of its system prompt."""
    skills: tuple[str, ...] = ()
    """What it can do beside what its role can; for its card."""
    work: Work
    goal: str
    title: str = ""
    instructions: str = ""
    scope: tuple[str, ...] = ("**",)
    acceptance: tuple[str, ...] = ()
    params: dict[str, Json] = {}
    chain: tuple[str, ...]
    """Models to ask, first choice first; `offset` counts how many were given up by the repair ladder."""
    chain_offset: int = 0
    branch: str | None = None
    """Worktree to work in; None for agents that have none. Agents below `Tier.WRITE` only read it."""
    base_commit: str | None = None
    baseline: ArtifactRef | None = None
    documents: tuple[ArtifactRef, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    attempt: int = 1
    max_steps: int = 60
    budget_scope: str
    answer: str | None = None
    """A person's answer to this run's question; read as an input step."""
    answer_to: str | None = None
    """The outcome's `question_id` that is answered; without it, an answer that the journal holds already is not used again."""

    colleagues: tuple[str, ...] = ()
    """Agent ids that may be asked; without any the run is not offered the tool `ask`."""
    limits: TimeLimits = TimeLimits()
    confirm: tuple[str, ...] = ()
    """Tools of which a person confirms every call."""
    asks_above_tier: bool = False
    """Whether a person is asked about calls above the agent's tier; else they are refused."""
    rulings: tuple[ToolRuling, ...] = ()
    """What persons said about this thread's calls."""


class AgentOutcome(Record):
    """`result` is the validated result model of the assignment's work; the same document lies in `artifact`."""

    kind: OutcomeKind
    thread: str
    summary: str
    questions: tuple[str, ...] = ()
    """Questions of the board that the run opened or voted on."""
    failure: str | None = None
    """Type of the error that ended the run where no retry can mend it, such as `NoModelKey`."""
    result: dict[str, Json] = {}
    artifact: ArtifactRef | None = None
    question: str | None = None
    """What a person is asked (`needs_human`), or why it was refused."""
    question_id: str | None = None
    call: PendingCall | None = None
    """Of `needs_human`: the tool call that a person is asked about; it is made, or not, once they have decided."""
    to_role: Role | None = None
    to_agent: str | None = None
    """Who is asked (`needs_teammate`)."""
    commit: str | None = None
    """Head of the branch after the run's last served receipt."""
    notices: tuple[str, ...] = ()
    """What people should know although the run went on, such as a budget that is nearly spent."""
    steps: int = 0
    model_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    exceeded: Exceeded | None = None
    """Of `over_budget`: which limit; None where an earlier bill blocks the budget."""

"""Everything that can be recorded: a versioned union, one model a kind; unknown fields are refused.

A body never changes its meaning; a new need is a new optional field or a new kind.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from ledger.vocabulary import Brief, Json


class Event(Brief):
    """Base of all bodies. `kind` is the entry's kind on the chain."""

    kind: ClassVar[str]
    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came later: absent where they are None, so that a retry finds the entry that a build before wrote."""

    def body(self) -> dict[str, Json]:
        """As it stands on the chain."""
        later = {name for name in self.added if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=later)


class ProjectOpened(Event):
    kind = "project_opened"
    added = frozenset({"budget_tokens"})
    goal: str
    repository: str
    commit: str
    base: str
    spec_digest: str
    workflow_id: str
    mode: str
    autonomy: str
    budget_usd: Decimal
    budget_tokens: int | None = None


class TargetPrepared(Event):
    kind = "target_prepared"
    commit: str
    environment: str
    sandbox: str
    gates: dict[str, bool]
    baseline: str
    """Artifact digest of the baseline."""


class PhaseChanged(Event):
    kind = "phase_changed"
    workflow_id: str
    phase: str
    detail: str = ""


class PlanProposed(Event):
    kind = "plan_proposed"
    digest: str
    summary: str
    sprints: int
    tasks: int


class ApproversNamed(Event):
    """The rules by which a project's decisions count: who may decide, with their public keys."""

    kind = "approvers_named"
    workflow_id: str
    approvers: tuple[dict[str, Json], ...]
    """`name`, `key` (public JWK), `key_id` (its thumbprint) and `kinds` of each."""
    rules: dict[str, dict[str, Json]] = {}
    """Kind of request -> its rules, as the brief has them."""


class ApprovalRequested(Event):
    kind = "approval_requested"
    added = frozenset({"risk", "expires_at", "terms"})
    workflow_id: str
    approval: str
    approval_kind: str
    digest: str
    summary: str
    risk: str | None = None
    expires_at: datetime | None = None
    terms: dict[str, Json] | None = None
    """Who may answer, and how, where rules apply."""


class ApprovalReminded(Event):
    """Nobody has answered yet."""

    kind = "approval_reminded"
    workflow_id: str
    approval: str
    approval_kind: str
    number: int
    expires_at: datetime


class ApprovalEscalated(Event):
    """Nobody answered in time, and others are asked."""

    kind = "approval_escalated"
    workflow_id: str
    approval: str
    approval_kind: str
    who: tuple[str, ...]
    expires_at: datetime


class DecisionMade(Event):
    kind = "decision_made"
    added = frozenset({"decision_id", "key_id", "signature", "state"})
    workflow_id: str
    approval: str
    approval_kind: str
    decision: str
    claimed_by: str
    """A claim unless `key_id` is given."""
    digest: str
    comment: str = ""
    channel: str = "signal"
    decision_id: str | None = None
    key_id: str | None = None
    """The approver's key that verified it."""
    signature: str | None = None
    """Compact JWS over everything that acts."""
    state: str | None = None
    """Of the request afterwards, where it is still open: more must agree."""


class DecisionRepeated(Event):
    """A decision came again under the same id; it acted the first time, or was refused then, and does nothing now."""

    kind = "decision_repeated"
    workflow_id: str
    decision_id: str
    claimed_by: str
    channel: str = "signal"


class DecisionConsumed(Event):
    """The work that a decision unblocked has been scheduled."""

    kind = "decision_consumed"
    workflow_id: str
    approval: str
    by: str
    work: str


class ApprovalExpired(Event):
    kind = "approval_expired"
    added = frozenset({"outcome"})
    workflow_id: str
    approval: str
    approval_kind: str
    outcome: str | None = None
    """`continue` where the rules let the work go on, `withdrawn` where it ended; absent: it counts as rejected."""


class MessageRefused(Event):
    """A signal or update that was not applied."""

    kind = "message_refused"
    workflow_id: str
    message: str
    reason: str
    sender: str | None = None


class MessageApplied(Event):
    """Pause, resume, feedback, a change of autonomy."""

    kind = "message_applied"
    workflow_id: str
    message: str
    claimed_by: str
    text: str = ""


class StandingChanged(Event):
    kind = "standing_changed"
    subject: str
    standing: str
    reason: str
    by: str


class TaskStarted(Event):
    kind = "task_started"
    sprint: int
    task: str
    title: str
    agent: str
    generation: int = 1


class RunStarted(Event):
    kind = "run_started"
    thread: str
    role: str
    agent: str
    epoch: int
    served: int
    """Steps that the journal already held."""


class RunFinished(Event):
    kind = "run_finished"
    thread: str
    outcome: str
    summary: str
    steps: int
    model_calls: int
    cost_usd: Decimal
    commit: str | None = None


class StepRecorded(Event):
    kind = "step_recorded"
    thread: str
    ordinal: int
    sub: int
    step: str
    """`model`, `tool` or `input`."""
    name: str
    status: str
    request_digest: str
    result_digest: str
    agent: str
    model: str | None = None
    cost_usd: Decimal | None = None
    commit: str | None = None
    allowed: bool | None = None
    reason: str | None = None
    """Policy's reason for a tool call, or the failure."""


class LateAnswer(Event):
    """The answer of an attempt that had been in doubt arrived and was settled at true cost."""

    kind = "late_answer"
    thread: str
    ordinal: int
    sub: int
    cost_usd: Decimal
    used: bool


class RunDiverged(Event):
    kind = "run_diverged"
    thread: str
    ordinal: int
    detail: str


class BudgetChanged(Event):
    kind = "budget_changed"
    added = frozenset({"limit_tokens"})
    scope: str
    limit_usd: Decimal | None
    raised: bool
    limit_tokens: int | None = None


class BudgetViolated(Event):
    kind = "budget_violated"
    scope: str
    thread: str
    ordinal: int
    bound_usd: Decimal
    cost_usd: Decimal
    bound_tokens: int | None = None
    """Given, with `tokens`, where more of them were billed than were reserved."""
    tokens: int | None = None


class BudgetLow(Event):
    """The soft limit: this share of a scope's limit, of dollars or of tokens, is spent. Once for each scope and limit."""

    kind = "budget_low"
    scope: str
    limit_usd: Decimal | None = None
    limit_tokens: int | None = None
    percent: int


class GatesReported(Event):
    kind = "gates_reported"
    sprint: int
    task: str
    attempt: int
    commit: str
    passed: bool
    gates: dict[str, bool]
    regressions: tuple[str, ...] = ()


class VerdictGiven(Event):
    kind = "verdict_given"
    sprint: int
    task: str
    attempt: int
    seat: str
    verdict: str
    confidence: float
    reasons: tuple[str, ...]
    judge: str


class RepairChosen(Event):
    kind = "repair_chosen"
    sprint: int
    task: str
    level: int
    reason: str


class TaskFinished(Event):
    kind = "task_finished"
    sprint: int
    task: str
    state: str
    summary: str
    attempts: int
    repairs: int
    commit: str | None = None
    documents: dict[str, str] = {}
    """Artifact digests by name."""
    agent: str | None = None
    """Who ended it; absent in entries of earlier builds."""


class TaskAwarded(Event):
    """Who got a task where there was a choice to make."""

    kind = "task_awarded"
    sprint: int
    task: str
    agent: str
    topology: str
    by: str
    """The role that gave it out."""
    reason: str
    bids: dict[str, str] = {}


class QuestionDecided(Event):
    kind = "question_decided"
    sprint: int
    question: str
    task: str = ""
    version: int
    choice: str | None
    how: str
    """The rule, or `mediator`."""
    decided_by: str
    votes: dict[str, str] = {}
    """Choice by agent."""


class MergePrepared(Event):
    """Written before the merge commit, whose trailer names this entry."""

    kind = "merge_prepared"
    sprint: int
    task: str | None
    source: str
    target: str
    parent: str


class MergeMade(Event):
    kind = "merge_made"
    sprint: int
    task: str | None
    source: str
    target: str
    commit: str
    trailer: str


class MergeRefused(Event):
    kind = "merge_refused"
    sprint: int
    task: str | None
    source: str
    target: str
    conflict: bool
    reasons: tuple[str, ...]


class SprintFinished(Event):
    kind = "sprint_finished"
    sprint: int
    passed: bool
    summary: str
    commit: str
    tasks: dict[str, str]


class BranchDelivered(Event):
    kind = "branch_delivered"
    branch: str
    commit: str
    repository: str
    pushed: bool


class ProjectClosed(Event):
    kind = "project_closed"
    state: str
    summary: str
    model_calls: int
    in_doubt: int
    cost_usd: Decimal


class QuestionAsked(Event):
    """An agent asks a colleague and rests until it is answered."""

    kind = "question_asked"
    question: str
    """`<thread>/<ordinal>` of the step that asked."""
    asker: str
    to: str
    sprint: int
    task: str
    text: str


class QuestionSettled(Event):
    kind = "question_settled"
    question: str
    asker: str
    by: str
    """An agent id, `person:<who>`, or `syndic` where nobody answered."""
    how: str
    """`colleague`, `supervisor`, `person` or `unanswered`."""
    text: str


class WaitCycleFound(Event):
    """Agents wait for each other, the last one for the first."""

    kind = "wait_cycle_found"
    agents: tuple[str, ...]
    questions: tuple[str, ...]


class TeamSupervised(Event):
    """What a project manager made of a situation."""

    kind = "team_supervised"
    trouble: str
    by: str
    summary: str
    questions: tuple[str, ...] = ()
    """Those that were ruled on."""


class TaskHandedOver(Event):
    kind = "task_handed_over"
    sprint: int
    task: str
    giver: str
    taker: str
    reason: str


class StateTimedOut(Event):
    """An agent stayed in one state for longer than it may."""

    kind = "state_timed_out"
    agent: str
    thread: str
    state: str
    limit_s: int
    what: str


class PlanEdited(Event):
    """A person changed the tasks of a plan that is not confirmed, or of a running sprint."""

    kind = "plan_edited"
    workflow_id: str
    sprint: int
    """0: of the whole plan, before it is confirmed."""
    do: str
    task: str
    claimed_by: str
    text: str
    before: str
    """Digest of the tasks as they were; `digest` as they are."""
    digest: str


class PlanConfirmed(Event):
    """From here on the plan is frozen: only the tasks of running sprints can be edited."""

    kind = "plan_confirmed"
    digest: str
    summary: str
    by: str
    """As claimed; empty where nobody is asked."""


class HookRun(Event):
    """A command of the target's people, before or after a plan is confirmed."""

    kind = "hook_run"
    when: str
    name: str
    argv: tuple[str, ...]
    passed: bool
    blocking: bool
    words: str
    """The end of what it said."""


class RunRewound(Event):
    """A run goes on from an earlier step of another one, as a lineage of its own."""

    kind = "run_rewound"
    source: str
    target: str
    step: int
    """The first step that is done again."""
    sprint: int
    task: str
    commit: str | None = None
    """Where the worktree goes on; absent where no step before changed files."""
    claimed_by: str


class TaskGivenUp(Event):
    """Nobody goes on with a task: its leases are taken, its calls settled, its worktrees removed, its branch put aside."""

    kind = "task_given_up"
    sprint: int
    task: str
    branch: str
    commit: str | None = None
    """Where the branch stood, where it held anything of its own."""
    kept: str | None = None
    """The reference that keeps this commit."""
    in_doubt: int = 0
    by: str
    reason: str = ""


class Note(Event):
    """Anything a workflow wants to keep that has no kind of its own."""

    kind = "note"
    text: str
    data: dict[str, Json] = {}


EVENTS: dict[str, type[Event]] = {event.kind: event for event in Event.__subclasses__()}
"""Every kind and its model."""

"""What workflows may ask of the outside world: inputs, results and activity signatures.

Workflows import this module and nothing heavier. Implementations in the sibling modules subclass these and repeat the
decorator with the same name. Every activity may run more than once; keys make the second run the first one again.
"""

from __future__ import annotations

from decimal import Decimal

from temporalio import activity

from agents.assignments import Feedback, GateState
from agents.runs import AgentOutcome, AgentRun, TimeLimits
from agents.target import GateSpec
from ledger.messages import NewMessage
from ledger.rows import NewEntry
from ledger.vocabulary import ArtifactRef, Json, Record, Standing, TaskState


class OpenProject(Record):
    """Bring the repository into the project's bare store and open ledger and budget."""

    project: str
    goal: str
    repository: str
    base: str | None
    """Branch, tag or commit; None means the repository's HEAD."""
    budget_usd: Decimal
    budget_tokens: int | None = None
    spec_digest: str
    workflow_id: str
    mode: str
    autonomy: str


class ProjectOpened(Record):
    commit: str
    base: str
    """The branch's name, or the commit's where HEAD is detached."""
    warnings: tuple[str, ...] = ()
    """Such as uncommitted changes in the person's checkout, which are not part of the work."""
    models: dict[str, tuple[str, ...]] = {}
    """Chains that the workers are set to use where the brief names none."""
    limits: TimeLimits = TimeLimits()
    """As the workers are set."""


class PrepareTarget(Record):
    """Build the target's environment, detect its gates and run them on the base commit."""

    project: str
    commit: str
    setup: tuple[str, ...] | None = None
    gates: tuple[GateSpec, ...] | None = None


class TargetReport(Record):
    """`baseline` is the artifact of `agents.target.Baseline`; the rest is what workflows and people need of it."""

    baseline: ArtifactRef
    environment: str
    gates: tuple[GateState, ...]
    """Those that can judge a change: one that does not even end on the base commit is left out, with a warning."""
    sandbox: str
    """`bubblewrap`, or `none (SYNDIC_UNSAFE_COMMANDS=1)`."""
    warnings: tuple[str, ...] = ()


class OpenBudget(Record):
    scope: str
    limit_usd: Decimal | None
    limit_tokens: int | None = None
    raised: bool = False
    """True: set the limits of an existing scope (an approved budget decision); one that is None stays as it is."""


class BudgetView(Record):
    scope: str
    limit_usd: Decimal | None
    reserved_usd: Decimal
    spent_usd: Decimal
    limit_tokens: int | None = None
    reserved_tokens: int = 0
    spent_tokens: int = 0


class OpenWorkspace(Record):
    """Create or reset a branch of the project's store. A branch that exists at or after `base` is kept as it is."""

    project: str
    branch: str
    base: str
    """A commit, or a branch of the store."""
    restart: bool = False
    """True: throw the branch's own commits away and begin at `base` again (a clean start)."""


class Workspace(Record):
    branch: str
    commit: str
    base_commit: str


class RunGates(Record):
    """Run the gates on a commit and hold them against the baseline. Gates and configuration come from `base_commit`."""

    project: str
    sprint: int
    task: str
    commit: str
    base_commit: str
    baseline: ArtifactRef
    scope: tuple[str, ...] = ("**",)
    attempt: int = 1


class GateReport(Record):
    """`documents` hold the diff (`diff`), and all gate results (`gates`), for judges and people."""

    passed: bool
    feedback: tuple[Feedback, ...] = ()
    """One for each regression, out-of-scope path or touched gate configuration."""
    gates: tuple[GateState, ...] = ()
    changed_paths: tuple[str, ...] = ()
    insertions: int = 0
    deletions: int = 0
    documents: tuple[ArtifactRef, ...] = ()


class Integrate(Record):
    """Merge a commit into a branch of the store, with gates run on the merged tree before the branch moves."""

    project: str
    sprint: int
    task: str | None
    source: str
    """Commit to merge."""
    target: str
    """Branch that takes it."""
    base_commit: str
    baseline: ArtifactRef
    title: str
    key: str
    """Idempotency key; stands in the ledger entry."""
    prepare: bool = False
    """True: make the merge and run the gates on it, and leave the branch where it stands."""
    prepared: str | None = None
    """The merge commit that was prepared before: this one is brought in, or none."""


class Prepared(Record):
    """A merge that passed its gates and waits for consent; its commit says what it is to the last byte."""

    commit: str
    tree: str
    parent: str
    """Where the branch stood."""
    diff: ArtifactRef
    """What would change on the branch."""
    paths: tuple[str, ...] = ()
    insertions: int = 0
    deletions: int = 0


class Integration(Record):
    merged: bool
    commit: str | None = None
    """Merge commit, or the branch's head where there was nothing to merge."""
    conflict: bool = False
    feedback: tuple[Feedback, ...] = ()
    ledger: str | None = None
    """The value of the commit's `Syndic-Ledger` trailer."""
    prepared: Prepared | None = None
    """Where a merge was only to be prepared and can be made."""
    moved: bool = False
    """The branch no longer stands where it stood when the merge was prepared."""


class Deliver(Record):
    """Bring the project's branch into the person's repository as a branch; their checkout is not touched."""

    project: str
    repository: str
    branch: str


class Delivered(Record):
    branch: str
    commit: str
    pushed: bool
    detail: str = ""


class TaskDiff(Record):
    """What a task would have changed."""

    task: str
    sprint: int
    title: str
    state: TaskState
    summary: str
    agent: str
    branch: str | None = None
    commit: str | None = None
    diff: ArtifactRef | None = None


class CloseProject(Record):
    """Release worktrees, leases and reservations, verify the chain and write the closing entry."""

    project: str
    state: str
    summary: str
    diffs: tuple[TaskDiff, ...] = ()
    """Of a dry run, for the page that it leaves."""


class ProjectClosed(Record):
    ledger_entries: int
    ledger_verified: bool
    detail: str = ""
    model_calls: int
    in_doubt: int
    cost_usd: Decimal
    report: ArtifactRef | None = None
    """The page of a dry run, as markdown with every diff."""
    report_file: str | None = None
    """Where it lies on the machine of the worker that wrote it."""


class RecordEntries(Record):
    entries: tuple[NewEntry, ...]
    messages: tuple[NewMessage, ...] = ()
    feed: tuple[dict[str, Json], ...] = ()
    """Events for the live feed that need no row of their own."""


class Recorded(Record):
    seq: int
    hash: str


class ChangeStanding(Record):
    project: str
    subject: str
    standing: Standing
    reason: str
    by: str
    key: str


class KeepDocument(Record):
    """Keep a document that a workflow made (a plan, a report) as an artifact."""

    name: str
    text: str
    media_type: str = "application/json"


class WorkspaceActivities:
    """Git, gates and programs; served on `syndic-tools`."""

    @activity.defn(name="open_project")
    async def open_project(self, request: OpenProject) -> ProjectOpened:
        raise NotImplementedError

    @activity.defn(name="prepare_target")
    async def prepare_target(self, request: PrepareTarget) -> TargetReport:
        raise NotImplementedError

    @activity.defn(name="open_workspace")
    async def open_workspace(self, request: OpenWorkspace) -> Workspace:
        raise NotImplementedError

    @activity.defn(name="run_gates")
    async def run_gates(self, request: RunGates) -> GateReport:
        raise NotImplementedError

    @activity.defn(name="integrate")
    async def integrate(self, request: Integrate) -> Integration:
        raise NotImplementedError

    @activity.defn(name="deliver")
    async def deliver(self, request: Deliver) -> Delivered:
        raise NotImplementedError

    @activity.defn(name="close_project")
    async def close_project(self, request: CloseProject) -> ProjectClosed:
        raise NotImplementedError


class AgentActivities:
    """Agents and models; served on `syndic-agents`."""

    @activity.defn(name="agent_run")
    async def agent_run(self, request: AgentRun) -> AgentOutcome:
        raise NotImplementedError


class RecordActivities:
    """The record and the bus; quick, served on `syndic`."""

    @activity.defn(name="record")
    async def record(self, request: RecordEntries) -> Recorded:
        raise NotImplementedError

    @activity.defn(name="keep_document")
    async def keep_document(self, request: KeepDocument) -> ArtifactRef:
        raise NotImplementedError

    @activity.defn(name="open_budget")
    async def open_budget(self, request: OpenBudget) -> BudgetView:
        raise NotImplementedError

    @activity.defn(name="change_standing")
    async def change_standing(self, request: ChangeStanding) -> Recorded:
        raise NotImplementedError


NOT_RETRYABLE = (
    "InvalidBrief",
    "InvalidRepository",
    "SetupFailed",
    "SandboxMissing",
    "Divergence",
    "PayloadTooLarge",
    "NoModelKey",
    "SchemaMismatch",
    "KeyConflict",
)
"""`ApplicationError` types that no retry can mend; `activities.failures` is the only place that raises them."""

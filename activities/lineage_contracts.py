"""What workflows may ask about lineages and tasks that are given up. As `activities.contracts`, and as light."""

from __future__ import annotations

from decimal import Decimal

from temporalio import activity

from ledger.vocabulary import Record


class ReadRun(Record):
    """How far a run has come."""

    thread: str


class RunSoFar(Record):
    """`steps` is the number of its first steps that have results; the rest is what the run itself has taken."""

    thread: str
    steps: int
    model_calls: int = 0
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0


class RewindRun(Record):
    """Begin the run `target` with the steps of `source` before `step`; nobody works on `source` any more."""

    project: str
    sprint: int
    task: str
    source: str
    target: str
    step: int
    by: str
    """Who wants it, as they claim."""


class Rewound(Record):
    """`refusal` says why it could not be done."""

    refusal: str | None = None
    commit: str | None = None
    """Where the worktree goes on; None: where the run began."""
    in_doubt: int = 0


class GiveUpTask(Record):
    """Put down what a task held that nobody goes on with: leases, reservations, worktrees, its branch."""

    project: str
    sprint: int
    task: str
    branch: str
    base_commit: str
    by: str
    reason: str = ""


class GivenUp(Record):
    """`commit` is where the branch stood, None where it held nothing of its own; it is kept under `kept`."""

    commit: str | None = None
    kept: str | None = None
    in_doubt: int = 0


class LineageActivities:
    """Reading and rewinding is quick and served on `syndic`; giving up touches git, on `syndic-tools`."""

    @activity.defn(name="read_run")
    async def read_run(self, request: ReadRun) -> RunSoFar:
        raise NotImplementedError

    @activity.defn(name="rewind_run")
    async def rewind_run(self, request: RewindRun) -> Rewound:
        raise NotImplementedError

    @activity.defn(name="give_up_task")
    async def give_up_task(self, request: GiveUpTask) -> GivenUp:
        raise NotImplementedError

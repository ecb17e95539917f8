"""Tasks: given out, checked, merged, given up."""

from __future__ import annotations

from ledger.events.base import Event


class TaskStarted(Event):
    kind = "task_started"
    sprint: int
    task: str
    title: str
    agent: str
    generation: int = 1


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

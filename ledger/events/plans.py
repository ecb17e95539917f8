"""Plans: proposed, edited, confirmed."""

from __future__ import annotations

from ledger.events.base import Event


class PlanProposed(Event):
    kind = "plan_proposed"
    digest: str
    summary: str
    sprints: int
    tasks: int


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

"""What agents asked each other, and how that was settled."""

from __future__ import annotations

from ledger.events.base import Event


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

"""What a project manager is called for: somebody waits, or a task needs another hand. Pure pydantic."""

from __future__ import annotations

from enum import StrEnum

from ledger.vocabulary import Record, Role


class Trouble(StrEnum):
    """Why the team needs its project manager."""

    CYCLE = "cycle"
    """Colleagues wait for each other: none of them will ever answer."""
    TIMEOUT = "timeout"
    """A colleague has not answered in time."""
    HANDOVER = "handover"
    """An agent gives its task away, and the role it names cannot take it."""


class OpenQuestion(Record):
    """One agent that waits for another."""

    id: str
    asker: str
    to: str
    text: str
    task: str = ""
    """The asker's."""
    waited_s: int = 0


class Situation(Record):
    """All that the project manager is told, as `params.situation` of the assignment."""

    trouble: Trouble
    questions: tuple[OpenQuestion, ...] = ()
    """Those that it is about: of a cycle in order, each asked of the asker of the next."""
    others: tuple[OpenQuestion, ...] = ()
    """What else is open in the team."""
    task: str = ""
    giver: str = ""
    reason: str = ""
    candidates: tuple[Role, ...] = ()
    """Roles that can take the task over."""

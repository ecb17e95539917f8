"""State of an agent's graph: a conversation that only grows, the place in the journal, and how the run ends."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from agents.assignments import Assignment
from agents.context import Chat
from agents.mailbox import Mailbox
from agents.model_choice import Choices
from agents.models import Models, ToolCall
from agents.policy import Policy
from agents.runs import AgentRun, PendingCall
from agents.steps import Steps
from agents.tools.base import Tool, ToolContext
from agents.wiring import Guard
from ledger.rows import NewEntry
from ledger.vocabulary import Exceeded, Json, OutcomeKind, Record, Role


class Ending(Record):
    """How a run ended, before it is put together with commit and cost."""

    kind: OutcomeKind
    summary: str
    result: dict[str, Json] = {}
    question: str | None = None
    question_id: str | None = None
    to_role: Role | None = None
    to_agent: str | None = None
    exceeded: Exceeded | None = None
    call: PendingCall | None = None


class Closing(Record):
    """The call that wants to end the run, and where it stands in the journal."""

    tool: str
    ok: bool
    data: dict[str, Json] = {}
    ordinal: int
    error: str = ""
    """What the model was told, where the call was not accepted."""


class RunState(TypedDict):
    """Nodes return what they add to `messages`, never the whole list; everything else is replaced."""

    messages: Annotated[list[Chat], operator.add]
    ordinal: int
    """The next step's."""
    turns: int
    calls: list[ToolCall]
    """What the last answer asks for."""
    signature: str
    """Digest of the calls of the last answer, and in `repeats` how often in a row they came."""
    repeats: int
    nudged: bool
    rejected: int
    """Invalid results in a row."""
    chain: list[str]
    """Models of the turn, as the journal has them."""
    given_up: int
    """Models of the chain that this run gave up because their answers were invalid, beyond those of the ladder."""
    closing: Closing | None
    ending: Ending | None


@dataclass(frozen=True)
class RunContext:
    """What nodes work with. It is no part of the state: a resumed run has its own."""

    request: AgentRun
    assignment: Assignment
    steps: Steps
    guard: Guard
    gateway: Models
    mailbox: Mailbox
    policy: Policy
    offered: dict[str, Tool]
    tool_context: ToolContext
    has_worktree: bool
    window: int
    """Characters of conversation that a model is sent."""
    commit_changes: Callable[[str, int, int], Awaitable[str | None]]
    """Commits what a tool (name, ordinal, sub) changed; None where nothing changed."""
    clean: Callable[[], Awaitable[None]]
    """Brings the worktree back to its last commit."""
    thread: str
    record: Callable[[Sequence[NewEntry]], Awaitable[object]]
    """Puts entries on the ledger that belong to no step."""
    choices: Choices | None = None
    """What a person chose while the run works."""
    questions: set[str] = field(default_factory=set[str])
    """Questions of the board that the run opened or voted on, served steps included."""


def begin(messages: list[Chat], chain: Sequence[str]) -> RunState:
    """The state of a run whose first step (the assignment, ordinal 0) is done."""
    return RunState(
        messages=messages, ordinal=1, turns=0, calls=[], signature="", repeats=0, nudged=False, rejected=0,
        chain=list(chain), given_up=0, closing=None, ending=None,
    )  # fmt: skip

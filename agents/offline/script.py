"""How a stateless model follows a plan of many turns: each role is a generator that is run again from the start.

A script yields turns (tool calls) and is sent their results. At each request it is replayed against the turns on record; the
first turn that is not on record is the next thing to say. Scripts must therefore be deterministic functions of the
assignment and of what the tools answered.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agents.assignments import Assignment, Feedback
from agents.offline.conversation import Call, Conversation, PastTurn, Result

MAX_TURNS = 40
"""Turns in one conversation, the closing one included."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Turn:
    """One assistant message: a sentence for people and the calls to make."""

    text: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class End:
    """The last turn: one of `finish`, `refuse`, `escalate`, `hand_off` with its arguments."""

    text: str
    call: Call

    @property
    def turn(self) -> Turn:
        return Turn(self.text, (self.call,))


Steps = Generator[Turn, tuple[Result, ...], _T]
Script = Steps[End]


def finish(text: str, result: Any) -> End:
    """End the run with a result model of `agents.assignments.RESULTS`."""
    return End(text, Call("finish", result.model_dump(mode="json")))


@dataclass
class Desk:
    """What a script works at: the assignment, the tools on offer, the messages so far and the turns it has left."""

    assignment: Assignment
    tools: frozenset[str]
    notes: list[Feedback] = field(default_factory=list[Feedback])
    turns_used: int = 0

    @property
    def turns_left(self) -> int:
        """Turns that may still be taken before the closing one."""
        return MAX_TURNS - self.turns_used - 1

    @property
    def feedback(self) -> tuple[Feedback, ...]:
        """Feedback of the assignment and what has arrived since."""
        return (*self.assignment.feedback, *self.notes)

    def use(self, say: str, name: str, **arguments: Any) -> Steps[Result]:
        """Make one call and return its result."""
        return (yield from self.use_all(say, [Call(name, arguments)]))[0]

    def use_all(self, say: str, calls: list[Call]) -> Steps[list[Result]]:
        """Make several calls in one turn. A tool that is not on offer answers with an error without being asked."""
        calls = [Call(call.name, json.loads(json.dumps(call.arguments))) for call in calls]
        known = [call for call in calls if call.name in self.tools]
        answers = iter((yield Turn(say, tuple(known))) if known else ())
        missing = Result({}, "this tool is not on offer")
        return [next(answers, missing) if call.name in self.tools else missing for call in calls]


def replay(script: Script, desk: Desk, conversation: Conversation) -> Turn | End:
    """Run a script against what is on record and return what it says next.

    Turns of another model (a chain may change models in mid-run) are passed over.
    """
    cursor = 0
    desk.notes.extend(_notes_at(conversation, 0))
    try:
        turn = next(script)
        while True:
            found = _find(conversation.turns, turn, cursor)
            if found is None:
                return turn
            for position in range(cursor + 1, found + 2):
                desk.notes.extend(_notes_at(conversation, position))
            desk.turns_used = cursor = found + 1
            turn = script.send(conversation.turns[found].results)
    except StopIteration as stop:
        return stop.value


def _notes_at(conversation: Conversation, position: int) -> tuple[Feedback, ...]:
    turns = conversation.turns
    if position < len(turns):
        return turns[position].notes_before
    return conversation.notes if position == len(turns) else ()


def _find(turns: tuple[PastTurn, ...], turn: Turn, start: int) -> int | None:
    for index in range(start, len(turns)):
        if turns[index].calls == turn.calls:
            return index
    return None

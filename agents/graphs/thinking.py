"""Thinking: hear what others say, ask the model once, notice when a run goes in circles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from langgraph.runtime import Runtime

from agents.assignments import Feedback
from agents.context import Chat, note, request
from agents.errors import MailWaitsError, ModelKeyRefusedError, ModelRefusedError, ThoughtTooLongError
from agents.graphs.choosing import choose
from agents.graphs.endings import failed
from agents.graphs.invalid import given_up
from agents.graphs.timing import thought
from agents.messages import MessageType, as_feedback
from agents.models import ModelAnswer, ModelRequest, ToolCall
from agents.state import RunContext, RunState
from agents.tools.base import Tool
from agents.wiring import Reading
from ledger.chain import digest
from ledger.messages import Message
from ledger.vocabulary import Json, StepKind

INBOX = "inbox"
REPEATS_TOLD = 3
"""The same calls so often in a row, and the model is told; once more, and the run has failed."""

NUDGE = Feedback(
    source="syndic",
    text="Your answer held no tool call, so nothing happened. Go on with a tool, or end with `finish`, `refuse` or `escalate`.",
)


async def think(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """One turn: at most one input step for the inbox, then one model step."""
    run = runtime.context
    if state["turns"] >= run.request.max_steps:
        return {"ending": failed(f"no result after {state['turns']} model calls")}
    turn = _Turn(state, state["ordinal"])
    try:
        answer = await _answered(run, turn)
    except ThoughtTooLongError as error:
        return {"ending": failed(f"thinking took too long: {error}")}
    except ModelKeyRefusedError:
        raise  # with another key the same request may be served
    except ModelRefusedError as error:
        return {"ending": failed(f"no model can serve this request: {error}")}
    messages = [*turn.heard, said(answer)]
    delta = {"messages": messages, "ordinal": turn.ordinal + 1, "turns": state["turns"] + 1}
    return turn.delta | delta | _judge_turn(turn.state, run, answer, turn.ordinal)


@dataclass
class _Turn:
    """What a turn has read before its model is asked, and its next ordinal."""

    state: RunState
    ordinal: int
    heard: list[Chat] = field(default_factory=list[Chat])
    delta: dict[str, Any] = field(default_factory=dict[str, Any])


async def _answered(run: RunContext, turn: _Turn) -> ModelAnswer:
    """Hear what waits and ask. Whether something waits is known where the call is reserved, so nobody looks for nothing."""
    waits = False
    while True:
        turn.ordinal, heard = await hear(run, turn.ordinal, look=waits)
        chosen = await choose(turn.state, run, turn.ordinal)
        turn.ordinal, turn.state = chosen.ordinal, cast("RunState", {**turn.state, **chosen.delta})
        turn.heard += heard
        turn.delta |= chosen.delta
        if _is_heard(run, turn.ordinal):
            continue  # it came when the models had been chosen
        messages = [*turn.state["messages"], *turn.heard]
        asked = request(run.assignment.work, messages, _schemas(run), run.window)
        try:
            return await _ask(run, turn.ordinal, asked, chosen.chain, chosen.offset)
        except MailWaitsError:
            waits = True


def _schemas(run: RunContext) -> list[dict[str, Json]]:
    return [schema_of(tool) for tool in run.offered.values()]


async def _ask(run: RunContext, ordinal: int, asked: ModelRequest, chain: Sequence[str], offset: int) -> ModelAnswer:
    work = run.assignment.work

    async def lost(left: Sequence[str]) -> None:
        await run.steps.reserve_again(ordinal, work, asked, run.gateway.bound(asked, left))

    return await run.steps.model(
        ordinal,
        work,
        asked,
        lambda: run.gateway.bound(asked, chain),
        lambda: thought(run, ordinal, len(chain) - offset, run.gateway.complete(asked, chain, offset, lost=lost)),
        sorted(run.mailbox.passed),
    )


@lru_cache(maxsize=256)
def schema_of(tool: Tool) -> dict[str, Json]:
    """A tool as models are offered it; pydantic takes milliseconds to describe the larger ones."""
    return tool.schema()


async def hear(run: RunContext, ordinal: int, *, look: bool) -> tuple[int, list[Chat]]:
    """Read the inbox as an input step, if there is anything in it; returns the next ordinal and what was said.

    Whether an input step came before a call is on the journal: a turn whose model step is known began without one, or with
    the ones before it, and replays that way whatever lies in the inbox now. Only where `look` says so is the inbox looked into.
    """
    served = _is_heard(run, ordinal)
    unread = await _unread(run) if look and run.steps.known(ordinal) is None else []
    if not unread and not served:
        return ordinal, []

    async def read() -> Reading:
        # Looked at again: another run of the same agent may have read some of it meanwhile.
        waiting = await _unread(run)
        value = [as_feedback(message).model_dump(mode="json") for message in waiting]
        return Reading(value, acknowledged=tuple(message.id for message in waiting))

    heard = await run.steps.input(ordinal, INBOX, read)
    if unread:
        await run.mailbox.settle()
    return ordinal + 1, [note(Feedback.model_validate(item)) for item in heard]


def _is_heard(run: RunContext, ordinal: int) -> bool:
    known = run.steps.known(ordinal)
    return known is not None and (known.kind, known.name) == (StepKind.INPUT, INBOX)


async def _unread(run: RunContext) -> list[Message]:
    """What is for this run: not a question, which a run of its own answers, and not the answer that another run waits for."""
    unread = await run.mailbox.unread()
    mine = [message for message in unread if _is_for(message, run.thread)]
    run.mailbox.passed.clear()
    run.mailbox.passed.update({message.id for message in unread} - {message.id for message in mine})
    return mine


def _is_for(message: Message, thread: str) -> bool:
    if message.type == MessageType.RESPONSE and message.correlation is not None:
        return message.correlation.rpartition("/")[0] == thread
    return message.type != MessageType.QUERY


def said(answer: ModelAnswer) -> Chat:
    """The answer as the conversation keeps it."""
    message: Chat = {"role": "assistant", "content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    return message


def _judge_turn(state: RunState, run: RunContext, answer: ModelAnswer, ordinal: int) -> dict[str, Any]:
    if not answer.tool_calls:
        if state["nudged"]:
            reason = "the model answered twice without a tool call"
            return {"calls": [], **given_up(state, run, reason, answer.text, ordinal)}
        return {"calls": [], "nudged": True}
    signature = _signature(answer.tool_calls)
    repeats = state["repeats"] + 1 if signature == state["signature"] else 1
    ending = failed(f"the model made the same call {repeats} times") if repeats > REPEATS_TOLD else None
    return {"calls": list(answer.tool_calls), "signature": signature, "repeats": repeats, "ending": ending}


def _signature(calls: tuple[ToolCall, ...]) -> str:
    return digest([[call.name, call.arguments] for call in calls])


def after_think(state: RunState) -> str:
    if state["ending"] is not None:
        return "error"
    if state["closing"] is not None:
        return "ask"
    return "act" if state["calls"] else "nudge"


async def nudge(state: RunState) -> dict[str, Any]:
    """Say once that an answer without a tool call achieves nothing."""
    return {"messages": [note(NUDGE)]}

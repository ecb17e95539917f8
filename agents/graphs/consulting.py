"""Asking a colleague, and going on with the answer: the question ends the run, the answer is read from the inbox."""

from __future__ import annotations

import json
from typing import Any

from langgraph.runtime import Runtime

from agents.assignments import Feedback
from agents.colleagues import find_colleague
from agents.context import note
from agents.graphs.invalid import FRESH
from agents.messages import SYSTEM, MessageType, step_message
from agents.state import Ending, RunContext, RunState
from agents.steps import failed
from agents.tools.base import ToolResult
from agents.tools.endings import Ask
from agents.wiring import Performed, Reading
from ledger.messages import Message, NewMessage
from ledger.vocabulary import Json, OutcomeKind, StepKind

REPLY = "reply"


def question_id(thread: str, ordinal: int) -> str:
    """Of the question that the tool step at this place asked; messages about it have it as their correlation."""
    return f"{thread}/{ordinal}"


async def ask_colleague(run: RunContext, ordinal: int, sub: int, wanted: Ask) -> Performed:
    """What the tool `ask` does: find the colleague and write to its inbox, with the step."""
    colleagues = run.assignment.colleagues
    to = find_colleague(wanted.to, run.request.agent, colleagues)
    if to is None:
        known = ", ".join(agent for agent in colleagues if agent != run.request.agent) or "nobody"
        return Performed(failed({"error": f"there is no colleague {wanted.to!r}; you can ask: {known}"}))
    await run.mailbox.open(to)
    id = question_id(run.thread, ordinal)
    data: dict[str, Json] = {**wanted.model_dump(mode="json"), "to": to, "question_id": id}
    message = step_message(
        MessageType.QUERY,
        place=(run.thread, ordinal, sub),
        project=run.request.project,
        source=run.request.agent,
        target=to,
        payload={"task": run.request.task, "sprint": run.request.sprint, **data},
    ).model_copy(update={"correlation": id})
    content = json.dumps({"asked": to, "ended": True})
    return Performed(ToolResult(ok=True, content=content, ends=True, data=data), outbox=(message,))


def response(run: RunContext, ordinal: int, sub: int, result: ToolResult) -> NewMessage:
    """The answer to the question that the assignment is about."""
    params = run.assignment.params
    return step_message(
        MessageType.RESPONSE,
        place=(run.thread, ordinal, sub),
        project=run.request.project,
        source=run.request.agent,
        target=str(params["asker"]),
        payload={"answer": result.data["answer"], "confidence": result.data["confidence"]},
    ).model_copy(update={"correlation": str(params["question"])})


async def consult(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Go on with the colleague's answer where it has arrived; else the run ends until it has."""
    run, closing, ordinal = runtime.context, state["closing"], state["ordinal"]
    assert closing is not None  # the edge that leads here looked
    id = str(closing.data["question_id"])
    known = run.steps.known(ordinal)
    served = known is not None and (known.kind, known.name) == (StepKind.INPUT, REPLY)
    answers = [] if served else await _answers(run, id)
    if not served and not answers:
        question = str(closing.data["question"])
        ending = Ending(
            kind=OutcomeKind.NEEDS_TEAMMATE, summary=f"asks {closing.data['to']}: {question}", result=closing.data,
            question=question, question_id=id, to_agent=str(closing.data["to"]),
        )  # fmt: skip
        return {"ending": ending}

    async def read() -> Reading:
        # A question that somebody else has settled is not left in the colleague's inbox.
        settled = [
            message for message in await run.mailbox.unread_of(str(closing.data["to"])) if message.correlation == id
        ]
        return Reading(_heard(answers), acknowledged=tuple(message.id for message in (*answers, *settled)))

    heard = await run.steps.input(ordinal, REPLY, read)
    if answers:
        await run.mailbox.settle()
    return {**FRESH, "messages": [note(Feedback.model_validate(heard))], "ordinal": ordinal + 1, "closing": None}


async def after_consult(state: RunState) -> str:
    return "end" if state["ending"] else "work"


async def _answers(run: RunContext, id: str) -> list[Message]:
    unread = await run.mailbox.unread()
    return [message for message in unread if message.type == MessageType.RESPONSE and message.correlation == id]


def _heard(answers: list[Message]) -> Json:
    """The colleague's own words, even where something was put in their place a moment before."""
    chosen = next((message for message in answers if message.source != SYSTEM), answers[0])
    data = {name: value for name, value in chosen.payload.items() if name != "answer"}
    text = str(chosen.payload.get("answer", ""))
    return Feedback(source=f"agent:{chosen.source}", text=text, data=data).model_dump(mode="json")

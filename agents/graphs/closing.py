"""The nodes in which a run ends, or learns that it may not end yet."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from agents.assignments import Feedback
from agents.context import note
from agents.graphs.endings import failed
from agents.graphs.invalid import FRESH, TRIES, given_up
from agents.state import Closing, Ending, RunContext, RunState
from agents.wiring import Reading
from ledger.vocabulary import Json, OutcomeKind, Role, StepKind

ANSWER = "answer"


def _closing(state: RunState) -> Closing:
    assert state["closing"] is not None  # the edge that leads here looked
    return state["closing"]


async def review(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Take a valid result. An invalid one goes back once: the tool's answer holds the errors."""
    closing = _closing(state)
    if closing.ok:
        summary = str(closing.data.get("summary") or closing.data.get("answer") or _reasons(closing.data))
        return {"ending": Ending(kind=OutcomeKind.FINISHED, summary=summary, result=closing.data)}
    rejected = state["rejected"] + 1
    if rejected < TRIES:
        return {"rejected": rejected, "closing": None}
    return given_up(state, runtime.context, f"the result was invalid {TRIES} times", closing.error, closing.ordinal)


async def after_review(state: RunState) -> str:
    if state["ending"] is None:
        return "ask" if state["closing"] is not None else "work"
    return "error" if state["ending"].kind is OutcomeKind.FAILED else "end"


async def handoff(state: RunState) -> dict[str, Any]:
    """Another role goes on."""
    data = _closing(state).data
    reason = str(data.get("reason", ""))
    return {"ending": Ending(kind=OutcomeKind.HANDOFF, summary=reason, result=data, to_role=Role(data["role"]))}


async def refuse(state: RunState) -> dict[str, Any]:
    """The goal cannot be served."""
    data = _closing(state).data
    reason = str(data.get("reason", ""))
    return {"ending": Ending(kind=OutcomeKind.REFUSED, summary=reason, result=data, question=reason)}


async def ask(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """A person is asked. Where the answer is known, the run goes on with it; else it ends until somebody answers."""
    run, closing, ordinal = runtime.context, _closing(state), state["ordinal"]
    question = str(closing.data.get("question", ""))
    question_id = f"{run.thread}/{closing.ordinal}"
    known = run.steps.known(ordinal)
    answered = known is not None and known.kind is StepKind.INPUT and known.name == ANSWER
    if not answered and not _is_answer(run, question_id):
        ending = Ending(
            kind=OutcomeKind.NEEDS_HUMAN, summary=question, result=closing.data, question=question,
            question_id=question_id,
        )  # fmt: skip
        return {"ending": ending}

    async def read() -> Reading:
        return Reading(run.request.answer)

    text = await run.steps.input(ordinal, ANSWER, read)
    told = note(Feedback(source="person", text=str(text)))
    return {**FRESH, "messages": [told], "ordinal": ordinal + 1, "closing": None}


def _is_answer(run: RunContext, question_id: str) -> bool:
    """Whether the request brings an answer to this question. One answer is used once, also by a repeated activity."""
    answer: Json = run.request.answer
    if answer is None:
        return False
    if run.request.answer_to is not None:
        return run.request.answer_to == question_id
    return answer not in run.steps.known_inputs(ANSWER)


async def after_ask(state: RunState) -> str:
    return "end" if state["ending"] else "work"


async def error(state: RunState) -> dict[str, Any]:
    """The run could not give a result; its ending says why."""
    return {"ending": state["ending"] or failed("the run ended without a result")}


def _reasons(data: dict[str, Json]) -> str:
    reasons = data.get("reasons") or ()
    return f"{data.get('verdict', '')}: {'; '.join(map(str, reasons))}".strip(": ")

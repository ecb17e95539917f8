"""Where an invalid answer goes: back once with its errors, then to the next model, then to a person. It is never made up."""

from __future__ import annotations

from typing import Any

from agents.assignments import Work
from agents.graphs.endings import failed
from agents.state import Closing, RunContext, RunState

TRIES = 2
"""Answers of one model: the first, and the one after it was told the errors."""
ASKS_A_PERSON = frozenset({Work.REQUIREMENTS, Work.PLAN, Work.QA, Work.JUDGE})
"""Work whose result others decide by. Other work ends as failed, and the repair ladder leads to a person too."""
MAX_ERRORS = 1_500
"""Characters of the errors that a person is shown."""

FRESH: dict[str, Any] = {"rejected": 0, "nudged": False, "signature": "", "repeats": 0}
"""The state's counts for a model that has just begun, or was helped by a person."""


def given_up(state: RunState, run: RunContext, reason: str, errors: str, ordinal: int) -> dict[str, Any]:
    """Give the model up: the next one of the chain goes on, else a person is asked, else the run has failed.

    Args:
        state: As it was before the answer.
        run: The run.
        reason: What was wrong, in a few words.
        errors: What the model was told.
        ordinal: Of the answer; the question's id comes from it.
    """
    if offset_of(state, run) + 1 < len(state["chain"]):
        return {**FRESH, "given_up": state["given_up"] + 1, "closing": None}
    if run.assignment.work not in ASKS_A_PERSON:
        return {"ending": failed(reason)}
    question = (
        f"No model of the chain gives a valid result for {run.assignment.work.value}: {reason}. {errors[:MAX_ERRORS]} "
        "Say what the result should be or how to get it, and the agent tries again; reject, and this attempt fails."
    )
    return {"closing": Closing(tool="escalate", ok=True, data={"question": question}, ordinal=ordinal)}


def offset_of(state: RunState, run: RunContext) -> int:
    """How many models of the state's chain are given up; what the ladder gave up counts in the chain it knew."""
    ladder = run.request.chain_offset if tuple(state["chain"]) == run.request.chain else 0
    return ladder + state["given_up"]

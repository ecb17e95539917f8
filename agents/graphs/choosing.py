"""Which models a turn asks: what a person chose last, kept on the journal so that a replay decides as the run did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from agents.graphs.invalid import FRESH, offset_of
from agents.state import RunContext, RunState
from agents.wiring import Reading
from ledger.vocabulary import Json, StepKind, StepStatus

MODELS = "models"


@dataclass(frozen=True)
class Chosen:
    """The chain of a turn, where in it the turn begins, the turn's next ordinal, and what changes in the state."""

    chain: tuple[str, ...]
    offset: int
    ordinal: int
    delta: dict[str, Any]


async def choose(state: RunState, run: RunContext, ordinal: int) -> Chosen:
    """Look at the choice, and write it down as an input step where it is another one than before.

    A call that was begun and has no result cannot be preceded by a new step: it is made with the choice of the moment, and
    the turn after it writes that down. Answers do not depend on it, since they are served by the request, not by the model.
    """
    known = run.steps.known(ordinal)
    before = tuple(state["chain"])
    if known is not None and known.kind is StepKind.INPUT and known.name == MODELS:
        served = await _written(run, ordinal, known.result)
        following = await choose(cast("RunState", {**state, **served.delta}), run, served.ordinal)
        return replace(following, delta=served.delta | following.delta)
    if known is not None and known.status is StepStatus.DONE:
        return Chosen(before, offset_of(state, run), ordinal, {})
    wanted = await _wanted(run)
    if known is None and wanted != before:
        return await _written(run, ordinal, {"chain": list(wanted)})
    return Chosen(wanted, offset_of(state, run) if wanted == before else 0, ordinal, {})


async def _wanted(run: RunContext) -> tuple[str, ...]:
    chosen = await run.choices.chain(run.request.role.value, run.thread) if run.choices else None
    return chosen or run.request.chain


async def _written(run: RunContext, ordinal: int, value: Json) -> Chosen:
    async def read() -> Reading:
        return Reading(value)

    served = await run.steps.input(ordinal, MODELS, read)
    chain = tuple(served["chain"])
    offset = run.request.chain_offset if chain == run.request.chain else 0
    return Chosen(chain, offset, ordinal + 1, {**FRESH, "chain": list(chain), "given_up": 0})

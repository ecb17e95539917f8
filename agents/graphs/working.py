"""The node `work`: think, act, and again, until a run ends, rests or has to be told something.

One node and not two or three, because nobody keeps or shows what LangGraph would put together between them: the journal has
each step. That was a fifth of what a run took (docs/benchmarks.md).
"""

from __future__ import annotations

from typing import Any, cast

from langgraph.runtime import Runtime

from agents.graphs.acting import act, after_act
from agents.graphs.closing import after_review, review
from agents.graphs.thinking import after_think, think
from agents.state import RunContext, RunState


async def work(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Turn after turn; returns what all of them changed."""
    done = _Changes(state)
    while True:
        done.take(await think(done.state, runtime))
        if after_think(done.state) != "act":
            return done.changes
        done.take(await act(done.state, runtime))
        if after_act(done.state) != "think":
            return done.changes


async def reviewed_work(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """As `work`, and a result is reviewed at once: what is invalid goes back, and the work goes on."""
    done = _Changes(state)
    while True:
        done.take(await work(done.state, runtime))
        if await after_work(done.state) != "review":
            return done.changes
        done.take(await review(done.state, runtime))
        if await after_review(done.state) != "work":
            return done.changes


async def after_work(state: RunState) -> str:
    if state["ending"] is None and state["closing"] is not None:
        return after_act(state)
    return "error" if state["ending"] is not None else "nudge"


async def after_reviewed_work(state: RunState) -> str:
    return await after_work(state) if state["ending"] is None else await after_review(state)


class _Changes:
    """What the nodes within `work` returned, as LangGraph would have applied it."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.changes: dict[str, Any] = {}

    def take(self, change: dict[str, Any]) -> None:
        said = [*self.changes.get("messages", ()), *change.get("messages", ())]
        messages = [*self.state["messages"], *change.get("messages", ())]
        self.changes = {**self.changes, **change, "messages": said}
        self.state = cast("RunState", {**self.state, **change, "messages": messages})

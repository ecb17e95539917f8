"""How long an agent may think and execute; what takes longer is stopped, with a line on the record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from agents.errors import ThoughtTooLongError
from agents.state import RunContext
from agents.steps import failed
from agents.tools.base import Tool, ToolResult
from ledger.events import StateTimedOut
from ledger.rows import NewEntry
from ledger.vocabulary import AgentState

T = TypeVar("T")


async def in_time(run: RunContext, tool: Tool, ordinal: int, work: Awaitable[ToolResult]) -> ToolResult:
    """Wait for a tool; one that takes too long is stopped, and its result says so."""
    limit = run.request.limits.executing_s
    clock = asyncio.timeout(limit)
    try:
        async with clock:
            return await work
    except TimeoutError:
        if not clock.expired():
            raise
        await timed_out(run, AgentState.EXECUTING, limit, ordinal, tool.name)
        if tool.writes:
            await run.clean()  # nothing half done is committed
        return failed({"error": f"{tool.name} was stopped after {limit} s", "hint": "ask for less at once"})


async def thought(run: RunContext, ordinal: int, models: int, work: Awaitable[T]) -> T:
    """Wait for an answer of a chain with so many models left.

    Raises:
        ThoughtTooLongError: The call was given up; it may still be billed and is listed in doubt.
    """
    limit = run.request.limits.thinking_s * max(models, 1)
    clock = asyncio.timeout(limit)
    try:
        async with clock:
            return await work
    except TimeoutError:
        if not clock.expired():
            raise
        await timed_out(run, AgentState.THINKING, limit, ordinal, run.assignment.work)
        raise ThoughtTooLongError(f"no answer within {limit} s", may_be_billed=True) from None


async def timed_out(run: RunContext, state: AgentState, limit_s: int, ordinal: int, what: str) -> None:
    """Put it on the ledger; once for a step, however often it is tried."""
    body = StateTimedOut(agent=run.request.agent, thread=run.thread, state=state, limit_s=limit_s, what=what)
    key = f"{run.thread}/{ordinal}/timed-out/{what}"
    entry = NewEntry(project=run.request.project, key=key, kind=body.kind, body=body.model_dump(mode="json"))
    await run.record([entry])

"""Acting: every call of the model's message, each through policy and the journal.

Calls that only look go side by side, calls that write one by one and in order; what ends the run goes last. The calls of one
message share an ordinal and have their index as sub-ordinal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from langgraph.runtime import Runtime
from pydantic import ValidationError

from agents.assignments import Feedback, Work
from agents.confirming import confirmed
from agents.context import Chat, note
from agents.errors import LostLeaseError, PathEscapeError
from agents.graphs.checks import faults
from agents.graphs.consulting import ask_colleague, response
from agents.graphs.thinking import REPEATS_TOLD
from agents.graphs.timing import in_time
from agents.messages import EVERYONE, MessageType, step_message
from agents.models import ToolCall
from agents.policy import TEAM_TOOLS, Decision
from agents.state import Closing, RunContext, RunState
from agents.steps import failed
from agents.tools.base import Tool, ToolContext, ToolResult
from agents.tools.endings import Ask
from agents.tools.registry import all_tools
from agents.wiring import Performed
from ledger.messages import NewMessage
from ledger.vocabulary import Json, Tier

ENDS = ("finish", "refuse", "escalate", "hand_off", "ask")
MAX_ERRORS = 10

STUCK = Feedback(
    source="syndic",
    text=f"You made the same call {REPEATS_TOLD} times in a row and its result does not change. Do something else, or end the "
    "run: the next identical call ends it as failed.",
)


async def act(state: RunState, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """Make the calls; returns their results as messages, in the order in which the model asked."""
    run, ordinal, calls = runtime.context, state["ordinal"], state["calls"]
    ends = [sub for sub, call in enumerate(calls) if call.name in ENDS]
    skipped, last = ends[1:], ends[:1]
    results: dict[int, ToolResult] = {}
    others = [sub for sub in range(len(calls)) if sub not in ends]
    for batch in (*_batches(run, calls, others), *([last] if last else [])):
        results |= await _together(run, ordinal, calls, batch)
    results |= dict.fromkeys(skipped, failed({"error": "not done: another call of this message ends the run"}))
    delta: dict[str, Any] = {
        "messages": [_told(calls[sub], results[sub]) for sub in range(len(calls))],
        "ordinal": ordinal + 1,
        "calls": [],
        "closing": _closing(calls, results, last, ordinal),
    }
    if state["repeats"] == REPEATS_TOLD:
        delta["messages"].append(note(STUCK))
    return delta


def after_act(state: RunState) -> str:
    closing = state["closing"]
    if closing is None:
        return "think"
    nodes = {"finish": "review", "hand_off": "handoff", "escalate": "ask", "refuse": "refuse", "ask": "consult"}
    return nodes[closing.tool]


def _closing(
    calls: Sequence[ToolCall], results: dict[int, ToolResult], last: Sequence[int], ordinal: int
) -> Closing | None:
    for sub in last:
        result = results[sub]
        if not result.ok and calls[sub].name != "finish":
            return None  # the model has read why; only invalid results are counted
        error = "" if result.ok else result.content
        return Closing(tool=calls[sub].name, ok=result.ok, data=result.data, ordinal=ordinal, error=error)
    return None


def _batches(run: RunContext, calls: Sequence[ToolCall], subs: Sequence[int]) -> Iterator[list[int]]:
    def writes(sub: int) -> bool:
        tool = run.offered.get(calls[sub].name)
        return tool is not None and (tool.writes or tool.alone)

    for writing, group in groupby(subs, writes):
        if writing:
            yield from ([sub] for sub in group)
        else:
            yield list(group)


async def _together(
    run: RunContext, ordinal: int, calls: Sequence[ToolCall], batch: Sequence[int]
) -> dict[int, ToolResult]:
    """Side by side; where one fails, the others still end, since their results are on the journal."""
    work = (_one(run, ordinal, sub, calls[sub]) for sub in batch)
    done = await asyncio.gather(*work, return_exceptions=True)
    for outcome in done:
        if isinstance(outcome, BaseException):
            raise outcome
    return {sub: result for sub, result in zip(batch, done, strict=True) if isinstance(result, ToolResult)}


async def _one(run: RunContext, ordinal: int, sub: int, call: ToolCall) -> ToolResult:
    arguments, complaint = _parse(call.arguments)
    tool = _find(run, call.name)

    def decide() -> Decision:
        decision = run.policy.decide(
            role=run.request.role,
            tool=tool,
            arguments=arguments,
            scope=run.assignment.scope,
            root=run.tool_context.worktree.path if run.has_worktree else None,
        )
        return decision if complaint else confirmed(run, (ordinal, sub), tool, arguments, decision)

    async def perform() -> Performed:
        assert isinstance(tool, Tool)  # policy allows no tool by name alone
        if complaint:
            return Performed(failed({"error": complaint}))
        return await _perform(run, ordinal, sub, tool, arguments)

    asked = call.arguments if complaint else arguments
    result = await run.steps.tool(ordinal, sub, call, asked, decide, perform, looks=bool(complaint) or _looks(tool))
    if call.name in TEAM_TOOLS:
        run.questions.update(result.data.get("questions") or ())
    return result


def _looks(tool: Tool | str) -> bool:
    """Whether a call leaves nothing outside of the run, so that its result may be committed after it is used."""
    return isinstance(tool, Tool) and not tool.writes and tool.tier <= Tier.READ and tool.name != "ask"


def _find(run: RunContext, name: str) -> Tool | str:
    """The offered tool; a built-in one that the role lacks, so that policy can say so; else just the name."""
    if (tool := run.offered.get(name)) is not None:
        return tool
    known = all_tools(run.assignment.work).get(name)
    return known if known is not None and not run.policy.allows(run.request.role, known) else name


async def _perform(run: RunContext, ordinal: int, sub: int, tool: Tool, arguments: dict[str, Json]) -> Performed:
    try:
        validated = tool.arguments.model_validate(arguments)
    except ValidationError as error:
        return Performed(failed({"error": "invalid arguments", "errors": _errors(error)}))
    if tool.name == "finish" and (found := faults(validated, run.assignment)):
        return Performed(failed({"error": "invalid arguments", "errors": found}))
    if isinstance(validated, Ask):
        return await ask_colleague(run, ordinal, sub, validated)
    if tool.writes:
        # Programs may have left files behind; only what this call changes belongs to its commit.
        await run.clean()
    result = await in_time(run, tool, ordinal, tool.run(_at(run, ordinal, sub), validated))
    commit = None
    if tool.writes:
        try:
            commit = await _commit(run, tool.name, ordinal, sub)
        except PathEscapeError as error:
            await run.clean()
            return Performed(failed({"refused": True, "reason": str(error)}))
    return Performed(result, commit, _sent(run, ordinal, sub, tool, result))


def _at(run: RunContext, ordinal: int, sub: int) -> ToolContext:
    return replace(run.tool_context, place=f"{run.thread}/{ordinal}/{sub}")


async def _commit(run: RunContext, name: str, ordinal: int, sub: int) -> str | None:
    # A tool step has no intent that the record could refuse: whoever lost the thread meanwhile must not move the branch.
    if not run.guard.holds():
        raise LostLeaseError
    return await run.commit_changes(name, ordinal, sub)


def _sent(run: RunContext, ordinal: int, sub: int, tool: Tool, result: ToolResult) -> tuple[NewMessage, ...]:
    if result.ok and tool.name == "finish" and run.assignment.work is Work.ANSWER:
        return (response(run, ordinal, sub, result),)
    kinds = {"hand_off": MessageType.TASK_HANDOFF, "escalate": MessageType.ESCALATION}
    if not result.ok or tool.name not in kinds:
        return ()
    message = step_message(
        kinds[tool.name],
        place=(run.thread, ordinal, sub),
        project=run.request.project,
        source=run.request.agent,
        target=EVERYONE,
        payload={"task": run.request.task, "sprint": run.request.sprint, **result.data},
    )
    return (message,)


def _parse(text: str) -> tuple[dict[str, Json], str | None]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        return {}, f"the arguments are no valid JSON: {error}"
    if not isinstance(arguments, dict):
        return {}, "the arguments must be a JSON object"
    return arguments, None


def _errors(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False, include_input=False)
    return [f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in found[:MAX_ERRORS]]


def _told(call: ToolCall, result: ToolResult) -> Chat:
    return {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": result.content}

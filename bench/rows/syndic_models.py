"""The task's model as Syndic's rows ask it: in place of the gateway, or as a provider behind LiteLLM."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from agents.assignments import Evidence, Report, Verdict, Work, WorkResult
from agents.models import Bound, Lost, ModelAnswer, ModelRequest, Models, ToolCall
from agents.steps import Steps
from agents.tools.base import Tool, ToolContext, ToolResult
from bench.rows.task import MODEL, TEXT, TOOL, TOOL_STEPS
from ledger.vocabulary import Answer, Json, Role, Tier, Usage

CHAIN = ("bench/fake",)
COST = Decimal("0.001")
"""US dollars a call."""
BOUND = Bound(Decimal("0.002"), 1000)
_USAGE = Usage(prompt_tokens=500, completion_tokens=125)

added_s: list[float] = []
"""What each model step took beyond the model itself."""
_inside: ContextVar[list[float]] = ContextVar("inside")


class Place(BaseModel):
    place: int


async def _look(context: ToolContext, arguments: Place) -> ToolResult:
    return ToolResult(ok=True, content=(await MODEL.look())["content"])


LOOK = Tool(
    name=TOOL,
    description="Look at a place.",
    arguments=Place,
    tier=Tier.OBSERVE,
    run=_look,
    roles=frozenset({Role.ANALYST}),
)
"""The task's tool; like the peers' it returns a text and touches nothing."""

_FINISH = {
    Work.ANALYSIS: Report(summary="looked at four places", markdown=TEXT),
    Work.CHANGE: WorkResult(
        summary="wrote it down", outcome="changed", evidence=(Evidence(claim="it is written", source="diff:notes.txt"),)
    ),
    Work.JUDGE: Verdict(
        verdict=Answer.APPROVE, confidence=0.9, reasons=("it is in scope",),
        evidence=(Evidence(claim="in scope", source="diff:notes.txt"),),
    ),
}  # fmt: skip


class DirectModels:
    """`agents.models.Models` without LiteLLM: the peers' model through the same coroutine."""

    async def ready(self) -> None:
        """At once."""

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        return BOUND

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        name, arguments, text = await say(request.purpose, request.messages)
        call = ToolCall(id=f"call-{len(request.messages)}", name=name, arguments=arguments)
        return ModelAnswer(
            text=text, tool_calls=(call,), model=chain[0], finish_reason="tool_calls", usage=_USAGE, cost_usd=COST
        )


class ProvidedModels:
    """The gateway of a worker, whose library knows the task's model as a provider's once it is imported."""

    def __init__(self, gateway: Models) -> None:
        self._gateway = gateway
        self.bound = gateway.bound
        self.complete = gateway.complete

    async def ready(self) -> None:
        await self._gateway.ready()
        from bench.rows.syndic_provider import register  # imports the library

        register()


def measure_steps() -> None:
    """Have every model step say how long it took beyond its model."""
    original = Steps.model

    async def measured(self: Steps, *arguments: Any) -> ModelAnswer:
        inside: list[float] = []
        _inside.set(inside)
        begun = time.perf_counter()
        answer = await original(self, *arguments)
        added_s.append(time.perf_counter() - begun - sum(inside))
        return answer

    Steps.model = measured


async def say(purpose: str, messages: Sequence[dict[str, Json]]) -> tuple[str, str, str]:
    """The tool that is called, its arguments, and the text beside it."""
    begun = time.perf_counter()
    turn = sum(message["role"] == "assistant" for message in messages)
    text = (await MODEL.answer(turn))["content"]
    name, arguments = _call(purpose, turn)
    if (inside := _inside.get(None)) is not None:
        inside.append(time.perf_counter() - begun)
    return name, arguments, text


def _call(purpose: str, turn: int) -> tuple[str, str]:
    if purpose == Work.JUDGE or turn >= TOOL_STEPS:
        return "finish", _FINISH[Work(purpose)].model_dump_json()
    if purpose == Work.ANALYSIS:
        return TOOL, json.dumps({"place": turn})
    if turn < TOOL_STEPS - 1:
        return "read_file", json.dumps({"path": "notes.txt", "start": turn + 1})
    return "write_file", json.dumps({"path": "notes.txt", "text": TEXT + "\n"})

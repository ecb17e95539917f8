"""How a run ends: with the result of its work, a refusal, a question to a person or a colleague, or another role taking over."""

from __future__ import annotations

from pydantic import BaseModel, Field

from agents.assignments import RESULTS, Work
from agents.tools.answers import Arguments
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.vocabulary import Role, Tier


class Refuse(Arguments):
    reason: str = Field(min_length=1, max_length=4_000, description="Why the goal cannot be served")
    can_do: list[str] = Field(default=[], max_length=20, description="What could be done instead")


class Escalate(Arguments):
    question: str = Field(min_length=1, max_length=4_000, description="What a person has to decide, with the choices")


class HandOff(Arguments):
    role: Role = Field(description="Who should go on")
    reason: str = Field(min_length=1, max_length=4_000, description="Why, and what they need to know")


class Ask(Arguments):
    to: str = Field(min_length=1, max_length=120, description="A role, or a colleague's name, of those in `colleagues`")
    question: str = Field(
        min_length=1, max_length=4_000, description="What you need to know, and what you know already"
    )
    documents: list[str] = Field(default=[], max_length=20, description="Names of your documents that they should see")


async def _end(context: ToolContext, arguments: BaseModel) -> ToolResult:
    data = arguments.model_dump(mode="json")
    return ToolResult(ok=True, content='{"ended": true}', ends=True, data=data)


def finish_tool(work: Work) -> Tool:
    """The tool `finish` of one kind of work; its arguments are the work's result, which come back as `data`."""
    description = f"End the run with the result of your work ({work.value})."
    return Tool("finish", description, RESULTS[work], Tier.OBSERVE, _end)


TOOLS = (
    Tool("refuse", "End the run: the goal cannot be served.", Refuse, Tier.OBSERVE, _end),
    Tool("escalate", "End the run with a question that a person must answer.", Escalate, Tier.OBSERVE, _end),
    Tool("ask", "Ask a colleague. You rest until the answer arrives, and go on here.", Ask, Tier.OBSERVE, _end),
    Tool("hand_off", "End the run and let another role go on.", HandOff, Tier.OBSERVE, _end),
)

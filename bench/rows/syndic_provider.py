"""The task's model as a provider behind LiteLLM's interface for providers of one's own."""

from __future__ import annotations

from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import Choices, Message, ModelResponse, Usage

from agents.assignments import Work
from bench.rows.syndic_models import CHAIN, say
from ledger.vocabulary import Json

_NAME = CHAIN[0].partition("/")[0]


class BenchProvider(CustomLLM):
    """Answers as the model of all rows does."""

    async def acompletion(  # pyright: ignore[reportIncompatibleMethodOverride] LiteLLM passes keywords only
        self, *, messages: list[dict[str, Json]], model_response: ModelResponse, **_: Any
    ) -> ModelResponse:
        name, arguments, text = await say(Work.ANALYSIS, messages)
        function = {"name": name, "arguments": arguments}
        calls = [{"id": f"call-{len(messages)}", "type": "function", "function": function}]
        message = Message(role="assistant", content=text, tool_calls=calls)
        model_response.choices = [Choices(finish_reason="tool_calls", index=0, message=message)]
        setattr(model_response, "usage", Usage(prompt_tokens=500, completion_tokens=125, total_tokens=625))  # noqa: B010
        return model_response


def register() -> None:
    """Make LiteLLM know `bench/...`, once."""
    if not any(item["provider"] == _NAME for item in litellm.custom_provider_map):
        litellm.custom_provider_map.append({"provider": _NAME, "custom_handler": BenchProvider()})

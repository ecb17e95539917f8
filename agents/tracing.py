"""Spans of model calls, named and attributed as OpenTelemetry's GenAI conventions say. Without a provider they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from agents.models import ModelAnswer, ModelRequest

_tracer = trace.get_tracer("syndic.agents")


@contextmanager
def model_span(model: str, request: ModelRequest) -> Iterator[Span]:
    """The span of one call to one model; a child of the activity's span, so that it is part of the project's trace."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "syndic.purpose": request.purpose,
    }
    with _tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes) as span:
        yield span


def describe_answer(span: Span, answer: ModelAnswer) -> None:
    """What was billed, on the call's span."""
    span.set_attributes(
        {
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": (answer.finish_reason,),
            "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": answer.usage.completion_tokens,
            "syndic.cost_usd": float(answer.cost_usd),
        }
    )

"""Spans and metrics of model calls, as OpenTelemetry's GenAI conventions name them. Without a provider they cost nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind
from structlog.contextvars import get_contextvars

from agents.models import ModelAnswer, ModelRequest

_tracer = trace.get_tracer("syndic.agents")
_meter = metrics.get_meter("syndic.agents")
_tokens = _meter.create_counter("gen_ai.client.token.usage", "{token}", "Tokens as providers billed them, by type.")
_cost = _meter.create_counter("syndic.model.cost", "{USD}", "What model calls cost, in US dollars.")
_calls = _meter.create_counter("syndic.model.calls", "{call}", "Model calls that were answered.")
_duration = _meter.create_histogram("gen_ai.client.operation.duration", "s", "How long a model took to answer.")
_first_chunk = _meter.create_histogram(
    "gen_ai.client.operation.time_to_first_chunk", "s", "How long a streamed answer's beginning took."
)


@contextmanager
def model_span(model: str, request: ModelRequest) -> Iterator[Span]:
    """The span of one call to one model; a child of the activity's span, so that it is part of the project's trace."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": model.partition("/")[0],
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "syndic.purpose": request.purpose,
    }
    begun = time.monotonic()
    with _tracer.start_as_current_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes) as span:
        try:
            yield span
        except BaseException as error:
            _duration.record(time.monotonic() - begun, {**_labels(model), "error.type": type(error).__name__})
            raise
        _duration.record(time.monotonic() - begun, _labels(model))


def describe_answer(span: Span, answer: ModelAnswer) -> None:
    """What was billed, on the call's span and in the metrics."""
    span.set_attributes(
        {
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": (answer.finish_reason,),
            "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": answer.usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": answer.usage.cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": answer.usage.reasoning_tokens,
            "syndic.cost_usd": float(answer.cost_usd),
        }
    )
    labels = _labels(answer.model)
    _tokens.add(answer.usage.prompt_tokens, {**labels, "gen_ai.token.type": "input"})
    _tokens.add(answer.usage.completion_tokens, {**labels, "gen_ai.token.type": "output"})
    _cost.add(float(answer.cost_usd), labels)
    _calls.add(1, labels)


def describe_stream(model: str, first_chunk_s: float | None) -> None:
    """That the answer came as a stream and when it began, on the current call's span and in the metrics."""
    if first_chunk_s is not None:
        told = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": first_chunk_s}
        trace.get_current_span().set_attributes(told)
        _first_chunk.record(first_chunk_s, _labels(model))


def _labels(model: str) -> dict[str, str]:
    """Few values each: model, provider and project, never an agent or a thread."""
    project = get_contextvars().get("project")
    return {
        "gen_ai.request.model": model,
        "gen_ai.provider.name": model.partition("/")[0],
        **({"syndic.project": str(project)} if project else {}),
    }

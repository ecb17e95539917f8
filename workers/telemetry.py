"""Logs, traces and metrics: structlog to stderr, OpenTelemetry over OTLP, and one processor that knows Temporal's context.

Every line that is written inside an activity or a workflow carries `project`, `task`, `workflow_id` and `run_id` as far as they
are known there, and the trace id where one is open.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from temporalio import activity, workflow
from temporalio.client import OutboundInterceptor, QueryWorkflowInput
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.worker import HandleQueryInput, WorkflowInterceptorClassInput

from ledger.vocabulary import parse_workflow_id
from workers.client import before_exit

Event = MutableMapping[str, Any]

METRICS_EVERY_S = 5

EXPORT_WITHIN_S = 3
"""A collector that is away must not hold up the end of a command or of a worker for longer."""


def add_temporal_context(_logger: Any, _name: str, event: Event) -> Event:
    """Structlog processor: the ids of the activity or workflow that logs."""
    if activity.in_activity():
        info = activity.info()
        event.setdefault("workflow_id", info.workflow_id)
        event.setdefault("run_id", info.workflow_run_id)
        event.setdefault("activity", info.activity_type)
        event.setdefault("attempt", info.attempt)
    elif workflow.in_workflow():
        event.setdefault("workflow_id", workflow.info().workflow_id)
        event.setdefault("run_id", workflow.info().run_id)
    for name, value in parse_workflow_id(event.get("workflow_id")).items():
        event.setdefault(name, value)
    return event


def add_trace_context(_logger: Any, _name: str, event: Event) -> Event:
    """Structlog processor: trace and span id in hex, as OTLP shows them."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def tell_stacks() -> None:
    """What every thread is doing goes to stderr when native code ends the process, and whenever SIGUSR1 asks for it."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)


def configure_logging(level: str = "info", form: str = "json") -> None:
    """Send structlog and the standard library's logging to stderr.

    Args:
        level: A name of `logging`, in any case.
        form: `json` (one object a line) or `console`.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_temporal_context,
        add_trace_context,
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "LiteLLM", "litellm"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Telemetry:
    """Traces and metrics of this process. Without an endpoint it does nothing and costs nothing."""

    def __init__(
        self, endpoint: str | None, service: str, instance: str | None = None, *, measured: bool = False
    ) -> None:
        """Begin to export; `measured` says whether this process has anything to measure."""
        self._provider: TracerProvider | None = None
        self._meters: MeterProvider | None = None
        if endpoint:
            self._provider = _provider(endpoint, service, instance)
            trace.set_tracer_provider(self._provider)
            if measured:
                self._meters = _meters(endpoint, service, instance)
                metrics.set_meter_provider(self._meters)
            before_exit(self.close)

    def interceptors(self) -> list[TracingInterceptor]:
        """Interceptors for the Temporal client; a worker takes them over from its client."""
        return [_Tracing(always_create_workflow_spans=True)] if self._provider else []

    def close(self) -> None:
        """Send what is still buffered, within `EXPORT_WITHIN_S`. A process that ends does it by itself."""
        if self._provider:
            self._provider.shutdown()
            self._provider = None
        if self._meters:
            self._meters.shutdown(timeout_millis=EXPORT_WITHIN_S * 1000)
            self._meters = None


class _Tracing(TracingInterceptor):
    """Leaves queries out: a live board asks several times a second, and each would be a trace of its own."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _UntracedQueries(super().intercept_client(next), next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        super().workflow_interceptor_class(input)
        return _WorkflowTracing


class _UntracedQueries(OutboundInterceptor):
    def __init__(self, traced: OutboundInterceptor, plain: OutboundInterceptor) -> None:
        super().__init__(traced)
        self._plain = plain

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await self._plain.query_workflow(input)


class _WorkflowTracing(TracingWorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:
        return await self.next.handle_query(input)


def _provider(endpoint: str, service: str, instance: str | None) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(resource=_resource(service, instance), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_WITHIN_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    return provider


def _meters(endpoint: str, service: str, instance: str | None) -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=EXPORT_WITHIN_S)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=METRICS_EVERY_S * 1000)
    return MeterProvider([reader], resource=_resource(service, instance), shutdown_on_exit=False)


def _resource(service: str, instance: str | None) -> Resource:
    return Resource.create({"service.name": service, **({"service.instance.id": instance} if instance else {})})

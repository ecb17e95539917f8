"""An OpenTelemetry collector over real HTTP: takes OTLP as protobuf and keeps spans and metrics."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


@dataclass(frozen=True)
class SeenSpan:
    """One span as it arrived; ids are hex, an empty parent means a root."""

    trace: str
    id: str
    parent: str
    name: str
    service: str
    instance: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class SeenPoint:
    """One point of a metric; `value` is a sum, or the number of measurements of a histogram."""

    name: str
    unit: str
    instance: str
    value: float
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What arrived so far."""

    url: str = ""
    spans: list[SeenSpan] = field(default_factory=list)
    points: list[SeenPoint] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def named(self, prefix: str) -> list[SeenSpan]:
        return [span for span in list(self.spans) if span.name.startswith(prefix)]

    def ancestors(self, span: SeenSpan) -> list[SeenSpan]:
        """From the span's parent upwards, as far as spans arrived."""
        by_id = {(known.trace, known.id): known for known in list(self.spans)}
        found: list[SeenSpan] = []
        while parent := by_id.get((span.trace, span.parent)):
            found.append(parent)
            span = parent
        return found

    def total(self, name: str, **attributes: Any) -> float:
        """The newest sum of a metric over all processes and all points with these attributes."""
        newest: dict[tuple[str, str], float] = {}
        for point in list(self.points):
            if point.name == name and attributes.items() <= point.attributes.items():
                newest[point.instance, str(sorted(point.attributes.items()))] = point.value
        return sum(newest.values())

    def take_metrics(self, body: bytes) -> None:
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = _plain(group.resource.attributes).get("service.instance.id", "")
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                for point in metric.sum.data_points:
                    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
                    seen = SeenPoint(metric.name, metric.unit, instance, value, _plain(point.attributes))
                    self.points.append(seen)
                for point in metric.histogram.data_points:
                    seen = SeenPoint(metric.name, metric.unit, instance, point.count, _plain(point.attributes))
                    self.points.append(seen)

    def take(self, path: str, kind: str | None, body: bytes) -> None:
        if path == "/v1/metrics" and kind == "application/x-protobuf":
            self.take_metrics(body)
            return
        if path != "/v1/traces" or kind != "application/x-protobuf":
            self.problems.append(f"{path} {kind}")
            return
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(group.resource.attributes)
            self.spans += [
                SeenSpan(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    service=resource["service.name"],
                    instance=resource.get("service.instance.id", ""),
                    attributes=_plain(span.attributes),
                )
                for scope in group.scope_spans
                for span in scope.spans
            ]


def _plain(attributes: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")

    return {pair.key: value(pair) for pair in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve on a free loopback port until the block ends; `url` is what `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, self.headers.get("Content-Type"), body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """The test reads `Collector`, not the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A model provider over real HTTP: the offline maintainer behind OpenAI's chat completions, counting calls on its side."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.offline.maintainer import respond


@dataclass
class Provider:
    """What the server saw. `before_answer` runs with the call's number (from 1) before the answer is sent."""

    url: str = ""
    calls: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    before_answer: Callable[[int], None] | None = None
    delay_s: float = 0.0
    overloaded: frozenset[str] = frozenset()
    """Models that answer 503; such a call is not counted, since nobody is billed for it."""
    revoked: set[str] = field(default_factory=set)
    """Keys that are answered with 401 and quoted, as some providers do; such a call is not counted either."""
    before_refusal: Callable[[], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: dict[str, Any]) -> int:
        with self._lock:
            self.calls += 1
            self.headers.append(headers)
            self.bodies.append(body)
            return self.calls


def _answer(body: dict[str, Any], number: int) -> dict[str, Any]:
    draft = respond(body["messages"], body.get("tools") or [])
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in draft.tool_calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": draft.text or None}
    if calls:
        message["tool_calls"] = calls
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body["model"] in provider.overloaded:
                self.send_error(503, "overloaded")
                return
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if key in provider.revoked:
                if provider.before_refusal:
                    provider.before_refusal()
                self._send(401, {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}})
                return
            number = provider.take(dict(self.headers), body)
            if provider.before_answer:
                provider.before_answer(number)
            time.sleep(provider.delay_s)
            self._send(200, _answer(body, number))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            payload = json.dumps(answer).encode()
            with suppress(ConnectionError):  # the client may have been killed; its call counts all the same
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """The test reads `Provider`, not the console."""

    return Handler


@contextmanager
def serving(**settings: Any) -> Iterator[Provider]:
    """Serve on a free loopback port until the block ends; `url` is what LiteLLM takes as the API base."""
    provider = Provider(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    server.daemon_threads = True
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

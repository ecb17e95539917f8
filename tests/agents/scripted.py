"""A model provider over real HTTP that says what the test wrote down, and counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Call = tuple[str, dict[str, Any] | str]


@dataclass(frozen=True)
class Says:
    """One answer. `calls` are tool names with arguments; `raw` replaces the whole body."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    usage: tuple[int, int] = (1000, 100)
    finish_reason: str | None = None
    hold: threading.Event | None = None
    """Wait for this before answering."""
    cut: int | None = None
    """Close the connection after so many bytes of the body; 0 sends not even a status."""

    def body(self, number: int) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": self.text or "no", "type": "error", "code": None}}).encode()
        calls = [
            {
                "id": f"call-{number}-{index}",
                "type": "function",
                "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
            }
            for index, (name, args) in enumerate(self.calls)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if calls:
            message["tool_calls"] = calls
        prompt, completion = self.usage
        return json.dumps(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 1,
                "model": "scripted",
                "choices": [
                    {
                        "index": 0,
                        "message": message,
                        "finish_reason": self.finish_reason or ("tool_calls" if calls else "stop"),
                    }
                ],
                "usage": {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                },
            }
        ).encode()


Script = Callable[[list[dict[str, Any]]], Says]


@dataclass
class Server:
    """`script` maps the messages of a request to the answer; `queue` is used first."""

    url: str = ""
    script: Script | None = None
    queue: list[Says] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    @property
    def calls(self) -> int:
        return len(self.requests)

    def answer(self, body: dict[str, Any]) -> Says:
        if self.queue:
            return self.queue.pop(0)
        assert self.script is not None
        return self.script(body["messages"])


def by_turn(*answers: Says) -> Script:
    """The answer for a conversation with n assistant messages is the nth; the last one repeats."""

    def script(messages: list[dict[str, Any]]) -> Says:
        turn = sum(message["role"] == "assistant" for message in messages)
        return answers[min(turn, len(answers) - 1)]

    return script


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.requests.append(body)
                server.keys.append(self.headers.get("Authorization", ""))
                says = server.answer(body)
                number = server.calls
            server.asked.set()
            if says.hold is not None:
                says.hold.wait(20)
            payload = says.body(number)
            if says.cut == 0:
                self.close_connection = True
                return
            try:
                self.send_response(says.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                for name, value in says.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload[: says.cut])
                self.close_connection = self.close_connection or says.cut is not None
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up, which is what some tests are about

        def log_message(self, format: str, *args: Any) -> None:
            """The test reads `Server`, not the console."""

    return Handler


@contextmanager
def scripted(script: Script | None = None) -> Iterator[Server]:
    """Serve on a free loopback port until the block ends."""
    server = Server(script=script)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

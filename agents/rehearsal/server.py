"""HTTP in front of a provider: OpenAI's and Anthropic's paths, statistics, and connections that break as scripted."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.rehearsal.anthropic import Messages
from agents.rehearsal.openai import ChatCompletions
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Break, Fault, Rule
from agents.rehearsal.wire import LABEL, Asked, BadRequestError, Reply, Speech

_PATHS: dict[str, Speech] = {"/chat/completions": ChatCompletions(), "/messages": Messages()}
_GARBAGE = b"<html><body>502 upstream went away</body></html>"
_AFTERWARDS: dict[Break, Callable[[Speech], bytes]] = {
    Break.CUT: lambda _: b"",
    Break.END: lambda _: b"",
    Break.GARBAGE: lambda _: b"data: {<html>\n\n",
    Break.ERROR: lambda speech: speech.broken(),
}
_MESSAGES = {
    Fault.RATE_LIMIT: "Rate limit reached for requests.",
    Fault.OVERLOADED: "The engine is currently overloaded, please try again later.",
    Fault.SERVER_ERROR: "The server had an error while processing your request.",
    Fault.AUTH: "Incorrect API key provided.",
    Fault.CONTEXT_TOO_LONG: "This model's maximum context length is 10 tokens: prompt is too long.",
    Fault.CONTENT_FILTER: "Rejected (content_policy_violation): output blocked by content filtering policy.",
    Fault.BAD_REQUEST: "The request is not valid.",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], provider: Provider) -> None:
        super().__init__(address, _Handler)
        self.provider = provider
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what rehearsals are about; anything else is a defect and shows its traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True

    @property
    def _own(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._send(200, self._own.provider.stats())
        else:
            self._send(404, {"error": {"message": "there is /stats, /v1/chat/completions and /v1/messages"}})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        speech = next((found for path, found in _PATHS.items() if self.path.partition("?")[0].endswith(path)), None)
        if speech is None:
            self._send(404, {"error": {"message": f"there is no {self.path}"}})
            return
        try:
            body = json.loads(content)
            asked = speech.read(body, dict(self.headers))
        except (BadRequestError, ValueError, TypeError, AttributeError) as error:
            message = f"the request cannot be read: {error}"
            self._send(400, speech.refused(400, Fault.BAD_REQUEST, message))
            return
        with suppress(ConnectionError):  # the client may have been killed; its call counts all the same
            self._answer(speech, asked)

    def _answer(self, speech: Speech, asked: Asked) -> None:
        provider = self._own.provider
        rule = provider.rule_for(asked)
        if rule.fails:
            self._pause(provider.first_byte_s(rule))
            provider.refuse(rule)
            self._refuse(speech, rule)
            return
        with provider.call(asked, rule) as reply:
            self._pause(provider.first_byte_s(rule))
            if rule.garbage:
                provider.spoiled("garbage")
                self._whole(_GARBAGE, None, "text/html")
            elif asked.stream and not rule.whole:
                told = replace(asked, stream_usage=asked.stream_usage and not rule.no_usage)
                self._stream(speech.streamed(told, reply), rule, speech)
            else:
                body = json.dumps(speech.whole(asked, reply), ensure_ascii=False).encode("utf-8", "backslashreplace")
                self._cost(asked, reply)
                self._whole(body, rule.cut_after_bytes, "application/json")

    def _cost(self, asked: Asked, reply: Reply) -> None:
        self._extra = {"X-Rehearsal-Cost-Usd": str(self._own.provider.cost_usd(asked.model, reply.billed))}

    def _refuse(self, speech: Speech, rule: Rule) -> None:
        status = rule.status or (speech.status(rule.fault) if rule.fault else 500)
        message = rule.message or (_MESSAGES[rule.fault] if rule.fault else f"rehearsed failure {status}")
        if rule.retry_after_s is not None:
            self._extra = {"Retry-After": f"{rule.retry_after_s:g}"}
        self._send(status, speech.refused(status, rule.fault, message))

    def _pause(self, seconds: float) -> None:
        if seconds:
            self._own.stopping.wait(seconds)

    def _send(self, status: int, content: dict[str, Any]) -> None:
        self._whole(json.dumps(content).encode(), None, "application/json", status)

    def _whole(self, body: bytes, cut: int | None, media_type: str, status: int = 200) -> None:
        self._head(status, {"Content-Type": media_type, "Content-Length": str(len(body))})
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if cut is not None:
            self._break()

    def _stream(self, events: Iterable[bytes], rule: Rule, speech: Speech) -> None:
        """Chunked; a stream that is cut ends without its last chunk, and one that goes on wrongly does so after an event."""
        self._head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        left = rule.cut_after_bytes
        for data in events:
            self._chunk(data[:left] if rule.then is Break.CUT else data)
            if left is not None and (left := left - len(data)) <= 0:
                self._break(rule.then.value)
                self._chunk(_AFTERWARDS[rule.then](speech))
                break
        if left is None or left > 0 or rule.then is not Break.CUT:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

    def _chunk(self, sent: bytes) -> None:
        if sent:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent))
            self.wfile.flush()

    def _break(self, how: str = "cut") -> None:
        self._own.provider.spoiled(how)
        self.close_connection = True

    _extra: dict[str, str] = {}

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **self._extra, "X-Rehearsal": LABEL}.items():
            self.send_header(name, value)
        self.end_headers()
        self._extra = {}

    def log_message(self, format: str, *args: Any) -> None:
        """Statistics say what happened."""


@contextmanager
def serving(provider: Provider, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve until the block ends; gives the address without a path. Port 0 is a free one.

    Raises:
        OSError: The address cannot be bound.
    """
    server = _Server((host, port), provider)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()

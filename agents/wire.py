"""HTTP below the model library: an answer is asked for as a stream and handed up whole, and nothing is asked for twice.

LiteLLM's own streams cost a fraction of a millisecond for each chunk, estimate usage that never came, and end an answer that
broke off with a made-up finish reason. Here the library only ever sees whole answers, so that tool calls, usage and cost
come out the same streamed or not; and since it posts again by itself when a connection breaks (its `AsyncHTTPHandler.post`),
which would be paid for twice, the second post fails as the first one did.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

import httpx

from agents.models import Heard
from agents.streaming import Assembly, StreamCutError, StreamGarbledError, assembly_for

EVENTS = "text/event-stream"
LINGER_S = 0.5
"""How long the end of a connection's answer is waited for after the answer's own, so that the connection can be kept."""
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding", "content-type")


@dataclass
class Exchange:
    """One request to one model, and its answer.

    Args:
        streamed: Ask for a stream where the protocol is known.
        heard: Told text as it comes.
    """

    streamed: bool = True
    heard: Heard | None = None
    first_chunk_s: float | None = None
    """Seconds until the first event of the answer; None where it came whole."""
    whole_only: bool = False
    """This model does not stream, or not in a way that can be billed."""
    _begun: float = field(default_factory=time.monotonic)
    _over: dict[str, Exception] = field(default_factory=dict[str, Exception])

    async def once(self, url: str, post: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Post, unless a post to this address was answered or lost before; one that was refused may be repeated."""
        if (over := self._over.get(url)) is not None:
            raise over
        try:
            response = await post()
        except Exception as error:
            self._over[url] = error
            raise
        if response.is_success:
            self._over[url] = StreamGarbledError("the answer could not be used and is not asked for again")
        return response

    def take(self, assembly: Assembly, data: bytes) -> None:
        """One event of the answer."""
        if self.first_chunk_s is None:
            self.first_chunk_s = time.monotonic() - self._begun
            if self.heard is not None:
                self.heard("")
        text = assembly.take(data)
        if text and self.heard is not None:
            self.heard(text)


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """What is posted within the block, and in tasks that it starts, belongs to this exchange."""
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)


class Wire(httpx.AsyncBaseTransport):
    """A transport that does so for exchanges, and passes everything else on."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _current.get()
        if exchange is None or request.method != "POST":
            return await self.inner.handle_async_request(request)
        return await exchange.once(str(request.url), lambda: self._post(exchange, request))

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def _post(self, exchange: Exchange, request: httpx.Request) -> httpx.Response:
        assembly = assembly_for(request.url.path) if exchange.streamed else None
        if assembly is None:
            return await self._whole(request)
        response = await self.inner.handle_async_request(_streamed(request, assembly))
        try:
            if response.is_success and response.headers.get("content-type", "").startswith(EVENTS):
                await _assemble(exchange, assembly, response)
                return _as_whole(response, assembly)
            await response.aread()
        finally:
            await response.aclose()
        if response.status_code in (400, 422) and b"stream" in response.content:
            # It may answer, but not as a stream; nobody is billed for a refusal.
            response = await self._whole(request)
            exchange.whole_only = response.is_success
        return response

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response


async def _assemble(exchange: Exchange, assembly: Assembly, response: httpx.Response) -> None:
    async with aclosing(_lines(response)) as lines:
        try:
            await _read(exchange, assembly, lines)
        except httpx.TransportError:
            if assembly.missing():
                raise
        if missing := assembly.missing():
            exchange.whole_only = assembly.ended and missing == "usage"
            raise StreamCutError(f"the stream ended without {missing}")
        with suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(LINGER_S):
                async for _ in lines:
                    pass


async def _read(exchange: Exchange, assembly: Assembly, lines: AsyncIterator[bytes]) -> None:
    try:
        async for line in lines:
            if line.startswith(b"data:"):
                exchange.take(assembly, line[5:].strip())
            if assembly.ended:
                return
    except (KeyError, TypeError, AttributeError) as error:
        raise StreamGarbledError(f"an event of the stream is not as its protocol says: {error!r}") from error


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Lines at line feeds only: httpx's own also end at characters that JSON texts may hold as they are."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _streamed(request: httpx.Request, assembly: Assembly) -> httpx.Request:
    body = request.content.rstrip()
    if b'"stream"' in body or not body.endswith(b"}"):  # perhaps deeper down, in a tool's parameters
        asked = json.loads(body) | json.loads(b"{" + assembly.asks + b"}")
        content = json.dumps(asked).encode()
    else:  # a conversation is long, and need not be read for this
        content = body[:-1] + b"," + assembly.asks + b"}"
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    return httpx.Request(request.method, request.url, headers=headers, content=content, extensions=request.extensions)


def _as_whole(response: httpx.Response, assembly: Assembly) -> httpx.Response:
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_BODY]
    content = json.dumps(assembly.whole()).encode()
    return httpx.Response(
        response.status_code, headers=[*headers, ("content-type", "application/json")], content=content
    )

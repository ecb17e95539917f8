"""Each fault of a provider ends as designed: through the real LiteLLM path, against a server that really does it.

What is observed is written down as a table, and the page that shows it must be the same. `python -m
tests.agents.test_faults_table` brings the page up to date.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from agents.errors import ModelError, ModelUnavailableError
from agents.gateway import Gateway
from agents.health import LocalHealth
from agents.model_keys import Access, Wanted
from agents.models import ModelAnswer, ModelRequest
from agents.pricing import Price
from tests.agents.faults import ENDINGS, Observed, circuit_of, endings, headed, line, rewrite, written
from tests.agents.scripted import Says, Server, scripted

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
FIRST, SECOND = "openai/first", "deepseek/second"
"""Two models of two providers."""
PRICE = Price(Decimal("0.000001"), Decimal("0.000002"))
TALK = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "an assignment"},
    {"role": "assistant", "content": "x" * 4000},
    {"role": "user", "content": "go on"},
    {"role": "assistant", "content": "y" * 400},
    {"role": "user", "content": "hello"},
)
REQUEST = ModelRequest(purpose="test", messages=TALK, max_tokens=50)
TOO_LONG = Says("This model's maximum context length is 10 tokens.", status=400)


@dataclass(frozen=True)
class Case:
    """One fault: what people call it, and what the provider says to each call until it is well again."""

    name: str
    says: Says | None
    """None: nobody listens."""
    calls: int = 1
    """How many calls are answered that way."""


CASES = (
    Case("rate limit, with Retry-After (429)", Says("slow down", status=429, headers={"Retry-After": "17"})),
    Case("rate limit, without (429)", Says("slow down", status=429)),
    Case("no credit left (402)", Says("insufficient funds", status=402)),
    Case("overload (503)", Says("overloaded", status=503)),
    Case("overload (529)", Says("overloaded_error", status=529)),
    Case("internal error (500)", Says("oops", status=500)),
    Case("nobody listens", None),
    Case("time-out", Says("late", hold=threading.Event())),
    Case("time-out of a proxy (504)", Says("upstream", status=504)),
    Case("connection cut before the answer", Says("lost", cut=0)),
    Case("connection cut within the answer", Says("lost", cut=20)),
    Case("answer is no JSON", Says(raw=b"<html>no json</html>")),
    Case("answer is empty", Says(raw=b"")),
    Case("answer without a choice", Says(raw=b'{"id": "1", "object": "chat.completion", "choices": []}')),
    Case("key refused (401)", Says("bad key", status=401)),
    Case("key without the right (403)", Says("forbidden", status=403)),
    Case("context too long, once", TOO_LONG),
    Case("context too long, also when shortened", TOO_LONG, calls=2),
    Case("request too large, also when shortened (413)", Says("too large", status=413), calls=2),
    Case("content filter refuses the request (400)", Says("rejected by our safety system", status=400)),
    Case("content filter blanks the answer (200)", Says(finish_reason="content_filter")),
    Case("unknown model (404)", Says("no such model", status=404)),
    Case("bad request (400)", Says("tools must be a list", status=400)),
    Case("bad request (422)", Says("unprocessable", status=422)),
)


class Keys:
    def __init__(self, urls: dict[str, str]) -> None:
        self.urls = urls

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test-0123456789", self.urls[wanted.provider])

    def refused(self) -> None:
        """Nothing is kept."""


async def observe(server: Server, case: Case, chain: Sequence[str]) -> Observed:
    urls = {"openai": server.url if case.says else f"http://127.0.0.1:{_closed_port()}/v1", "deepseek": server.url}
    health = LocalHealth()
    gateway = Gateway(Keys(urls), prices={FIRST: PRICE, SECOND: PRICE}, timeout=timedelta(seconds=0.4), health=health)
    server.requests.clear()
    server.queue = [case.says] * case.calls if case.says else []
    lost: list[Sequence[str]] = []

    async def note(left: Sequence[str]) -> None:
        lost.append(left)

    try:
        outcome: ModelAnswer | ModelError = await gateway.complete(REQUEST, chain, lost=note)
    except ModelError as error:
        outcome = error
    asked = [str(request["model"]) for request in server.requests]
    return Observed(outcome, asked, bool(lost), await circuit_of(health))


@asynccontextmanager
async def stage() -> AsyncIterator[Server]:
    """A server whose held answers and whose clients end with the block."""
    holds = [case.says.hold for case in CASES if case.says and case.says.hold]
    with scripted(lambda _: Says("here")) as server:
        for hold in holds:
            hold.clear()
        patient = Gateway(Keys({"openai": server.url, "deepseek": server.url}), prices={FIRST: PRICE, SECOND: PRICE})
        for model in (FIRST, SECOND):  # LiteLLM imports what a provider needs at its first call, which takes seconds
            await patient.complete(REQUEST, (model,))
        server.requests.clear()
        yield server
        for hold in holds:
            hold.set()
        await patient.close()


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def row(server: Server, case: Case) -> str:
    alone, two = await observe(server, case, (FIRST,)), await observe(server, case, (FIRST, SECOND))
    return line(case.name, *endings(alone, two, SECOND))


async def table(server: Server) -> str:
    rows = [await row(server, case) for case in CASES]
    return "\n".join((*headed("fault", *ENDINGS), *rows))


async def test_the_page_shows_how_each_fault_ends() -> None:
    async with stage() as server:
        shown = await table(server)
    assert written(BEGIN, END) == shown


async def test_the_rules_that_no_change_may_lose_hold() -> None:
    rules: dict[str, Callable[[Observed, Observed], bool]] = {
        "rate limit, with Retry-After (429)": lambda one, two: getattr(one.outcome, "retry_after", None) == 17,
        "time-out": lambda one, two: one.error().may_be_billed and two.reserved_again,
        "connection cut within the answer": lambda one, two: one.error().may_be_billed and two.reserved_again,
        "answer is no JSON": lambda one, two: one.error().may_be_billed and two.reserved_again,
        "nobody listens": lambda one, two: not one.error().may_be_billed,
        "context too long, once": lambda one, two: one.asked == ["first", "first"],
        "context too long, also when shortened": lambda one, two: two.asked == ["first", "first", "second"],
        "bad request (400)": lambda one, two: two.asked == ["first"],
    }
    async with stage() as server:
        for case in CASES:
            if (rule := rules.get(case.name)) is not None:
                one, two = await observe(server, case, (FIRST,)), await observe(server, case, (FIRST, SECOND))
                assert rule(one, two), (case.name, one, two)


async def test_an_open_circuit_is_passed_over_and_nobody_is_asked() -> None:
    async with stage() as server:
        health = LocalHealth()
        for _ in range(5):
            await health.failed("openai", "overload")
        gateway = Gateway(
            Keys({"openai": server.url, "deepseek": server.url}), prices={FIRST: PRICE, SECOND: PRICE}, health=health
        )
        assert (await gateway.complete(REQUEST, (FIRST, SECOND))).model == SECOND
        with pytest.raises(ModelUnavailableError, match="not asked") as caught:
            await gateway.complete(REQUEST, (FIRST,))
        assert [request["model"] for request in server.requests] == ["second"]
    assert 0 < (caught.value.retry_after or 0) <= 10


async def _write() -> None:
    async with stage() as server:
        rewrite(BEGIN, END, await table(server))


if __name__ == "__main__":
    asyncio.run(_write())

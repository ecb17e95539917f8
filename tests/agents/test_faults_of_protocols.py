"""The faults of both protocols, whole and streamed, against the rehearsal provider: they end alike, or a table says where not.

`python -m tests.agents.test_faults_of_protocols` brings the page up to date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.errors import ModelError
from agents.gateway import Gateway
from agents.health import LocalHealth
from agents.model_keys import Access, Wanted
from agents.models import ModelAnswer, ModelRequest
from agents.pricing import Price
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Rehearsal
from agents.rehearsal.server import serving
from agents.rehearsal.wire import Asked
from tests.agents.faults import ENDINGS, Observed, circuit_of, endings, headed, line, rewrite, written

FIRST_BEGIN, FIRST_END = "<!-- faults: begin -->", "<!-- faults: end -->"
BEGIN, END = "<!-- protocols: begin -->", "<!-- protocols: end -->"
PROTOCOLS = {"OpenAI's": "openai/first", "Anthropic's": "anthropic/first"}
SECOND = "deepseek/second"
PRICE = Price(Decimal("0.000001"), Decimal("0.000002"))
PRICES = dict.fromkeys((*PROTOCOLS.values(), SECOND), PRICE)
TALK = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "an assignment"},
    {"role": "assistant", "content": "x" * 4000},
    {"role": "user", "content": "go on"},
    {"role": "assistant", "content": "y" * 400},
    {"role": "user", "content": "hello"},
)
REQUEST = ModelRequest(purpose="test", messages=TALK, max_tokens=50)
SAY = {"say": {"text": "word " * 200}}


@dataclass(frozen=True)
class Case:
    """One fault, as a rule of a rehearsal's script."""

    name: str
    rule: dict[str, Any]


COMMON = (
    Case("rate limit, with Retry-After (429)", {"fault": "rate_limit", "retry_after_s": 17}),
    Case("rate limit, without (429)", {"fault": "rate_limit"}),
    Case("no credit left (402)", {"status": 402}),
    Case("overload (503)", {"fault": "overloaded"}),
    Case("overload (529)", {"status": 529}),
    Case("internal error (500)", {"fault": "server_error"}),
    Case("time-out", {**SAY, "first_byte_s": 30}),
    Case("time-out of a proxy (504)", {"status": 504}),
    Case("connection cut before the answer", {**SAY, "cut_after_bytes": 0}),
    Case("connection cut within the answer", {**SAY, "cut_after_bytes": 500}),
    Case("answer is no JSON", {**SAY, "garbage": True}),
    Case("key refused (401)", {"fault": "auth"}),
    Case("key without the right (403)", {"status": 403}),
    Case("context too long, also when shortened", {"fault": "context_too_long"}),
    Case("request too large, also when shortened (413)", {"status": 413}),
    Case("content filter refuses the request (400)", {"fault": "content_filter"}),
    Case("content filter blanks the answer (200)", {"say": {}, "finish_reason": "content_filter"}),
    Case("unknown model (404)", {"status": 404}),
    Case("bad request (400)", {"fault": "bad_request"}),
    Case("bad request (422)", {"status": 422}),
)
STREAMS = (
    Case("stream is cut", {**SAY, "cut_after_bytes": 500}),
    Case("stream ends in the middle, as if it were complete", {**SAY, "cut_after_bytes": 500, "then": "end"}),
    Case("garbage in the stream", {**SAY, "cut_after_bytes": 500, "then": "garbage"}),
    Case("error event in the stream", {**SAY, "cut_after_bytes": 500, "then": "error"}),
    Case("error event before any text", {**SAY, "cut_after_bytes": 1, "then": "error"}),
    Case("stream that does not say what it used", {**SAY, "no_usage": True}),
)
OTHERWISE = (
    Case("answer in one piece though asked for a stream", {**SAY, "whole": True}),
    Case("model refuses streams (400)", {"stream": True, "status": 400, "message": "stream is not supported"}),
)


class Keys:
    """The provider's addresses."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test-0123456789", self._url + ("" if wanted.provider == "anthropic" else "/v1"))

    def refused(self) -> None:
        """Nothing is kept."""


class Noting(Provider):
    """Notes what was answered, in order."""

    def __init__(self, rule: dict[str, Any]) -> None:
        super().__init__(Rehearsal.model_validate({"rules": [{"model": "first", **rule}, SAY]}))
        self.asked: list[str] = []

    def rule_for(self, asked: Asked) -> Any:
        self.asked.append(asked.model)
        return super().rule_for(asked)


@contextmanager
def playing(case: Case) -> Iterator[tuple[Noting, str]]:
    provider = Noting(case.rule)
    with serving(provider) as url:
        yield provider, url


async def observe(case: Case, chain: Sequence[str], *, stream: bool) -> Observed:
    health, lost = LocalHealth(), list[Sequence[str]]()

    async def note(left: Sequence[str]) -> None:
        lost.append(left)

    with playing(case) as (provider, url):
        gateway = Gateway(Keys(url), prices=PRICES, timeout=timedelta(seconds=0.4), health=health, stream=stream)
        try:
            outcome: ModelAnswer | ModelError = await gateway.complete(REQUEST, chain, lost=note)
        except ModelError as error:
            outcome = error
        await gateway.close()
    return Observed(outcome, provider.asked, bool(lost), await circuit_of(health))


async def ended(case: Case, model: str, *, stream: bool) -> tuple[str, ...]:
    alone = await observe(case, (model,), stream=stream)
    two = await observe(case, (model, SECOND), stream=stream)
    if case not in OTHERWISE and "shortened" not in case.name:
        assert alone.asked == ["first"], case.name
    first, *rest = endings(alone, two, SECOND)
    if case in OTHERWISE:
        first = {1: "the answer is taken", 2: "the same model, not streamed"}[len(two.asked)]
    return first, *rest


async def warm() -> None:
    """LiteLLM imports what a provider needs at its first call, which takes longer than these time-outs."""
    with playing(Case("none", SAY)) as (_, url):
        patient = Gateway(Keys(url), prices=PRICES)
        for model in PRICES:
            await patient.complete(REQUEST, (model,))
        await patient.close()


async def lines(case: Case) -> list[str]:
    """One row where both protocols end alike, else one for each."""
    found = {protocol: await ended(case, model, stream=True) for protocol, model in PROTOCOLS.items()}
    if len(set(found.values())) == 1:
        return [line(case.name, "both", *found.popitem()[1])]
    return [line(case.name, protocol, *ending) for protocol, ending in found.items()]


async def table() -> str:
    await warm()
    rows = [row for case in (*STREAMS, *OTHERWISE) for row in await lines(case)]
    return "\n".join((*headed("fault", "protocol", *ENDINGS), *rows))


async def test_the_page_shows_how_each_fault_within_a_stream_ends() -> None:
    assert written(BEGIN, END) == await table()


@pytest.mark.parametrize("case", COMMON, ids=lambda case: case.name)
async def test_a_fault_ends_alike_in_both_protocols_whole_and_streamed_and_as_the_page_says(case: Case) -> None:
    await warm()
    found = [await ended(case, model, stream=stream) for model in PROTOCOLS.values() for stream in (True, False)]
    assert {line(case.name, *ending) for ending in found} <= set(written(FIRST_BEGIN, FIRST_END).splitlines())


if __name__ == "__main__":
    rewrite(BEGIN, END, asyncio.run(table()))

"""Streamed answers over real HTTP, from both protocols: the same answer as in one piece, or a failed call, and one request."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from agents import announcing
from agents.announcing import Announcer
from agents.assignments import Work
from agents.errors import ModelError, ModelUnavailableError
from agents.feed import Feed
from agents.gateway import Gateway
from agents.model_keys import Access, Wanted
from agents.models import ModelAnswer, ModelRequest, hearing
from agents.pricing import Price
from agents.receipts import StepKey
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Rehearsal
from agents.rehearsal.server import serving
from agents.runs import AgentRun
from agents.streaming import ChatCompletion, Message, StreamCutError, StreamGarbledError
from ledger.vocabulary import Role, StepKind

OPENAI, ANTHROPIC, OTHER = "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "deepseek/deepseek-chat"
PROTOCOLS = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
HANDLERS = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, OTHER])
"""LiteLLM's three ways to HTTP: OpenAI's SDK, a handler for Anthropic, one for most others."""
BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
TOOL = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object", "properties": {}}}}
REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},), tools=(TOOL,), max_tokens=500)
LONG = {"text": "word " * 200, "calls": [{"name": "read_file", "arguments": {"path": "x" * 200}}]}


class Stage:
    """A provider that plays a script, and gateways that ask it."""

    def __init__(self, exits: ExitStack) -> None:
        self._exits = exits

    def play(self, *rules: dict[str, Any]) -> Provider:
        self.provider = Provider(Rehearsal.model_validate({"rules": rules}))
        self.url = self._exits.enter_context(serving(self.provider))
        return self.provider

    def gateway(self, **options: Any) -> Gateway:
        self.last = Gateway(self, **options)
        return self.last

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test-0123456789", self.url + ("" if wanted.provider == "anthropic" else "/v1"))

    def refused(self) -> None:
        """Nothing is kept."""

    @property
    def requests(self) -> int:
        return self.provider.stats()["requests"]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with ExitStack() as exits:
        made = Stage(exits)
        yield made
        await made.last.close()


ANSWERS: dict[str, dict[str, Any]] = {
    "text": {"say": {"text": "Zwölf Boxkämpfer\u2028 \x85 jagen 🙂 <s>" * 9}},
    "one call": {"say": {"calls": [{"name": "read_file", "arguments": {"path": "a.py"}}]}},
    "text and calls": {
        "say": {
            "text": "I look.",
            "calls": [
                {"name": "read_file", "arguments": {"path": "a\u2028.py", "deep": {"list": [1, None]}}},
                {"name": "read_file", "arguments": {}},
            ],
        }
    },
    "broken arguments": {"say": LONG, "wrong_arguments": "not_json"},
    "the same word over and over": {"say": {"text": "ab" * 12 * 150}},
    "cut off by its limit": {"say": {"text": "and then"}, "finish_reason": "length"},
    "nothing": {"say": {}},
}


@HANDLERS
@pytest.mark.parametrize("answer", ANSWERS)
async def test_an_answer_is_the_same_streamed_or_whole(stage: Stage, model: str, answer: str) -> None:
    bill = {"prompt_tokens": 100, "completion_tokens": 10, "reasoning_tokens": 4000, "cached_tokens": 60}
    told: list[ModelAnswer] = []
    for stream in (False, True):
        provider = stage.play({**ANSWERS[answer], "bill": bill})
        told.append(await stage.gateway(stream=stream).complete(REQUEST, (model,)))
        assert provider.stats()["calls"] == 1
    whole, streamed = told
    if answer == "broken arguments" and model == ANTHROPIC:  # whole, they cannot even be sent
        assert not isinstance(json.loads(streamed.tool_calls[0].arguments), dict)
        whole = whole.model_copy(update={"tool_calls": streamed.tool_calls})
    assert streamed == whole
    assert (streamed.usage.prompt_tokens, streamed.usage.cached_tokens) == (100, 60)
    assert (streamed.usage.completion_tokens, streamed.cost_usd > 0) == (4010, True)


@PROTOCOLS
async def test_own_prices_bill_a_stream_by_its_tokens(stage: Stage, model: str) -> None:
    stage.play({"say": LONG, "bill": {"prompt_tokens": 1000, "completion_tokens": 100, "cached_tokens": 400}})
    price = Price.per_million(Decimal(10), Decimal(20), cached=Decimal(1))
    answer = await stage.gateway(prices={model: price}).complete(REQUEST, (model,))
    assert answer.cost_usd == Decimal("0.0084")


@HANDLERS
async def test_what_is_said_is_heard_while_it_comes(stage: Stage, model: str) -> None:
    provider = stage.play({"say": LONG})
    asked: list[bool] = []
    provider.before_answer = lambda number, asking: asked.append(asking.stream and asking.stream_usage)
    heard: list[str] = []
    with hearing(heard.append):
        answer = await stage.gateway().complete(REQUEST, (model,))
    assert len(heard) > 10
    assert "".join(heard) == answer.text + " [read_file] "
    assert asked == [True]


BREAKS: dict[str, dict[str, Any]] = {
    "cut at once": {"cut_after_bytes": 0},
    "cut": {"cut_after_bytes": 900},
    "ended early": {"cut_after_bytes": 900, "then": "end"},
    "garbage": {"cut_after_bytes": 900, "then": "garbage"},
    "error": {"cut_after_bytes": 900, "then": "error"},
}


async def test_what_a_failed_model_said_is_not_mixed_with_what_the_next_one_says(stage: Stage, redis: Redis) -> None:
    lost = {"text": "lost " * 200}
    stage.play({"model": "gpt-4o-mini", "say": lost, "cut_after_bytes": 9000}, {"first_byte_s": 0.3, "say": LONG})
    feed = Feed(redis)
    announcer = Announcer(feed, RUN, lambda *_: None)
    announcer.begins(StepKey(3, 0, StepKind.MODEL, "develop", "d"))
    with hearing(announcer.hears):
        assert (await stage.gateway().complete(REQUEST, (OPENAI, OTHER))).model == OTHER
    told = [item.event["text"] async for item in feed.read("p") if item.event["type"] == "thinking"]
    assert any(text.startswith("word") for text in told)
    assert not any("lost" in text and "word" in text for text in told)


@HANDLERS
@BOTH_WAYS
@pytest.mark.parametrize("breaks", BREAKS)
async def test_an_answer_that_breaks_is_in_doubt_and_asked_for_once(
    stage: Stage, model: str, stream: bool, breaks: str
) -> None:
    stage.play({"say": LONG, **BREAKS[breaks]})
    with pytest.raises(ModelUnavailableError) as caught:
        await stage.gateway(stream=stream).complete(REQUEST, (model,))
    assert caught.value.may_be_billed
    assert stage.requests == 1


@pytest.mark.parametrize("breaks", ["ended early", "garbage", "error"])
@PROTOCOLS
async def test_why_a_stream_failed_is_said(stage: Stage, model: str, breaks: str) -> None:
    stage.play({"say": LONG, **BREAKS[breaks]})
    words = {"ended early": "ended without", "garbage": "no JSON", "error": "error in the middle of its answer"}
    with pytest.raises(ModelError, match=words[breaks]):
        await stage.gateway().complete(REQUEST, (model,))


@PROTOCOLS
async def test_a_connection_that_breaks_after_the_answer_costs_nothing(stage: Stage, model: str) -> None:
    last = {OPENAI: b"data: [DONE]", ANTHROPIC: b"event: message_stop"}[model]
    provider = stage.play({"say": LONG})
    sent: list[bytes] = []
    provider.before_answer = lambda number, asked: sent.append(json.dumps(asked.body).encode())
    expected = await stage.gateway().complete(REQUEST, (model,))
    path = "/messages" if model == ANTHROPIC else "/chat/completions"
    body = await asyncio.to_thread(_posted, stage.url + path, sent[0])
    provider = stage.play({"say": LONG, "cut_after_bytes": body.index(last)})
    answer = await stage.gateway().complete(REQUEST, (model,))
    assert answer.model_copy(update={"tool_calls": ()}) == expected.model_copy(update={"tool_calls": ()})
    assert provider.stats()["spoiled"] == {"cut": 1}


def _posted(url: str, body: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
        return answer.read()


@PROTOCOLS
async def test_an_answer_in_one_piece_is_taken_although_a_stream_was_asked_for(stage: Stage, model: str) -> None:
    stage.play({"say": LONG, "whole": True})
    assert (await stage.gateway().complete(REQUEST, (model,))).text == LONG["text"]
    assert stage.requests == 1


@PROTOCOLS
async def test_a_model_that_refuses_streams_is_asked_whole_from_then_on(stage: Stage, model: str) -> None:
    refusal = {"stream": True, "fault": "bad_request", "message": "You must be verified to stream this model."}
    provider = stage.play(refusal, {"say": LONG})
    gateway = stage.gateway()
    for _ in range(2):
        assert (await gateway.complete(REQUEST, (model,))).text == LONG["text"]
    stats = provider.stats()
    assert (stats["calls"], stats["refused"]) == (2, {"bad_request": 1})


@PROTOCOLS
async def test_a_stream_that_does_not_say_what_it_used_is_no_answer_and_the_next_one_comes_whole(
    stage: Stage, model: str
) -> None:
    stage.play({"say": LONG, "no_usage": True})
    gateway = stage.gateway()
    with pytest.raises(ModelUnavailableError, match="without usage") as caught:
        await gateway.complete(REQUEST, (model,))
    assert caught.value.may_be_billed
    assert (await gateway.complete(REQUEST, (model,))).usage.completion_tokens > 0


@PROTOCOLS
async def test_a_first_byte_that_does_not_come_in_time_is_in_doubt(stage: Stage, model: str) -> None:
    stage.play({"after": 1, "say": LONG, "first_byte_s": 30}, {"say": LONG})
    await stage.gateway().complete(REQUEST, (model,))  # the library imports what it needs at its first call
    with pytest.raises(ModelUnavailableError) as caught:
        await stage.gateway(timeout=timedelta(seconds=0.3)).complete(REQUEST, (model,))
    assert caught.value.may_be_billed
    assert stage.requests == 2


async def test_a_proxy_of_the_environment_is_used_and_the_rules_hold_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = stage.play({"calls": [1], "say": LONG}, {"say": LONG, "cut_after_bytes": 900})
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", stage.url)
    stage.url = "http://models.invalid"
    heard: list[str] = []
    with hearing(heard.append):
        assert (await stage.gateway().complete(REQUEST, (OPENAI,))).text == LONG["text"]
    assert len(heard) > 10
    with pytest.raises(ModelUnavailableError):
        await stage.gateway().complete(REQUEST, (OPENAI,))
    assert provider.stats()["requests"] == 2


@PROTOCOLS
async def test_a_tool_with_a_parameter_called_stream_is_no_hindrance(stage: Stage, model: str) -> None:
    provider = stage.play({"say": LONG})
    asked: list[Any] = []
    provider.before_answer = lambda number, asking: asked.append((asking.stream, asking.tools))
    function = {"name": "tail", "parameters": {"type": "object", "properties": {"stream": {"type": "boolean"}}}}
    await stage.gateway().complete(
        REQUEST.model_copy(update={"tools": ({"type": "function", "function": function},)}), (model,)
    )
    [(stream, [tool])] = asked
    assert stream is True
    assert "stream" in tool["function"]["parameters"]["properties"]


def test_events_that_are_none_are_garbled_and_errors_are_cuts() -> None:
    for data in (b"{", b"[]", b"<html>"):
        for assembly in (ChatCompletion(), Message()):
            with pytest.raises(StreamGarbledError):
                assembly.take(data)
    with pytest.raises(StreamCutError, match="overloaded"):
        ChatCompletion().take(b'{"error": "overloaded"}')


def test_thinking_is_put_together_and_not_told() -> None:
    message = Message()
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "abc"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    ]
    told = [message.take(json.dumps(event).encode()) for event in events]
    assert "".join(told) == " [f] "
    assert message.missing() == ""
    thought, call = message.whole()["content"]
    assert (thought["thinking"], thought["signature"], call["input"]) == ("hm", "abc", {})
    assert message.whole()["usage"] == {"input_tokens": 5, "output_tokens": 7}


RUN = AgentRun(
    project="p", sprint=1, task="t", lineage="engineer-1", agent="p.engineer.ada", role=Role.ENGINEER, work=Work.PLAN, goal="g",
    chain=(OPENAI,), budget_scope="p",
)  # fmt: skip


async def test_partial_text_is_told_seldom_and_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(announcing.time, "monotonic", lambda: now)
    feed = Feed(redis)
    announcer = Announcer(feed, RUN, lambda *_: None)
    announcer.begins(StepKey(3, 0, StepKind.MODEL, "develop", "d"))
    for _ in range(400):  # ten seconds of forty chunks each
        now += 0.025
        announcer.hears("x" * 20)
    told = [item.event async for item in feed.read("p") if item.event["type"] == "thinking"]
    assert 4 <= len(told) <= 9
    assert all(event["data"]["partial"] and len(event["text"]) <= announcing.MAX_TEXT for event in told)
    assert [event["data"]["characters"] for event in told] == sorted(event["data"]["characters"] for event in told)


async def test_a_quick_answer_tells_nothing_before_it_is_whole(redis: Redis) -> None:
    feed = Feed(redis)
    announcer = Announcer(feed, RUN, lambda *_: None)
    announcer.begins(StepKey(3, 0, StepKind.MODEL, "develop", "d"))
    announcer.hears("x")
    assert [item.event["type"] async for item in feed.read("p")] == ["state"]


async def test_what_is_heard_never_waits_for_a_redis_that_is_away(stage: Stage) -> None:
    lonely = Redis(port=1, socket_connect_timeout=0.2)
    stage.play({"say": LONG})
    announcer = Announcer(Feed(lonely), RUN, lambda *_: None)
    async with asyncio.timeout(10):
        announcer.begins(StepKey(3, 0, StepKind.MODEL, "develop", "d"))
        with hearing(announcer.hears):
            assert (await stage.gateway().complete(REQUEST, (OPENAI,))).text == LONG["text"]
    await lonely.aclose()

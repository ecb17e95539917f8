"""The live feed on a real Redis."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from agents.announcing import Announcer
from agents.assignments import Work
from agents.feed import Feed, cards_key, feed_key, stream_rows
from agents.runs import AgentRun
from agents.team import card
from ledger.rows import Lease
from ledger.vocabulary import AgentState, ArtifactRef, Role, StepKind
from tests.support.records import message, receipt

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


async def collect(feed: Feed, after: str = "0-0") -> list[tuple[str, str]]:
    return [(item.id, item.event["text"]) async for item in feed.read("p", after)]


async def test_events_are_read_in_order_and_resumed_by_id(redis: Redis) -> None:
    feed = Feed(redis, clock=lambda: NOW)
    for text in ("one", "two", "three"):
        await feed.publish("p", {"type": "state", "text": text})
    seen = await collect(feed)
    assert [text for _, text in seen] == ["one", "two", "three"]
    assert [text for _, text in await collect(feed, seen[0][0])] == ["two", "three"]
    assert await collect(feed, seen[-1][0]) == []


async def test_an_event_says_when_it_happened(redis: Redis) -> None:
    feed = Feed(redis, clock=lambda: NOW)
    await feed.publish("p", {"type": "state"})
    await feed.publish("p", {"type": "state", "at": "earlier"})
    assert [item.event["at"] async for item in feed.read("p")] == [NOW.isoformat(), "earlier"]


async def test_a_waiting_reader_gets_what_comes_later(redis: Redis) -> None:
    feed = Feed(redis)

    async def first() -> str:
        async for item in feed.read("p", "$", block_ms=2000):
            return item.event["text"]
        raise AssertionError("the reader waits for ever")

    waiting = asyncio.create_task(first())
    while not waiting.done():
        await feed.publish("p", {"text": "later"})
        await asyncio.wait([waiting], timeout=0.02)
    assert waiting.result() == "later"


async def test_projects_do_not_share_a_feed_and_decoding_clients_read_the_same(redis: Redis) -> None:
    await Feed(redis).publish("p", {"text": "Grüße \udcff"})
    await Feed(redis).publish("q", {"text": "other"})
    await redis.xadd(feed_key("p"), {"event": "no json"})
    decoding = Redis(port=redis.connection_pool.connection_kwargs["port"], decode_responses=True)
    events = [item.event async for item in Feed(decoding).read("p")]
    await decoding.aclose()
    assert [event.get("text") for event in events] == ["Grüße \udcff", None]


async def test_a_feed_that_cannot_be_written_is_counted_and_left_alone_for_a_while() -> None:
    lonely = Redis(port=1, socket_connect_timeout=0.2)
    feed = Feed(lonely)
    started = asyncio.get_running_loop().time()
    for _ in range(20):
        await feed.publish("p", {"text": "lost"})
    assert feed.failures == 20
    assert asyncio.get_running_loop().time() - started < 5
    await lonely.aclose()


async def test_what_is_told_waits_for_nobody_and_is_written_in_order_in_a_moment(redis: Redis) -> None:
    feed = Feed(redis, clock=lambda: NOW)
    for text in ("one", "two"):
        feed.tell("p", {"type": "state", "text": text})
    feed.show("p", card("p.engineer.ada", Role.ENGINEER))
    assert await redis.xlen(feed_key("p")) == 0
    async with asyncio.timeout(10):
        while not await redis.hexists(cards_key("p"), "p.engineer.ada"):  # pyright: ignore[reportGeneralTypeIssues] sync or async
            await asyncio.sleep(0.01)
    rows = stream_rows(await redis.xread({feed_key("p"): "0"}))
    assert [json.loads(fields["event"])["text"] for _, fields in rows] == ["one", "two"]
    assert {json.loads(fields["event"])["at"] for _, fields in rows} == {NOW.isoformat()}


async def test_events_that_a_slow_redis_leaves_waiting_are_bounded_and_counted(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.feed.MAX_WAITING", 3)
    feed = Feed(redis)
    for number in range(5):
        feed.tell("p", {"type": "state", "text": str(number)})
    assert feed.failures == 2
    assert [text for _, text in await collect(feed)] == ["0", "1", "2"]


async def test_a_run_tells_what_it_sends_keeps_and_fails_at(redis: Redis) -> None:
    request = AgentRun(
        project="p", sprint=1, task="t", lineage="x", role=Role.ENGINEER, agent="p.engineer.ada", work=Work.CHANGE,
        goal="g", chain=("m/x",), budget_scope="p/s1/t",
    )  # fmt: skip
    lease = Lease(thread="p/s1/t/x", holder="w", epoch=1)
    sent = message("q1", "p.architect.eve").model_copy(update={"type": "QUERY"})
    read = message("a1", "p.engineer.ada")
    feed = Feed(redis)
    announcer = Announcer(feed, request, lambda *_: None)
    step = receipt(lease, 1, {}, kind=StepKind.INPUT, outbox=(sent, read), acknowledged=("a1",))
    announcer.ended(step)
    announcer.kept(ArtifactRef(name="change:t", digest="d", size=3))
    announcer.kept(None)
    announcer.state(AgentState.ERROR, "ValueError: no")
    told = [(item.event["type"], item.event["text"]) async for item in feed.read("p")]
    assert told == [
        ("message", "read_file"),
        ("message", "QUERY to p.architect.eve"),
        ("artifact", "change:t"),
        ("state", "ValueError: no"),
        ("error", "ValueError: no"),
    ]


async def test_a_reader_goes_on_from_any_id_also_one_that_is_trimmed(redis: Redis) -> None:
    feed = Feed(redis)
    for text in ("one", "two", "three"):
        await feed.publish("p", {"text": text})
    seen = await collect(feed)
    await redis.xtrim(feed_key("p"), maxlen=1, approximate=False)
    assert await collect(feed, seen[0][0]) == seen[2:]
    assert await collect(feed, "0") == seen[2:]

"""Delivery of messages through a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agents.bus import GROUP, Inbox, Relay, inbox_key
from agents.messages import EVERYONE, MessageType, message_id, step_message
from ledger.memory import MemoryStore
from ledger.store import NewMessage
from tests.agents.conftest import eventually

ADA = "p.engineer.ada"


def message(name: str, target: str = ADA) -> NewMessage:
    return NewMessage(
        id=name, project="p", source="syndic", target=target, type=MessageType.FEEDBACK, payload={"text": name}
    )


async def ids(inbox: Inbox) -> list[str]:
    return [found.id for found in await inbox.read()]


async def test_messages_arrive_once_each_in_the_order_in_which_they_were_written(redis: Redis) -> None:
    store, inbox = MemoryStore(), Inbox(redis, "p", ADA)
    await store.post([message("one"), message("two"), message("for-eve", "p.engineer.eve")])
    relay = Relay(store, redis)
    assert await relay.deliver() == 3
    assert await relay.deliver() == 0
    assert await ids(inbox) == ["one", "two"]
    assert await ids(inbox) == []
    assert await store.undelivered() == []


async def test_what_a_dead_reader_left_unacknowledged_comes_first(redis: Redis) -> None:
    store = MemoryStore()
    await store.post([message("one"), message("two")])
    await Relay(store, redis).deliver()
    dead = Inbox(redis, "p", ADA)
    assert await ids(dead) == ["one", "two"]
    await dead.acknowledge(["one"])
    await store.post([message("three")])
    await Relay(store, redis).deliver()
    assert await ids(Inbox(redis, "p", ADA)) == ["two", "three"]


async def test_a_message_that_is_delivered_twice_is_read_once(redis: Redis) -> None:
    store, inbox = MemoryStore(), Inbox(redis, "p", ADA)
    await store.post([message("one")])
    relay = Relay(store, redis)
    await relay.deliver()
    await store.redeliver()
    await relay.deliver()
    assert await redis.xlen(inbox_key("p", ADA)) == 2
    assert await ids(inbox) == ["one"]
    await inbox.acknowledge(["one"])
    assert (await redis.xpending(inbox_key("p", ADA), GROUP))["pending"] == 0


async def test_a_wiped_redis_gets_what_nobody_has_read(redis: Redis) -> None:
    store = MemoryStore()
    await store.post([message("one"), message("two")])
    relay = Relay(store, redis)
    await relay.deliver()
    await redis.flushall()
    await relay.deliver()
    assert await ids(Inbox(redis, "p", ADA)) == ["one", "two"]


async def test_messages_for_everyone_have_their_own_stream(redis: Redis) -> None:
    store = MemoryStore()
    await store.post([message("news", EVERYONE)])
    await Relay(store, redis).deliver()
    assert await redis.xlen("syndic:{p}:everyone") == 1


async def test_an_unreadable_entry_does_not_come_again(redis: Redis) -> None:
    inbox = Inbox(redis, "p", ADA)
    await redis.xadd(inbox_key("p", ADA), {"message": "garbage"})
    assert await ids(inbox) == []
    assert (await redis.xpending(inbox_key("p", ADA), GROUP))["pending"] == 0


async def test_nothing_is_marked_delivered_while_redis_is_away() -> None:
    store, lonely = MemoryStore(), Redis(port=1, socket_connect_timeout=0.2)
    await store.post([message("one")])
    with pytest.raises((RedisError, OSError)):
        await Relay(store, lonely).deliver()
    assert [waiting.id for waiting in await store.undelivered()] == ["one"]
    await lonely.aclose()


async def test_a_running_relay_delivers_what_is_written_later_and_stops(redis: Redis) -> None:
    store, stopping = MemoryStore(), asyncio.Event()
    running = asyncio.create_task(Relay(store, redis).run(stopping))
    await store.post([message("one")])

    async def delivered() -> bool:
        return not await store.undelivered()

    await eventually(delivered)
    stopping.set()
    await running


def test_ids_are_derived_from_the_step_that_sends() -> None:
    sent = step_message(
        MessageType.TASK_HANDOFF, place=("p/s1/t/x", 4, 1), project="p", source=ADA, target=EVERYONE, payload={}
    )
    assert sent.id == message_id("p/s1/t/x", 4, 1, "task_handoff") == "p/s1/t/x/4/1/task_handoff"
    assert sent.correlation == "p/s1/t/x"

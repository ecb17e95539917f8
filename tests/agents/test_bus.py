"""Delivery of messages through a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agents import bus
from agents.appending import inbox_key
from agents.bus import GROUP, Relay, dead_key
from agents.consuming import ConsumerSeat, consume
from agents.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope, sealed
from agents.errors import AlreadyReadError, EnvelopeError, LostLeaseError
from agents.inbox import Inbox
from agents.messages import EVERYONE, TEAM, MessageType, message_id, step_message
from ledger.errors import ConsumerHeldError
from ledger.items import ItemStatus
from ledger.memory import MemoryStore
from ledger.messages import NewMessage
from ledger.rows import Lease
from ledger.vocabulary import StepKind
from tests.agents.conftest import eventually
from tests.support.records import MINUTE, Hands, receipt, thread

ADA = "p-engineer-1"
KEY = inbox_key("p", ADA)
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def message(name: str, target: str = ADA, *, kind: str = MessageType.FEEDBACK, source: str = "syndic") -> NewMessage:
    return NewMessage(id=name, project="p", source=source, target=target, type=kind, payload={"text": name})


class Record(MemoryStore):
    """A record in which one agent can be written to and reads."""

    lease: Lease

    @classmethod
    async def opened(cls, *names: str) -> Record:
        store = cls()
        store.lease = await store.acquire_lease(thread(), "w", MINUTE)
        store.read = 0
        await store.write(*names)
        return store

    async def write(self, *names: str) -> None:
        await self.post([message(name) for name in names])

    async def commit(self, *ids: str) -> None:
        """One step reads these messages."""
        self.read += 1
        [done] = await self.apply([receipt(self.lease, self.read, list(ids), kind=StepKind.INPUT, acknowledged=ids)])
        if done.status is ItemStatus.TAKEN:
            raise AlreadyReadError(done.detail)
        assert done.status is ItemStatus.OK


def inbox_of(redis: Redis, store: MemoryStore, **options: Any) -> Inbox:
    return Inbox(redis, store, "p", ADA, **options)


async def ids(inbox: Inbox) -> list[str]:
    """All that can be read without waiting."""
    found: list[str] = []
    while envelopes := await inbox.read():
        found += [envelope.id for envelope in envelopes]
    return found


async def pending(redis: Redis) -> int:
    return (await redis.xpending(KEY, GROUP))["pending"]


async def entries(redis: Redis, key: str = KEY) -> list[str]:
    return [entry.decode() for entry, _ in await redis.xrange(key)]


async def test_messages_arrive_once_each_in_the_order_in_which_they_were_written(redis: Redis) -> None:
    store = await Record.opened("one", "two")
    await store.open_inbox("p", "eve")
    await store.post([message("for-eve", "eve")])
    relay, inbox = Relay(store, redis), inbox_of(redis, store)
    assert await relay.deliver() == 3
    assert await relay.deliver() == 0
    assert await entries(redis) == ["1-1", "1-2"]
    assert await ids(inbox) == ["one", "two"]
    assert await ids(inbox) == []


async def test_what_a_dead_reader_left_unacknowledged_comes_first(redis: Redis) -> None:
    store = await Record.opened("one", "two", "read")
    await Relay(store, redis).deliver()
    dead = inbox_of(redis, store)
    assert await ids(dead) == ["one", "two", "read"]
    await dead.acknowledge(["one"])
    await store.commit("one")
    await store.commit("read")
    await store.write("three")
    await Relay(store, redis).deliver()
    assert await ids(inbox_of(redis, store)) == ["two", "three"]
    assert await pending(redis) == 2


async def test_two_relays_add_a_message_once_whoever_is_late(redis: Redis) -> None:
    store = await Record.opened("one", "two")
    seen = await store.undelivered()
    await Relay(store, redis).deliver()

    class Late(MemoryStore):
        """What a relay knows that has stood still for a while."""

        calls = 0

        async def undelivered(self, limit: int = 100) -> list[Any]:
            self.calls += 1
            return seen if self.calls == 1 else []

    await Relay(Late(), redis).deliver()
    await store.write("three")
    await Relay(store, redis).deliver()
    await Relay(Late(), redis).deliver()
    assert await ids(inbox_of(redis, store)) == ["one", "two", "three"]
    assert await entries(redis) == ["1-1", "1-2", "1-3"]


async def test_a_message_that_is_delivered_twice_is_read_once(redis: Redis) -> None:
    store = await Record.opened("one")
    relay, inbox = Relay(store, redis), inbox_of(redis, store)
    await relay.deliver()
    assert await ids(inbox) == ["one"]
    await store.redeliver()
    await relay.deliver()
    assert await entries(redis) == ["1-1", "2-1"]
    assert await ids(inbox) == []
    await inbox.acknowledge(["one"])
    assert await pending(redis) == 0


async def test_a_copy_that_comes_after_the_acknowledgement_is_dropped(redis: Redis) -> None:
    store = await Record.opened("one")
    relay, inbox = Relay(store, redis), inbox_of(redis, store)
    await relay.deliver()
    assert await ids(inbox) == ["one"]
    await inbox.acknowledge(["one"])
    await store.redeliver()
    await relay.deliver()
    assert await ids(inbox) == []
    assert await pending(redis) == 0


async def test_a_wiped_redis_gets_what_nobody_has_read(redis: Redis) -> None:
    store = await Record.opened("one", "two", "three")
    relay = Relay(store, redis)
    await relay.deliver()
    await store.commit("two")
    await redis.flushall()
    assert await relay.audit() == 2
    assert await relay.audit() == 0
    await relay.deliver()
    assert await ids(inbox_of(redis, store)) == ["one", "three"]


async def test_a_wipe_is_noticed_before_a_later_message_hides_it(redis: Redis) -> None:
    store = await Record.opened("one", "two")
    relay = Relay(store, redis)
    await relay.deliver()
    await redis.flushall()
    await store.write("three")
    assert await relay.deliver() == 3
    assert await ids(inbox_of(redis, store)) == ["one", "two", "three"]


async def test_a_redis_that_lost_its_last_second_gets_it_again(redis: Redis) -> None:
    store = await Record.opened("one")
    relay = Relay(store, redis)
    await relay.deliver()
    remembered = await redis.dump(KEY)
    await store.write("two")
    await relay.deliver()
    await redis.restore(KEY, 0, remembered, replace=True)
    assert await relay.audit() == 2
    await relay.deliver()
    assert await ids(inbox_of(redis, store)) == ["one", "two"]


async def test_a_redis_that_is_ahead_of_the_record_does_not_stop_delivery(redis: Redis) -> None:
    store = await Record.opened("one")
    await redis.xadd(KEY, {"old": "build"})
    await Relay(store, redis).deliver()
    assert await ids(inbox_of(redis, store)) == ["one"]


async def test_messages_for_everyone_and_for_the_team_have_streams_of_their_own(redis: Redis) -> None:
    store = await Record.opened()
    await store.post([message("news", EVERYONE), message("all", TEAM)])
    await Relay(store, redis).deliver()
    assert await redis.xlen("syndic:{p}:everyone") == 1
    assert await redis.xlen("syndic:{p}:team") == 1
    assert await ids(inbox_of(redis, store)) == [f"all/to/{ADA}"]


class Counting(Record):
    """Notes how often it was told of deliveries."""

    marks = 0

    async def mark_delivered(self, ids: Sequence[str], generation: int | None = None) -> None:
        self.marks += 1
        await super().mark_delivered(ids, generation)


async def test_what_many_inboxes_get_at_once_is_noted_at_once(redis: Redis) -> None:
    store = await Counting.opened("one")
    for name in ("eve", "bob"):
        await store.open_inbox("p", name)
        await store.post([message(f"for-{name}", name)])
    assert await Relay(store, redis).deliver() == 3
    assert store.marks == 1
    assert await store.undelivered() == []


async def test_a_stream_that_takes_nothing_does_not_hold_up_the_others(redis: Redis) -> None:
    store = await Record.opened("one")
    await store.open_inbox("p", "eve")
    await store.post([message("for-eve", "eve")])
    await redis.set(KEY, "no stream")
    with pytest.raises(RedisError):
        await Relay(store, redis).deliver()
    assert [waiting.id for waiting in await store.undelivered()] == ["one"]
    assert await entries(redis, inbox_key("p", "eve")) == ["1-1"]


async def test_nothing_is_marked_delivered_while_redis_is_away() -> None:
    store, lonely = await Record.opened("one"), Redis(port=1, socket_connect_timeout=0.2)
    with pytest.raises((RedisError, OSError)):
        await Relay(store, lonely).deliver()
    assert [waiting.id for waiting in await store.undelivered()] == ["one"]
    await lonely.aclose()


async def test_a_running_relay_delivers_what_is_written_later_and_stops(redis: Redis) -> None:
    store, stopping = await Record.opened(), asyncio.Event()
    running = asyncio.create_task(Relay(store, redis).run(stopping))
    await store.write("one")
    await eventually(lambda: redis.exists(KEY))
    stopping.set()
    await running


async def test_trimming_drops_what_was_read_and_nothing_that_is_unread(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "KEPT", 3)
    monkeypatch.setattr(bus, "TRIM_EVERY", 1)
    store = await Record.opened("one", "two", "three", "four")
    relay, inbox = Relay(store, redis), inbox_of(redis, store)
    await relay.deliver()
    assert await redis.xlen(KEY) == 4
    await inbox.read(count=2)
    await store.commit("one", "three")
    await store.write("five")
    await relay.deliver()
    assert await entries(redis) == ["1-2", "1-3", "1-4", "1-5"]
    await store.commit("two")
    await store.write("six")
    await relay.deliver()
    assert await entries(redis) == ["1-4", "1-5", "1-6"]
    assert await ids(inbox_of(redis, store)) == ["four", "five", "six"]
    await store.commit("four", "five", "six", "none")
    await store.write("seven")
    await relay.deliver()
    await store.commit("seven")
    await store.write("eight")
    assert await relay.deliver() == 1
    assert await relay.audit() == 0


async def test_a_projects_own_stream_keeps_what_a_group_has_not_acknowledged(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "KEPT", 2)
    monkeypatch.setattr(bus, "TRIM_EVERY", 1)
    store, key = await Record.opened(), inbox_key("p", EVERYONE)

    async def tell(name: str) -> None:
        await store.post([message(name, EVERYONE)])
        await Relay(store, redis).deliver()

    for name in ("one", "two", "three"):
        await tell(name)
    assert await entries(redis, key) == ["1-1", "1-2", "1-3"]
    await redis.xgroup_create(key, "followers", id="0")
    await redis.xreadgroup("followers", "kim", {key: ">"}, count=2)
    await redis.xack(key, "followers", "1-1")
    await tell("four")
    assert await entries(redis, key) == ["1-2", "1-3", "1-4"]


async def test_a_row_that_has_no_valid_envelope_is_put_aside_and_what_follows_is_delivered(redis: Redis) -> None:
    store = await Record.opened("one")
    await store.post([message("odd", kind="CHATTER"), message("two")])
    await Relay(store, redis).deliver()
    assert await ids(inbox_of(redis, store)) == ["one", "two"]
    [letter] = await store.dead_letters("p")
    assert letter.id == "odd"
    assert letter.reason.startswith("no valid envelope: type:")
    [(_, fields)] = await redis.xrange(dead_key("p"))
    assert fields[b"reason"].decode() == letter.reason


def envelope(**changes: Any) -> dict[str, Any]:
    fields = {"id": "x", "project": "p", "source": "eve", "target": ADA, "type": "QUERY", "payload": {"text": "?"}}
    return {**fields, "time": NOW.isoformat(), "schema_version": 1, **changes}


BAD = {
    "no JSON": (b"{", "it is no JSON text"),
    "no object": (b"[1]", "it is no JSON object"),
    "empty": (b"", "it is no JSON text"),
    "no UTF-8": (b'{"id": "\xff"}', "unknown schema version"),
    "version": (json.dumps(envelope(schema_version=7, kind="?")), "unknown schema version 7; this build reads 1"),
    "no version": (json.dumps({"id": "x"}), "unknown schema version None; this build reads 1"),
    "type": (json.dumps(envelope(type="CHATTER")), "type: Input should be"),
    "unknown field": (json.dumps(envelope(sudo=True)), "sudo: Extra inputs are not permitted"),
    "missing": (json.dumps({"schema_version": 1}), "id: Field required"),
    "no zone": (json.dumps(envelope(time="2030-01-01T00:00:00")), "time: Input should have timezone info"),
    "too large": (json.dumps(envelope(payload={"x": "y" * MAX_ENVELOPE_BYTES})), "bytes is over the limit of"),
    "from the future": (json.dumps(envelope(time="2030-01-02T03:10:05Z")), "its time is 360 s ahead of this reader's"),
    "for another": (json.dumps(envelope(target="bob")), "it is for bob of project p"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_envelope_is_parked_with_its_reason_and_blocks_nobody(redis: Redis, name: str) -> None:
    text, reason = BAD[name]
    store = await Record.opened()
    await redis.xadd(KEY, {"envelope": text}, id="0-1")
    await store.write("after")
    await Relay(store, redis).deliver()
    inbox = inbox_of(redis, store, clock=lambda: NOW)
    assert await ids(inbox) == ["after"]
    [letter] = await store.dead_letters("p")
    assert reason in letter.reason
    assert (letter.is_message, letter.id) == (False, f"{KEY}#0-1")
    assert await pending(redis) == 1


async def test_a_garbled_entry_in_the_place_of_a_message_buries_that_message(redis: Redis) -> None:
    store = await Record.opened("one")
    await store.undelivered()
    await redis.xadd(KEY, {"envelope": "garbage"}, id="1-1")
    await Relay(store, redis).deliver()
    assert await ids(inbox_of(redis, store)) == []
    [letter] = await store.dead_letters("p")
    assert (letter.id, letter.is_message) == ("one", True)


def test_an_envelope_survives_its_way() -> None:
    sent = Envelope.model_validate(envelope(payload={"text": "Grüße \x00 \udcff"}, correlation_id="q"))
    assert parse_envelope(sealed(sent), NOW) == sent
    assert parse_envelope(sealed(sent).encode(), NOW - timedelta(minutes=4)) == sent
    with pytest.raises(EnvelopeError, match="over the limit"):
        sealed(sent.model_copy(update={"payload": {"x": "y" * MAX_ENVELOPE_BYTES}}))


async def run_until(inbox: Inbox, store: Record, handle: Any, done: Any) -> None:
    stopping = asyncio.Event()
    seat = ConsumerSeat(store, "p", ADA, "w1")
    running = asyncio.create_task(consume(inbox, seat, handle, stopping))
    await eventually(lambda: done() or running.done())
    stopping.set()
    await running


def handler(store: Record, heard: list[str], poison: Sequence[str] = ()) -> Any:
    async def handle(envelope: Envelope) -> None:
        if envelope.id in poison:
            raise ValueError(f"{envelope.id} is indigestible")
        await store.commit(envelope.id)
        heard.append(envelope.id)

    return handle


async def test_a_consumer_acknowledges_what_is_committed(redis: Redis) -> None:
    store, heard = await Record.opened("one", "two"), list[str]()
    await Relay(store, redis).deliver()
    await run_until(inbox_of(redis, store), store, handler(store, heard), lambda: len(heard) == 2)
    assert heard == ["one", "two"]
    assert await store.inbox("p", ADA) == []
    assert await pending(redis) == 0
    assert await store.consumers("p", ADA) == []


async def test_a_poison_message_is_tried_in_its_place_and_then_put_aside(redis: Redis) -> None:
    store, heard = await Record.opened("one", "bad", "two"), list[str]()
    await Relay(store, redis).deliver()
    await run_until(inbox_of(redis, store), store, handler(store, heard, ["bad"]), lambda: len(heard) == 2)
    assert heard == ["one", "two"]
    [letter] = await store.dead_letters("p")
    assert (letter.id, letter.deliveries) == ("bad", 5)
    assert letter.reason == "ValueError: bad is indigestible (5 tries)"
    assert await pending(redis) == 0
    await store.replay_letter("bad", "kim")
    await Relay(store, redis).deliver()
    await run_until(inbox_of(redis, store), store, handler(store, heard), lambda: len(heard) == 3)
    assert heard == ["one", "two", "bad"]


async def test_a_message_that_ends_each_of_its_readers_is_put_aside_and_its_neighbours_are_not(redis: Redis) -> None:
    store = await Record.opened("bad", "two", "three")
    await Relay(store, redis).deliver()
    readers = 0
    while not await store.dead_letters("p"):
        readers += 1
        found = await inbox_of(redis, store).read()  # and the process dies
        assert found[0].id == "bad" or await store.dead_letters("p")
    assert readers == 6
    [letter] = await store.dead_letters("p")
    assert letter.reason == "never acknowledged: each reader ended while it had it (5 tries)"
    assert await ids(inbox_of(redis, store)) == ["two", "three"]


async def test_a_message_that_was_read_before_is_acknowledged_and_not_read_again(redis: Redis) -> None:
    store, heard = await Record.opened("one"), list[str]()
    await Relay(store, redis).deliver()
    inbox = inbox_of(redis, store)
    handle = handler(store, heard)

    async def somebody_was_faster(envelope: Envelope) -> None:
        if not heard:
            await store.commit(envelope.id)
            heard.append("elsewhere")
        await handle(envelope)

    await run_until(inbox, store, somebody_was_faster, lambda: heard)
    assert heard == ["elsewhere"]
    assert await pending(redis) == 0


async def test_two_consumers_with_one_name_are_told_apart(redis: Redis) -> None:
    store = await Record.opened()
    async with ConsumerSeat(store, "p", ADA, "w1"):
        with pytest.raises(ConsumerHeldError, match="two may not share a name"):
            await consume(
                inbox_of(redis, store), ConsumerSeat(store, "p", ADA, "w2"), handler(store, []), asyncio.Event()
            )


async def test_a_consumer_that_lost_its_name_stops(redis: Redis) -> None:
    hands = Hands()
    store = MemoryStore(hands)
    seat = ConsumerSeat(store, "p", ADA, "w1", ttl=timedelta(milliseconds=30))

    async def handle(_: Envelope) -> None:
        raise AssertionError("there is nothing to read")

    running = asyncio.create_task(consume(inbox_of(redis, store), seat, handle, asyncio.Event()))
    await eventually(lambda: len(store._state.consumers) == 1)
    hands.move(MINUTE)
    await store.hold_inbox("p", ADA, ADA, "w2", MINUTE)
    with pytest.raises(LostLeaseError):
        await running


async def test_only_consumers_without_a_lease_are_reclaimed(redis: Redis) -> None:
    store = await Record.opened("one", "two", "three")
    await Relay(store, redis).deliver()
    gone, alive = inbox_of(redis, store, consumer="gone"), inbox_of(redis, store, consumer="alive")
    await gone.read(count=1)
    async with ConsumerSeat(store, "p", ADA, "w1", consumer="alive"):
        await alive.read(count=1)
        own = inbox_of(redis, store)
        assert await own.reclaim() == 1
        assert await ids(own) == ["one", "three"]
        assert await own.reclaim() == 0
    assert await own.reclaim() == 1
    assert await ids(own) == ["two"]


async def test_an_agent_that_reads_the_record_settles_what_it_has_read(redis: Redis) -> None:
    store = await Record.opened("one", "two")
    await Relay(store, redis).deliver()
    inbox = inbox_of(redis, store)
    await inbox.settle()
    await store.commit("one")
    await inbox.settle()
    assert await pending(redis) == 1
    assert await ids(inbox_of(redis, store)) == ["two"]


async def test_a_waiting_reader_survives_a_wipe(redis: Redis) -> None:
    store, heard, stopping = await Record.opened("one"), list[str](), asyncio.Event()
    relaying = asyncio.create_task(Relay(store, redis).run(stopping))
    running = asyncio.create_task(
        consume(inbox_of(redis, store), ConsumerSeat(store, "p", ADA, "w1"), handler(store, heard), stopping)
    )
    await eventually(lambda: heard == ["one"])
    await redis.flushall()
    await store.write("two")
    await eventually(lambda: heard == ["one", "two"])
    stopping.set()
    await asyncio.gather(running, relaying)


def test_ids_are_derived_from_the_step_that_sends() -> None:
    sent = step_message(
        MessageType.TASK_HANDOFF, place=("p/s1/t/x", 4, 1), project="p", source=ADA, target=EVERYONE, payload={}
    )
    assert sent.id == message_id("p/s1/t/x", 4, 1, "task_handoff") == "p/s1/t/x/4/1/task_handoff"
    assert sent.correlation == "p/s1/t/x"


async def test_a_poison_message_is_given_up_also_while_redis_forgets(redis: Redis) -> None:
    store, heard = await Record.opened("bad", "two"), list[str]()
    relay = Relay(store, redis)
    await relay.deliver()
    tries = 0

    async def handle(envelope: Envelope) -> None:
        nonlocal tries
        tries += envelope.id == "bad"
        if tries == 2:
            await redis.flushall()
        await handler(store, heard, ["bad"])(envelope)

    await run_until(inbox_of(redis, store), store, handle, lambda: heard)
    assert heard == ["two"]
    assert [letter.id for letter in await store.dead_letters("p")] == ["bad"]


async def test_a_reader_that_gave_a_message_up_reads_it_once_it_is_replayed(redis: Redis) -> None:
    store, heard, poison = await Record.opened("bad"), list[str](), ["bad"]
    relay, stopping = Relay(store, redis), asyncio.Event()
    await relay.deliver()
    running = asyncio.create_task(
        consume(inbox_of(redis, store), ConsumerSeat(store, "p", ADA, "w1"), handler(store, heard, poison), stopping)
    )

    async def dead() -> bool:
        return bool(await store.dead_letters("p"))

    await eventually(dead)
    poison.clear()
    await store.replay_letter("bad", "kim")
    await relay.deliver()
    await eventually(lambda: heard == ["bad"])
    stopping.set()
    await running
    assert await pending(redis) == 0

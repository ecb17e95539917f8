"""What workflows post: it opens the inbox of whom they engage, and is never refused to them."""

from __future__ import annotations

from typing import cast

from activities.contracts import RecordEntries
from activities.record import Records
from agents.feed import Feed
from ledger.memory import MemoryStore
from ledger.messages import MessageState, NewMessage

NO_FEED = cast("Feed", None)


def batch(target: str) -> RecordEntries:
    message = NewMessage(id="m1", project="p", source="person:kim", target=target, type="FEEDBACK", payload={})
    return RecordEntries(entries=(), messages=(message,))


async def test_an_agent_that_has_not_begun_can_be_written_to() -> None:
    store = MemoryStore()
    for _ in range(2):
        await Records(store, NO_FEED).record(batch("p.engineer.ada"))
    assert [message.id for message in await store.inbox("p", "p.engineer.ada")] == ["m1"]


async def test_what_comes_too_late_for_an_agent_is_a_dead_letter() -> None:
    store = MemoryStore()
    await store.open_inbox("p", "p.engineer.ada")
    await store.close_inbox("p", None, "the project is done")
    await Records(store, NO_FEED).record(batch("p.engineer.ada"))
    [message] = await store.conversation("p")
    assert message.state is MessageState.DEAD
    [letter] = await store.dead_letters("p")
    assert letter.reason == "p.engineer.ada has finished: the project is done"

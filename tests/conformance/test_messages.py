from __future__ import annotations

import hashlib

import pytest

from ledger.errors import LedgerError, UnknownArtifactError
from ledger.store import Store
from ledger.vocabulary import Standing, StepKind
from tests.support.records import MINUTE, Hands, message, receipt, thread


async def test_a_posted_message_waits_in_its_inbox_in_order(store: Store, project: str) -> None:
    made = await store.post([message(f"{project}-{n}", project=project, n=n) for n in range(3)])
    assert [kept.payload["n"] for kept in made] == [0, 1, 2]
    assert await store.inbox(project, "p-engineer-1") == made
    assert await store.inbox(project, "someone-else") == []


async def test_a_known_id_is_returned_as_it_stands(store: Store, project: str, hands: Hands) -> None:
    [first] = await store.post([message(f"{project}-1", project=project, text="a")])
    hands.move(MINUTE)
    [again] = await store.post([message(f"{project}-1", project=project, text="b")])
    assert again == first


async def test_undelivered_messages_are_handed_out_until_they_are_marked(store: Store, project: str) -> None:
    await store.post([message(f"{project}-{n}", project=project) for n in range(3)])
    names = [kept.id for kept in await store.undelivered(10_000) if kept.project == project]
    assert names == [f"{project}-{n}" for n in range(3)]
    await store.mark_delivered([*names[:2], "unknown"])
    assert [kept.id for kept in await store.undelivered(10_000) if kept.project == project] == names[2:]


async def test_redelivery_takes_what_nobody_has_read(store: Store, project: str) -> None:
    await store.redeliver()
    names = [f"{project}-{n}" for n in range(3)]
    await store.post([message(name, project=project) for name in names])
    await store.mark_delivered([kept.id for kept in await store.undelivered(10_000)])
    lease = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([receipt(lease, 7, kind=StepKind.INPUT, acknowledged=(names[0], "unknown"))])
    assert await store.redeliver() >= 2
    again = [kept.id for kept in await store.undelivered(10_000)]
    assert names[0] not in again
    assert again[-2:] == names[1:]
    assert [kept.id for kept in await store.inbox(project, "p-engineer-1")] == names[1:]


async def test_a_message_that_is_no_json_is_an_error(store: Store, project: str) -> None:
    with pytest.raises(LedgerError):
        await store.post([message(f"{project}-1", project=project, bad={1, 2})])


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 1000, "caf\u00e9".encode()])
async def test_an_artifact_is_found_by_its_digest(store: Store, content: bytes) -> None:
    digest = await store.put_artifact(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert await store.put_artifact(content, "text/other") == digest
    assert await store.get_artifact(digest) == content


async def test_an_unknown_artifact_is_an_error(store: Store) -> None:
    with pytest.raises(UnknownArtifactError, match="beef"):
        await store.get_artifact("beef")


async def test_standing_is_what_was_said_last(store: Store, project: str, hands: Hands) -> None:
    assert await store.standing(project) is None
    await store.set_standing(project, Standing.PAUSED, "wait")
    said = hands.now
    hands.move(MINUTE)
    await store.set_standing(project, Standing.PAUSED, "wait")
    row = await store.standing(project)
    assert row is not None
    assert (row.standing, row.reason, row.at) == (Standing.PAUSED, "wait", said)
    await store.set_standing(project, Standing.ACTIVE, "go")
    row = await store.standing(project)
    assert row is not None
    assert (row.standing, row.at) == (Standing.ACTIVE, hands.now)

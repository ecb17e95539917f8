from __future__ import annotations

import asyncio

import pytest

from ledger.chain import verify
from ledger.errors import InvalidEntryError, KeyConflictError
from ledger.rows import GENESIS, NewEntry
from ledger.store import Store
from tests.support.records import MINUTE, Hands, note


async def test_a_new_project_starts_at_genesis(store: Store, project: str) -> None:
    head = await store.head(project)
    assert (head.seq, head.hash) == (0, GENESIS)
    assert await store.entries(project) == []


async def test_recorded_entries_form_a_chain_that_verifies(store: Store, project: str) -> None:
    made = await store.record([note(f"k{n}", f"text {n} \u2713 \x00 \ud83d", project) for n in range(5)])
    read = await store.entries(project)
    assert read == made
    assert [entry.seq for entry in read] == [1, 2, 3, 4, 5]
    checked = verify(read)
    assert checked.ok
    assert checked.head == await store.head(project)


async def test_pages_continue_where_the_last_one_ended(store: Store, project: str) -> None:
    await store.record([note(f"k{n}", project=project) for n in range(5)])
    first = await store.entries(project, limit=2)
    rest = await store.entries(project, after=2)
    assert verify(rest, verify(first).head).ok
    assert [entry.seq for entry in rest] == [3, 4, 5]


async def test_an_entry_with_a_known_key_is_the_first_one(store: Store, project: str, hands: Hands) -> None:
    [first] = await store.record([note("k", project=project)])
    hands.move(MINUTE)
    again, other = await store.record([note("k", project=project), note("k2", project=project)])
    assert again == first
    assert other.seq == 2


async def test_a_known_key_with_another_body_is_refused_and_nothing_is_written(store: Store, project: str) -> None:
    await store.record([note("k", project=project)])
    with pytest.raises(KeyConflictError, match="k"):
        await store.record([note("k2", project=project), note("k", "other", project)])
    assert (await store.head(project)).seq == 1


async def test_entries_of_several_writers_at_once_are_refused_each_for_itself(store: Store, project: str) -> None:
    await store.record([note("k0", project=project)])
    told = [note(f"k{n}", "other" if n == 0 else "text", project) for n in range(6)]
    done = await asyncio.gather(*(store.record([entry]) for entry in told), return_exceptions=True)
    assert [isinstance(result, KeyConflictError) for result in done] == [True, *[False] * 5]
    read = await store.entries(project)
    assert sorted(entry.key for entry in read) == [f"k{n}" for n in range(6)]
    assert verify(read).ok


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("note", {}),
        ("note", {"text": "x", "typo": 1}),
        ("no_such_kind", {}),
        ("note", {"text": "x", "data": {"a": 1j}}),
    ],
)
async def test_a_body_that_is_not_of_its_kind_is_refused(store: Store, project: str, kind: str, body: dict) -> None:
    with pytest.raises(InvalidEntryError):
        await store.record([NewEntry(project=project, key="k", kind=kind, body=body)])
    assert (await store.head(project)).seq == 0


async def test_writers_at_once_leave_one_chain_without_gaps(store: Store, project: str) -> None:
    other = f"{project}-b"
    await asyncio.gather(
        *(store.record([note(f"k{n}", project=project), note(f"k{n}", project=other)]) for n in range(20)),
        *(store.record([note(f"j{n}", project=other), note(f"j{n}", project=project)]) for n in range(20)),
    )
    for name in (project, other):
        entries = await store.entries(name)
        assert [entry.seq for entry in entries] == list(range(1, 41))
        assert verify(entries).ok


async def test_projects_lists_those_with_a_chain(store: Store, project: str) -> None:
    await store.record([note("k", project=project)])
    assert project in await store.projects()

"""One statement for all who ask at the same time: everybody gets what is theirs, and only their own errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from ledger._gathered import Gathered
from ledger._session import Rows, Session
from ledger.errors import LedgerError
from ledger.messages import NewMessage
from ledger.postgres import PostgresStore, create_pool
from ledger.teamwork import Card
from ledger.vocabulary import Role
from tests.support.postgres import Database


class Counted(Session):
    """Says how many statements there were."""

    statements = 0

    async def rows(self, name: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        self.statements += 1
        return await super().rows(name, parameters)


def message(project: str, target: str) -> NewMessage:
    return NewMessage(
        id=f"{project}:{target}", project=project, source="system", target=target, type="task_feedback", payload={}
    )


def card(agent: str) -> Card:
    return Card(id=agent, name="Ada", role=Role.QA, title="QA")


async def test_askers_share_statements_and_each_gets_its_own_rows(database: Database) -> None:
    pool = create_pool(database.worker)
    await pool.open()
    store = PostgresStore(pool)
    names = [f"p.qa.a{number}" for number in range(20)]
    for name in names:
        await store.open_inbox("p", name)
    await store.post([message("p", name) for name in names[::2]])
    session = Counted(pool)
    look = Gathered(session, "inbox")
    found = await asyncio.gather(*(look.rows(project="p", agent=name) for name in names))
    assert [[row["target"] for row in rows] for rows in found] == [
        [name] if number % 2 == 0 else [] for number, name in enumerate(names)
    ]
    assert session.statements == 1
    await store.close()


async def test_one_refusal_is_its_askers_alone(postgres: PostgresStore) -> None:
    cards = [card("p.qa.ada"), card("p.qa.grace\x00"), card("p.qa.tony")]
    done = await asyncio.gather(*(postgres.publish_card("p", one) for one in cards), return_exceptions=True)
    assert [isinstance(answer, LedgerError) for answer in done] == [False, True, False]
    assert [shown.id for shown in await postgres.cards("p")] == ["p.qa.ada", "p.qa.tony"]


async def test_an_asker_that_is_cancelled_takes_nobodys_answer_away(postgres: PostgresStore) -> None:
    await postgres.open_inbox("p", "p.qa.ada")
    await postgres.post([message("p", "p.qa.ada")])
    leaving = asyncio.create_task(postgres.inbox("p", "p.qa.tony"))
    staying = asyncio.create_task(postgres.inbox("p", "p.qa.ada"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert [found.id for found in await staying] == ["p:p.qa.ada"]
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_what_was_committed_before_the_question_is_in_its_answer(postgres: PostgresStore) -> None:
    """The look that is on its way may not be enough for whoever asks after a commit."""
    await postgres.open_inbox("p", "p.qa.ada")
    before = [asyncio.create_task(postgres.inbox("p", "p.qa.ada")) for _ in range(3)]
    await postgres.post([message("p", "p.qa.ada")])
    assert len(await postgres.inbox("p", "p.qa.ada")) == 1
    await asyncio.gather(*before)

"""Whatever agents do to a board in whatever order: both stores give the same answers and end in the same state."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from ledger.memory import MemoryStore
from ledger.postgres import PostgresStore, create_pool
from ledger.store import Store
from ledger.teamwork import BoardPost, BoardStatus, Memory, NewVote, Section, StepPlace, Verdict
from ledger.vocabulary import Standing
from tests.conformance.test_teamwork import at_work
from tests.support.postgres import Database
from tests.support.records import MINUTE, Hands

SEEN: Counter[BoardStatus] = Counter()
NAMES = ("ada", "bob")


@pytest.fixture
async def twins(database: Database, hands: Hands) -> AsyncIterator[tuple[Store, Store]]:
    pool = create_pool(database.worker, max_size=1)
    await pool.open()
    yield MemoryStore(hands), PostgresStore(pool, hands)
    await pool.close()


class Chance:
    """Random doings of two agents, repeated steps and lost leases included."""

    def __init__(self, seed: int, project: str) -> None:
        self.dice = random.Random(seed)
        self.project = project

    def place(self) -> StepPlace:
        thread = f"{self.project}/s1/t/{self.dice.choice(NAMES)}"
        epoch = 1 if self.dice.random() < 0.95 else 2
        return StepPlace(thread=thread, epoch=epoch, key=f"{thread}/{self.dice.randrange(60)}/0")

    def post(self) -> BoardPost:
        dice = self.dice
        section = dice.choice([Section.CONSENSUS, Section.CONSENSUS, Section.PROBLEM])
        options = ("left", "right") if section is Section.CONSENSUS and dice.random() < 0.8 else ()
        return BoardPost(
            section=section, name=dice.choice("ab"), text=str(dice.random()), base=dice.choice([0, 0, 1, 1, 2]),
            task=dice.choice(["", "", "t"]), options=options,
        )  # fmt: skip

    def vote(self) -> NewVote:
        dice = self.dice
        return NewVote(
            question=dice.choice("abc"), task=dice.choice(["", "", "t"]), version=dice.choice([1, 1, 2]),
            choice=dice.choice(["left", "left", "right", "up"]), reasoning="so", confidence=dice.randrange(101),
        )  # fmt: skip

    async def act(self, stores: tuple[Store, Store], hands: Hands) -> None:
        dice, place, what = self.dice, self.place(), self.dice.randrange(12)
        hands.move(MINUTE * dice.random() / 10)
        posts = list(
            {(p.section, p.name, p.task): p for p in (self.post() for _ in range(dice.choice([1, 1, 2])))}.values()
        )
        vote, seen = self.vote(), dice.randrange(3)
        asked = (await stores[0].board(self.project)).questions
        if asked and dice.random() < 0.5:
            question = dice.choice(asked)
            here = {"question": question.entry.name, "task": question.entry.task, "version": question.entry.version}
            vote, seen = vote.model_copy(update=here), question.seen
        verdict = Verdict(
            question=vote.question,
            task=vote.task,
            version=vote.version,
            choice="left",
            how="majority",
            decided_by="vote",
        )
        memory = Memory(name=dice.choice("ab"), text="x", expires_at=hands.now + MINUTE * dice.random())
        standing = dice.choice([Standing.ACTIVE, Standing.ACTIVE, Standing.ACTIVE, Standing.PAUSED])
        told: list[object] = []
        for store in stores:
            if what < 5:
                told.append(await store.post_board(place, posts))
            elif what < 9:
                told.append(await store.cast_vote(place, vote))
            elif what == 9:
                told.append(await store.close_question(self.project, verdict, seen))
            elif what == 10:
                told.append(await store.remember(place, [memory]))
            else:
                told.append(await store.set_standing(self.project, standing, "so"))
        assert told[0] == told[1]
        status = getattr(told[0], "status", told[0])
        if isinstance(status, BoardStatus):
            SEEN[status] += 1


@pytest.mark.parametrize("seed", range(6))
async def test_random_boards_end_alike(twins: tuple[Store, Store], project: str, hands: Hands, seed: int) -> None:
    chance = Chance(seed, project)
    for store in twins:
        for name in NAMES:
            await at_work(store, project, name)
    for _ in range(120):
        await chance.act(twins, hands)
    one, two = [await store.board(project) for store in twins]
    assert one == two
    for name in NAMES:
        kept = [await store.recall(project, f"{project}.engineer.{name}") for store in twins]
        assert kept[0] == kept[1]


def test_chance_has_seen_every_answer() -> None:
    if sum(SEEN.values()) > 500:
        assert set(SEEN) == set(BoardStatus)

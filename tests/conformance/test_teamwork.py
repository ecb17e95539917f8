from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.errors import LedgerError
from ledger.events import TaskFinished
from ledger.rows import Lease, NewEntry, ThreadInfo
from ledger.store import Store
from ledger.teamwork import (
    MAX_MEMORIES,
    BoardPost,
    BoardStatus,
    Card,
    Memory,
    NewVote,
    Section,
    StepPlace,
    Verdict,
)
from ledger.vocabulary import AgentState, Role, Standing
from tests.support.records import MINUTE, Hands

S = BoardStatus


async def at_work(store: Store, project: str, name: str = "ada", lineage: str = "") -> Lease:
    info = ThreadInfo(
        thread=f"{project}/s1/t/{name}{lineage}", project=project, sprint=1, task="t", role="engineer",
        agent=f"{project}.engineer.{name}", budget_scope=project, prompt_version="v2",
    )  # fmt: skip
    return await store.acquire_lease(info, "w1", MINUTE)


def step(lease: Lease, ordinal: int, sub: int = 0) -> StepPlace:
    return StepPlace(thread=lease.thread, epoch=lease.epoch, key=f"{lease.thread}/{ordinal}/{sub}")


def post(name: str, text: str = "so", base: int = 0, **more) -> BoardPost:
    return BoardPost(**{"section": Section.SOLUTIONS, "name": name, "text": text, "base": base, **more})


def question(name: str = "which", text: str = "which way?", base: int = 0, task: str = "") -> BoardPost:
    return post(name, text, base, section=Section.CONSENSUS, options=("left", "right"), task=task)


def ballot(
    choice: str = "left", version: int = 1, name: str = "which", confidence: int = 80, task: str = ""
) -> NewVote:
    return NewVote(
        question=name, task=task, version=version, choice=choice, reasoning="it is near", confidence=confidence
    )


async def test_an_entry_is_signed_by_the_threads_agent_and_keeps_its_place(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    posted = await store.post_board(
        step(ada, 1), [post("cache", "keep a cache"), post("cause", section=Section.PROBLEM)]
    )
    assert posted.status is S.OK
    board = await store.board(project)
    assert board.entries == posted.entries
    assert [(e.section, e.name, e.version, e.author) for e in board.entries] == [
        ("problem", "cause", 1, f"{project}.engineer.ada"),
        ("solutions", "cache", 1, f"{project}.engineer.ada"),
    ]


async def test_a_write_onto_another_version_is_told_what_stands_and_writes_nothing(store: Store, project: str) -> None:
    ada, bob = await at_work(store, project), await at_work(store, project, "bob")
    await store.post_board(step(ada, 1), [post("cache", "one")])
    await store.post_board(step(ada, 2), [post("cache", "two", base=1)])
    lost = await store.post_board(step(bob, 1), [post("other"), post("cache", "mine", base=1)])
    assert lost.status is S.CONFLICT
    assert [(e.name, e.version, e.text) for e in lost.entries] == [("cache", 2, "two")]
    assert [e.name for e in (await store.board(project)).entries] == ["cache"]
    assert (await store.post_board(step(bob, 2), [post("cache", base=0)])).status is S.CONFLICT
    assert (await store.post_board(step(bob, 3), [post("absent", base=4)])).status is S.CONFLICT
    assert (await store.post_board(step(bob, 4), [post("cache", "three", base=2)])).status is S.OK


async def test_of_writers_at_once_exactly_one_wins_each_version(store: Store, project: str) -> None:
    leases = [await at_work(store, project, name) for name in ("ada", "bob", "cleo", "dan")]
    wins: list[int] = []

    async def push(lease: Lease) -> None:
        base = 0
        for turn in range(25):
            posted = await store.post_board(step(lease, turn + 1), [post("tally", lease.thread, base=base)])
            base = posted.entries[0].version
            if posted.status is S.OK:
                wins.append(base)

    await asyncio.gather(*(push(lease) for lease in leases))
    assert sorted(wins) == list(range(1, len(wins) + 1))
    assert (await store.board(project)).entries[0].version == len(wins)


async def test_a_step_that_is_made_again_posts_once_and_hears_the_same(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    first = await store.post_board(step(ada, 1), [post("cache")])
    bob = await at_work(store, project, "bob")
    await store.post_board(step(bob, 1), [post("cache", "changed", base=1)])
    assert await store.post_board(step(ada, 1), [post("cache")]) == first
    assert (await store.board(project)).entries[0].text == "changed"


async def test_a_run_that_lost_its_thread_or_is_halted_writes_nothing(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    again = await at_work(store, project)
    memory = Memory(name="seen", text="it", expires_at=Hands().now + MINUTE)
    assert (await store.post_board(step(ada, 1), [post("cache")])).status is S.LOST_LEASE
    assert (await store.cast_vote(step(ada, 2), ballot())).status is S.LOST_LEASE
    assert await store.remember(step(ada, 3), [memory]) is S.LOST_LEASE
    await store.set_standing(project, Standing.PAUSED, "wait")
    assert (await store.post_board(step(again, 1), [post("cache")])).status is S.HALTED
    assert (await store.cast_vote(step(again, 2), ballot())).status is S.HALTED
    assert (await store.board(project)).entries == ()


async def test_an_unknown_thread_and_a_batch_against_itself_are_errors(store: Store, project: str) -> None:
    nobody = StepPlace(thread=f"{project}/none", epoch=1, key="k")
    with pytest.raises(LedgerError, match="no thread"):
        await store.post_board(nobody, [post("cache")])
    ada = await at_work(store, project)
    with pytest.raises(LedgerError, match="same entry"):
        await store.post_board(step(ada, 1), [post("cache"), post("cache", "other")])


@pytest.mark.parametrize(
    "wrong", [{"name": "No Spaces"}, {"name": "../up"}, {"text": ""}, {"text": "a\x00b"}, {"text": "\ud800"}]
)
def test_what_no_board_can_hold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        post(**{"name": "cache", **wrong})


async def test_votes_are_one_an_agent_and_may_be_changed_until_closed(store: Store, project: str) -> None:
    ada, bob = await at_work(store, project), await at_work(store, project, "bob")
    await store.post_board(step(ada, 1), [question()])
    assert (await store.cast_vote(step(ada, 2), ballot("left"))).status is S.OK
    assert (await store.cast_vote(step(bob, 1), ballot("right"))).status is S.OK
    assert (await store.cast_vote(step(bob, 2), ballot("left", confidence=30))).status is S.OK
    assert (await store.cast_vote(step(bob, 2), ballot("left", confidence=30))).status is S.OK
    [asked] = (await store.board(project)).questions
    assert [(v.agent, v.choice, v.confidence, v.changes) for v in asked.votes] == [
        (f"{project}.engineer.ada", "left", 80, 0),
        (f"{project}.engineer.bob", "left", 30, 1),
    ]
    verdict = Verdict(
        question="which", version=1, choice="left", how="majority", decided_by="rule", counts={"left": 200}
    )
    assert (await store.close_question(project, verdict, asked.seen - 1)).status is S.CONFLICT
    assert (await store.close_question(project, verdict, asked.seen)).status is S.OK
    other = verdict.model_copy(update={"choice": "right"})
    assert (await store.close_question(project, other, asked.seen)).status is S.CLOSED
    assert (await store.cast_vote(step(ada, 3), ballot("right"))).status is S.CLOSED
    assert (await store.post_board(step(ada, 4), [question(base=1)])).status is S.CLOSED
    assert (await store.board(project)).questions[0].verdict == verdict


async def test_an_edited_question_is_another_question(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    await store.post_board(step(ada, 1), [question()])
    await store.cast_vote(step(ada, 2), ballot())
    await store.post_board(step(ada, 3), [question(text="really?", base=1)])
    [asked] = (await store.board(project)).questions
    assert (asked.entry.version, asked.votes, asked.seen) == (2, (), 0)
    stale = await store.cast_vote(step(ada, 4), ballot(version=1))
    assert stale.status is S.CONFLICT
    assert stale.question == asked.entry
    old = Verdict(question="which", version=1, choice="left", how="majority", decided_by="rule")
    assert (await store.close_question(project, old, 0)).status is S.CONFLICT


async def test_a_vote_needs_a_question_and_one_of_its_options(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    await store.post_board(step(ada, 1), [question(), post("plain", section=Section.CONSENSUS)])
    assert (await store.cast_vote(step(ada, 2), ballot(name="absent"))).status is S.UNKNOWN
    assert (await store.cast_vote(step(ada, 2), ballot(name="plain"))).status is S.UNKNOWN
    assert (await store.cast_vote(step(ada, 2), ballot(task="t"))).status is S.UNKNOWN
    wrong = await store.cast_vote(step(ada, 2), ballot("up"))
    assert (wrong.status, wrong.detail) == (S.UNKNOWN, "the options are left, right")
    none = Verdict(question="absent", version=1, choice=None, how="lapsed", decided_by="rule")
    assert (await store.close_question(project, none, 0)).status is S.UNKNOWN


async def test_a_question_of_a_task_is_another_than_the_projects(store: Store, project: str) -> None:
    ada = await at_work(store, project)
    await store.post_board(step(ada, 1), [question(), question(task="t")])
    await store.cast_vote(step(ada, 2), ballot(task="t"))
    first, second = (await store.board(project)).questions
    assert (first.entry.task, first.votes) == ("", ())
    assert (second.entry.task, len(second.votes)) == ("t", 1)


async def test_nothing_of_one_project_is_seen_or_changed_from_another(store: Store, project: str) -> None:
    other = f"{project}x"
    mine, theirs = await at_work(store, project), await at_work(store, other)
    await store.post_board(step(mine, 1), [question(), post("secret")])
    await store.remember(step(mine, 2), [Memory(name="seen", text="it", expires_at=Hands().now + MINUTE)])
    await store.publish_card(project, card(project))
    assert (await store.cast_vote(step(theirs, 1), ballot())).status is S.UNKNOWN
    assert (await store.post_board(step(theirs, 2), [post("secret", "taken", base=1)])).status is S.CONFLICT
    board = await store.board(other)
    assert (board.entries, board.questions) == ((), ())
    assert await store.recall(other, f"{other}.engineer.ada") == []
    assert await store.recall(other, f"{project}.engineer.ada") == []
    assert await store.cards(other) == []
    assert [facts.agent for facts in await store.team_facts(other)] == [f"{other}.engineer.ada"]
    with pytest.raises(LedgerError):
        await store.publish_card(other, card(project))


def card(project: str, state: AgentState = AgentState.IDLE) -> Card:
    return Card(
        id=f"{project}.engineer.ada", name="ada", role=Role.ENGINEER, title="engineer",
        capabilities=("repair", "tests"), tier=3, state=state, task="t",
    )  # fmt: skip


async def test_a_card_says_how_its_agent_is_now(store: Store, project: str) -> None:
    await store.publish_card(project, card(project))
    await store.publish_card(project, card(project, AgentState.COMPLETED))
    assert await store.cards(project) == [card(project, AgentState.COMPLETED)]


async def test_facts_count_runs_at_work_and_tasks_that_were_ended(store: Store, project: str, hands: Hands) -> None:
    await at_work(store, project)
    await at_work(store, project, lineage="2")
    lease = await at_work(store, project, "bob")
    await store.release_lease(lease)
    ends = [("ada", "merged"), ("ada", "failed"), ("ada", "cancelled"), ("cleo", "reported"), (None, "failed")]
    await store.record([ended(project, n, name, state) for n, (name, state) in enumerate(ends)])
    facts = {f.agent.rsplit(".")[-1]: (f.load, f.succeeded, f.failed) for f in await store.team_facts(project)}
    assert facts == {"ada": (2, 1, 1), "bob": (0, 0, 0), "cleo": (0, 1, 0)}
    hands.move(MINUTE * 2)
    assert {f.load for f in await store.team_facts(project)} == {0}


def ended(project: str, number: int, name: str | None, state: str) -> NewEntry:
    agent = f"{project}.engineer.{name}" if name else None
    event = TaskFinished(sprint=1, task=f"t{number}", state=state, summary="", attempts=1, repairs=0, agent=agent)
    return NewEntry(project=project, key=f"end-{number}", kind=event.kind, body=event.model_dump(mode="json"))


async def test_memory_lasts_until_it_expires_and_is_the_agents_own(store: Store, project: str, hands: Hands) -> None:
    ada, bob = await at_work(store, project), await at_work(store, project, "bob")
    await store.remember(
        step(ada, 1),
        [
            Memory(name="short", text="a", expires_at=hands.now + MINUTE),
            Memory(name="long", text="b", expires_at=hands.now + 3 * MINUTE),
        ],
    )
    await store.remember(step(bob, 1), [Memory(name="mine", text="c", expires_at=hands.now + MINUTE)])
    assert [m.name for m in await store.recall(project, f"{project}.engineer.ada")] == ["long", "short"]
    hands.move(MINUTE)
    assert [m.text for m in await store.recall(project, f"{project}.engineer.ada")] == ["b"]
    assert await store.recall(project, f"{project}.engineer.bob") == []


async def test_the_oldest_memories_give_way(store: Store, project: str, hands: Hands) -> None:
    ada = await at_work(store, project)
    later = hands.now + 60 * MINUTE
    for n in range(3):
        hands.move(MINUTE / 100)
        await store.remember(step(ada, n), [Memory(name=f"first-{n}", text="a", expires_at=later)])
    hands.move(MINUTE / 100)
    many = [Memory(name=f"m-{n:02}", text="b", expires_at=later) for n in range(MAX_MEMORIES - 1)]
    await store.remember(step(ada, 9), many)
    kept = [m.name for m in await store.recall(project, f"{project}.engineer.ada")]
    assert (len(kept), kept[0]) == (MAX_MEMORIES, "first-2")

"""The board's tools: everybody writes as themselves, once a step, and the loser of a race is told what stands."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agents.blackboard import Blackboard
from agents.errors import HaltedError, LostLeaseError
from agents.policy import TEAM_TOOLS, Policy
from agents.tools.registry import all_tools
from ledger.memory import MemoryStore
from ledger.rows import Lease, ThreadInfo
from ledger.vocabulary import Role, Standing
from tests.support.records import MINUTE

CACHE = {"section": "solutions", "name": "cache", "text": "keep a cache"}
WHICH = {"section": "consensus", "name": "which", "text": "which way?", "options": ["left", "right"]}
LEFT = {"question": "which", "version": 1, "choice": "left", "reasoning": "a.py:3 is near", "confidence": 0.8}


class Colleague:
    """An agent at work on a task, with its hands on the real tools."""

    def __init__(self, store: MemoryStore, lease: Lease, task: str, context: Any) -> None:
        self.board = Blackboard(store, "p", task, lease.thread, lease.epoch)
        self.context = replace(context, board=self.board)
        self.steps = 0

    async def use(self, name: str, /, *, again: bool = False, **arguments: Any) -> tuple[bool, dict[str, Any]]:
        self.steps += not again
        tool = all_tools()[name]
        context = replace(self.context, place=f"{self.board.thread}/{self.steps}/0")
        result = await tool.run(context, tool.arguments.model_validate(arguments))
        return result.ok, json.loads(result.content)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def hire(store: MemoryStore, make_context: Any) -> Any:
    async def made(name: str, task: str = "t") -> Colleague:
        info = ThreadInfo(
            thread=f"p/s1/{task}/{name}", project="p", sprint=1, task=task, role="engineer", agent=f"p.engineer.{name}",
            budget_scope="p", prompt_version="v2",
        )  # fmt: skip
        return Colleague(store, await store.acquire_lease(info, "w", MINUTE), task, make_context())

    return made


async def test_what_one_posts_the_other_reads_with_its_author(hire: Any) -> None:
    ada, bob = await hire("ada"), await hire("bob", "u")
    assert await ada.use("post_board", entries=[CACHE]) == (True, {"written": [{"name": "cache", "version": 1}]})
    _, seen = await bob.use("read_board")
    assert [(e["name"], e["version"], e["author"]) for e in seen["entries"]] == [("cache", 1, "p.engineer.ada")]
    _, none = await bob.use("read_board", sections=["problem"])
    assert none == {"entries": [], "questions": []}


async def test_the_loser_is_told_what_stands_and_can_merge(hire: Any) -> None:
    ada, bob = await hire("ada"), await hire("bob")
    await ada.use("post_board", entries=[CACHE])
    ok, told = await bob.use("post_board", entries=[{**CACHE, "text": "no cache"}])
    assert not ok
    assert [(e["version"], e["text"]) for e in told["standing"]] == [(1, "keep a cache")]
    ok, _ = await bob.use("post_board", entries=[{**CACHE, "text": "a small cache", "base": 1}])
    assert ok


async def test_what_belongs_to_a_task_is_seen_by_those_who_work_on_it(hire: Any) -> None:
    ada, bob, eve = await hire("ada"), await hire("bob"), await hire("eve", "u")
    await ada.use("post_board", entries=[{**CACHE, "of": "task"}])
    assert len((await bob.use("read_board"))[1]["entries"]) == 1
    assert (await eve.use("read_board"))[1]["entries"] == []


async def test_a_repeated_step_posts_and_votes_once(hire: Any, store: MemoryStore) -> None:
    ada = await hire("ada")
    first = await ada.use("post_board", entries=[WHICH])
    assert await ada.use("post_board", again=True, entries=[WHICH]) == first
    first = await ada.use("vote", **LEFT)
    assert await ada.use("vote", again=True, **LEFT) == first
    [question] = (await store.board("p")).questions
    assert (question.entry.version, [vote.changes for vote in question.votes]) == (1, [0])


async def test_votes_and_reasons_are_read_by_all_and_a_wrong_choice_is_answered(hire: Any) -> None:
    ada, bob = await hire("ada"), await hire("bob")
    await ada.use("post_board", entries=[WHICH])
    await ada.use("vote", **LEFT)
    ok, told = await bob.use("vote", **{**LEFT, "choice": "up"})
    assert (ok, told["error"]) == (False, "the options are left, right")
    ok, told = await bob.use("vote", **{**LEFT, "version": 2})
    assert (ok, told["question"]["version"]) == (False, 1)
    _, seen = await bob.use("read_board", sections=["consensus"])
    [question] = seen["questions"]
    assert question["votes"] == [
        {"agent": "p.engineer.ada", "choice": "left", "confidence": 0.8, "reasoning": "a.py:3 is near"}
    ]
    assert question["verdict"] is None


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([CACHE, CACHE], "named twice"),
        ([{**CACHE, "options": ["a", "b"]}], "only entries of the section consensus"),
        ([{**WHICH, "options": ["left", "left"]}], "two different options"),
    ],
)
async def test_a_write_that_makes_no_sense_is_answered(hire: Any, entries: list[Any], error: str) -> None:
    ok, told = await (await hire("ada")).use("post_board", entries=entries)
    assert not ok
    assert error in told["error"]


async def test_a_run_that_lost_its_thread_or_is_paused_writes_nothing(hire: Any, store: MemoryStore) -> None:
    old = await hire("ada")
    ada = await hire("ada")
    with pytest.raises(LostLeaseError):
        await old.use("post_board", entries=[CACHE])
    await store.set_standing("p", Standing.PAUSED, "wait")
    with pytest.raises(HaltedError):
        await ada.use("remember", name="a", text="b")
    assert (await store.board("p")).entries == ()


async def test_a_note_is_kept_for_the_agent_that_wrote_it(hire: Any, store: MemoryStore) -> None:
    await (await hire("ada")).use("remember", name="layout", text="tests lie in t/", minutes=5)
    assert [(m.name, m.text) for m in await store.recall("p", "p.engineer.ada")] == [("layout", "tests lie in t/")]
    assert await store.recall("p", "p.engineer.bob") == []


@pytest.mark.parametrize("role", Role)
def test_everyone_but_judges_has_the_board(role: Role) -> None:
    allowed = {name for name in TEAM_TOOLS if Policy().allows(role, all_tools()[name])}
    assert allowed == (set() if role is Role.JUDGE else set(TEAM_TOOLS))


def test_calls_that_write_on_the_board_are_made_in_order() -> None:
    assert {name for name in TEAM_TOOLS if all_tools()[name].alone} == TEAM_TOOLS - {"read_board"}

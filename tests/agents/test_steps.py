"""The step protocol against the record in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest

from agents.errors import (
    AlreadyReadError,
    DivergenceError,
    HaltedError,
    LostLeaseError,
    MailWaitsError,
    ModelUnavailableError,
    OverBudgetError,
    RunStoppedError,
    UndeliverableMessageError,
)
from agents.models import Bound, ModelAnswer, ModelRequest, ToolCall
from agents.policy import Decision
from agents.receipts import Pen, RequestDigests, StepKey
from agents.steps import Steps
from agents.tools.base import ToolResult
from agents.wiring import Performed, Reading, Wiring
from ledger.chain import digest, verify
from ledger.errors import StoreUnreachableError
from ledger.items import Item, ItemResult, Mark, Receipt
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.messages import NewMessage
from ledger.rows import Lease, ThreadInfo
from ledger.vocabulary import Exceeded, Standing, StepKind, StepStatus, Usage

INFO = ThreadInfo(
    thread="p/s1/t/engineer-1", project="p", sprint=1, task="t", role="engineer", agent="p.engineer.ada",
    budget_scope="p/s1/t", prompt_version="v1",
)  # fmt: skip
TTL = timedelta(seconds=30)
ALLOWED = Decision(allowed=True, rule="allowed", reason="engineer may use it")
DENIED = Decision(allowed=False, rule="path", reason="the path leaves the worktree")
BOUND = Bound(Decimal("0.5"), 200)
COST = Decimal("0.1")


class Crash(Exception):
    """The process dies here."""


@dataclass
class World:
    """What survives a crash: the record, the provider's counter, the files. `die_at` counts submissions and calls."""

    store: MemoryStore = field(default_factory=MemoryStore)
    asked: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    resets: list[str | None] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)
    die_at: int | None = None
    moments: int = 0
    stopping: bool = False
    holds: bool = True

    def moment(self) -> None:
        """Something observable happens; a process may die before or after it."""
        self.moments += 1
        if self.moments == self.die_at:
            raise Crash

    async def open(self, holder: str = "worker") -> Run:
        await self.store.open_budget("p", Decimal(10))
        await self.store.open_budget("p/s1/t", None)
        lease = await self.store.acquire_lease(INFO, holder, TTL)
        return Run(self, lease, await self.store.steps(INFO.thread))


class Run:
    def __init__(self, world: World, lease: Lease, served: list) -> None:
        self.world = world
        self.lease = lease
        self.commit = GroupCommit(world.store)
        self.dead = False
        self.steps = Steps(
            served,
            Wiring(
                pen=Pen(INFO, lease, lease.holder), submit=self._submit, record=world.store.record, guard=self,
                observer=self, before_first_real=self._reset,
            ),
        )  # fmt: skip

    async def _submit(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        if self.dead:
            await asyncio.get_running_loop().create_future()
        self.world.moment()
        results = await self.commit.submit_all(items)
        self.world.moment()
        return results

    async def _reset(self, commit: str | None) -> None:
        self.world.resets.append(commit)
        kept = 0 if commit is None else self.world.files.index(commit) + 1
        del self.world.files[kept:]

    def check(self) -> None:
        if not self.world.holds:
            raise LostLeaseError
        if self.world.stopping:
            raise RunStoppedError

    def holds(self) -> bool:
        return self.world.holds

    def begins(self, key: StepKey) -> None:
        self.world.told.append((key.ordinal, key.name))

    def ended(self, receipt: Receipt) -> None:
        assert receipt.status is StepStatus.DONE

    async def ask(self, text: str) -> ModelAnswer:
        self.world.asked.append(text)
        self.world.moment()
        return ModelAnswer(text=f"answer {text}", model="m/x", usage=Usage(prompt_tokens=5), cost_usd=COST)

    async def ponder(self, ordinal: int, text: str, ask: Callable | None = None, bound: Bound = BOUND) -> ModelAnswer:
        """Ask, and go on before the answer is committed."""
        return await self.steps.model(ordinal, "change", request(text), lambda: bound, ask or (lambda: self.ask(text)))

    async def think(self, ordinal: int, text: str, ask: Callable | None = None, bound: Bound = BOUND) -> ModelAnswer:
        answer = await self.ponder(ordinal, text, ask, bound)
        await self.steps.flush()
        return answer

    async def look(self, ordinal: int, sub: int = 0) -> ToolResult:
        async def perform() -> Performed:
            self.world.moment()
            return Performed(ToolResult(ok=True, content="{}"))

        return await self.steps.tool(ordinal, sub, call("look"), {"sub": sub}, lambda: ALLOWED, perform, looks=True)

    async def write(self, ordinal: int, name: str, sub: int = 0) -> ToolResult:
        async def perform() -> Performed:
            self.world.files.append(name)
            self.world.moment()
            return Performed(ToolResult(ok=True, content="{}"), commit=name)

        return await self.steps.tool(ordinal, sub, call(name), {"name": name}, lambda: ALLOWED, perform)


def request(text: str) -> ModelRequest:
    return ModelRequest(purpose="change", messages=({"role": "user", "content": text},))


def call(name: str) -> ToolCall:
    return ToolCall(id=f"call-{name}", name="write_file", arguments="{}")


async def fixed_run(run: Run) -> str:
    """An assignment, four turns with two writes and a look: ten places to die in between and more."""

    async def read() -> Reading:
        return Reading({"goal": "tidy"})

    goal = (await run.steps.input(0, "assignment", read))["goal"]
    first = await run.ponder(1, goal)
    await run.write(2, "one")
    second = await run.ponder(3, first.text)
    await run.look(4)
    third = await run.ponder(5, second.text)
    await run.write(6, "two")
    fourth = await run.ponder(7, third.text)
    await run.steps.flush()
    return fourth.text


async def test_a_killed_run_resumes_anywhere_and_no_journaled_answer_is_asked_again() -> None:
    whole = World()
    expected = await fixed_run(await whole.open())
    assert len(whole.asked) == 4
    for die_at in range(1, whole.moments + 1):
        world = World(die_at=die_at)
        killed = await world.open("first")
        with pytest.raises(Crash):
            await fixed_run(killed)
        killed.dead = True
        # The dead process's lease must not stand in the way of this test; expiry is tested with the store.
        world.die_at = None
        result = await fixed_run(await world.open("first"))
        doubts = await world.store.in_doubt("p")
        assert result == expected, die_at
        assert world.files == ["one", "two"], die_at
        assert 4 <= len(world.asked) <= 4 + len(doubts), die_at
        assert verify(await world.store.entries("p")).ok


async def test_a_served_run_writes_nothing_and_touches_nothing() -> None:
    world = World()
    expected = await fixed_run(await world.open())
    before = (await world.store.head("p"), list(world.asked), list(world.files), world.moments, len(world.told))
    again = await world.open()
    assert await fixed_run(again) == expected
    assert (await world.store.head("p"), world.asked, world.files, world.moments, len(world.told)) == before
    assert world.resets == [None]
    assert (again.steps.totals.model_calls, again.steps.totals.steps) == (4, 8)
    assert again.steps.totals.commit == "two"
    assert again.steps.totals.cost_usd == 4 * COST


async def test_the_worktree_is_reset_to_the_last_served_commit_before_the_first_real_step() -> None:
    world = World()
    first = await world.open()
    await first.write(1, "one")
    world.files.append("half-written")
    second = await world.open()
    await second.write(1, "one")
    assert world.resets == [None]
    await second.write(2, "two")
    assert world.resets == [None, "one"]
    assert world.files == ["one", "two"]


async def test_every_real_step_is_on_the_ledger_and_told() -> None:
    world = World()
    await fixed_run(await world.open())
    recorded = [entry for entry in await world.store.entries("p") if entry.kind == "step_recorded"]
    assert [entry.key for entry in recorded] == [f"{INFO.thread}/{ordinal}/0" for ordinal in range(8)]
    assert recorded[1].body["cost_usd"] == "0.1"
    assert recorded[2].body["commit"] == "one"
    assert recorded[2].body["allowed"] is True
    assert [ordinal for ordinal, _ in world.told] == list(range(8))


async def test_a_refused_call_is_recorded_with_its_reason_and_not_performed() -> None:
    world = World()
    run = await world.open()

    async def perform() -> Performed:
        raise AssertionError("it was refused")

    result = await run.steps.tool(0, 0, call("x"), {}, lambda: DENIED, perform)
    await run.steps.flush()
    assert not result.ok
    assert DENIED.reason in result.content
    body = (await world.store.entries("p"))[-1].body
    assert (body["allowed"], body["reason"]) == (False, DENIED.reason)


async def test_a_changed_request_diverges_on_the_record() -> None:
    world = World()
    await (await world.open()).think(0, "one question")
    with pytest.raises(DivergenceError):
        await (await world.open()).think(0, "another question")
    assert (await world.store.entries("p"))[-1].kind == "run_diverged"
    assert len(world.asked) == 1


async def test_another_kind_of_step_diverges() -> None:
    world = World()
    await (await world.open()).think(0, "one question")
    with pytest.raises(DivergenceError):
        await (await world.open()).write(0, "one")


async def test_a_paused_task_starts_no_step() -> None:
    world = World()
    run = await world.open()
    await world.store.set_standing("p/s1/t", Standing.PAUSED, "a person said so")
    with pytest.raises(HaltedError, match="paused"):
        await run.think(0, "question")
    assert world.asked == []


async def test_a_run_that_is_stopping_starts_no_step() -> None:
    world = World(stopping=True)
    with pytest.raises(RunStoppedError):
        await (await world.open()).think(0, "question")
    assert world.asked == []
    assert await world.store.steps(INFO.thread) == []


async def test_an_empty_budget_asks_nobody() -> None:
    world = World()
    run = await world.open()
    with pytest.raises(OverBudgetError) as caught:
        await run.think(0, "question", bound=Bound(Decimal(11)))
    assert caught.value.exceeded is Exceeded.USD
    assert world.asked == []
    assert (await world.store.budget("p")).reserved_usd == 0


async def test_tokens_are_reserved_counted_and_refused_like_money() -> None:
    world = World()
    run = await world.open()
    await world.store.raise_budget("p", None, 300)
    await run.think(0, "question")
    await run.think(1, "next")
    budget = await world.store.budget("p")
    assert (run.steps.totals.tokens, budget.spent_tokens, budget.reserved_tokens) == (10, 10, 0)
    with pytest.raises(OverBudgetError, match="limit 300 tokens, spent 10, reserved 0, asked for 291") as caught:
        await run.think(2, "long", bound=Bound(Decimal("0.1"), 291))
    assert caught.value.exceeded is Exceeded.TOKENS
    assert world.asked == ["question", "next"]
    assert (await world.open()).steps.totals.tokens == 10


async def test_a_run_that_lost_its_lease_writes_nothing_more() -> None:
    world = World()
    stale = await world.open("one")
    await stale.think(0, "question")
    fresh = await world.open("one")
    with pytest.raises(LostLeaseError):
        await stale.think(1, "next")
    assert world.asked == ["question"]
    await fresh.think(0, "question")
    await fresh.think(1, "next")
    assert world.asked == ["question", "next"]


async def test_a_late_answer_is_settled_and_is_the_one_that_is_used() -> None:
    world = World()
    stale, gate = await world.open("one"), asyncio.Event()

    async def slow() -> ModelAnswer:
        await gate.wait()
        return await stale.ask("late")

    asking = asyncio.create_task(stale.think(0, "question", slow))
    while not (await world.store.steps(INFO.thread)):
        await asyncio.sleep(0)
    fresh = await world.open("one")
    assert [step.status for step in await world.store.in_doubt("p")] == [StepStatus.IN_DOUBT]
    gate.set()
    with pytest.raises(LostLeaseError):
        await asking
    answer = await fresh.think(0, "question")
    assert answer.text == "answer late"
    assert world.asked == ["late"]
    assert await world.store.in_doubt("p") == []
    assert (await world.store.budget("p")).spent_usd == COST


async def test_a_call_in_flight_is_journaled_although_the_run_is_cancelled() -> None:
    world = World()
    run, gate, asked = await world.open(), asyncio.Event(), asyncio.Event()

    async def slow() -> ModelAnswer:
        asked.set()
        await gate.wait()
        return await run.ask("question")

    running = asyncio.create_task(run.think(0, "question", slow))
    await asked.wait()
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await world.store.steps(INFO.thread))[0].status is StepStatus.DONE


async def test_a_failed_call_releases_its_reservation_and_leaves_the_step_open() -> None:
    world = World()
    run = await world.open()

    async def broken() -> ModelAnswer:
        raise ModelUnavailableError("overloaded", 3.0)

    with pytest.raises(ModelUnavailableError):
        await run.think(0, "question", broken)
    assert (await world.store.budget("p")).reserved_usd == 0
    again = await world.open()
    assert (await again.think(0, "question")).text == "answer question"
    statuses = [e.body["status"] for e in await world.store.entries("p") if e.kind == "step_recorded"]
    assert statuses == ["failed", "done"]


async def test_a_lost_answer_stays_charged_and_is_listed_in_doubt() -> None:
    world = World()
    run = await world.open()

    async def lost() -> ModelAnswer:
        raise ModelUnavailableError("timed out", may_be_billed=True)

    with pytest.raises(ModelUnavailableError):
        await run.think(0, "question", lost)
    again = await world.open()
    assert len(await world.store.in_doubt("p")) == 1
    assert (await world.store.budget("p")).spent_usd == BOUND.usd
    await again.think(0, "question")


async def test_an_answer_survives_a_database_that_is_away_for_a_moment() -> None:
    world = World()
    run = await world.open()
    submit, failures = run.commit.submit_all, [2]

    async def flaky(items: Sequence[Item]) -> list[ItemResult]:
        if isinstance(items[0], Receipt) and failures[0]:
            failures[0] -= 1
            raise StoreUnreachableError
        return await submit(items)

    run.commit.submit_all = flaky  # type: ignore[method-assign]  # the outage
    assert (await run.think(0, "question")).text == "answer question"
    assert world.asked == ["question"]


async def test_parallel_calls_of_one_message_share_an_ordinal_and_one_reset() -> None:
    world = World()
    await (await world.open()).write(1, "one")
    run = await world.open()
    await run.write(1, "one")

    async def look() -> Performed:
        return Performed(ToolResult(ok=True, content="{}"))

    await asyncio.gather(
        *(run.steps.tool(2, sub, call("look"), {"sub": sub}, lambda: ALLOWED, look) for sub in range(4))
    )
    assert world.resets == [None, "one"]
    steps = await world.store.steps(INFO.thread)
    assert [(step.ordinal, step.sub) for step in steps] == [(1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert {step.kind for step in steps} == {StepKind.TOOL}


KEY = StepKey(0, 0, StepKind.INPUT, "inbox", "d")


def message(target: str) -> NewMessage:
    return NewMessage(id="m1", project="p", source="p.engineer.ada", target=target, type="QUERY", payload={})


async def test_a_tool_whose_message_has_no_addressee_answers_with_the_reason() -> None:
    world = World()
    run = await world.open()

    async def perform() -> Performed:
        return Performed(ToolResult(ok=True, content="{}"), outbox=(message("p.architect.nobody"),))

    result = await run.steps.tool(1, 0, call("ask"), {}, lambda: ALLOWED, perform)
    assert not result.ok
    assert "there is no agent p.architect.nobody in project p" in result.content
    [step] = await world.store.steps(INFO.thread)
    assert step.result["content"] == result.content
    assert await world.store.conversation("p") == []


async def test_an_input_whose_message_has_no_addressee_is_not_written() -> None:
    world = World()
    run = await world.open()

    async def read() -> Reading:
        return Reading("x", outbox=(message("nobody"),))

    with pytest.raises(UndeliverableMessageError, match="there is no agent nobody"):
        await run.steps.input(1, "inbox", read)
    assert await world.store.steps(INFO.thread) == []


async def test_an_input_is_read_again_where_another_step_was_faster() -> None:
    world = World()
    run = await world.open()
    await world.store.post([message("p.engineer.ada")])
    looks: list[tuple[str, ...]] = []

    async def read() -> Reading:
        unread = tuple(kept.id for kept in await world.store.inbox("p", "p.engineer.ada"))
        looks.append(unread)
        if len(looks) == 1:
            other = await world.store.acquire_lease(INFO.model_copy(update={"thread": "p/s1/t/other"}), "w2", TTL)
            pen = Pen(INFO.model_copy(update={"thread": other.thread}), other, "w2")
            await run.commit.submit(pen.receipt(KEY, [], acknowledged=unread))
        return Reading(list(unread), acknowledged=unread)

    assert await run.steps.input(1, "inbox", read) == []
    assert looks == [("m1",), ()]


async def test_an_input_that_others_always_read_first_is_given_up() -> None:
    world = World()
    run = await world.open()
    await world.store.post([message("p.engineer.ada")])
    await run.commit.submit(Pen(INFO, run.lease, "w").receipt(KEY, [], acknowledged=("m1",)))

    async def read() -> Reading:
        return Reading([], acknowledged=("m1",))

    with pytest.raises(AlreadyReadError, match="m1 was read by step"):
        await run.steps.input(2, "inbox", read)


async def test_a_run_that_was_frozen_after_it_reserved_asks_nobody_when_it_wakes() -> None:
    world = World()
    run = await world.open()
    submit = run.commit.submit_all

    async def frozen(items: Sequence[Item]) -> list[ItemResult]:
        results = await submit(items)
        world.holds = False
        return results

    run.commit.submit_all = frozen
    with pytest.raises(LostLeaseError):
        await run.think(0, "a")
    assert world.asked == []


async def test_what_a_run_has_only_looked_at_is_committed_with_the_next_call_and_before_it_is_made() -> None:
    world = World()
    run = await world.open()
    before = world.moments
    await run.ponder(0, "question")
    await run.look(1)
    await run.look(2)
    assert [step.status for step in await world.store.steps(INFO.thread)] == [StepStatus.RESERVED]

    async def ask() -> ModelAnswer:
        kept = await world.store.steps(INFO.thread)
        assert [step.status for step in kept] == [StepStatus.DONE] * 3 + [StepStatus.RESERVED]
        return await run.ask("next")

    await run.ponder(3, "next", ask)
    assert world.moments - before == 2 + 1 + 2 + 2 + 1  # two commits, two calls, two looks


async def test_what_waits_is_committed_by_itself_where_nothing_follows() -> None:
    world = World()
    run = await world.open()
    await run.ponder(0, "question")
    async with asyncio.timeout(5):
        while (await world.store.steps(INFO.thread))[0].status is not StepStatus.DONE:
            await asyncio.sleep(0.001)


async def test_a_tool_that_does_something_waits_for_what_came_before_it() -> None:
    world = World()
    run = await world.open()
    await run.ponder(0, "question")

    async def perform() -> Performed:
        assert [step.status for step in await world.store.steps(INFO.thread)] == [StepStatus.DONE]
        return Performed(ToolResult(ok=True, content="{}"))

    await run.steps.tool(1, 0, call("program"), {}, lambda: ALLOWED, perform)


async def test_nothing_follows_a_step_that_was_refused() -> None:
    world = World()
    run = await world.open()
    await run.look(0)
    await world.store.set_standing("p", Standing.PAUSED, "a person said so")
    with pytest.raises(HaltedError):
        await run.think(1, "question")
    assert world.asked == []
    assert await world.store.steps(INFO.thread) == []
    with pytest.raises(HaltedError):
        await run.look(2)
    end = Mark(thread=INFO.thread, epoch=run.lease.epoch, project="p", artifact='"end"', releases="worker")
    await run.steps.finish(end, after_refusal=True)
    assert (await world.store.budget("p")).reserved_usd == 0


async def test_a_call_is_not_made_while_a_message_waits_that_was_not_heard() -> None:
    world = World()
    run = await world.open()
    await world.store.post([message("p.engineer.ada")])
    with pytest.raises(MailWaitsError):
        await run.steps.model(0, "change", request("a"), lambda: BOUND, lambda: run.ask("a"), ())
    assert world.asked == []
    assert (await world.store.budget("p")).reserved_usd == 0
    await run.steps.model(0, "change", request("a"), lambda: BOUND, lambda: run.ask("a"), ("m1",))
    assert world.asked == ["a"]


def test_a_request_has_the_digest_of_the_whole_of_it_turn_after_turn() -> None:
    digests, messages = RequestDigests(), [{"role": "system", "content": "hü \ud800 \x00"}]
    tools = ({"type": "function", "function": {"name": "z", "parameters": {"b": 1.5, "a": [True, None]}}},)
    for turn in range(4):
        messages = [*messages, {"role": "assistant", "content": None, "tool_calls": [{"id": str(turn)}]}]
        asked = ModelRequest.model_construct(purpose="change", messages=tuple(messages), tools=tools, max_tokens=turn)
        checked = ModelRequest(purpose="change", messages=tuple(messages), tools=tools, max_tokens=turn)
        assert digests.of(asked) == digests.of(checked) == digest(checked.model_dump(mode="json"))

"""How runs begin and end within the group commit, items that hang together, and calls that wait for a message."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from ledger.chain import verify
from ledger.items import Item, ItemResult, ItemStatus, Mark, Start
from ledger.rows import Lease
from ledger.store import Store
from ledger.teamwork import Card, Memory, StepPlace
from ledger.vocabulary import AgentState, Role, StepKind, StepStatus
from tests.support.records import MINUTE, Hands, intent, message, note, receipt, thread


def start(project: str, holder: str = "w", ttl: timedelta = MINUTE) -> Start:
    info = thread(project).model_copy(update={"agent": f"{project}.engineer.ada"})
    return Start(info=info, holder=holder, ttl=ttl)


async def begun(store: Store, project: str, holder: str = "w") -> Lease:
    await store.open_budget(project, Decimal(1))
    await store.open_budget(f"{project}/s1/t", None)
    [answer] = await store.apply([start(project, holder)])
    assert answer.started is not None
    return answer.started.lease


def mark(lease: Lease, project: str, **fields: object) -> Mark:
    return Mark.model_validate({"thread": lease.thread, "epoch": lease.epoch, "project": project, **fields})


def chained(*items: Item) -> list[Item]:
    return [items[0], *(item.model_copy(update={"chained": True}) for item in items[1:])]


def statuses(answers: list[ItemResult]) -> list[str]:
    return [answer.status.value for answer in answers]


def card(project: str, state: AgentState = AgentState.IDLE) -> Card:
    return Card(id=f"{project}.engineer.ada", name="ada", role=Role.ENGINEER, title="Engineer", state=state, task="t")


async def test_a_start_takes_the_thread_and_gives_what_a_run_needs(store: Store, project: str, hands: Hands) -> None:
    lease = await begun(store, project)
    agent = f"{project}.engineer.ada"
    await store.post([message(f"{project}-m", agent, project, text="hello")])
    place = StepPlace(thread=lease.thread, epoch=lease.epoch, key="k")
    await store.remember(place, [Memory(name="layout", text="t/", expires_at=hands() + MINUTE)])
    await store.apply([receipt(lease, 0, {"goal": "tidy"}, kind=StepKind.INPUT), intent(lease, 1)])
    [answer] = await store.apply([start(project)])
    assert answer.started is not None
    assert answer.started.lease == Lease(thread=lease.thread, holder="w", epoch=2)
    assert answer.started.steps == tuple(await store.steps(lease.thread))
    assert [step.status for step in answer.started.steps] == [StepStatus.DONE, StepStatus.IN_DOUBT]
    assert answer.started.unread == tuple(await store.inbox(project, agent))
    assert answer.started.memories == tuple(await store.recall(project, agent))
    assert (await store.budget(project)).spent_usd == Decimal("0.10")


async def test_a_thread_that_is_held_is_not_taken(store: Store, project: str) -> None:
    await begun(store, project)
    [answer] = await store.apply([start(project, "other")])
    assert (answer.status, answer.detail, answer.started) == (ItemStatus.HELD, "w", None)
    assert answer.seconds_left == 60


async def test_a_mark_is_written_whole_and_gives_the_lease_back(store: Store, project: str) -> None:
    lease = await begun(store, project)
    end = mark(
        lease, project, entries=(note("end", project=project),), card=card(project, AgentState.COMPLETED),
        artifact='{"text":"ü \\u0000"}', releases="w",
    )  # fmt: skip
    [answer, again] = await store.apply([end, end])  # written twice is written once
    assert statuses([answer, again]) == ["ok", "ok"]
    assert [budget.scope for budget in answer.budgets] == [project, f"{project}/s1", f"{project}/s1/t"]
    assert answer.budgets[0] == await store.budget(project)
    assert [entry.key for entry in await store.entries(project)] == ["end"]
    assert [shown.state for shown in await store.cards(project)] == [AgentState.COMPLETED]
    digest = await store.put_artifact(b'{"text":"\xc3\xbc \\u0000"}')
    assert await store.get_artifact(digest) == b'{"text":"\xc3\xbc \\u0000"}'
    assert statuses(await store.apply([start(project, "other")])) == ["ok"]


async def test_a_run_that_lost_its_thread_marks_nothing(store: Store, project: str) -> None:
    lease = await begun(store, project)
    await store.apply([start(project)])
    [answer] = await store.apply([mark(lease, project, entries=(note("end", project=project),), card=card(project))])
    assert answer.status is ItemStatus.LOST_LEASE
    assert await store.entries(project) == []
    assert await store.cards(project) == []


async def test_a_mark_with_a_card_of_another_project_is_invalid_and_writes_nothing(store: Store, project: str) -> None:
    lease = await begun(store, project)
    other = card("elsewhere")
    answers = await store.apply([mark(lease, project, entries=(note("end", project=project),), card=other)])
    assert statuses(answers) == ["invalid"]
    assert await store.entries(project) == []


async def test_what_hangs_on_a_refused_item_is_skipped_and_neighbours_are_written(store: Store, project: str) -> None:
    lease = await begun(store, project)
    broken = receipt(lease, 1, kind=StepKind.TOOL, entries=(note("k", "other", project),))
    await store.record([note("k", "first", project)])
    group = chained(
        receipt(lease, 0, kind=StepKind.TOOL), broken, receipt(lease, 2, kind=StepKind.TOOL), intent(lease, 3)
    )
    answers = await store.apply([*group, receipt(lease, 9, kind=StepKind.TOOL)])
    assert statuses(answers) == ["ok", "invalid", "skipped", "skipped", "ok"]
    assert [step.ordinal for step in await store.steps(lease.thread)] == [0, 9]
    assert (await store.budget(project)).reserved_usd == 0
    assert verify(await store.entries(project)).ok


async def test_what_cannot_even_be_sent_takes_what_hangs_on_it_along(store: Store, project: str) -> None:
    lease = await begun(store, project)
    unfit = receipt(lease, 0, float("nan"), kind=StepKind.TOOL)
    answers = await store.apply([*chained(unfit, intent(lease, 1)), receipt(lease, 5, kind=StepKind.TOOL)])
    assert statuses(answers) == ["invalid", "skipped", "ok"]


async def test_a_served_item_lets_the_next_one_through(store: Store, project: str) -> None:
    lease = await begun(store, project)
    first = receipt(lease, 0, kind=StepKind.TOOL)
    await store.apply([first])
    assert statuses(await store.apply(chained(first, intent(lease, 1)))) == ["served", "ok"]


async def test_brief_answers_do_not_repeat_what_was_written(store: Store, project: str) -> None:
    lease = await begun(store, project)
    items = [receipt(lease, 0, kind=StepKind.TOOL), intent(lease, 1), receipt(lease, 1)]
    answers = await store.apply(items, brief=True)
    assert [(answer.status, answer.step) for answer in answers] == [(ItemStatus.OK, None)] * 3
    [served] = await store.apply(items[:1], brief=True)
    assert served.step == (await store.steps(lease.thread))[0]


async def test_a_call_is_not_reserved_while_a_message_waits_that_was_not_heard(store: Store, project: str) -> None:
    lease = await begun(store, project)
    agent = f"{project}.engineer.ada"
    waiting = intent(lease, 0).model_copy(update={"heard": ()})
    first, other, last = (f"{project}-{n}" for n in "123")
    await store.post([message(first, agent, project), message(other, f"{project}-other", project)], park=True)
    assert statuses(await store.apply([waiting])) == ["mail"]
    assert await store.steps(lease.thread) == []
    assert (await store.budget(project)).reserved_usd == 0
    knowing = waiting.model_copy(update={"heard": (first,)})
    assert statuses(await store.apply([knowing])) == ["ok"]
    # A call that was begun cannot be preceded by a new step.
    await store.post([message(last, agent, project)])
    [again] = await store.apply([start(project)])
    assert again.started is not None
    retry = intent(again.started.lease, 0).model_copy(update={"heard": ()})
    assert statuses(await store.apply([retry])) == ["ok"]


async def test_a_message_that_is_read_with_the_items_before_does_not_hold_a_call_up(store: Store, project: str) -> None:
    lease = await begun(store, project)
    await store.post([message(f"{project}-m", f"{project}.engineer.ada", project)])
    reading = receipt(lease, 0, kind=StepKind.INPUT, acknowledged=(f"{project}-m",))
    asking = intent(lease, 1).model_copy(update={"heard": ()})
    assert statuses(await store.apply(chained(reading, asking))) == ["ok", "ok"]

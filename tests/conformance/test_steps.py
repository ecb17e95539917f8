from __future__ import annotations

from datetime import UTC
from decimal import Decimal

import pytest

from ledger.chain import verify
from ledger.items import ItemStatus
from ledger.rows import Lease, NewEntry
from ledger.store import Store
from ledger.vocabulary import Json, Standing, StepKind, StepStatus, Usage
from tests.support.records import MINUTE, Hands, intent, message, note, receipt, thread


@pytest.fixture
async def lease(store: Store, project: str) -> Lease:
    await store.open_budget(project, Decimal("10"))
    await store.open_budget(f"{project}/s1/t", None)
    return await store.acquire_lease(thread(project), "w1", MINUTE)


async def kinds(store: Store, project: str) -> list[str]:
    entries = await store.entries(project)
    assert verify(entries).ok
    return [entry.kind for entry in entries]


async def test_a_model_step_is_reserved_then_done(store: Store, lease: Lease, hands: Hands) -> None:
    [asked] = await store.apply([intent(lease, 0)])
    assert asked.status is ItemStatus.OK
    assert asked.step is not None
    assert (asked.step.status, asked.step.attempt) == (StepStatus.RESERVED, 1)
    started = hands.now
    hands.move(MINUTE / 4)
    [done] = await store.apply([receipt(lease, 0, {"z": 1, "a": [True, None, "\u2713"]})])
    assert done.status is ItemStatus.OK
    [step] = await store.steps(lease.thread)
    assert step == done.step
    assert (step.started_at, step.finished_at) == (started, hands.now)
    assert step.started_at.tzinfo is UTC
    assert (step.status, step.cost_usd, step.model) == (StepStatus.DONE, Decimal("0.04"), "m1")
    assert step.usage == Usage(prompt_tokens=100, completion_tokens=20)
    assert list(step.result) == ["z", "a"]


@pytest.mark.parametrize(
    "result", [None, "", "\x00", "\ud83d half", "\U0001f600", '\\u0000 "quoted"', {"deep": ["\x00" * 3]}, 1e300, 2**70]
)
async def test_any_result_comes_back_as_it_was(store: Store, lease: Lease, result: Json) -> None:
    [done] = await store.apply([receipt(lease, 0, result, kind=StepKind.TOOL)])
    assert done.status is ItemStatus.OK, done.detail
    assert done.step is not None
    assert done.step.result == result
    assert [step.result for step in await store.steps(lease.thread)] == [result]


async def test_steps_come_in_order_of_ordinal_and_sub(store: Store, lease: Lease) -> None:
    places = [(10, 0), (2, 1), (2, 0), (0, 0)]
    await store.apply([receipt(lease, ordinal, sub=sub, kind=StepKind.TOOL) for ordinal, sub in places])
    assert [(step.ordinal, step.sub) for step in await store.steps(lease.thread)] == sorted(places)


@pytest.mark.parametrize("kind", list(StepKind))
async def test_a_step_with_a_result_is_served(store: Store, lease: Lease, kind: StepKind) -> None:
    if kind is StepKind.MODEL:
        await store.apply([intent(lease, 0)])
    await store.apply([receipt(lease, 0, "first", kind=kind)])
    [again] = await store.apply(
        [receipt(lease, 0, "second", kind=kind, entries=(note("k", project=lease.thread[:10]),))]
    )
    assert again.status is ItemStatus.SERVED
    assert again.step is not None
    assert again.step.result == "first"
    assert await store.entries(lease.thread[:10]) == []


async def test_an_intent_on_an_answered_step_is_served_and_reserves_nothing(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0), receipt(lease, 0, "first")])
    [again] = await store.apply([intent(lease, 0, "5")])
    assert again.status is ItemStatus.SERVED
    assert again.step is not None
    assert again.step.result == "first"
    assert (await store.budget(project)).reserved_usd == 0


async def test_a_repeated_intent_reserves_once(store: Store, project: str, lease: Lease) -> None:
    first, second = await store.apply([intent(lease, 0), intent(lease, 0)])
    assert first == second
    assert (await store.budget(project)).reserved_usd == Decimal("0.10")


async def test_asking_another_model_without_an_answer_leaves_the_first_attempt_in_doubt(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0), intent(lease, 0, "0.20", name="m2")])
    [doubted] = await store.in_doubt(project)
    assert (doubted.attempt, doubted.name) == (1, "m1")
    budget = await store.budget(project)
    assert (budget.reserved_usd, budget.spent_usd) == (Decimal("0.20"), Decimal("0.10"))


async def test_of_two_models_that_were_asked_each_is_settled_by_its_own_answer(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0, name="m1"), intent(lease, 0, "0.20", name="m2")])
    [first] = await store.apply([receipt(lease, 0, "from m1")])
    assert first.status is ItemStatus.OK
    assert first.step is not None
    assert (first.step.attempt, first.step.result) == (1, "from m1")
    assert (await store.budget(project)).reserved_usd == Decimal("0.20")


async def test_another_digest_diverges(store: Store, lease: Lease) -> None:
    await store.apply([intent(lease, 0), receipt(lease, 0), receipt(lease, 1, kind=StepKind.TOOL)])
    answers = await store.apply(
        [
            intent(lease, 0, ask="other"),
            receipt(lease, 0, ask="other"),
            intent(lease, 1),
            receipt(lease, 1, kind=StepKind.TOOL, ask="other"),
            receipt(lease, 1, kind=StepKind.INPUT),
        ]
    )
    assert {answer.status for answer in answers} == {ItemStatus.DIVERGED}
    assert len(await store.steps(lease.thread)) == 2


async def test_an_old_epoch_has_lost_its_lease(store: Store, project: str, lease: Lease) -> None:
    await store.acquire_lease(thread(project), "w1", MINUTE)
    attached = {"entries": (note("k", project=project),), "outbox": (message(f"{project}-1", project=project),)}
    answers = await store.apply(
        [
            intent(lease, 0),
            receipt(lease, 0),
            receipt(lease, 1, kind=StepKind.TOOL, **attached),
            receipt(lease, 2, kind=StepKind.INPUT, **attached),
        ]
    )
    assert {answer.status for answer in answers} == {ItemStatus.LOST_LEASE}
    assert await store.steps(lease.thread) == []
    assert await kinds(store, project) == []


async def test_an_unknown_thread_is_invalid(store: Store, project: str) -> None:
    stray = Lease(thread=f"{project}/s1/x/main", holder="w", epoch=1)
    answers = await store.apply([intent(stray, 0), receipt(stray, 0), receipt(stray, 0, kind=StepKind.TOOL)])
    assert [answer.status for answer in answers] == [ItemStatus.INVALID] * 3


async def test_a_model_receipt_needs_an_intent(store: Store, lease: Lease) -> None:
    [answer] = await store.apply([receipt(lease, 0)])
    assert answer.status is ItemStatus.INVALID
    assert "intent" in (answer.detail or "")


async def test_a_failed_attempt_leaves_the_step_open(store: Store, project: str, lease: Lease) -> None:
    failure = receipt(lease, 0, {"error": "429"}, cost="0", status=StepStatus.FAILED)
    answers = await store.apply([intent(lease, 0), failure, failure])
    assert [answer.status for answer in answers] == [ItemStatus.OK] * 3
    assert (await store.budget(project)).reserved_usd == 0
    [asked, done] = await store.apply([intent(lease, 0, name="m2"), receipt(lease, 0, "second try")])
    assert asked.step is not None
    assert (asked.step.attempt, asked.step.result) == (2, None)
    assert done.status is ItemStatus.OK
    [step] = await store.steps(lease.thread)
    assert (step.attempt, step.result) == (2, "second try")


async def test_a_failed_tool_call_is_a_result(store: Store, lease: Lease) -> None:
    failed = receipt(lease, 0, {"error": "no such file"}, kind=StepKind.TOOL, status=StepStatus.FAILED)
    first, again = await store.apply([failed, failed])
    assert (first.status, again.status) == (ItemStatus.OK, ItemStatus.SERVED)


async def test_a_receipt_is_done_or_failed(store: Store, lease: Lease) -> None:
    [answer] = await store.apply([receipt(lease, 0, kind=StepKind.TOOL, status=StepStatus.IN_DOUBT)])
    assert answer.status is ItemStatus.INVALID


async def test_what_belongs_to_a_step_is_written_with_it(store: Store, project: str, lease: Lease) -> None:
    await store.open_inbox(project, "qa")
    await store.post([message(f"{project}-in", project=project)])
    await store.apply(
        [
            receipt(
                lease,
                3,
                kind=StepKind.INPUT,
                entries=(note("a", project=project), note("b", project=project)),
                outbox=(message(f"{project}-out", "qa", project, text="\x00 hi"),),
                acknowledged=(f"{project}-in",),
            )
        ]
    )
    assert await kinds(store, project) == ["note", "note"]
    assert await store.inbox(project, f"{project}-engineer-1") == []
    assert [kept.payload for kept in await store.inbox(project, "qa")] == [{"text": "\x00 hi"}]


@pytest.mark.parametrize(
    "bad",
    [
        NewEntry(project="p", key="k", kind="note", body={"typo": 1}),
        NewEntry(project="p", key="nul \x00", kind="note", body={"text": "x"}),
        NewEntry(project="p", key="taken", kind="note", body={"text": "another"}),
    ],
)
async def test_an_item_with_a_bad_entry_is_invalid_and_its_neighbours_are_written(
    store: Store, project: str, lease: Lease, bad: NewEntry
) -> None:
    await store.record([note("taken", project=project)])
    bad = bad.model_copy(update={"project": project})
    await store.apply([intent(lease, 1)])
    answers = await store.apply(
        [
            receipt(lease, 0, kind=StepKind.TOOL),
            receipt(lease, 1, entries=(note("fine", project=project), bad)),
            receipt(lease, 2, kind=StepKind.TOOL, entries=(note("c", project=project),)),
        ]
    )
    assert [answer.status for answer in answers] == [ItemStatus.OK, ItemStatus.INVALID, ItemStatus.OK]
    assert [entry.key for entry in await store.entries(project)] == ["taken", "c"]
    budget = await store.budget(project)
    assert (budget.reserved_usd, budget.spent_usd) == (Decimal("0.10"), 0)
    assert (await store.apply([receipt(lease, 1)]))[0].status is ItemStatus.OK


@pytest.mark.parametrize(
    "broken",
    [{"result": {1, 2}}, {"result": float("nan")}, {"name": "\x00"}, {"ordinal": -1}, {"cost_usd": Decimal("1e12")}],
)
async def test_an_item_that_cannot_be_written_is_invalid_and_alone_in_that(
    store: Store, lease: Lease, broken: dict[str, Json]
) -> None:
    await store.apply([intent(lease, 0)])
    bad = receipt(lease, 0).model_copy(update=broken)
    bad_answer, good = await store.apply([bad, receipt(lease, 5, kind=StepKind.TOOL)])
    assert (bad_answer.status, good.status) == (ItemStatus.INVALID, ItemStatus.OK)
    assert bad_answer.detail


@pytest.mark.parametrize("subject", ["{p}", "{p}/s1", "{p}/s1/t", "{p}-engineer-1"])
async def test_who_is_not_active_starts_no_new_step(store: Store, project: str, lease: Lease, subject: str) -> None:
    subject = subject.format(p=project)
    await store.apply([intent(lease, 0), receipt(lease, 1, kind=StepKind.TOOL)])
    await store.set_standing(subject, Standing.PAUSED, "lunch")
    answers = await store.apply(
        [
            intent(lease, 2),
            receipt(lease, 3, kind=StepKind.TOOL),
            receipt(lease, 4, kind=StepKind.INPUT),
            receipt(lease, 0),
            receipt(lease, 1, kind=StepKind.TOOL),
        ]
    )
    halted, ok, served = ItemStatus.HALTED, ItemStatus.OK, ItemStatus.SERVED
    assert [answer.status for answer in answers] == [halted, halted, ok, ok, served]
    assert answers[0].detail == f"{subject} is paused: lunch"
    await store.set_standing(subject, Standing.ACTIVE, "back")
    assert (await store.apply([intent(lease, 2)]))[0].status is ItemStatus.OK


async def test_the_standing_of_others_does_not_matter(store: Store, project: str, lease: Lease) -> None:
    for subject in (f"{project}/s2", f"{project}/s1/other", f"{project}-engineer-2"):
        await store.set_standing(subject, Standing.REVOKED, "no")
    assert (await store.apply([intent(lease, 0)]))[0].status is ItemStatus.OK


async def test_a_late_answer_becomes_the_result_of_a_step_without_one(store: Store, project: str, lease: Lease) -> None:
    await store.apply([intent(lease, 0)])
    new = await store.acquire_lease(thread(project), "w1", MINUTE)
    [late] = await store.apply([receipt(lease, 0, "late", entries=(note("k", project=project),))])
    assert late.status is ItemStatus.LATE
    assert late.step is not None
    assert (late.step.result, late.step.status) == ("late", StepStatus.DONE)
    assert await store.in_doubt(project) == []
    budget = await store.budget(project)
    assert (budget.reserved_usd, budget.spent_usd) == (0, Decimal("0.04"))
    assert await kinds(store, project) == ["late_answer", "note"]
    assert (await store.entries(project))[0].body["used"] is True
    [served] = await store.apply([intent(new, 0)])
    assert served.status is ItemStatus.SERVED


async def test_a_late_answer_is_counted_once(store: Store, project: str, lease: Lease) -> None:
    await store.apply([intent(lease, 0)])
    await store.acquire_lease(thread(project), "w1", MINUTE)
    answers = await store.apply([receipt(lease, 0, "late"), receipt(lease, 0, "late")])
    assert [answer.status for answer in answers] == [ItemStatus.LATE, ItemStatus.LATE]
    assert (await store.budget(project)).spent_usd == Decimal("0.04")


async def test_a_late_answer_for_an_answered_step_is_paid_and_not_used(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0)])
    new = await store.acquire_lease(thread(project), "w1", MINUTE)
    await store.apply([intent(new, 0), receipt(new, 0, "in time")])
    [late] = await store.apply([receipt(lease, 0, "late", entries=(note("k", project=project),))])
    assert late.status is ItemStatus.LATE
    assert late.step is not None
    assert late.step.result == "in time"
    assert (await store.budget(project)).spent_usd == Decimal("0.08")
    [entry] = await store.entries(project)
    assert entry.body == {"thread": lease.thread, "ordinal": 0, "sub": 0, "cost_usd": "0.04", "used": False}


async def test_a_late_answer_overtakes_the_attempt_in_flight_which_is_settled_too(
    store: Store, project: str, lease: Lease
) -> None:
    await store.apply([intent(lease, 0)])
    new = await store.acquire_lease(thread(project), "w1", MINUTE)
    answers = await store.apply([intent(new, 0), receipt(lease, 0, "late"), receipt(new, 0, "second", cost="0.05")])
    assert [answer.status for answer in answers] == [ItemStatus.OK, ItemStatus.LATE, ItemStatus.SERVED]
    assert answers[2].step is not None
    assert answers[2].step.result == "late"
    budget = await store.budget(project)
    assert (budget.reserved_usd, budget.spent_usd) == (0, Decimal("0.09"))
    assert [entry.body["used"] for entry in await store.entries(project)] == [True, False]


async def test_a_late_failure_releases_its_reservation(store: Store, project: str, lease: Lease) -> None:
    await store.apply([intent(lease, 0)])
    await store.acquire_lease(thread(project), "w1", MINUTE)
    [late] = await store.apply([receipt(lease, 0, "timeout", cost="0", status=StepStatus.FAILED)])
    assert late.status is ItemStatus.LATE
    assert late.step is not None
    assert late.step.status is StepStatus.FAILED
    assert (await store.budget(project)).reserved_usd == 0
    assert await store.in_doubt(project) == []

"""Every kind of request, every way to answer it, everything that can go wrong: nothing changes, everything is recorded.

What is found makes the table of docs/approvals.md; where it is meant to differ, write it anew:

    SYNDIC_WRITE_DOCS=1 .venv/bin/pytest tests/workflows/test_matrix.py
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from ledger.vocabulary import ApprovalKind
from tests.workflows.faults import FAULTS, WAYS, Message, good, name_of
from tests.workflows.findings import ANOTHER, KILLED, LATE, REPEATED, ROWS, Findings, Seen, table
from tests.workflows.recorded import Books
from tests.workflows.stands import Stand, hire, stand
from tests.workflows.test_messages import temporal
from tests.workflows.world import World, eventually, working
from workflows.approval_models import DecisionEffect
from workflows.views import ApprovalsView

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="session")]

PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"
TABLE = re.compile(r"(<!-- matrix -->\n).*?(<!-- end -->)", re.DOTALL)
SOON_H = 2 / 3600
"""Hours until a request expires that is answered too late."""

T = TypeVar("T")
ANSWERS = ("workflow_execution_signaled_event_attributes", "workflow_execution_update_accepted_event_attributes")
CASES = list(product(ApprovalKind, WAYS))


async def view(stand: Stand) -> ApprovalsView:
    return await stand.world.approvals(stand.id)


async def whole(stand: Stand) -> tuple[Any, ...]:
    """Everything that the workflow shows, but for what it says about messages."""
    status = await stand.world.status(stand.id)
    return (status.model_dump(exclude={"refused", "events"}), (await stand.world.board(stand.id)).tasks)


# Sending.


async def send(stand: Stand, message: Message) -> str | None:
    """Send it; of an update, why it was refused."""
    handle = stand.world.handle(stand.id)
    if not message.name.startswith("decide_now"):
        await handle.signal(message.name, args=list(message.arguments))
        return None
    answer = await handle.execute_update(message.name, args=list(message.arguments), result_type=DecisionEffect)
    assert answer.effect is None
    return answer.refusal


async def send_with_temporal(stand: Stand, message: Message) -> None:
    """Send a signal as people do, with the `temporal` command."""
    words = ["workflow", "signal", "--workflow-id", stand.id, "--name", message.name]
    for argument in message.arguments:
        words += ["--input", json.dumps(argument)]
    await temporal(stand.world, *words)


def can_be_typed(row: str) -> bool:
    return row not in ("garbage JSON", "unknown encoding")


# What may change nothing.


async def try_faults(stand: Stand, ways: Iterable[str], findings: Findings) -> None:
    """Send everything that is wrong, one after the other; the request is as good as before, and can be answered."""
    sent: list[str] = []
    before = await whole(stand)
    for way in ways:
        for number, (row, build) in enumerate(FAULTS.items()):
            message = build(stand, way)
            if message is None:
                continue
            # Of each kind one fault is typed into a shell; they are dealt out among the kinds.
            typed = way == "signal" and can_be_typed(row) and number == list(ApprovalKind).index(stand.kind)
            sent.append(message.name)
            findings.keep(stand.kind, way, row, await _try(stand, message, len(sent), typed=typed))
    assert await whole(stand) == before
    assert [body["message"] for body in stand.written("message_refused")] == sent
    assert stand.books.shown(stand.world.project) == sent
    assert stand.written("decision_made") == []
    no = stand.answer("signed" if stand.view.signed else "signal", decision="reject")
    await stand.world.handle(stand.id).signal("decide", no)
    await eventually(lambda: stand.written("decision_consumed"))


async def _try(stand: Stand, message: Message, number: int, *, typed: bool) -> Seen:
    refusal = await (send_with_temporal if typed else send)(stand, message)
    await eventually(lambda: len(stand.written("message_refused")) >= number)
    approvals = await view(stand)
    last = approvals.refused[-1]
    faults = [] if (approvals.open, approvals.decided) == ((stand.view,), ()) else ["the state changed"]
    faults += [] if len(approvals.refused) == number else [f"{len(approvals.refused)} refusals after {number} messages"]
    faults += [] if last.message == message.name else [f"{last.message} was refused"]
    faults += [] if refusal in (None, last.reason) else [f"the sender was told {refusal}"]
    return Seen("refused", last.reason, tuple(faults))


# What comes too late.


async def answer_late(stand: Stand, ways: tuple[str, ...], findings: Findings) -> list[asyncio.Task[str | None]]:
    """Answer a request whose end has been noticed and not yet been written down; what the senders will be told."""
    await eventually(lambda: stand.written("approval_expired"))
    before = await view(stand)
    sending: list[asyncio.Task[str | None]] = []
    for way in ways:
        sending.append(asyncio.create_task(send(stand, good(stand, way))))
        if way != "update":  # which is answered when its refusal has been written down
            await sending[-1]

    async def refused() -> ApprovalsView | None:
        approvals = await view(stand)
        return approvals if len(approvals.refused) == len(ways) else None

    approvals = await eventually(refused)
    reasons = {refusal.message: refusal.reason for refusal in approvals.refused}
    faults = () if (approvals.open, approvals.decided) == ((), before.decided) else ("the state changed",)
    for way in ways:
        same = [refusal.reason for refusal in approvals.refused if refusal.message == name_of(way)]
        findings.keep(stand.kind, way, LATE, Seen("refused", same[-1] if way == "batch" else same[0], faults))
    assert set(reasons) == {name_of(way) for way in ways}
    return sending


async def see_refusals(stand: Stand, sent: list[asyncio.Task[str | None]]) -> None:
    """Once it may end, the workflow writes down what it refused, and tells the senders."""
    told = [refusal for refusal in await asyncio.gather(*sent) if refusal is not None]
    await eventually(lambda: len(stand.written("message_refused")) == len(sent))
    assert [body["reason"] for body in stand.written("message_refused") if body["message"] == "decide_now"] == told
    assert stand.written("decision_made") == []


# What acts once.


async def answer_thrice(stand: Stand, way: str) -> list[asyncio.Task[DecisionEffect]]:
    """With nobody there to take it: an answer, the same again, and another one."""
    first, another = good(stand, way, id="once"), good(stand, way, id="again")
    handle = stand.world.handle(stand.id)
    if way == "update":
        return [
            asyncio.create_task(handle.execute_update("decide_now", *message.arguments, result_type=DecisionEffect))
            for message in (first, first, another)
        ]
    await (send_with_temporal if way == "signal" else send)(stand, first)
    for message in (first, another):
        await send(stand, message)
    return []


async def see_effect(stand: Stand, way: str, sent: list[asyncio.Task[DecisionEffect]], findings: Findings) -> None:
    """The next workers act on one answer, and say of the others that they came."""
    kinds = ("decision_made", "decision_consumed", "decision_repeated", "message_refused")
    await eventually(lambda: all(map(stand.written, kinds)))
    approvals = await view(stand)
    decided = {one.id: one for one in approvals.decided}[stand.view.id]
    written = [len(stand.written(kind)) for kind in kinds]
    begun = await times_begun(stand, decided.consumed or "nothing")
    faults = [] if written == [1, 1, 1, 1] else [f"written: {written}"]
    faults += [] if decided.state == "approved" else [f"it is {decided.state}"]
    faults += [] if begun == 1 else [f"{decided.consumed} was begun {begun} times"]
    findings.keep(stand.kind, way, KILLED, Seen("acts once", f"led to {decided.consumed}", tuple(faults)))
    findings.keep(stand.kind, way, REPEATED, Seen("repeated", "", tuple(faults)))
    findings.keep(stand.kind, way, ANOTHER, Seen("refused", approvals.refused[-1].reason, tuple(faults)))
    effects = {(await asyncio.wait_for(task, 30)).effect for task in sent} - {None}
    assert len(effects) == bool(sent)  # which of them came first is the server's choice


async def times_begun(stand: Stand, work: str) -> int:
    """How often the workflow has begun this piece of work since it was answered; an end is begun by nothing."""
    if work.startswith("the end"):
        return 1
    events = (await stand.world.handle(stand.id).fetch_history()).events
    answered = next(place for place, event in enumerate(events) if any(map(event.HasField, ANSWERS)))
    summaries = [json.loads(event.user_metadata.summary.data or b'""') for event in events[answered:]]
    return sum(summary.startswith(work) for summary in summaries)


# The whole.


async def gathered(work: Iterable[Awaitable[T]]) -> list[T]:
    """All of it, a few at a time: each has a deadline."""
    gate = asyncio.Semaphore(8)

    async def one(part: Awaitable[T]) -> T:
        async with gate:
            return await part

    return await asyncio.gather(*map(one, work))


async def before_workers_go(world: World, findings: Findings) -> dict[tuple[ApprovalKind, str], Stand]:
    books = Books(world.script)
    unsigned = tuple(way for way in WAYS if way != "signed")
    both = [(kind, ways) for kind in ApprovalKind for ways in (unsigned, ("signed",))]

    def started(kind: ApprovalKind, way: str, what: str, expires_h: float | None = None) -> Awaitable[Stand]:
        place = World(world.client, world.script, f"{world.project}-{kind.value}-{way}-{what}")
        return stand(place, books, kind, signed=way == "signed", expires_h=expires_h)

    async def faulty(kind: ApprovalKind, ways: tuple[str, ...]) -> None:
        await try_faults(await started(kind, ways[0], "faults"), ways, findings)

    async def late(kind: ApprovalKind, ways: tuple[str, ...]) -> tuple[Stand, list[asyncio.Task[str | None]]]:
        found = await started(kind, ways[0], "late", SOON_H)
        return found, await answer_late(found, ways, findings)

    await gathered(faulty(kind, ways) for kind, ways in both)
    may_end = world.script.holds["approval_expired"] = asyncio.Event()
    answered = await gathered(late(kind, ways) for kind, ways in both)
    may_end.set()
    await gathered(see_refusals(found, sent) for found, sent in answered)
    stands = await gathered(started(kind, way, "once") for kind, way in CASES)
    return dict(zip(CASES, stands, strict=True))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def findings(server: WorkflowEnvironment) -> Findings:
    found, paid = Findings(), set[str]()
    async with working(server.client, "matrix") as world:
        hire(world.script, paid)
        stands = await before_workers_go(world, found)
    sent = {case: await answer_thrice(stands[case], case[1]) for case in CASES}
    async with working(server.client, "matrix") as world:
        hire(world.script, paid)
        books = Books(world.script)
        await gathered(see_effect(replace(stands[case], books=books), case[1], sent[case], found) for case in CASES)
    return found


# What is found.


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_changes_nothing_is_lost_nothing_acts_twice(findings: Findings, way: str, row: str) -> None:
    found = {kind: findings.seen.get((kind, way, row)) for kind in ApprovalKind}
    assert {kind: seen.faults for kind, seen in found.items() if seen is not None and seen.faults} == {}
    missing = [kind for kind, seen in found.items() if seen is None]
    assert len(missing) < 5 if row == "its producer" else missing == []
    for seen in found.values():
        assert seen is None or re.search(REASONS[row], seen.reason), seen.reason


REASONS = {
    "wrong digest": "what was shown has changed|what was signed differs|digest: Extra inputs",
    "unknown id": "there is no approval|no request of kind .* is open",
    "not entitled": "kim may not decide about",
    "its producer": "had a part in what",
    "forged signature": "no approver of this project has the key|signature: Extra inputs",
    "wrong type": "decision: Input should be 'approve', 'reject' or 'revise'",
    "garbage JSON": "not valid JSON",
    "no argument": "expected one argument, got 0",
    "two arguments": "expected one argument, got 2",
    "unknown encoding": "unknown encoding 'binary/own'",
    "unknown name": "unknown (signal|update); known: decide",
    LATE: "is expired already|no request of kind .* is open",
    REPEATED: "",
    ANOTHER: "is approved already|no request of kind .* is open",
    KILLED: "led to (?!None)",
}
"""What is said about each; of an answer that counts, what it led to."""


async def test_the_page_shows_what_was_found(findings: Findings) -> None:
    text = PAGE.read_text(encoding="utf-8")
    fresh = TABLE.sub(lambda match: f"{match[1]}{table(findings)}\n{match[2]}", text)
    if os.environ.get("SYNDIC_WRITE_DOCS") == "1":
        PAGE.write_text(fresh, encoding="utf-8")
    assert table(findings) in PAGE.read_text(encoding="utf-8"), "the table differs; see the head of this file"

"""Small makers of what goes into a store, for tests of any room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.chain import digest
from ledger.items import Intent, Receipt
from ledger.messages import NewMessage
from ledger.rows import Lease, NewEntry, ThreadInfo
from ledger.vocabulary import Json, StepKind, StepStatus, Usage

MINUTE = timedelta(minutes=1)

BILLED = Usage(prompt_tokens=100, completion_tokens=20)


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


def thread(project: str = "p", sprint: int = 1, task: str = "t", lineage: str = "main") -> ThreadInfo:
    return ThreadInfo(
        thread=f"{project}/s{sprint}/{task}/{lineage}",
        project=project,
        sprint=sprint,
        task=task,
        role="engineer",
        agent=f"{project}-engineer-1",
        budget_scope=f"{project}/s{sprint}/{task}",
        prompt_version="1",
    )


def note(key: str, text: str = "hello", project: str = "p") -> NewEntry:
    return NewEntry(project=project, key=key, kind="note", body={"text": text})


def message(name: str, target: str | None = None, project: str = "p", **payload: Json) -> NewMessage:
    """To the agent of `thread(project)` where no target is named."""
    addressee = f"{project}-engineer-1" if target is None else target
    return NewMessage(id=name, project=project, source="pm", target=addressee, type="FEEDBACK", payload=payload)


def intent(
    lease: Lease,
    ordinal: int,
    bound: str = "0.10",
    *,
    sub: int = 0,
    ask: str = "q",
    name: str = "m1",
    tokens: int = 1000,
) -> Intent:
    return Intent(
        thread=lease.thread,
        ordinal=ordinal,
        sub=sub,
        epoch=lease.epoch,
        name=name,
        request_digest=digest(ask),
        bound_usd=Decimal(bound),
        bound_tokens=tokens,
        worker=lease.holder,
    )


def receipt(
    lease: Lease,
    ordinal: int,
    result: Json = "answer",
    *,
    kind: StepKind = StepKind.MODEL,
    cost: str = "0.04",
    usage: Usage | None = BILLED,
    sub: int = 0,
    ask: str = "q",
    status: StepStatus = StepStatus.DONE,
    entries: tuple[NewEntry, ...] = (),
    outbox: tuple[NewMessage, ...] = (),
    acknowledged: tuple[str, ...] = (),
) -> Receipt:
    model = kind is StepKind.MODEL
    return Receipt(
        thread=lease.thread,
        ordinal=ordinal,
        sub=sub,
        epoch=lease.epoch,
        kind=kind,
        name="m1" if model else "read_file",
        request_digest=digest(ask),
        result=result,
        status=status,
        model="m1" if model else None,
        usage=usage if model else None,
        cost_usd=Decimal(cost) if model else Decimal(0),
        worker=lease.holder,
        entries=entries,
        outbox=outbox,
        acknowledged=acknowledged,
    )

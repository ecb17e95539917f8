"""How items, entries, messages and steps travel to the database and back.

Results and payloads travel as JSON text inside JSON: jsonb knows neither NUL nor lone surrogates, and what a program
printed must come back as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any, cast

from ledger.chain import compact, entry_payload, instant_text
from ledger.items import Intent, Item, ItemResult, ItemStatus, Mark, Receipt, Start, Started
from ledger.messages import Message, NewMessage
from ledger.rows import Budget, Entry, Lease, NewEntry, Step
from ledger.teamwork import Memory
from ledger.vocabulary import Json, StepStatus

PLACES = Decimal("0.000000001")
MOST = Decimal(10**9 - 1)
MOST_TOKENS = 10**15
_TIMES = ("at", "delivered_at", "buried_at")
_UNFIT = re.compile(r"(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])")


@dataclass(frozen=True)
class Prepared:
    """An item in the form in which it is written."""

    item: Item
    text: str
    amount: Decimal = Decimal(0)
    """Bound of an intent, cost of a receipt, in the database's places."""
    tokens: int = 0
    """Of the same."""
    result: str = "null"


def money(amount: Decimal, *, up: bool = False) -> Decimal:
    """The amount in the database's nine places; bounds are rounded up, costs to the nearest.

    Raises:
        ValueError: negative, or too large to be an amount of this system.
    """
    if not 0 <= amount < MOST:
        raise ValueError(f"{amount} USD is no amount between 0 and {MOST}")
    return amount.quantize(PLACES, rounding=ROUND_UP if up else ROUND_HALF_UP)


def prepare(item: Item, now: datetime, *, brief: bool = False) -> Prepared:
    """Make an item ready; `brief` asks the database not to send back what it was sent.

    Raises:
        LedgerError: one of its entries is not of its kind.
        TypeError, ValueError, ArithmeticError: something in it cannot be written.
    """
    wire: dict[str, Json] = {}
    if item.chained:
        wire["chained"] = True
    if brief:
        wire["brief"] = True
    match item:
        case Intent():
            return _prepare_intent(item, wire)
        case Receipt():
            return _prepare_receipt(item, now, wire)
        case Start():
            seconds = item.ttl.total_seconds()
            wire |= {"item": "start", "info": item.info, "holder": item.holder, "ttl_s": seconds}
        case Mark():
            wire |= _mark(item, now)
    return Prepared(item, _text(wire))


def _prepare_intent(item: Intent, wire: dict[str, Json]) -> Prepared:
    bound = money(item.bound_usd, up=True)
    if not 0 <= item.bound_tokens < MOST_TOKENS:
        raise ValueError(f"{item.bound_tokens} is no number of tokens between 0 and {MOST_TOKENS}")
    wire |= {**_head(item), "item": "intent", "bound_usd": str(bound), "bound_tokens": item.bound_tokens}
    if item.heard is not None:
        wire["heard"] = item.heard
    return Prepared(item, _text(wire), bound, item.bound_tokens)


def _prepare_receipt(item: Receipt, now: datetime, wire: dict[str, Json]) -> Prepared:
    if item.status not in (StepStatus.DONE, StepStatus.FAILED):
        raise ValueError(f"a receipt is done or failed, not {item.status}")
    cost = money(item.cost_usd)
    result = compact(item.result)
    wire |= {
        **_head(item),
        "item": "receipt",
        "kind": item.kind,
        "status": item.status,
        "result": result,
        "model": item.model,
        "usage": item.usage,
        "cost_usd": str(cost),
        "commit": item.commit,
    }
    if item.entries:
        wire["entries"] = [_entry(entry, entry_payload(entry, now), now) for entry in item.entries]
    if item.outbox:
        wire["outbox"] = [_message(message) for message in item.outbox]
    if item.acknowledged:
        wire["acknowledged"] = item.acknowledged
    return Prepared(item, _text(wire), cost, item.usage.tokens if item.usage else 0, result)


def _mark(item: Mark, now: datetime) -> dict[str, Json]:
    wire: dict[str, Json] = {"item": "mark", "thread": item.thread, "epoch": item.epoch}
    if item.entries:
        wire["entries"] = [_entry(entry, entry_payload(entry, now), now) for entry in item.entries]
    if item.card is not None:
        wire["card"] = item.card
    if item.artifact is not None:
        wire["artifact"] = item.artifact
    if item.releases is not None:
        wire["releases"] = item.releases
    return wire


def _head(item: Intent | Receipt) -> dict[str, Json]:
    return {
        "thread": item.thread,
        "ordinal": item.ordinal,
        "sub": item.sub,
        "epoch": item.epoch,
        "name": item.name,
        "request_digest": item.request_digest,
        "worker": item.worker,
    }


def _entry(entry: NewEntry, payload: str, at: datetime) -> dict[str, Json]:
    return {
        "project": entry.project,
        "key": entry.key,
        "kind": entry.kind,
        "at": instant_text(at),
        "payload": payload,
    }


def _message(message: NewMessage) -> dict[str, Json]:
    return {**message.model_dump(exclude={"payload"}), "payload": compact(message.payload)}


def _text(value: Json) -> str:
    text = compact(value)
    if "\\u" in text and _UNFIT.search(text):
        raise ValueError("an id or name holds a NUL or half of a surrogate pair")
    return text


def entries_text(entries: Sequence[NewEntry], now: datetime) -> str:
    """Raises LedgerError where a body does not fit its kind, ValueError where a name cannot be written."""
    return _text([_entry(entry, entry_payload(entry, now), now) for entry in entries])


def messages_text(messages: Sequence[NewMessage]) -> str:
    """Raises TypeError or ValueError where a payload is no JSON."""
    return _text([_message(message) for message in messages])


def entry_of(row: dict[str, Any]) -> Entry:
    """An entry from its columns; one whose payload was tampered with is handed on for `verify` to name."""
    try:
        body = json.loads(row["payload"])["body"]
    except (ValueError, KeyError, TypeError):
        body = None
    fit: dict[str, Json] = cast("dict[str, Json]", body) if isinstance(body, dict) else {}
    return Entry.model_validate({**row, "at": row["at"].astimezone(UTC), "body": fit})


def message_of(row: dict[str, Any]) -> Message:
    """A message from its columns."""
    times = {name: at and at.astimezone(UTC) for name, at in row.items() if name in _TIMES}
    return Message.model_validate({**row, **times, "payload": json.loads(row["payload"])})


def step_of(wire: dict[str, Any], result: str | None = None) -> Step:
    """A step from `syndic.step_json`; `result` is its text where the database was not asked to send it back."""
    text = wire.get("result") if result is None else result
    step = Step.model_validate({**wire, "result": None if text is None else json.loads(text)})
    times = {"started_at": step.started_at.astimezone(UTC)}
    if step.finished_at is not None:
        times["finished_at"] = step.finished_at.astimezone(UTC)
    return step.model_copy(update=times)


def answer_of(wire: dict[str, Any], prepared: Prepared) -> ItemResult:
    """One answer of `syndic.apply`."""
    status, item = ItemStatus(wire["status"]), prepared.item
    if isinstance(item, Start) and status is ItemStatus.OK:
        return ItemResult(status=status, started=_started(wire, item))
    step = wire.get("step")
    if step is None:
        return ItemResult(
            status=status,
            detail=wire.get("detail"),
            exceeded=wire.get("exceeded"),
            seconds_left=wire.get("seconds_left"),
            budgets=tuple(Budget.model_validate(row) for row in wire.get("budgets") or ()),
        )
    written = status is ItemStatus.OK and isinstance(item, Receipt) and step["result"] is None
    return ItemResult(status=status, step=step_of(step, prepared.result if written else None))


def _started(wire: dict[str, Any], item: Start) -> Started:
    return Started(
        lease=Lease(thread=item.info.thread, holder=item.holder, epoch=wire["epoch"]),
        steps=tuple(map(step_of, wire["steps"] or ())),
        unread=tuple(_unread(row) for row in wire["unread"] or ()),
        memories=tuple(Memory.model_validate(row) for row in wire["memories"] or ()),
    )


def _unread(wire: dict[str, Any]) -> Message:
    times = {name: at and datetime.fromisoformat(at) for name, at in wire.items() if name in _TIMES}
    return message_of({**wire, **times})

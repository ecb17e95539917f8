"""Canonical bytes, the hash chain and its verification: pure, and light enough for workflow code.

The form follows the idea of RFC 8785 (one byte sequence for one JSON value) with two differences that matter to nobody
but a second implementation: keys are sorted by code point, and floats are written as Python's `repr` writes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from ledger.errors import InvalidEntryError
from ledger.events import EVENTS
from ledger.rows import GENESIS, Entry, Head, NewEntry
from ledger.vocabulary import Json, Record

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def decimal_text(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros, so that equal amounts have equal text."""
    if not value.is_finite():
        raise ValueError(f"{value} is no amount")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def instant_text(value: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`."""
    if value.tzinfo is None:
        raise ValueError("a time without a timezone cannot be recorded")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_FORM: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":"), "default": _plain}
_ORDERED = json.JSONEncoder(**_FORM)
_SORTED = json.JSONEncoder(**_FORM, sort_keys=True)


def _escaped(text: str) -> str:
    # Output of programs may hold lone surrogates, which JSON can spell and UTF-8 cannot.
    if text.isascii():
        return text
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def compact(value: Json) -> str:
    """JSON text that keeps the order of keys; every string survives, NUL and lone surrogates included.

    Raises:
        TypeError: something in it has no JSON form.
        ValueError: NaN, infinity, a time without a timezone or a cycle.
    """
    return _escaped(_ORDERED.encode(value))


def canonical(value: Json) -> str:
    """The one JSON text of a value: sorted keys, no spaces, Decimals as strings, times as ISO UTC.

    Raises:
        TypeError: something in it has no JSON form.
        ValueError: NaN, infinity, a time without a timezone or a cycle.
    """
    return _escaped(_SORTED.encode(value))


def digest(value: Json) -> str:
    """SHA-256 of the canonical JSON in lower-case hex: what requests, plans and approvals are bound to."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def entry_payload(entry: NewEntry, at: datetime) -> str:
    """The text that is chained.

    Raises:
        InvalidEntryError: the body does not fit its kind or is no JSON.
    """
    fault = body_fault(entry.kind, entry.body)
    if fault:
        raise InvalidEntryError(f"entry {entry.key}: {fault}")
    members = {"at": at, "body": entry.body, "key": entry.key, "kind": entry.kind, "project": entry.project}
    try:
        return canonical(members)
    except (TypeError, ValueError) as error:
        raise InvalidEntryError(f"entry {entry.key}: {error}") from error


def entry_hash(prev: str, seq: int, payload: str) -> str:
    """Binds an entry to everything before it."""
    return hashlib.sha256(f"{prev}\n{seq}\n{payload}".encode()).hexdigest()


def seal(entry: NewEntry, at: datetime, head: Head) -> Entry:
    """The entry that follows `head`.

    Raises:
        InvalidEntryError: the body does not fit its kind or is no JSON.
    """
    payload = entry_payload(entry, at)
    seq = head.seq + 1
    return Entry(
        project=entry.project,
        seq=seq,
        key=entry.key,
        kind=entry.kind,
        at=at,
        body=json.loads(payload)["body"],
        payload=payload,
        prev=head.hash,
        hash=entry_hash(head.hash, seq, payload),
    )


def body_fault(kind: str, body: dict[str, Json]) -> str | None:
    """Why the body is not one of its kind, or None."""
    model = EVENTS.get(kind)
    if model is None:
        return f"unknown kind {kind!r}"
    try:
        model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"body is no {kind}: {where}: {first['msg']}"
    return None


def parse_head(text: str) -> Head:
    """Reads `<project>@<seq>:<hash>`, the value of a merge commit's `Syndic-Ledger` trailer.

    Raises:
        ValueError: it is not of that form.
    """
    match = re.fullmatch(r"([^@\s]+)@(\d+):([0-9a-f]{64})", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no ledger position (<project>@<seq>:<hash>)")
    return Head(project=match[1], seq=int(match[2]), hash=match[3])


class Verification(Record):
    """What `verify` found. `head` is the last entry that fits, and a good `start` for the entries after it."""

    ok: bool
    entries: int
    """How many fit."""
    head: Head | None
    first_bad_seq: int | None = None
    reason: str | None = None


def verify(entries: Iterable[Entry], start: Head | None = None) -> Verification:
    """Check that entries follow each other, `start` (else the beginning of the chain) and their own content.

    Args:
        entries: one project's entries in order of `seq`; a page of a long chain is enough.
        start: the entry before the first one, from an earlier verification or a merge commit's trailer.
    """
    head, count = start, 0
    for entry in entries:
        before = head or Head(project=entry.project, seq=0, hash=GENESIS)
        reason = _fault(entry, before)
        if reason:
            return Verification(ok=False, entries=count, head=head, first_bad_seq=entry.seq, reason=reason)
        head, count = Head(project=entry.project, seq=entry.seq, hash=entry.hash), count + 1
    return Verification(ok=True, entries=count, head=head)


def _fault(entry: Entry, before: Head) -> str | None:
    if entry.project != before.project:
        return f"it belongs to project {entry.project}, the chain to {before.project}"
    if entry.seq != before.seq + 1:
        return f"gap: it follows entry {before.seq}"
    if entry.prev != before.hash:
        return f"its prev is not the hash of entry {before.seq}"
    if entry.hash != entry_hash(entry.prev, entry.seq, entry.payload):
        return "its hash does not match its content"
    return _payload_fault(entry) or body_fault(entry.kind, entry.body)


def _payload_fault(entry: Entry) -> str | None:
    try:
        told = json.loads(entry.payload)
    except ValueError:
        return "its payload is no JSON"
    columns = {
        "at": instant_text(entry.at),
        "body": entry.body,
        "key": entry.key,
        "kind": entry.kind,
        "project": entry.project,
    }
    if not isinstance(told, dict) or set(cast("dict[str, Any]", told)) != set(columns):
        return "its payload has other members than an entry"
    for name, value in columns.items():
        if canonical(told[name]) != canonical(value):
            return f"its column {name} differs from the payload"
    return None

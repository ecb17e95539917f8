from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.chain import canonical, compact, digest, entry_hash, parse_head, seal, verify
from ledger.errors import InvalidEntryError
from ledger.rows import GENESIS, Entry, Head, NewEntry

# A busy machine is no finding, and the same examples come every time.
settings.register_profile("chain", deadline=None, derandomize=True, database=None)
settings.load_profile("chain")

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
texts = st.lists(st.text(), min_size=1, max_size=6)


def chain(bodies: list[str]) -> list[Entry]:
    entries: list[Entry] = []
    head = Head(project="p", seq=0, hash=GENESIS)
    for n, text in enumerate(bodies):
        new = NewEntry(project="p", key=f"k{n}", kind="note", body={"text": text})
        entries.append(seal(new, AT + timedelta(seconds=n), head))
        head = Head(project="p", seq=entries[-1].seq, hash=entries[-1].hash)
    return entries


def resealed(entry: Entry, **changes: object) -> Entry:
    """A forger's work: the payload follows the columns and the hash follows the payload."""
    told = {**json.loads(entry.payload), **{k: v for k, v in changes.items() if k in ("body", "kind", "key")}}
    payload = canonical(told)
    return entry.model_copy(update={**changes, "payload": payload, "hash": entry_hash(entry.prev, entry.seq, payload)})


@given(json_values)
def test_canonical_text_is_json_of_the_same_value_and_always_encodes(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    assert text.encode()


@given(st.dictionaries(st.text(), json_values, min_size=2))
def test_canonical_text_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical(turned) == canonical(value)
    assert digest(turned) == digest(value)
    assert list(json.loads(compact(turned))) == list(turned)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9))
def test_equal_amounts_have_equal_text(amount: Decimal) -> None:
    assert canonical(amount) == canonical(amount.normalize()) == canonical(amount + Decimal("0E-12"))
    assert Decimal(json.loads(canonical(amount))) == amount
    assert "e" not in canonical(amount).lower()


def test_times_are_utc_with_microseconds() -> None:
    local = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert canonical({"b": local, "a": Decimal("1E-9")}) == '{"a":"0.000000001","b":"2025-12-31T23:30:00.000000Z"}'


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1)],  # noqa: DTZ001
)
def test_what_has_no_value_has_no_canonical_text(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object()])
def test_what_is_no_json_has_no_canonical_text(value: object) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_a_digest_is_sha256_of_the_canonical_text() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(texts)
def test_a_chain_verifies_whole_and_in_pages(bodies: list[str]) -> None:
    entries = chain(bodies)
    whole = verify(entries)
    assert (whole.ok, whole.entries, whole.first_bad_seq) == (True, len(entries), None)
    half = len(entries) // 2
    first = verify(entries[:half])
    assert verify(entries[half:], first.head).head == whole.head


def test_nothing_verifies_as_nothing() -> None:
    start = Head(project="p", seq=3, hash="a" * 64)
    assert verify([]).model_dump(include={"ok", "entries", "head"}) == {"ok": True, "entries": 0, "head": None}
    assert verify([], start).head == start


@given(texts, st.data())
def test_any_change_of_one_entry_is_named(bodies: list[str], data: st.DataObject) -> None:
    entries = chain(bodies)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["project", "seq", "key", "kind", "at", "body", "payload", "prev", "hash"]))
    bad = entries[place]
    changed: dict[str, object] = {
        "project": "q",
        "seq": bad.seq + 1,
        "key": "x",
        "kind": "plan_proposed",
        "at": bad.at + timedelta(microseconds=1),
        "body": {"text": bad.body["text"] + "!"},
        "payload": bad.payload + " ",
        "prev": "f" * 64,
        "hash": "f" * 64,
    }
    # A wrong project at the very start is a chain of another project, whose payload then betrays it.
    entries[place] = bad.model_copy(update={field: changed[field]})
    found = verify(entries)
    assert (found.ok, found.entries) == (False, place)
    assert found.first_bad_seq == entries[place].seq
    assert found.reason


@given(texts, st.data())
def test_a_removed_entry_is_a_gap(bodies: list[str], data: st.DataObject) -> None:
    entries = [*chain(bodies), *chain([*bodies, "last"])[-1:]]
    place = data.draw(st.integers(0, len(entries) - 2))
    del entries[place]
    found = verify(entries)
    assert (found.ok, found.first_bad_seq) == (False, place + 2)
    assert "gap" in (found.reason or "")


def test_a_forged_entry_breaks_the_one_after_it() -> None:
    entries = chain(["a", "b", "c"])
    entries[1] = resealed(entries[1], body={"text": "forged"})
    found = verify(entries)
    assert (found.ok, found.first_bad_seq) == (False, 3)
    assert "prev" in (found.reason or "")


def test_a_forged_last_entry_is_found_from_a_head_that_stands_elsewhere() -> None:
    entries = chain(["a", "b", "c"])
    trailer = parse_head(str(Head(project="p", seq=2, hash=entries[1].hash)))
    forged = resealed(entries[1], body={"text": "forged"})
    tail = seal(NewEntry(project="p", key="k2", kind="note", body={"text": "c"}), AT, Head(**forged.model_dump()))
    assert verify([entries[0], forged, tail]).ok
    assert not verify([tail], trailer).ok


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("note", {"text": 1}, "body is no note: text"),
        ("note", {}, "body is no note: text"),
        ("no_such_kind", {"text": "x"}, "unknown kind 'no_such_kind'"),
    ],
)
def test_a_body_that_is_not_of_its_kind_is_named_though_its_hash_fits(
    kind: str, body: dict[str, object], reason: str
) -> None:
    [entry] = chain(["a"])
    found = verify([resealed(entry, kind=kind, body=body)])
    assert (found.ok, found.first_bad_seq) == (False, 1)
    assert reason in (found.reason or "")


@pytest.mark.parametrize("payload", ["no json", "[]", "{}"])
def test_a_payload_that_is_no_entry_is_named_though_its_hash_fits(payload: str) -> None:
    [entry] = chain(["a"])
    forged = entry.model_copy(update={"payload": payload, "hash": entry_hash(entry.prev, 1, payload)})
    assert "payload" in (verify([forged]).reason or "")


def test_an_entry_of_the_wrong_kind_cannot_be_sealed() -> None:
    with pytest.raises(InvalidEntryError, match="k: body is no note"):
        seal(NewEntry(project="p", key="k", kind="note", body={}), AT, Head(project="p", seq=0, hash=GENESIS))


@pytest.mark.parametrize("text", ["", "p@1", "p@x:" + "a" * 64, "p@1:" + "A" * 64, "p q@1:" + "a" * 64])
def test_a_malformed_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ledger position"):
        parse_head(text)


def test_the_chain_is_light_enough_for_workflow_code() -> None:
    code = "import sys, ledger.chain; print([m for m in ('psycopg', 'temporalio', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

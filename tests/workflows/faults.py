"""Everything that can be wrong with an answer, for each way to send one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from ledger.signatures import new_key
from tests.support.signing import PEOPLE
from tests.workflows.stands import Stand, other

WAYS = ("signal", "update", "signed", "batch")
STRANGER = new_key()


@dataclass(frozen=True)
class Message:
    """One signal or update as it is sent."""

    name: str
    arguments: tuple[Any, ...]


Build = Callable[[Stand, str], Message | None]


def raw(data: bytes, encoding: bytes = b"json/plain") -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


def name_of(way: str) -> str:
    return "decide_now" if way == "update" else "decide"


def good(stand: Stand, way: str, **more: Any) -> Message:
    """What approves the request."""
    return Message(name_of(way), (stand.answer(way, **more),))


def _wrong_digest(stand: Stand, way: str) -> Message:
    if way == "batch":
        return good(stand, way, digest=stand.view.digest)
    return good(stand.about(digest="0" * 64), way)


def _unknown_id(stand: Stand, way: str) -> Message:
    if way == "batch":
        return Message("decide", ({**stand.answer(way), "all_of": other(stand.kind).value},))
    return good(stand.about(id="nobody-1"), way)


def _producer(stand: Stand, way: str) -> Message | None:
    if not stand.view.producers:
        return None
    by = stand.view.producers[0]
    return good(stand, way, by=by, **({"key": PEOPLE["pat"]} if way == "signed" else {}))


def _forged(stand: Stand, way: str) -> Message:
    """Signed with a key that nobody knows."""
    content = stand.answer("signed", key=STRANGER)
    if way == "batch":
        content = {**stand.answer(way), "signature": content["signature"]}
    return Message(name_of(way), (content,))


FAULTS: dict[str, Build] = {
    "wrong digest": _wrong_digest,
    "unknown id": _unknown_id,
    "not entitled": lambda stand, way: good(stand, way, by="kim"),
    "its producer": _producer,
    "forged signature": _forged,
    "wrong type": lambda stand, way: Message(name_of(way), ({**stand.answer(way), "decision": 7},)),
    "garbage JSON": lambda stand, way: Message(name_of(way), (raw(b'{"approval": '),)),
    "no argument": lambda stand, way: Message(name_of(way), ()),
    "two arguments": lambda stand, way: Message(name_of(way), (stand.answer(way),) * 2),
    "unknown encoding": lambda stand, way: Message(name_of(way), (raw(b"\x00\xff", b"binary/own"),)),
    "unknown name": lambda stand, way: Message(f"{name_of(way)}_please", (stand.answer(way),)),
}
"""What is wrong -> the message; None where nothing can be wrong so. A batch cannot be bound to a digest: naming one is a fault."""

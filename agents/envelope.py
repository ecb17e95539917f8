"""The envelope in which messages travel through Redis: one frozen shape, read strictly and refused with a reason."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticSerializationError

from agents.errors import EnvelopeError
from agents.messages import MessageType
from ledger.chain import compact
from ledger.messages import MAX_PAYLOAD_BYTES, SCHEMA_VERSION, Message
from ledger.vocabulary import Json, Slug

MAX_ENVELOPE_BYTES = MAX_PAYLOAD_BYTES + 4_096
"""Of the JSON text in UTF-8: a payload at its limit and what is around it."""

SKEW = timedelta(minutes=5)
"""How far a sender's clock may be ahead of a reader's. Order never depends on clocks; a time beyond this is a broken one."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Envelope(BaseModel):
    """A message under way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    """Derived from what caused the message."""
    project: Slug
    source: Name
    target: Name
    """An agent id, `*` for the project's own stream, or `team`."""
    type: MessageType
    payload: dict[str, Json] = Field(default_factory=dict)
    correlation_id: Name | None = None
    time: AwareDatetime
    """When it was written to the record, by the clock of whoever wrote it."""
    schema_version: Literal[1]


def envelope_of(message: Message) -> Envelope:
    """The envelope of a message on the record.

    Raises:
        EnvelopeError: It has no valid one.
    """
    try:
        return Envelope.model_validate(
            {
                "id": message.id,
                "project": message.project,
                "source": message.source,
                "target": message.target,
                "type": message.type,
                "payload": message.payload,
                "correlation_id": message.correlation,
                "time": message.at,
                "schema_version": message.schema_version,
            }
        )
    except ValidationError as error:
        raise EnvelopeError(_wording(error)) from None


def sealed(envelope: Envelope) -> str:
    """As the text that travels; strings that UTF-8 cannot spell travel as escapes.

    Raises:
        EnvelopeError: It is larger than a reader accepts.
    """
    try:
        text = envelope.model_dump_json()
    except PydanticSerializationError:
        text = compact(envelope)
    _check_size(text)
    return text


def parse_envelope(text: str | bytes, now: datetime) -> Envelope:
    """Read what came out of a stream.

    Args:
        text: JSON.
        now: The reader's time.

    Raises:
        EnvelopeError: It is no envelope that this build can use; the text says why.
    """
    _check_size(text)
    try:
        envelope = Envelope.model_validate_json(text)
    except ValidationError:
        envelope = _parse_slowly(text)
    if envelope.time - now > SKEW:
        ahead = (envelope.time - now).total_seconds()
        raise EnvelopeError(f"its time is {ahead:.0f} s ahead of this reader's clock: one of the two is wrong")
    return envelope


def _check_size(text: str | bytes) -> None:
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    if size > MAX_ENVELOPE_BYTES:
        raise EnvelopeError(f"an envelope of {size} bytes is over the limit of {MAX_ENVELOPE_BYTES}")


def _parse_slowly(text: str | bytes) -> Envelope:
    """What the quick parser refused: halves of surrogate pairs are fit, and the rest gets the most useful reason.

    The version is looked at before fields that another version may have.
    """
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        raise EnvelopeError("it is no JSON text") from None
    if not isinstance(value, dict):
        raise EnvelopeError("it is no JSON object")
    version = value.get("schema_version")
    if version != SCHEMA_VERSION:
        raise EnvelopeError(f"unknown schema version {str(version)[:20]}; this build reads {SCHEMA_VERSION}")
    try:
        return Envelope.model_validate(value)
    except ValidationError as error:
        raise EnvelopeError(_wording(error)) from None


def _wording(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'envelope'}: {item['msg']}" for item in found[:5])[:500]

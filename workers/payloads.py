"""What may go to Temporal: pydantic as JSON, and nothing that the server would refuse for its size.

The server ends a workflow task that carries too large a payload, and the SDK tries the same task again for ever; a too large
result of an activity is retried like any failure (blob size limit error in Temporal's troubleshooting guide). Here it fails
once, in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from pydantic import BaseModel
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.exceptions import ApplicationError

SERVER_LIMIT: Final = 2 * 1024 * 1024
"""Bytes that Temporal takes for one input, result or memo (`limit.blobSize.error`)."""

PAYLOAD_LIMIT: Final = SERVER_LIMIT - 64 * 1024
"""Ours is a little lower, because the server counts the envelope too."""


class GuardedPayloadConverter(PydanticPayloadConverter):
    """Refuses what is too large, wherever it is about to be sent: by an activity, a workflow or a client.

    There is one of it in a process: the SDK asks for one at each turn of a workflow, and each would describe every type anew.
    """

    _only: ClassVar[GuardedPayloadConverter | None] = None

    def __new__(cls) -> GuardedPayloadConverter:
        if cls._only is None:
            made = super().__new__(cls)
            PydanticPayloadConverter.__init__(made)
            cls._only = made  # last, so that no other thread takes an unfinished one
        return cls._only

    def __init__(self) -> None:
        """Nothing: it is made once."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Raises ApplicationError `PayloadTooLarge`, which no retry can mend; the text names the size and the remedy."""
        payloads = super().to_payloads(values)
        size = sum(payload.ByteSize() for payload in payloads)
        if size > PAYLOAD_LIMIT:
            raise ApplicationError(_text(values, size), type="PayloadTooLarge", non_retryable=True)
        return payloads


data_converter = replace(pydantic_data_converter, payload_converter_class=GuardedPayloadConverter)
"""The one converter of clients and workers."""


def _text(values: Sequence[Any], size: int) -> str:
    largest = max(values, key=_size)
    parts = _parts(largest)
    part = max(parts, key=lambda name: _size(parts[name]), default=None)
    where = "" if part is None else f", most of it in `{part}` ({_megabytes(_size(parts[part]))})"
    return (
        f"{type(largest).__name__} is {_megabytes(size)}{where}; Temporal takes {_megabytes(PAYLOAD_LIMIT)} at most. "
        "Keep the document as an artifact (activity keep_document) and pass its reference, or make the brief shorter."
    )


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return {str(name): part for name, part in value.items()} if isinstance(value, dict) else {}


def _size(value: Any) -> int:
    return len(to_json(value, fallback=str))


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.2f} MiB"

"""Connecting to Temporal, and the one way out of a process that did."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client, Interceptor
from temporalio.service import RPCError, RPCStatusCode

from workers.errors import WorkersError
from workers.payloads import data_converter

if TYPE_CHECKING:
    from workers.stack.addresses import Addresses

SEARCH_ATTRIBUTES: Final[Mapping[str, IndexedValueType.ValueType]] = {
    "SyndicProject": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SyndicPhase": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SyndicAwaiting": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "SyndicRole": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SyndicCostUsd": IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
}
"""What `temporal workflow list --query` can ask for; `workflows/visibility.py` sets them."""


_before_exit: list[Callable[[], None]] = []


class TemporalUnreachableError(WorkersError):
    """Temporal cannot be reached."""


async def connect(
    addresses: Addresses, *, interceptors: Sequence[Interceptor] = (), identity: str | None = None
) -> Client:
    """A client that speaks pydantic models, with the profile's TLS and keys where there is one.

    Raises:
        TemporalUnreachableError: nothing answers there, or it refuses the credentials.
    """
    options = addresses.temporal_options()
    try:
        return await Client.connect(
            options.pop("target_host", addresses.temporal),
            **{"namespace": addresses.namespace, **options},
            data_converter=data_converter,
            interceptors=interceptors,
            identity=identity,
        )
    except (RuntimeError, RPCError) as error:
        raise TemporalUnreachableError(
            f"Temporal does not answer at {addresses.temporal}: {error}. "
            "Start it, correct TEMPORAL_ADDRESS, or unset it and run `syndic up`."
        ) from error


async def register_search_attributes(client: Client) -> list[str]:
    """Add the search attributes that the namespace lacks; returns the names that were added.

    Raises:
        WorkersError: one exists with another type, or the server forbids adding.
    """
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        _check_types(known.custom_attributes)
        missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in known.custom_attributes}
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            )
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise WorkersError(
                f"search attributes of namespace {client.namespace} cannot be registered: {error}. "
                f"Let an operator add {', '.join(SEARCH_ATTRIBUTES)}."
            ) from error
        missing = {}
    return sorted(missing)


def _check_types(known: Mapping[str, IndexedValueType.ValueType]) -> None:
    for name, kind in SEARCH_ATTRIBUTES.items():
        if known.get(name, kind) != kind:
            raise WorkersError(
                f"search attribute {name} exists with type {IndexedValueType.Name(known[name])}, "
                f"Syndic needs {IndexedValueType.Name(kind)}; use another namespace"
            )


def before_exit(call: Callable[[], None]) -> None:
    """Have something called when the process ends by `exit_process`, the latest first; `atexit` is not reached then."""
    _before_exit.append(call)


def exit_process(code: int) -> NoReturn:
    """End this process now, after flushing what was written.

    About one process in five that ran a Temporal worker aborts at interpreter exit (status 134, `PyGILState_Release`),
    so the interpreter's own way out is not taken. Close clients and pools before.
    """
    while _before_exit:
        _before_exit.pop()()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader of a pipe has gone, there is nobody left to tell
            continue
    os._exit(code)

"""The embedded local stack: Temporal dev server, Postgres and Redis from PyPI wheels, and a worker.

`workers.stack.supervisor.Stack` runs one; this face is what other processes need to find it, and stays quick to import.
"""

from __future__ import annotations

from workers.stack.addresses import Addresses, read_addresses, read_record, resolve
from workers.stack.errors import NotRunningError, StackError, StackHeldError

__all__ = [
    "Addresses",
    "NotRunningError",
    "StackError",
    "StackHeldError",
    "read_addresses",
    "read_record",
    "resolve",
]

"""The task queues that a worker can be asked to serve."""

from __future__ import annotations

from collections.abc import Sequence

from workers.errors import WorkersError
from workflows.options import AGENTS_QUEUE, TOOLS_QUEUE, WORKFLOW_QUEUE

QUEUES = (WORKFLOW_QUEUE, AGENTS_QUEUE, TOOLS_QUEUE)


class UnknownQueueError(WorkersError):
    """A worker was asked to serve a task queue that Syndic does not have."""

    exit_code = 2


def check_queues(queues: Sequence[str]) -> tuple[str, ...]:
    """The queues without repetition, in order.

    Raises:
        UnknownQueueError: a queue that Syndic does not have; the text lists those it has.
    """
    unknown = [queue for queue in queues if queue not in QUEUES]
    if unknown or not queues:
        raise UnknownQueueError(f"unknown task queue {', '.join(unknown) or '(none)'}; Syndic has {', '.join(QUEUES)}")
    return tuple(dict.fromkeys(queues))

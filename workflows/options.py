"""Every timeout and retry policy of the workflows, by name, each with its reason.

Task queues: `syndic` serves workflows and quick activities, `syndic-agents` agents and models, `syndic-tools` git, gates
and programs, so that a long test run never holds up an approval.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from temporalio.common import RetryPolicy
from temporalio.workflow import (
    ActivityCancellationType,
    ActivityConfig,
    ChildWorkflowCancellationType,
    ParentClosePolicy,
)

from activities.contracts import NOT_RETRYABLE

WORKFLOW_QUEUE = "syndic"
AGENTS_QUEUE = "syndic-agents"
TOOLS_QUEUE = "syndic-tools"

WORKFLOW_TASKS = 16
"""At once, of one process. They share one interpreter: of a hundred (the default), each that is read anew from its history takes
longer than the ten seconds that the server waits, is given up and begun again, and none comes to its end."""

WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
"""The default lets the workflow go on while the activity still writes."""

UNTIL_IT_WORKS = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=20),
    maximum_attempts=0,
    non_retryable_error_types=list(NOT_RETRYABLE),
)
"""A database or disk that is away comes back; what no retry can mend is named in `NOT_RETRYABLE`."""

AGENT_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=0,
    non_retryable_error_types=list(NOT_RETRYABLE),
)
"""A killed worker costs this first back-off after the next one has given its runs back, or else a heartbeat before it; the journal
makes the second attempt free of charge."""

AGENT_RUN = ActivityConfig(
    task_queue=AGENTS_QUEUE,
    # One run is up to `max_steps` model calls with tools between them; heartbeats, not this limit, notice a dead worker.
    start_to_close_timeout=timedelta(hours=12),
    # Short, because work stands still until it has passed: with a beat a second, three may be late before a worker is given
    # up. A worker that was only slow loses its lease to the next attempt and nothing else.
    heartbeat_timeout=timedelta(seconds=4),
    retry_policy=AGENT_RETRY,
    cancellation_type=WAIT,
)

TOOL = ActivityConfig(
    task_queue=TOOLS_QUEUE,
    # Fetching a large history, building an environment and a whole test suite fit; a gate has a limit of its own.
    start_to_close_timeout=timedelta(hours=2),
    # Programs run for minutes while the activity beats from its own loop.
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=UNTIL_IT_WORKS,
    cancellation_type=WAIT,
)

BRANCH = ActivityConfig(
    task_queue=TOOLS_QUEUE,
    # Moves a reference in a bare repository and checks nothing out; too short to beat, noticed by this limit alone.
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=UNTIL_IT_WORKS,
    cancellation_type=WAIT,
)

RECORD = ActivityConfig(
    task_queue=WORKFLOW_QUEUE,
    # One transaction. A worker that died with it is noticed after this time, hence no heartbeat.
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=UNTIL_IT_WORKS,
    cancellation_type=WAIT,
)

CLOSING = ActivityConfig(
    task_queue=TOOLS_QUEUE,
    # Verifying a long chain reads all of it.
    start_to_close_timeout=timedelta(minutes=30),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=UNTIL_IT_WORKS,
    cancellation_type=WAIT,
)

CHILD: dict[str, Any] = {
    "task_queue": WORKFLOW_QUEUE,
    # A cancelled parent must not report before its children have put down what they held.
    "cancellation_type": ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    # A parent that was terminated must not leave work behind; a request lets children clean up.
    "parent_close_policy": ParentClosePolicy.REQUEST_CANCEL,
}

TAKEN_UP_AGAIN = timedelta(seconds=4)
"""The workflow task time-out of an agent's task: what a dead worker had taken is another's after it, and nobody can give it back
sooner. Its history is short and soon read anew. Those of sprints and projects can be long: they keep the server's ten seconds."""

ANSWER_SHARE = Decimal("0.2")
"""Of the project's limit, what one answer to a colleague may cost at most."""

PAUSE_NEWS = timedelta(seconds=5)
"""An agent may notice a pause in the store before the signal of it arrives here; this is how long the news may take."""

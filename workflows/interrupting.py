"""Work that a person's word can stop in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from workflows.lifecycle import Lifecycle

T = TypeVar("T")


class Interrupted(Exception):
    """The work was stopped in order: what it had begun has ended."""


async def unless(life: Lifecycle, wanted: Callable[[], bool], work: Coroutine[Any, Any, T]) -> T:
    """Do the work unless, meanwhile, it is wanted otherwise.

    Raises:
        Interrupted: it was.
    """
    context = copy_context()
    task = asyncio.create_task(work, context=context)
    try:
        await workflow.wait_condition(lambda: task.done() or wanted())
    except asyncio.CancelledError:
        await _stopped(task)
        raise
    if task.done():
        _go_on_as(context)
        return task.result()
    # A cancellation that arrives with a result gets lost; whatever the work calls next looks whether it may go on.
    life.interrupted = True
    try:
        await _stopped(task)
    finally:
        life.interrupted = False
    raise Interrupted


def _go_on_as(context: Context) -> None:
    """What the work knows of itself, such as the decision it is about to act on, holds for what follows it."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancel and wait; a failure of its own is raised, being stopped is none."""
    task.cancel()
    await workflow.wait([task])
    error = None if task.cancelled() else task.exception()
    if error is not None and not is_cancelled_exception(error):
        raise error

"""The one way in which workflows call activities: typed, with a named policy and a summary for the Web UI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.workflow import ActivityConfig

from ledger.vocabulary import Record
from workflows.visibility import summary

Request = TypeVar("Request", bound=Record)
Result = TypeVar("Result")


async def perform(
    activity: Callable[[Any, Request], Awaitable[Result]], request: Request, config: ActivityConfig, text: str
) -> Result:
    """Run a method of an activity class; `text` is what people see."""
    named: ActivityConfig = {**config, "summary": summary(text)}
    return await workflow.execute_activity_method(activity, request, **named)

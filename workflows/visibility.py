"""What people see in plain Temporal tools: search attributes, memo and the current details of each workflow.

Each is published when it has changed, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from ledger.vocabulary import Json
from workflows.answering import Waiting
from workflows.details import details
from workflows.views import StatusView, TaskView

PROJECT = SearchAttributeKey.for_keyword("SyndicProject")
PHASE = SearchAttributeKey.for_keyword("SyndicPhase")
AWAITING = SearchAttributeKey.for_keyword_list("SyndicAwaiting")
ROLE = SearchAttributeKey.for_keyword("SyndicRole")
COST = SearchAttributeKey.for_float("SyndicCostUsd")

SEARCH_ATTRIBUTES = (PROJECT, PHASE, AWAITING, ROLE, COST)
"""What the stack registers with the namespace."""

INBOX_QUERY = 'SyndicAwaiting IS NOT NULL AND ExecutionStatus="Running"'
"""Everything that waits for a person, of all projects."""

MEMO = "approvals"
MEMO_LIMIT = 50
"""Requests of one workflow that its memo names, the oldest: servers limit how large a memo may be."""
SUMMARY_LIMIT = 120


class Visibility:
    """Publishes a workflow's state, and only what changed since the last time."""

    def __init__(self) -> None:
        self._shown: dict[str, Any] = {}
        self._memo: list[dict[str, Json]] = []
        self._drawn: tuple[StatusView, tuple[TaskView, ...]] | None = None

    def publish(self, status: StatusView, tasks: Sequence[TaskView], role: str | None) -> None:
        """Upsert attributes and memo, and draw the details, which cost no event."""
        self._attributes(status, role)
        memo = [Waiting.of(view).memo() for view in status.awaiting[:MEMO_LIMIT]]
        if memo != self._memo:
            self._memo = memo
            workflow.upsert_memo({MEMO: memo})
        drawn = (status, tuple(tasks))
        if drawn != self._drawn:
            self._drawn = drawn
            workflow.set_current_details(details(status, tasks))

    def _attributes(self, status: StatusView, role: str | None) -> None:
        awaiting = sorted({view.kind.value for view in status.awaiting})
        cost = float(status.cost_usd)
        updates: list[SearchAttributeUpdate[Any]] = []
        if self._changed("project", status.project):
            updates.append(PROJECT.value_set(status.project))
        if self._changed("phase", status.phase.value):
            updates.append(PHASE.value_set(status.phase.value))
        if self._changed("role", role) and role is not None:
            updates.append(ROLE.value_set(role))
        if self._changed("awaiting", awaiting, []):
            updates.append(AWAITING.value_set(awaiting) if awaiting else AWAITING.value_unset())
        if self._changed("cost", cost, 0.0):
            updates.append(COST.value_set(cost))
        workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] - the SDK's own parameter

    def _changed(self, name: str, value: Any, unset: Any = None) -> bool:
        changed = self._shown.get(name, unset) != value
        self._shown[name] = value
        return changed


def summary(text: str) -> str:
    """One line for the Web UI, bounded, without what a terminal would obey."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= SUMMARY_LIMIT else line[: SUMMARY_LIMIT - 1] + "…"

"""What people see in plain Temporal tools: search attributes, memo and the current details of each workflow."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from ledger.vocabulary import Answer, ApprovalKind, Exceeded, Json, dollars
from workflows.approval_models import ApprovalView
from workflows.contracts import StatusView, TaskView, WaitView

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
SUMMARY_LIMIT = 120


class Visibility:
    """Publishes a workflow's state, and only what changed since the last time."""

    def __init__(self) -> None:
        self._shown: dict[str, Any] = {}
        self._memo: list[dict[str, Json]] = []

    def publish(self, status: StatusView, tasks: Sequence[TaskView], role: str | None) -> None:
        """Upsert attributes and memo where they changed; the details cost no event and follow every time."""
        self._attributes(status, role)
        memo = [
            {"id": view.id, "kind": view.kind.value, "digest": view.digest, "summary": view.summary}
            for view in status.awaiting
        ]
        if memo != self._memo:
            self._memo = memo
            workflow.upsert_memo({MEMO: memo})
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
    """One line for the Web UI, bounded."""
    line = " ".join(text.split())
    return line if len(line) <= SUMMARY_LIMIT else line[: SUMMARY_LIMIT - 1] + "…"


def answering_command(view: ApprovalView, decision: Answer = Answer.APPROVE, namespace: str = "default") -> str:
    """The exact `temporal workflow signal` line that answers a request."""
    payload: dict[str, Json] = {"approval": view.id, "decision": decision.value, "by": "you", "digest": view.digest}
    if decision is Answer.APPROVE:
        payload |= more_budget(view)
    words = ["temporal", "workflow", "signal", "--workflow-id", view.workflow_id, "--name", "decide"]
    words += ["--input", json.dumps(payload)]
    if namespace != "default":
        words += ["--namespace", namespace]
    return shlex.join(words)


def more_budget(view: ApprovalView) -> dict[str, Json]:
    """What approving a request of kind budget must name: twice the limit that was met; a person may write another."""
    if view.kind is not ApprovalKind.BUDGET:
        return {}
    tokens = view.subject.get("limit_tokens")
    if isinstance(tokens, int) and view.subject.get("exceeded") == Exceeded.TOKENS:
        return {"budget_tokens": tokens * 2}
    return {"budget_usd": str(Decimal(str(view.subject.get("limit_usd") or 5)) * 2)}


def details(status: StatusView, tasks: Sequence[TaskView]) -> str:
    """The state of a workflow as markdown: phase, board, open approvals with their answers, cost, last events."""
    parts = [_head(status)]
    parts += [f"**Notice**: {notice}" for notice in status.notices]
    parts += [_approval(view) for view in status.awaiting]
    if status.waits:
        parts.append("**Waiting**\n\n" + "\n".join(_waits(view) for view in status.waits))
    if tasks:
        parts.append(_board(tasks))
    if status.events:
        parts.append("**Last events**\n\n" + "\n".join(f"- {event}" for event in status.events[-10:]))
    return "\n\n".join(parts)


def _head(status: StatusView) -> str:
    budget = f" of {dollars(status.budget_usd)}" if status.budget_usd is not None else ""
    paused = " (paused)" if status.paused else ""
    return (
        f"**{status.phase.value}**{paused} {status.detail}\n\n"
        f"mode {status.mode.value} · autonomy {status.autonomy.value} · "
        f"tasks {status.tasks_done}/{status.tasks_total} · cost {dollars(status.cost_usd)}{budget} USD{_tokens(status)}"
    )


def _tokens(status: StatusView) -> str:
    return "" if status.budget_tokens is None else f" · {status.tokens:,} of {status.budget_tokens:,} tokens"


def _approval(view: ApprovalView) -> str:
    return (
        f"**Approval `{view.id}`** ({view.kind.value}): {view.summary}\n\n"
        f"- digest `{view.digest}`\n"
        f"- approve: {view.on_approve}\n"
        f"- reject: {view.on_reject}\n"
        f"- expires {view.expires_at.isoformat(timespec='minutes')}\n\n"
        f"```\n{_broken(answering_command(view, namespace=workflow_namespace()))}\n```"
    )


def _waits(view: WaitView) -> str:
    return f"- {view.asker} waits for {view.to} since {view.since.strftime('%H:%M:%S')}: {summary(view.text)}"


def _broken(command: str) -> str:
    """The same command over several lines: the Web UI's column is narrow, and it cuts what is longer."""
    for option in ("--name", "--input", "--namespace"):
        command = command.replace(f" {option} ", f" \\\n  {option} ")
    return command.replace(', "', ',\n    "')


def workflow_namespace() -> str:
    """The namespace of the workflow that renders; `default` outside of one."""
    return workflow.info().namespace if workflow.in_workflow() else "default"


def _board(tasks: Sequence[TaskView]) -> str:
    rows = ["| task | state | agent | tries | title |", "|---|---|---|---|---|"]
    for task in tasks:
        title = task.title.replace("|", "/")
        rows.append(f"| {task.id} | {task.state.value} | {task.agent or ''} | {task.attempts} | {summary(title)} |")
    return "\n".join(rows)

"""All that waits for a person, of all projects, from ONE listing: what is shown stands in the memos of the workflows that ask.

A listing is a moment old. What really is open is known to the workflow that asks, and it alone decides about answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client, WorkflowExecution

from ledger.vocabulary import Json
from workers.console import CommandError
from workflows.answering import Waiting
from workflows.visibility import AWAITING, INBOX_QUERY, MEMO, PROJECT

if TYPE_CHECKING:
    from ledger.vocabulary import ApprovalKind

PAGE = 1000
"""Workflows in one answer of the server; its own limit on the dev server."""
LIST_WITHIN = timedelta(seconds=10)
NAMED = 10
"""Requests that an error names."""

BEGINNING = datetime.min.replace(tzinfo=UTC)


def query(project: str | None = None, kind: ApprovalKind | None = None) -> str:
    """What to list for the open requests of all projects, of one, or of one kind; for `temporal workflow list` too."""
    parts = [INBOX_QUERY if kind is None else f'{AWAITING.name}="{kind.value}" AND ExecutionStatus="Running"']
    if project is not None:
        parts.append(f'{PROJECT.name}="{quoted(project)}"')
    return " AND ".join(parts)


def quoted(value: str) -> str:
    """A value as it may stand between double quotes in a query."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


async def inbox(
    client: Client, project: str | None = None, kind: ApprovalKind | None = None, within: timedelta = LIST_WITHIN
) -> list[Waiting]:
    """Open requests, the oldest first.

    Args:
        project: Only of this project.
        kind: Only of this kind.
        within: How long the server may take.
    """
    requests: dict[str, Waiting] = {}
    async for run in client.list_workflows(query(project, kind), page_size=PAGE, rpc_timeout=within):
        for request in _requests(run.id, await run.memo(), run):
            requests[request.id] = request
    chosen = [request for request in requests.values() if kind is None or request.kind == kind]
    return sorted(chosen, key=lambda request: (request.requested_at or BEGINNING, request.id))


async def find(client: Client, name: str) -> Waiting | None:
    """The open request with that id, or the only open one of a project; None where nothing of that name is open.

    Raises:
        CommandError: The project waits for several decisions.
    """
    waiting = await inbox(client, project_of(name))
    if (match := next((request for request in waiting if request.id == name), None)) is not None:
        return match
    if name != project_of(name) or not waiting:
        return None
    if len(waiting) > 1:
        ids = ", ".join(f"{request.id} ({request.kind})" for request in waiting[:NAMED])
        raise CommandError(f"project {name} waits for {len(waiting)} decisions; name one of {ids}")
    return waiting[0]


async def nothing_called(client: Client, name: str) -> CommandError:
    """What to tell a person who named a request that is not open."""
    waiting = await inbox(client)
    ids = ", ".join(request.id for request in waiting[:NAMED]) or "none"
    more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
    return CommandError(f"nothing called {name!r} waits for a decision; open requests: {ids}{more}")


def project_of(name: str) -> str:
    """The project of a request's id, `<project>.<...>.<kind>-<n>`; a project's own id as it is."""
    return name.partition(".")[0]


def _requests(workflow: str, memo: Mapping[str, Json], run: WorkflowExecution) -> list[Waiting]:
    """What a memo says. Workflows of older builds tell no times; theirs is when they began."""
    found = [Waiting.model_validate({**entry, "workflow_id": workflow}) for entry in memo.get(MEMO) or ()]
    return [
        request if request.requested_at else request.model_copy(update={"requested_at": run.start_time})
        for request in found
    ]

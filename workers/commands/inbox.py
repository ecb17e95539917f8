"""`syndic inbox` (also `approvals`): all that waits for a person, of all projects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from ledger.vocabulary import ApprovalKind, Json
from workers import operations
from workers.console import USAGE, emit, give_up, plain, run_work, say, show, whoami
from workers.inbox import inbox as read_inbox
from workers.session import open_session
from workers.showing import ago
from workers.stack.addresses import Addresses
from workflows.answering import Waiting


def inbox(
    project: Annotated[str | None, typer.Argument(help="Only this project.", show_default=False)] = None,
    only: Annotated[str | None, typer.Option("--project", help="Only this project.", show_default=False)] = None,
    kind: Annotated[ApprovalKind | None, typer.Option(help="Only requests of this kind.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List what waits for a decision, oldest first. It is one listing, however many projects there are.

    `syndic show ID` shows a request in full, `syndic approve ID` says yes. The same with Temporal's own tools:
    temporal workflow list --query 'SyndicAwaiting IS NOT NULL AND ExecutionStatus="Running"'
    """
    if None not in (project, only) and project != only:
        give_up(f"{project} and --project {only} are two projects; name one", USAGE)
    chosen = project or only

    async def work() -> None:
        session = await open_session()
        waiting = await read_inbox(session.client, chosen, kind)
        if as_json:
            emit([_document(session.addresses, request) for request in waiting])
        elif waiting:
            show("\n".join(table(waiting, datetime.now(UTC))))
            say(_hint(waiting))
        else:
            say("nothing waits for a decision")

    run_work(work())


def table(waiting: Sequence[Waiting], now: datetime) -> list[str]:
    """One line a request."""
    head = ("request", "kind", "risk", "since", "expires", "")
    rows = [
        (
            plain(request.id),
            plain(request.kind),
            plain(request.risk),
            ago(now - request.requested_at) if request.requested_at else "",
            ago(request.expires_at - now) if request.expires_at else "",
            plain(f"{'[signed] ' if request.signed else ''}{request.summary}"),
        )
        for request in waiting
    ]
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in [head, *rows]
    ]


def _hint(waiting: Sequence[Waiting]) -> str:
    kinds = sorted({request.kind for request in waiting})
    projects = len({operations.project_of_workflow(request.workflow_id) for request in waiting})
    count = (
        f"{len(waiting)} request{'s' if len(waiting) > 1 else ''} in {projects} project{'s' if projects > 1 else ''}"
    )
    every = f", all of a kind: syndic approve --all --kind {kinds[0]}" if len(waiting) > 1 else ""
    return f"{count}; look: syndic show {waiting[0].id}, answer: syndic approve {waiting[0].id}{every}"


def _document(addresses: Addresses, request: Waiting) -> dict[str, Json]:
    return {
        **request.model_dump(mode="json"),
        "project": operations.project_of_workflow(request.workflow_id),
        "command": operations.quoted(operations.decide_command(addresses, request, whoami())),
    }

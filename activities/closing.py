"""Ends a project: releases what is held, verifies the chain, writes the last entry."""

from __future__ import annotations

from decimal import Decimal

from activities.contracts import CloseProject, ProjectClosed
from activities.entries import entry
from activities.unmerged import write_report
from agents.runner import AgentDeps
from ledger import events
from ledger.chain import Verification, verify
from ledger.rows import Entry
from ledger.store import Store

PAGE = 1_000


async def close(deps: AgentDeps, request: CloseProject) -> ProjectClosed:
    """Close, and report what the record holds. Safe to run again."""
    await deps.store.reconcile(request.project)
    await deps.store.close_inbox(request.project, None, f"the project is {request.state}")
    usage = await deps.store.usage(request.project)
    in_doubt = await deps.store.in_doubt(request.project)
    body = events.ProjectClosed(
        state=request.state,
        summary=request.summary,
        model_calls=sum(row.calls for row in usage),
        in_doubt=len(in_doubt),
        cost_usd=sum((row.cost_usd for row in usage), start=Decimal(0)),
    )
    await deps.store.record([entry(request.project, f"closed/{request.state}", body)])
    written = await write_report(deps, request)
    deps.layout.forget_caches(request.project)
    checked = await verify_project(deps.store, request.project)
    return ProjectClosed(
        ledger_entries=checked.entries,
        ledger_verified=checked.ok,
        detail=checked.reason or "",
        model_calls=body.model_calls,
        in_doubt=body.in_doubt,
        cost_usd=body.cost_usd,
        report=written[0] if written else None,
        report_file=str(written[1]) if written else None,
    )


async def verify_project(store: Store, project: str) -> Verification:
    """Read a project's whole chain and verify it."""
    entries: list[Entry] = []
    while page := await store.entries(project, after=entries[-1].seq if entries else 0, limit=PAGE):
        entries.extend(page)
    return verify(entries)

"""Taking requests back that nobody needs an answer to any more."""

from __future__ import annotations

from ledger.events import ApprovalExpired
from workflows.lifecycle import Lifecycle


def withdraw(life: Lifecycle, why: str) -> None:
    """End all open requests of a workflow, on the record; decisions that come later are refused."""
    for view in life.book.open:
        life.book.expire(view.id)
        event = ApprovalExpired(
            workflow_id=view.workflow_id, approval=view.id, approval_kind=view.kind.value, outcome="withdrawn"
        )
        life.note(event, f"{view.id} is not asked any more: {why}")
    life.refresh()

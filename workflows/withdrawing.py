"""Taking requests back that nobody needs an answer to any more."""

from __future__ import annotations

from workflows.lifecycle import Lifecycle


def withdraw(life: Lifecycle, why: str) -> None:
    """End all open requests of a workflow, on the record; decisions that come later are refused."""
    life.desk.withdraw(why)
    life.refresh()

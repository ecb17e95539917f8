"""What those who need an agent at work may ask of a workflow's crew."""

from __future__ import annotations

from typing import Protocol

from agents.runs import AgentOutcome, AgentRun, TimeLimits
from ledger.vocabulary import Role


class Engages(Protocol):
    """Runs agents to an outcome that a workflow can judge."""

    at_work: dict[str, str]
    """Thread -> agent id, also while it waits."""
    engaged: int
    """Runs that were begun."""
    limits: TimeLimits

    def chain_of(self, role: Role) -> tuple[str, ...]:
        """The models of a role."""
        ...

    async def engage(self, run: AgentRun, text: str) -> AgentOutcome: ...

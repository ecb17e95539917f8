"""Named agents: their ids, and the card that introduces one to people and to other agents."""

from __future__ import annotations

from agents.roles import AGENT_TYPES
from ledger.vocabulary import Record, Role, Seat


class AgentCard(Record):
    """What an agent is and may do."""

    id: str
    """`<project>.<role>.<name>`."""
    name: str
    role: Role
    seat: Seat | None = None
    title: str
    capabilities: tuple[str, ...]
    tier: int
    """The highest tier of what it may do."""


def agent_name(agent: str) -> str:
    """The name in an agent's id."""
    return agent.rsplit(".", 1)[-1]


def card(agent: str, role: Role, seat: Seat | None = None) -> AgentCard:
    """The card of a named agent."""
    kind = AGENT_TYPES[role]
    return AgentCard(
        id=agent, name=agent_name(agent), role=role, seat=seat, title=kind.title,
        capabilities=kind.capabilities, tier=kind.tier_ceiling,
    )  # fmt: skip

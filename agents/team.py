"""Named agents: their ids, and the card that introduces one to people and to other agents."""

from __future__ import annotations

from agents.roles import AGENT_TYPES
from ledger.teamwork import Card
from ledger.vocabulary import AgentState, Role, Seat


def agent_name(agent: str) -> str:
    """The name in an agent's id."""
    return agent.rsplit(".", 1)[-1]


def card(
    agent: str,
    role: Role,
    seat: Seat | None = None,
    *,
    skills: tuple[str, ...] = (),
    state: AgentState = AgentState.IDLE,
    task: str = "",
) -> Card:
    """The card of a named agent; `skills` are what it can do beside what its role can."""
    kind = AGENT_TYPES[role]
    return Card(
        id=agent, name=agent_name(agent), role=role, seat=seat, title=kind.title, tier=kind.tier_ceiling,
        capabilities=tuple(dict.fromkeys((*kind.capabilities, *skills))), state=state, task=task,
    )  # fmt: skip

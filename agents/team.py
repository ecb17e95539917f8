"""Named agents: who works on a task, chosen the same way every time, and the card that introduces them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from agents.roles import AGENT_TYPES
from ledger.vocabulary import Record, Role, Seat

NAMES: dict[Role, tuple[str, ...]] = {
    Role.PRODUCT_OWNER: ("olive", "otto"),
    Role.ANALYST: ("ada", "anton", "aiko"),
    Role.ARCHITECT: ("iris", "ivo"),
    Role.PROJECT_MANAGER: ("mira", "milo"),
    Role.ENGINEER: ("edda", "emil", "esra", "elio", "enya", "egon", "ella", "evan"),
    Role.QA: ("quinn", "quirin"),
    Role.DEVOPS: ("dora", "dario"),
    Role.JUDGE: ("juno", "jonas", "jade", "juri"),
}
"""First names by role; more agents than names get a number."""


class AgentCard(Record):
    """What an agent is, for people and for other agents."""

    id: str
    name: str
    role: Role
    seat: Seat | None = None
    title: str
    capabilities: tuple[str, ...]
    tier: int
    """The highest tier of what it may do."""


def agent_id(project: str, role: Role, name: str) -> str:
    """Id of a named agent: `<project>.<role>.<name>`."""
    return f"{project}.{role}.{name}"


def agent_name(agent: str) -> str:
    """The name in an agent's id."""
    return agent.rsplit(".", 1)[-1]


def choose(project: str, role: Role, task: str, *, exclude: Collection[str] = ()) -> str:
    """The agent for a task: the same one for the same task, spread over the names, none of `exclude` (agent ids)."""
    names = NAMES[role]
    start = int.from_bytes(hashlib.sha256(f"{project}/{task}".encode()).digest()[:4], "big") % len(names)
    for turn in range(len(exclude) // len(names) + 2):
        for offset in range(len(names)):
            name = names[(start + offset) % len(names)] + (f"-{turn + 1}" if turn else "")
            if (candidate := agent_id(project, role, name)) not in exclude:
                return candidate
    raise ValueError("there are more exclusions than candidates")


def judge(project: str, seat: Seat) -> str:
    """The agent on a seat of the council; each seat has its own."""
    return agent_id(project, Role.JUDGE, NAMES[Role.JUDGE][list(Seat).index(seat)])


def card(agent: str, role: Role, seat: Seat | None = None) -> AgentCard:
    """The card of a named agent."""
    kind = AGENT_TYPES[role]
    return AgentCard(
        id=agent, name=agent_name(agent), role=role, seat=seat, title=kind.title,
        capabilities=kind.capabilities, tier=kind.tier_ceiling,
    )  # fmt: skip

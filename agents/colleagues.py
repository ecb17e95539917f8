"""Whom an agent can ask: the people of its project, by role, name or id."""

from __future__ import annotations

from collections.abc import Sequence

from agents.team import agent_name


def find_colleague(wanted: str, own: str, colleagues: Sequence[str]) -> str | None:
    """The id of the colleague that is meant; the first one of a role, and never oneself.

    >>> find_colleague("Software Architect", "p.engineer.ada", ("p.architect.ada",))
    >>> find_colleague("architect", "p.engineer.ada", ("p.architect.ada",))
    'p.architect.ada'
    >>> find_colleague("engineer", "p.engineer.ada", ("p.engineer.ada", "p.engineer.grace"))
    'p.engineer.grace'
    """
    key = wanted.strip().lower().replace(" ", "_").replace("-", "_")
    others = [agent for agent in colleagues if agent != own]
    for names in (_id, agent_name, _role):
        if found := next((agent for agent in others if names(agent).lower().replace("-", "_") == key), None):
            return found
    return None


def _id(agent: str) -> str:
    return agent


def _role(agent: str) -> str:
    parts = agent.split(".")
    return parts[-2] if len(parts) > 1 else ""

"""Who works on what: agent names, agent ids, model chains. Pure and deterministic from ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from ledger.vocabulary import Role, Seat

NAMES = (
    "ada",
    "grace",
    "barbara",
    "edsger",
    "donald",
    "frances",
    "katherine",
    "alan",
    "hedy",
    "niklaus",
    "radia",
    "tony",
    "margaret",
    "leslie",
    "karen",
    "dennis",
    "lynn",
    "kristen",
    "annie",
    "ken",
    "mary",
    "john",
    "jean",
    "robin",
)
"""Half of the names begin tasks, the other half relieve them, so that a relief is never somebody at work next door."""

BEGINNERS = NAMES[: len(NAMES) // 2]

DEFAULT_CHAIN = ("offline/maintainer",)
"""What works with no key and no network."""


def place_of(workflow_id: str) -> int:
    """A stable number for whoever has no place in a plan."""
    return int.from_bytes(hashlib.sha256(workflow_id.encode()).digest()[:4])


def agent_id(project: str, role: Role, place: int, shift: int = 0) -> str:
    """`<project>.<role>.<name>`; `place` tells neighbours apart, `shift` counts the agents given up."""
    half = len(NAMES) // 2
    index = place % half if shift == 0 else half + (place + shift - 1) % half
    return named(project, role, NAMES[index])


def named(project: str, role: Role, name: str) -> str:
    """The id of an agent whose name is known."""
    return f"{project}.{role.value}.{name}"


def judge_id(project: str, seat: Seat) -> str:
    return f"{project}.{Role.JUDGE.value}.{seat.value}"


def chain_of(models: Mapping[str, tuple[str, ...]], role: Role) -> tuple[str, ...]:
    """The models for a role: its own, else those under `default`, else the offline model."""
    return models.get(role.value) or models.get("default") or DEFAULT_CHAIN


def roster(project: str, at_work: Iterable[str] = ()) -> tuple[str, ...]:
    """Whom one can ask: those at work first, then one agent of each role, the same one in the whole project."""
    others = (agent_id(project, role, 0) for role in Role if role is not Role.JUDGE)
    return tuple(dict.fromkeys((*at_work, *others)))

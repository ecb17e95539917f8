"""The mediator and the bidder: a choice out of the reasons that were given, and an honest guess at a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.assignments import Bid, Mediation
from agents.offline.intents import ANALYZE, REPAIR, TIDY, read_goal
from agents.offline.script import Desk, Script, finish

USUAL_STEPS = {REPAIR: 12, TIDY: 6, ANALYZE: 5}
"""Turns that the rules need as a rule."""


@dataclass(frozen=True)
class Side:
    """What speaks for one option."""

    option: str
    confidence: int
    """Sum of its voters' confidence."""
    reasons: int
    """Different reasons that name something that can be looked up: a path, a test, a number."""


def mediate(desk: Desk) -> Script:
    """Choose the option with the most checkable reasons, then the surest voters, then the one listed first."""
    yield from ()
    options = [str(option) for option in _list(desk.assignment.params.get("options"))]
    if not options:
        return finish("There is nothing to choose from.", Mediation(choice="", reasoning="no options", confidence=0))
    sides = [_side(option, _list(desk.assignment.params.get("votes"))) for option in options]
    best = max(sides, key=lambda side: (side.reasons, side.confidence, -options.index(side.option)))
    decided_by = "reasons that can be checked" if _differ(sides, "reasons") else "how sure its voters are"
    if not _differ(sides, "reasons") and not _differ(sides, "confidence"):
        decided_by = "its place: the reasons weigh the same and it is the first option"
    others = "; ".join(f"{side.option}: {side.reasons} checkable reasons, {side.confidence} %" for side in sides)
    reasoning = f"Chosen by rules, without a language model, by {decided_by}. {others}."
    share = best.confidence / max(sum(side.confidence for side in sides), 1)
    return finish("I have looked at the reasons.", Mediation(choice=best.option, reasoning=reasoning, confidence=share))


def _differ(sides: list[Side], name: str) -> bool:
    values = sorted((getattr(side, name) for side in sides), reverse=True)
    return len(values) < 2 or values[0] != values[1]


def _side(option: str, votes: list[Any]) -> Side:
    own = [vote for vote in votes if isinstance(vote, dict) and vote.get("choice") == option]
    reasons = {str(vote.get("reasoning", "")).strip().lower() for vote in own}
    checkable = sum(
        any(mark in reason for mark in ("/", "::", ".py", "`")) or _has_number(reason) for reason in reasons
    )
    return Side(option, sum(int(vote.get("confidence", 0)) for vote in own), checkable)


def _has_number(text: str) -> bool:
    return any(char.isdigit() for char in text)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def bid(desk: Desk) -> Script:
    """What the rules would need, and how sure they are: sure of the kinds of work they know, of nothing else."""
    yield from ()
    assignment = desk.assignment
    named = assignment.params.get("intent")
    served = read_goal(f"{assignment.title}. {assignment.instructions}").served
    intent = named if named in USUAL_STEPS else next(iter(served), None)
    if intent is None:
        return finish("I cannot do this.", Bid(estimate_steps=1, confidence=0, reasons=("no rule serves this task",)))
    confidence = 0.7 if intent == REPAIR else 0.9
    return finish(
        "This is my bid.",
        Bid(estimate_steps=USUAL_STEPS[intent], confidence=confidence, reasons=(f"a task of the kind {intent}",)),
    )

"""Trying candidates in batches and choosing among those that turn the tests green."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.offline.script import Desk, Steps
from agents.offline.templates import Candidate

_BATCHES = (6, 20)
"""Candidates in the first batches, since most bugs fall to the best ranked ones."""
_NEXT = 60
_RESERVE = 6
"""Turns kept for applying a patch, running the gate and finishing."""


@dataclass
class Outcome:
    """How the candidates of one group did. `good` fix every test and break none; the best comes first."""

    good: list[Candidate] = field(default_factory=list[Candidate])
    partial: list[tuple[Candidate, tuple[str, ...]]] = field(default_factory=list[tuple[Candidate, tuple[str, ...]]])
    """Candidates that turn some tests green, with what still fails."""
    breaking: list[Candidate] = field(default_factory=list[Candidate])
    """Candidates that fix the tests and break others."""
    tried: int = 0
    refused: str | None = None


def try_in_batches(desk: Desk, candidates: list[Candidate], tests: list[str], what: str) -> Steps[Outcome]:
    """Try candidates, the most suspicious first, until a batch holds one that fixes the tests and breaks none."""
    outcome = Outcome()
    waiting, sizes = list(candidates), list(_BATCHES)
    while waiting and desk.turns_left > _RESERVE:
        size = sizes.pop(0) if sizes else _NEXT
        batch, waiting = waiting[:size], waiting[size:]
        say = f"{what}: I try {len(batch)} patches on a copy, {outcome.tried} were tried before."
        named = {f"c{outcome.tried + n:03d}": candidate for n, candidate in enumerate(batch, 1)}
        asked = [{"id": name, "edits": [e.as_json() for e in c.edits]} for name, c in named.items()]
        result = yield from desk.use(say, "try_patch", candidates=asked, tests=tests, suite=True)
        if not result.ok:
            outcome.refused = result.error
            break
        untried = [named[str(name)] for name in result.get("untried", []) if str(name) in named]
        if len(untried) == len(batch):
            outcome.refused = "the time for trying ran out before the first of them"
            break
        outcome.tried += len(batch) - len(untried)
        waiting = [*untried, *waiting]
        for row in result.get("results", []):
            if isinstance(row, dict) and str(row.get("id")) in named:
                _sort_in(outcome, named[str(row["id"])], row, tests)
        if outcome.good or (outcome.partial and outcome.tried >= sum(_BATCHES) and len(tests) > 1):
            break  # a patch that mends a part of the tests says that they have more than one cause
    outcome.good.sort(key=lambda c: (-c.score, c.path, c.line))
    return outcome


def _sort_in(outcome: Outcome, candidate: Candidate, row: dict[str, Any], tests: list[str]) -> None:
    fixed, broken = bool(row.get("fixed")), row.get("broken") or ()
    still = tuple(str(test) for test in row.get("still_failing") or ())
    if fixed and not broken and row.get("suite_passed") is not False:
        outcome.good.append(candidate)
    elif fixed:
        outcome.breaking.append(candidate)
    elif still and len(still) < len(tests):
        outcome.partial.append((candidate, still))

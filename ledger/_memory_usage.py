"""What the in-memory twin says about spending: the same as the views `syndic.usage` and `syndic.cost`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import Decimal
from typing import TypeVar

from ledger._memory_state import Attempt, State
from ledger.chain import decimal_text
from ledger.rows import CostBy, CostRow, ThreadInfo, UsageRow
from ledger.vocabulary import StepStatus, Usage

K = TypeVar("K", str, tuple[int, str, str, str, str])

UNKNOWN_MODEL = "unknown"
"""Whose bill an attempt in doubt is: which model of the chain was asked last is not known."""

_NAMES: dict[CostBy, Callable[[ThreadInfo, Attempt], str]] = {
    CostBy.AGENT: lambda info, attempt: info.agent,
    CostBy.ROLE: lambda info, attempt: info.role,
    CostBy.MODEL: lambda info, attempt: attempt.model or UNKNOWN_MODEL,
    CostBy.SPRINT: lambda info, attempt: f"s{info.sprint}",
    CostBy.DAY: lambda info, attempt: attempt.asked_at.astimezone(UTC).date().isoformat(),
    CostBy.TASK: lambda info, attempt: f"s{info.sprint}/{info.task}",
}


def usage_rows(state: State, project: str) -> list[UsageRow]:
    """Spending by sprint, task, role, agent and model."""

    def group(info: ThreadInfo, attempt: Attempt) -> tuple[int, str, str, str, str]:
        return info.sprint, info.task, info.role, info.agent, attempt.model or UNKNOWN_MODEL

    return [_usage_row(key, attempts) for key, attempts in _grouped(state, project, group)]


def cost_rows(state: State, project: str, by: CostBy) -> list[CostRow]:
    """Spending by one dimension."""
    return [_cost_row(name, attempts) for name, attempts in _grouped(state, project, _NAMES[by])]


def _grouped(state: State, project: str, name: Callable[[ThreadInfo, Attempt], K]) -> list[tuple[K, Sequence[Attempt]]]:
    groups: defaultdict[K, list[Attempt]] = defaultdict(list)
    for key in sorted(state.attempts):
        info = state.threads[key[0]].info
        for attempt in state.attempts[key] if info.project == project else ():
            if attempt.state in (StepStatus.DONE, StepStatus.IN_DOUBT) or attempt.cost > 0:
                groups[name(info, attempt)].append(attempt)
    return [(key, groups[key]) for key in sorted(groups)]


def _usage_row(key: tuple[int, str, str, str, str], attempts: Sequence[Attempt]) -> UsageRow:
    sprint, task, role, agent, model = key
    usage = [attempt.usage or Usage() for attempt in attempts]
    return UsageRow(
        sprint=sprint,
        task=task,
        role=role,
        agent=agent,
        model=model,
        calls=_calls(attempts),
        in_doubt=len(attempts) - _settled(attempts),
        prompt_tokens=sum(one.prompt_tokens for one in usage),
        completion_tokens=sum(one.completion_tokens for one in usage),
        cost_usd=_cost(attempts),
    )


def _cost_row(name: str, attempts: Sequence[Attempt]) -> CostRow:
    usage = [attempt.usage or Usage() for attempt in attempts]
    return CostRow(
        name=name,
        calls=_calls(attempts),
        in_doubt=len(attempts) - _settled(attempts),
        prompt_tokens=sum(one.prompt_tokens for one in usage),
        completion_tokens=sum(one.completion_tokens for one in usage),
        cached_tokens=sum(one.cached_tokens for one in usage),
        reasoning_tokens=sum(one.reasoning_tokens for one in usage),
        cost_usd=_cost(attempts),
    )


def _calls(attempts: Sequence[Attempt]) -> int:
    return sum(attempt.state is StepStatus.DONE for attempt in attempts)


def _settled(attempts: Sequence[Attempt]) -> int:
    return sum(attempt.state is not StepStatus.IN_DOUBT for attempt in attempts)


def _cost(attempts: Sequence[Attempt]) -> Decimal:
    charged = (one.bound.usd if one.state is StepStatus.IN_DOUBT else one.cost for one in attempts)
    return Decimal(decimal_text(sum(charged, Decimal(0))))

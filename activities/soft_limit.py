"""The soft limit of budgets: said to people while there is still time to raise it. The ledger has it from the settlement itself."""

from __future__ import annotations

from collections.abc import Sequence

from agents.feed import Feed
from ledger.rows import Budget
from ledger.vocabulary import SOFT_LIMIT_PERCENT, Json, dollars, is_low


async def soft_limit_notices(budgets: Sequence[Budget], feed: Feed) -> tuple[str, ...]:
    """What to say of a scope and its ancestors, root first; the live feed shows each once for each limit."""
    low = [notice for budget in budgets for notice in _notices(budget)]
    for budget, limit, text in low:
        project = budget.scope.partition("/")[0]
        event: dict[str, Json] = {"type": "budget", "text": text, "data": budget.model_dump(mode="json")}
        await feed.publish_once(project, f"budget_low:{budget.scope}:{limit}", event)
    return tuple(text for _, _, text in low)


def _notices(budget: Budget) -> list[tuple[Budget, str, str]]:
    """The limits that are low, each with its name and the notice, which is the same for everybody as long as it stands."""
    found: list[tuple[Budget, str, str]] = []
    if budget.limit_usd is not None and is_low(budget.spent_usd, budget.limit_usd):
        found.append((budget, f"{budget.limit_usd}", _text(budget, f"{dollars(budget.limit_usd)} USD")))
    if budget.limit_tokens is not None and is_low(budget.spent_tokens, budget.limit_tokens):
        found.append((budget, f"{budget.limit_tokens} tokens", _text(budget, f"{budget.limit_tokens:,} tokens")))
    return found


def _text(budget: Budget, limit: str) -> str:
    return f"budget {budget.scope}: {SOFT_LIMIT_PERCENT} % of {limit} are spent; at the limit the work waits for more"

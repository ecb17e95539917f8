"""What a workflow's agents have cost so far, in money and tokens. Pure."""

from __future__ import annotations

from decimal import Decimal

from agents.runs import AgentOutcome


class Tally:
    """Sums money, tokens and model calls; a thread that is run again reports its whole lineage and is counted once."""

    def __init__(self) -> None:
        self._threads: dict[str, tuple[int, Decimal, int]] = {}
        self._calls = 0
        self._cost = Decimal(0)
        self._tokens = 0

    def count(self, outcome: AgentOutcome) -> None:
        """Take in one run of an agent."""
        calls, cost, tokens = self._threads.get(outcome.thread, (0, Decimal(0), 0))
        self._threads[outcome.thread] = (
            max(calls, outcome.model_calls),
            max(cost, outcome.cost_usd),
            max(tokens, outcome.tokens),
        )

    def add(self, calls: int, cost: Decimal, tokens: int) -> None:
        """Take in what a child workflow reports."""
        self._calls += calls
        self._cost += cost
        self._tokens += tokens

    @property
    def model_calls(self) -> int:
        return self._calls + sum(calls for calls, _, _ in self._threads.values())

    @property
    def cost_usd(self) -> Decimal:
        return self._cost + sum((cost for _, cost, _ in self._threads.values()), start=Decimal(0))

    @property
    def tokens(self) -> int:
        return self._tokens + sum(tokens for _, _, tokens in self._threads.values())

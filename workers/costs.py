"""How spending is shown: a headline, a table, bars, and one JSON document with exact amounts."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from ledger.rows import Budget, CostBy, CostRow, UsageRow
from ledger.vocabulary import Json, dollars

BAR_LIMIT = 40
EIGHTHS = " ▏▎▍▌▋▊▉"
IN_ORDER = frozenset({CostBy.SPRINT, CostBy.DAY, CostBy.TASK})
"""Dimensions that people read in their own order; of the others the dearest comes first."""


def document(
    project: str, budget: Budget, rows: Sequence[CostRow] | Sequence[UsageRow], by: CostBy | None = None
) -> dict[str, Json]:
    """The JSON document of `syndic cost`; amounts are exact, as text."""
    return {
        "project_id": project,
        "budget": budget.model_dump(mode="json"),
        "cost_usd": f"{_sum(rows):f}",
        **({"by": by.value} if by else {}),
        "rows": [{**row.model_dump(mode="json"), "cost_usd": f"{row.cost_usd:f}"} for row in rows],
    }


def headline(budget: Budget) -> str:
    """What is spent, of what limit, and what is held back for calls in flight."""
    limit = "no limit" if budget.limit_usd is None else f"of {dollars(budget.limit_usd)}"
    blocked = "; BLOCKED: a bill exceeded its reservation" if budget.violated else ""
    money = f"spent {dollars(budget.spent_usd)} {limit} USD, {dollars(budget.reserved_usd)} reserved"
    return f"{money}{_tokens(budget)}{blocked}"


def _tokens(budget: Budget) -> str:
    if budget.limit_tokens is None:
        return ""
    return f"; {budget.spent_tokens:,} of {budget.limit_tokens:,} tokens, {budget.reserved_tokens:,} reserved"


def table(rows: Sequence[UsageRow]) -> str:
    """Spending by task, agent and model as aligned columns."""
    head = ("task", "agent", "model", "calls", "in doubt", "tokens in", "tokens out", "USD")
    cells = [
        (
            f"s{row.sprint}/{row.task}",
            row.agent,
            row.model,
            f"{row.calls}",
            f"{row.in_doubt}",
            f"{row.prompt_tokens}",
            f"{row.completion_tokens}",
            dollars(row.cost_usd),
        )
        for row in rows
    ]
    return _aligned([head, *cells], left=3)


def bars(rows: Sequence[CostRow], by: CostBy, width: int = 80) -> str:
    """Spending by one dimension, each with its share of the whole as a bar.

    Where nothing was charged (the offline model), the bars show calls instead, and the heading says so.
    """
    costs = any(row.cost_usd for row in rows)
    shares = {row.name: row.cost_usd if costs else Decimal(row.calls) for row in rows}
    whole = sum(shares.values(), Decimal(0)) or Decimal(1)
    ordered = (
        sorted(rows, key=_natural) if by in IN_ORDER else sorted(rows, key=lambda row: (-shares[row.name], row.name))
    )
    head = (
        by.value,
        "USD",
        "calls",
        "in doubt",
        "tokens in",
        "tokens out",
        "share of cost" if costs else "share of calls",
    )
    cells = [
        (
            row.name,
            dollars(row.cost_usd),
            f"{row.calls}",
            f"{row.in_doubt}",
            f"{row.prompt_tokens}",
            f"{row.completion_tokens}",
            f"{shares[row.name] / whole:>4.0%}",
        )
        for row in ordered
    ]
    lines = _aligned([head, *cells], left=1).splitlines()
    room = min(BAR_LIMIT, max(width - max(map(len, lines)) - 1, 8))
    drawn = [
        _bar(float(shares[row.name] / max(shares.values(), default=whole) if shares[row.name] else 0), room)
        for row in ordered
    ]
    return "\n".join(f"{line} {bar}".rstrip() for line, bar in zip(lines, ["", *drawn], strict=True))


def _bar(part: float, width: int) -> str:
    eighths = round(part * width * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _natural(row: CostRow) -> tuple[int, str]:
    sprint = row.name.partition("/")[0].removeprefix("s")
    return (int(sprint) if sprint.isdigit() else 0, row.name)


def _sum(rows: Sequence[CostRow] | Sequence[UsageRow]) -> Decimal:
    return sum((row.cost_usd for row in rows), Decimal(0))


def _aligned(lines: Sequence[Sequence[str]], left: int) -> str:
    """Columns of one width each; the first `left` flush left, figures flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

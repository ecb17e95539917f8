"""How spending is shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.rows import Budget, CostBy, CostRow
from ledger.vocabulary import dollars
from workers import costs


def row(name: str, cost: str, calls: int = 1) -> CostRow:
    return CostRow(
        name=name, calls=calls, in_doubt=0, prompt_tokens=10, completion_tokens=2, cached_tokens=0, reasoning_tokens=0,
        cost_usd=Decimal(cost),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0E-9", "0.00"),
        ("0.000000000", "0.00"),
        ("5", "5.00"),
        ("5.000000000", "5.00"),
        ("0.050", "0.05"),
        ("0.0123", "0.0123"),
        ("0.00004", "<0.0001"),
        ("0.00011", "0.0001"),
        ("0.99999", "1.00"),
        ("1234.567", "1234.57"),
    ],
)
def test_money_has_two_to_four_decimals(amount: str, shown: str) -> None:
    assert dollars(Decimal(amount)) == shown


def test_the_dearest_comes_first_with_the_longest_bar() -> None:
    lines = costs.bars([row("a", "0.25"), row("b", "0.75")], CostBy.AGENT, width=120).splitlines()
    assert lines[0].split()[0] == "agent"
    assert [line.split()[:2] for line in lines[1:]] == [["b", "0.75"], ["a", "0.25"]]
    assert [line.count("█") for line in lines] == [0, 40, 13]
    assert "75%" in lines[1]


def test_sprints_and_days_come_in_their_order() -> None:
    sprints = costs.bars([row(name, "0.1") for name in ("s10", "s2", "s0")], CostBy.SPRINT).splitlines()
    assert [line.split()[0] for line in sprints[1:]] == ["s0", "s2", "s10"]
    days = costs.bars([row("2026-01-03", "0.5"), row("2026-01-02", "0.1")], CostBy.DAY).splitlines()
    assert [line.split()[0] for line in days[1:]] == ["2026-01-02", "2026-01-03"]


def test_where_nothing_was_charged_the_bars_show_calls() -> None:
    lines = costs.bars([row("a", "0", calls=3), row("b", "0", calls=1)], CostBy.ROLE, width=120).splitlines()
    assert "share of calls" in lines[0]
    assert lines[1].count("█") > lines[2].count("█") > 0


def test_a_narrow_terminal_and_no_rows_at_all_do_no_harm() -> None:
    assert max(map(len, costs.bars([row("a", "0.25")], CostBy.AGENT, width=20).splitlines())) < 90
    assert costs.bars([], CostBy.AGENT).splitlines() == [costs.bars([], CostBy.AGENT)]


def test_json_keeps_exact_amounts_without_exponents() -> None:
    budget = Budget(scope="p", limit_usd=Decimal("5"), reserved_usd=Decimal(0), spent_usd=Decimal("0.0000001"))
    shown = costs.document("p", budget, [row("a", "0.0000001")], CostBy.AGENT)
    assert (shown["cost_usd"], shown["rows"][0]["cost_usd"], shown["by"]) == ("0.0000001", "0.0000001", "agent")
    assert costs.headline(budget) == "spent <0.0001 of 5.00 USD, 0.00 reserved"
    limited = budget.model_copy(update={"limit_tokens": 2_000_000, "spent_tokens": 12_345})
    assert costs.headline(limited).endswith("; 12,345 of 2,000,000 tokens, 0 reserved")

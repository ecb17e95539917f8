"""`syndic demo --outage` unattended: failover, a circuit that opens and closes, a budget that is reached, and nothing left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.demo.test_demo import FIELDS, processes_in, start, temporary

__all__ = ["temporary"]

MORE = {"failovers", "budget_approvals", "in_doubt", "synthetic_prices"}


@pytest.mark.chaos
def test_an_outage_and_an_empty_budget_stop_nothing(temporary: Path) -> None:
    process = start(temporary, "--outage")
    output, errors = process.communicate(timeout=220)
    assert process.returncode == 0, output[-4000:] + errors
    last = json.loads(output.splitlines()[-1])
    assert set(last) == FIELDS | MORE
    assert (last["state"], last["ledger_verified"], last["synthetic_prices"]) == ("done", True, True)
    assert last["failovers"] >= 1
    assert last["budget_approvals"] >= 1
    assert last["cost_usd"] > 0.8
    assert '"budget_usd": "1.6"' in output, "the line that answers the request for more budget was not shown"
    assert "synthetic prices, which nobody is billed" in output
    assert "MISSING" not in output
    assert list(temporary.iterdir()) == []
    assert processes_in(temporary) == []

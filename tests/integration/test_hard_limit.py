"""A budget that allows part of the work, on real processes: the task waits for a person and goes on where it stood."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from agents.rehearsal import provider as rehearsal
from agents.rehearsal import server
from agents.rehearsal.script import Bill, Rule, Said, Saying
from agents.rehearsal.wire import Asked
from tests.support.running import Running, eventually, make_repository, running

MODEL = "openai/rehearsed"
PRICES = {MODEL: {"prompt": 10, "completion": 10}}
"""US dollars for a million tokens of either kind, so that both limits are met in the same way."""
BILL = Bill(of_estimate=0.9)
LITTLE = Bill(prompt_tokens=100, completion_tokens=10)
INSTRUCTIONS = "Read big.txt line by line."
READS = 20
"""Calls of the analyst before it reports."""
# A call's bound is under a fifth of each limit, so that four fifths are spent before one finds no room.
LIMITS = {
    "usd": {"budget_usd": "2"},
    "tokens": {"budget_usd": "50", "budget_tokens": 200_000},
}
RAISED = {"usd": {"budget_usd": "20"}, "tokens": {"budget_tokens": 2_000_000}}


@dataclass
class Seen:
    """One project up to its end."""

    limited: str
    request: dict[str, Any]
    """The approval as the query `approvals` showed it."""
    status: dict[str, Any]
    inbox: list[str]
    """Workflows that the query of the inbox found while it waited."""
    asked: int
    """Calls at the provider when the request was open."""
    asked_before: int
    """Calls at the provider before the project began."""
    waiting: dict[str, Any]
    """The project's budget at that time."""
    refused: str = ""
    """Why the approval that raised nothing did not count."""
    report: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)


class Reader(rehearsal.Provider):
    """The task's analyst reads and reports, its judges approve; the maintainer answers for all others, for little money.

    With every call it looks at the budgets, as they stand while the call is in flight.
    """

    def __init__(self) -> None:
        super().__init__()
        self.database = ""
        self.requests: Counter[str] = Counter()
        self.excesses: list[dict[str, Any]] = []
        self.busy: list[dict[str, Any]] = []

    def rule_for(self, asked: Asked) -> Rule:
        told = asked.messages[1]["content"]
        if INSTRUCTIONS not in told:
            return Rule(bill=LITTLE)
        if '"role": "judge"' in told:
            said = Said(name="finish", arguments={"verdict": "approve", "confidence": 0.9, "reasons": ["it was read"]})
        elif asked.turn < READS:
            said = Said(name="read_file", arguments={"path": "big.txt", "start": asked.turn + 1, "end": asked.turn + 1})
        else:
            said = Said(name="finish", arguments={"summary": "read", "markdown": "# Read", "findings": []})
        return Rule(say=Saying(calls=(said,)), bill=BILL)

    def before_answer(self, number: int, asked: Asked) -> None:
        rows = budgets(self.database)
        self.requests[json.dumps(asked.body, sort_keys=True)] += 1
        self.busy += [row for row in rows if row["reserved_tokens"] > 0]
        self.excesses += [row for row in rows if not within(row)]


def budgets(database: str) -> list[dict[str, Any]]:
    with psycopg.connect(database) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("SELECT * FROM syndic.budgets ORDER BY depth, scope").fetchall()


def within(row: dict[str, Any]) -> bool:
    usd, tokens = row["spent_usd"] + row["reserved_usd"], row["spent_tokens"] + row["reserved_tokens"]
    return (row["limit_usd"] is None or usd <= row["limit_usd"]) and (
        row["limit_tokens"] is None or tokens <= row["limit_tokens"]
    )


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, reader: Reader) -> Iterator[Running]:
    with server.serving(reader) as url:
        keys = {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": f"{url}/v1", "SYNDIC_PRICES": json.dumps(PRICES)}
        with running(tmp_path_factory.mktemp("limit"), keys) as started:
            reader.database = started.addresses["database_url"]
            started.start_worker()
            started.make_current()
            yield started


@pytest.fixture(scope="module", params=["usd", pytest.param("tokens", marks=pytest.mark.chaos)])
def seen(request: pytest.FixtureRequest, stack: Running, reader: Reader) -> Seen:
    limited: str = request.param
    project, before = f"short-{limited}", reader.calls
    _start(stack, project, LIMITS[limited])
    workflow = f"project/{project}/sprint/1/task/read"
    asks = eventually(lambda: _open_request(stack, workflow), "a request for more budget", within_s=120)
    inbox = eventually(lambda: _inbox(stack, project), "the task in the inbox")
    found = Seen(
        limited=limited,
        request=asks,
        status=stack.query(workflow, "status"),
        inbox=inbox,
        asked=reader.calls,
        asked_before=before,
        waiting=_budget(stack, project),
    )
    decision = {"approval": asks["id"], "decision": "approve", "by": "pat", "digest": asks["digest"]}
    for more in (LIMITS[limited], RAISED[limited]):
        _signal(stack, workflow, {**decision, **more})
    refusals = eventually(lambda: stack.query(workflow, "approvals")["refused"], "the refusal")
    found.refused = refusals[0]["reason"]
    done = stack.temporal("workflow", "result", "--workflow-id", f"project/{project}", "--output", "json")
    found.report = json.loads(done.stdout)["result"]
    found.cost = json.loads(stack.syndic("cost", project, "--json").stdout)
    return found


def _start(stack: Running, project: str, limits: dict[str, Any]) -> None:
    repository = make_repository(stack.folder / project, {"big.txt": "line\n" * 20, "README.md": f"# {project}\n"})
    task = {"id": "read", "kind": "analysis", "instructions": INSTRUCTIONS, "role": "analyst"}
    spec = {"goal": "Analyze the repository", "repository": str(repository), "project_id": project, "tasks": [task]}
    brief: Path = stack.folder / f"{project}.json"
    brief.write_text(json.dumps({**spec, **limits, "autonomy": "autonomous", "models": {"default": [MODEL]}}))
    stack.syndic("run", str(brief))


def _open_request(stack: Running, workflow: str) -> dict[str, Any] | None:
    done = stack.temporal(
        "workflow", "query", "--workflow-id", workflow, "--name", "approvals", "--output", "json", check=False
    )
    if done.returncode:
        return None  # the task has not begun
    waiting = json.loads(done.stdout)["queryResult"][0]["open"] or ()
    return next((one for one in waiting if one["kind"] == "budget"), None)


def _inbox(stack: Running, project: str) -> list[str]:
    query = f"SyndicAwaiting='budget' AND SyndicProject='{project}' AND ExecutionStatus='Running'"
    listed = json.loads(stack.temporal("workflow", "list", "--query", query, "--output", "json").stdout)
    return [row["execution"]["workflowId"] for row in listed]


def _signal(stack: Running, workflow: str, decision: dict[str, Any]) -> None:
    stack.temporal("workflow", "signal", "--workflow-id", workflow, "--name", "decide", "--input", json.dumps(decision))


def _budget(stack: Running, scope: str) -> dict[str, Any]:
    return next(row for row in budgets(stack.addresses["database_url"]) if row["scope"] == scope)


def test_the_task_waits_with_a_request_that_names_the_limit(seen: Seen) -> None:
    assert seen.inbox == [f"project/short-{seen.limited}/sprint/1/task/read"]
    assert seen.request["subject"].get("exceeded", "usd") == seen.limited
    unit = {"usd": "limit 2 USD", "tokens": "limit 200000 tokens"}[seen.limited]
    assert unit in seen.request["summary"]
    assert [request["kind"] for request in seen.status["awaiting"]] == ["budget"]
    assert any("80 % of" in notice for notice in seen.status["notices"]), "the soft limit was not said"


def test_nothing_is_held_back_while_it_waits_and_the_work_has_begun(seen: Seen) -> None:
    assert (seen.waiting["reserved_usd"], seen.waiting["reserved_tokens"]) == (0, 0)
    assert within(seen.waiting)
    assert 1 < seen.asked - seen.asked_before < seen.report["model_calls"]
    assert seen.status["tokens"] > 0


def test_an_approval_that_raises_nothing_is_refused(seen: Seen) -> None:
    assert "more than the present limit" in seen.refused or "limit of 200000 tokens was met" in seen.refused


def test_with_a_raised_limit_the_project_ends_well_and_no_step_is_asked_twice(seen: Seen, reader: Reader) -> None:
    assert seen.report["state"] == "done", seen.report
    assert [task["state"] for task in seen.report["tasks"]] == ["reported"]
    assert (seen.report["in_doubt"], seen.report["ledger_verified"]) == (0, True)
    assert reader.calls == sum(reader.requests.values())
    assert max(reader.requests.values()) == 1, "a request was sent twice"


def test_limits_hold_at_every_call_and_nothing_stays_reserved(seen: Seen, stack: Running, reader: Reader) -> None:
    budget = seen.cost["budget"]
    assert (Decimal(budget["reserved_usd"]), budget["reserved_tokens"]) == (0, 0)
    rows = seen.cost["rows"]
    assert Decimal(budget["spent_usd"]) == sum(Decimal(row["cost_usd"]) for row in rows)
    assert budget["spent_tokens"] == sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    assert reader.busy, "no call was seen in flight: nothing was tested"
    assert reader.excesses == []
    for scope in (row for row in budgets(stack.addresses["database_url"]) if row["scope"].startswith("short-")):
        assert (scope["reserved_usd"], scope["reserved_tokens"], scope["violated"]) == (0, 0, False)


def test_cost_and_status_show_tokens_against_their_limit(seen: Seen, stack: Running) -> None:
    project = f"short-{seen.limited}"
    cost, status = stack.syndic("cost", project).stdout, stack.syndic("status", project).stdout
    assert ("of 2,000,000 tokens" in cost) == (seen.limited == "tokens")
    assert (" tokens\n" in status.splitlines(keepends=True)[0]) == (seen.limited == "tokens")

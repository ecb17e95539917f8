"""The board as people see it: plain lines say only what is new, the live board shows everything."""

from __future__ import annotations

import io
import json
import shlex
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from ledger.vocabulary import Answer, ApprovalKind, Autonomy, Mode, Phase, TaskKind, TaskState
from workers import operations
from workers.board import Lines, LiveBoard, Snapshot, closing_lines, open_view, render
from workers.session import Session
from workers.stack import Addresses
from workflows.answering import Waiting
from workflows.approval_models import ApprovalView, Decision
from workflows.approvals import ApprovalBook
from workflows.reports import ProjectReport
from workflows.views import StatusView, TaskView

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ADDRESSES = Addresses(
    temporal="127.0.0.1:7233",
    namespace="default",
    database_url="postgresql://x",
    redis_url="redis://x",
    state_dir=Path("/nowhere"),
)
REQUEST = ApprovalView(
    id="plan-1",
    kind=ApprovalKind.PLAN,
    digest="d" * 64,
    subject={"sprints": 1},
    summary="One sprint with 3 tasks",
    on_approve="the sprint starts",
    on_reject="the project ends",
    workflow_id="project/shop",
    requested_at=NOW,
    expires_at=NOW,
)


WAITING = Waiting.of(REQUEST)


def session() -> Session:
    return Session(ADDRESSES, cast("Any", None))


def status(**more: Any) -> StatusView:
    fields: dict[str, Any] = {
        "project": "shop", "workflow_id": "project/shop", "phase": Phase.SPRINTS, "detail": "", "mode": Mode.AUTO,
        "autonomy": Autonomy.MILESTONE, "paused": False, "awaiting": (), "refused": 0, "cost_usd": Decimal("0.0125"),
        "budget_usd": Decimal(5),
    }  # fmt: skip
    return StatusView(**fields | more)


def task(name: str, state: TaskState, **more: Any) -> TaskView:
    return TaskView(id=name, title=f"The {name}", kind=TaskKind.CHANGE, state=state, **more)


def lines() -> tuple[Lines, io.StringIO]:
    text = io.StringIO()
    return Lines(session(), Console(file=text, width=200), clock=lambda: 7.0), text


def drawn(snapshot: Snapshot, events: list[str]) -> str:
    console = Console(file=io.StringIO(), record=True, width=160)
    console.print(render(session(), snapshot, events))
    return console.export_text()


def test_the_printed_line_approves_what_was_shown() -> None:
    line = operations.quoted(operations.decide_command(ADDRESSES, WAITING, "me"))
    words = shlex.split(line)
    assert words[:3] == ["temporal", "workflow", "signal"]
    assert words[words.index("--address") + 1] == "127.0.0.1:7233"
    assert words[words.index("--workflow-id") + 1] == "project/shop"
    assert json.loads(words[-1]) == {"approval": "plan-1", "decision": "approve", "by": "me", "digest": "d" * 64}


def test_the_line_for_more_budget_names_a_new_limit_and_is_accepted() -> None:
    book = ApprovalBook("project/shop", "shop.")
    subject: dict[str, Any] = {"scope": "shop", "limit_usd": "0.25", "cost_usd": "0.24"}
    texts = {"summary": "more", "on_approve": "it goes on", "on_reject": "it fails"}
    request = book.request(ApprovalKind.BUDGET, subject, **texts, now=NOW, ttl=timedelta(hours=1))
    words = operations.decide_command(ADDRESSES, Waiting.of(request), "me")
    decision = Decision.model_validate_json(words[-1])
    assert decision.budget_usd == Decimal("0.5")
    assert book.decide(decision, NOW).accepted
    assert "budget_usd" not in operations.decide_command(ADDRESSES, Waiting.of(request), "me", Answer.REJECT)[-1]


def test_a_persons_own_temporal_needs_no_address() -> None:
    own = cast("Addresses", SimpleNamespace(profile=object()))
    assert operations.temporal_command(own, "workflow", "list", "--limit") == [
        "temporal",
        "workflow",
        "list",
        "--limit",
    ]


def test_plain_lines_say_what_is_new_and_nothing_twice() -> None:
    view, text = lines()
    first = Snapshot("shop", status=status(), tasks=(task("repair", TaskState.RUNNING, agent="ada"),))
    view.show(first)
    view.show(first)
    assert text.getvalue().splitlines() == [
        "   0.0  phase      sprints",
        "   0.0  task       repair                   running ada",
    ]


def test_plain_lines_show_a_request_once_with_the_line_that_answers_it() -> None:
    view, text = lines()
    for _ in range(2):
        view.show(Snapshot("shop", status=status(), requests=(WAITING,)))
    assert text.getvalue().count("temporal workflow signal") == 1
    assert "approval   plan-1 (plan): One sprint with 3 tasks" in text.getvalue()


def test_plain_lines_tell_of_a_part_that_does_not_answer() -> None:
    view, text = lines()
    view.show(Snapshot("shop", notice="no worker answers"))
    assert text.getvalue() == "   0.0  notice     no worker answers\n"


def test_markup_in_what_agents_say_is_only_text() -> None:
    view, text = lines()
    view.show(Snapshot("shop", events=({"agent": "ada", "type": "tool", "text": "[bold]x[/bold] [/]"},)))
    assert "[bold]x[/bold] [/]" in text.getvalue()
    assert "[/]" in drawn(Snapshot("shop", status=status()), ["[/] says ada"])


def test_the_board_shows_state_tasks_requests_and_money() -> None:
    tasks = (task("repair", TaskState.MERGED, attempts=2, repairs=1), task("tidy", TaskState.WAITING))
    text = drawn(Snapshot("shop", status=status(paused=True), tasks=tasks, requests=(WAITING,)), ["ada did this"])
    shown = "sprints|paused|1/2 tasks|merged|2 (+1 repair)|syndic approve plan-1|$0.0125 of $5.00|ada did"
    for words in shown.split("|"):
        assert words in text


def test_a_board_without_an_answer_yet_says_so() -> None:
    assert "starting" in drawn(Snapshot("shop"), [])


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveBoard), (False, Lines)])
def test_only_a_terminal_gets_the_live_board(terminal: bool, kind: type) -> None:
    view = open_view(session(), Console(file=io.StringIO(), force_terminal=terminal))
    assert type(view) is kind


def test_the_live_board_draws_and_takes_lines_above_it() -> None:
    text = io.StringIO()
    with LiveBoard(session(), Console(file=text, force_terminal=True, width=120)) as view:
        view.show(Snapshot("shop", status=status(), tasks=(task("repair", TaskState.RUNNING),)))
        view.say("something else", style="bold")
    assert "something else" in text.getvalue()
    assert "repair" in text.getvalue()


def test_a_ledger_that_does_not_verify_is_not_passed_over() -> None:
    report = ProjectReport(
        project_id="shop", state=Phase.DONE, summary="done", tasks_merged=1, tasks_total=2, tasks=(), approvals=1,
        repairs=0, model_calls=3, cost_usd=Decimal(0), ledger_entries=9, ledger_verified=False, branch="syndic/shop",
    )  # fmt: skip
    assert "  ledger: 9 entries, NOT VERIFIED" in closing_lines(report)


def test_lines_leave_out_that_an_agent_goes_from_step_to_step() -> None:
    view, text = lines()
    steps = ({"type": "thinking", "text": "so"}, {"type": "state", "text": "lint"}, {"type": "state", "text": ""})
    view.show(Snapshot("shop", events=(*steps, {"type": "state", "text": "approve: nothing is worse"})))
    assert len(text.getvalue().splitlines()) == 1


def test_the_live_board_shows_what_an_agent_is_saying_until_it_does_something() -> None:
    def shown(*events: dict[str, Any]) -> str:
        text = io.StringIO()
        with LiveBoard(session(), Console(file=text, force_terminal=True, width=200)) as view:
            view.show(Snapshot("shop", status=status(), events=events))
        return text.getvalue()

    saying = {"type": "thinking", "agent": "ada", "text": "x" * 300 + " the end", "data": {"partial": True}}
    assert "the end" in shown(saying)
    assert "the end" not in shown(saying, {"type": "tool", "agent": "ada", "text": "read_file"})

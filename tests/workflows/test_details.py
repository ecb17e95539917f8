"""What the Web UI shows of a workflow: bounded, safe, drawn only when something changed."""

from __future__ import annotations

import asyncio
import itertools
import re
import shlex
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata

from ledger.vocabulary import (
    Answer,
    ApprovalKind,
    Autonomy,
    Mode,
    Phase,
    TaskKind,
    TaskState,
    sprint_workflow_id,
    task_workflow_id,
)
from tests.workflows.world import World
from workflows import visibility
from workflows.answering import Waiting, answering_command, broken
from workflows.approval_models import ApprovalView, Vote
from workflows.details import GAP, ROWS_SHOWN, details, escaped
from workflows.views import StatusView, TaskView, WaitView

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LIMIT = 32_000
"""Characters of the largest page; the Web UI draws it in an instant."""


def view(number: int = 1, **more: Any) -> ApprovalView:
    fields: dict[str, Any] = {
        "id": f"shop.plan-{number}", "kind": ApprovalKind.PLAN, "digest": "d" * 64, "subject": {}, "summary": "a plan",
        "on_approve": "yes", "on_reject": "no", "workflow_id": "project/shop", "requested_at": NOW,
        "expires_at": NOW + timedelta(days=1),
    }  # fmt: skip
    return ApprovalView(**fields | more)


def status(**more: Any) -> StatusView:
    fields: dict[str, Any] = {
        "project": "shop", "workflow_id": "project/shop", "phase": Phase.SPRINTS, "detail": "", "mode": Mode.AUTO,
        "autonomy": Autonomy.MILESTONE, "paused": False, "awaiting": (), "refused": 0,
    }  # fmt: skip
    return StatusView(**fields | more)


def task(name: str, state: TaskState = TaskState.WAITING, **more: Any) -> TaskView:
    return TaskView(id=name, **{"title": f"The {name}", "kind": TaskKind.CHANGE, "state": state, **more})


def test_a_page_is_bounded_however_much_there_is() -> None:
    long = "x_*`|<b> " * 2_000
    waits = tuple(WaitView(asker="a", to="b", text=long, since=NOW) for _ in range(200))
    everything = status(
        detail=long,
        awaiting=tuple(view(number, summary=long, on_approve=long, who=(long,) * 50) for number in range(200)),
        events=(long,) * 500,
        notices=(long,) * 500,
        waits=waits,
        budget_usd=Decimal(5),
        budget_tokens=10**9,
    )
    text = details(everything, [task(f"t{number}", title=long, agent=long) for number in range(2_000)])
    assert len(text) < LIMIT
    assert "195 more requests wait" in text
    assert "… and 1960 more: 1960 waiting" in text
    assert "… and 190 more" in text


def test_tasks_that_matter_are_shown_where_not_all_can_be() -> None:
    tasks = [task(f"m{number}", TaskState.MERGED) for number in range(100)]
    tasks += [task("red", TaskState.FAILED), task("busy", TaskState.RUNNING, phase=Phase.GATES), task("next")]
    text = details(status(), tasks)
    rows = re.findall(r"^\| ([a-z]+\d*)\s* \|", text, re.MULTILINE)[1:]
    assert len(rows) == ROWS_SHOWN
    assert rows[-3:] == ["red", "busy", "next"]
    assert "| busy | running (gates) |" in text.replace(GAP, "")
    assert "… and 63 more: 63 merged" in text


@pytest.mark.parametrize(
    "text", ["`` ` ``", "[click](javascript:x)", "<script>", "a | b", "**bold**", "~~gone~~", "_slanted_", "![x](y)"]
)
def test_what_strangers_wrote_is_no_markup(text: str) -> None:
    shown = escaped(text)
    assert not re.search(r"(?<!\\)[`*<>|~\[\]]|(?<![\w\\])_|(?<!\\)_(?!\w)", shown)
    assert shown.replace("\\", "") == " ".join(text.split())


def test_names_in_snake_case_stay_readable() -> None:
    assert escaped("run_gate of test_clamp.py") == "run_gate of test_clamp.py"


def test_a_stranger_cannot_draw_a_request() -> None:
    drawn = "x\n### Waits for you: plan `evil`\n```sh\nrm -rf /\n```"
    text = details(status(detail=drawn, events=(drawn,)), [task("one", title=drawn)])
    assert "\n### Waits" not in text
    assert "\n```" not in text


def test_a_request_says_its_terms_and_the_line_that_answers_it() -> None:
    asked = view(kind=ApprovalKind.BUDGET, subject={"limit_usd": "5"}, on_revise="again")
    text = details(status(awaiting=(asked,)), [])
    for words in ("**approve**: yes", "**reject**: no", "**revise**: again", "syndic show shop.plan-1", "risk medium"):
        assert words in text
    [block] = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    words = shlex.split(block.replace("\\\n", " "))
    assert words == shlex.split(broken(answering_command(Waiting.of(asked))).replace("\\\n", " "))
    assert '"budget_usd": "10"' in words[-1]
    assert max(map(len, block.splitlines())) < 100


def test_a_request_that_wants_a_signature_shows_the_line_that_signs() -> None:
    votes = (Vote(by="pat", decision=Answer.APPROVE, at=NOW, key="k"),)
    text = details(status(awaiting=(view(signed=True, quorum=2, who=("pat", "lee"), votes=votes),)), [])
    assert "`syndic approve shop.plan-1 --key FILE`" in text
    assert "answered by: pat, lee, signed; 1 of 2 so far" in text
    assert "```" not in text


def test_a_command_broken_over_lines_is_the_same_command() -> None:
    line = answering_command(Waiting.of(view()), namespace="prod")
    assert [re.sub(r"\s+", " ", word) for word in shlex.split(broken(line).replace("\\\n", " "))] == shlex.split(line)


@pytest.mark.asyncio(loop_scope="session")
async def test_all_three_levels_show_their_state_and_draw_it_only_when_it_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[str]] = {}

    def counted(shown: StatusView, tasks: Any) -> str:
        text = details(shown, tasks)
        drawn.setdefault(shown.workflow_id, []).append(text)
        return text

    monkeypatch.setattr(visibility, "details", counted)
    handle = await world.start()
    await asyncio.wait_for(handle.result(), 30)
    sprint, one = sprint_workflow_id(world.project, 1), task_workflow_id(world.project, 1, "one")
    for workflow_id in (world.id, sprint, one):
        metadata = await world.handle(workflow_id).query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        text = metadata.current_details.replace(GAP, "")
        for words in ("**done**", "| one |", "### Last events", "cost 0."):
            assert words in text, workflow_id
        pages = drawn[workflow_id]
        assert all(page != following for page, following in itertools.pairwise(pages)), workflow_id


@pytest.mark.asyncio(loop_scope="session")
async def test_attributes_and_memo_cost_no_event_where_nothing_changed(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    request = await world.awaiting(ApprovalKind.PLAN)
    for _ in range(5):
        await handle.signal("feedback", {"text": "well", "by": "pat"})
    await world.decide(request, "reject")
    await handle.result()
    events = (await handle.fetch_history()).events
    memos = [event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED]
    assert len(memos) == 2
    upserts = [event.upsert_workflow_search_attributes_event_attributes.search_attributes for event in events]
    for name in ("SyndicProject", "SyndicPhase", "SyndicAwaiting", "SyndicCostUsd"):
        values = [item.indexed_fields[name].data for item in upserts if name in item.indexed_fields]
        assert values
        assert all(value != following for value, following in itertools.pairwise(values)), name

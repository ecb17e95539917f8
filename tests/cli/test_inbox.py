"""`syndic inbox`, `show`, `approve`, `reject`, `revise` and `key` against a real server and real project workflows."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.testing import WorkflowEnvironment
from typer.testing import Result

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind
from tests.cli.conftest import Syndic
from tests.workflows.world import NUMBERS, World, eventually, serving, working
from workers import deciding
from workers.inbox import inbox
from workflows.answering import Waiting
from workflows.visibility import AWAITING, MEMO, PROJECT

pytestmark = pytest.mark.asyncio(loop_scope="module")

Command = Callable[..., Awaitable[Result]]
TEMPORAL = str(Path(sys.executable).with_name("temporal"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with serving() as environment:
        yield environment


@pytest_asyncio.fixture(loop_scope="module")
async def world(server: WorkflowEnvironment) -> AsyncIterator[World]:
    async with working(server.client, f"inbox{next(NUMBERS)}") as world:
        yield world
        await end_all(world)


async def end_all(world: World) -> None:
    """Cancel what a test has left at work, in order, before the workers go."""
    running = 'WorkflowType="Project" AND ExecutionStatus="Running"'
    handles = [world.handle(run.id) async for run in world.client.list_workflows(running)]
    for handle in handles:
        await handle.cancel()
    await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)


@pytest.fixture
def command(syndic: Syndic, server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command line beside the workers."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.client.service_client.config.target_host)
    monkeypatch.setenv("SYNDIC_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("SYNDIC_REDIS_URL", "redis://127.0.0.1:1/0")

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(syndic, *words)

    return run


def another(world: World) -> World:
    """A second project of the same workers."""
    return World(world.client, world.script, f"inbox{next(NUMBERS)}")


async def asks(world: World, **brief: Any) -> str:
    """Start a project that asks about its plan; the request's id, once it is listed."""
    await world.start(**{"autonomy": "milestone", **brief})
    view = await world.awaiting(ApprovalKind.PLAN)

    async def listed() -> bool:
        return any(request.id == view.id for request in await inbox(world.client, world.project))

    await eventually(listed)
    return view.id


def failed(result: Result, code: int, *said: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr


async def test_the_inbox_lists_all_projects_the_oldest_first(world: World, command: Command) -> None:
    other = another(world)
    first, second = await asks(world), await asks(other)
    shown = await command("inbox")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0][:5] == ["request", "kind", "risk", "since", "expires"]
    ids = [words[0] for words in lines[1:]]
    assert ids.index(first) < ids.index(second)
    assert f"syndic show {ids[0]}" in shown.stderr
    [one] = json.loads((await command("inbox", "--project", other.project, "--json")).stdout)
    assert (one["id"], one["kind"], one["project"]) == (second, "plan", other.project)
    same = await command("approvals", other.project, "--json")
    assert json.loads(same.stdout) == [one]
    assert json.loads((await command("inbox", other.project, "--kind", "budget", "--json")).stdout) == []
    words = shlex.split(one["command"])
    await asyncio.to_thread(subprocess.run, [TEMPORAL, *words[1:]], check=True, capture_output=True)
    await eventually(lambda: _sprint(other))


async def _sprint(world: World) -> bool:
    return not (await world.approvals()).open or (await world.approvals()).open[0].kind is not ApprovalKind.PLAN


async def test_an_empty_inbox_says_so(command: Command) -> None:
    told = await command("inbox", "--project", "nobody")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "nothing waits for a decision" in told.stderr
    failed(await command("inbox", "one", "--project", "other"), 2, "two projects")
    failed(await command("inbox", "--kind", "nonsense"), 2, "nonsense")


async def test_a_request_is_shown_in_full_open_and_decided(world: World, command: Command) -> None:
    request = await asks(world)
    shown = await command("show", request)
    assert shown.exit_code == 0, shown.stderr
    for words in ("plan", "open", "instructions: do one", "scope:", "src/**", "digest", "temporal workflow signal"):
        assert words in shown.stdout
    assert "IS NOT THAT" not in shown.stdout
    assert (await command("reject", world.project, "--comment", "not now")).exit_code == 0
    await world.handle().result()
    told = json.loads((await command("show", request, "--json")).stdout)
    assert (told["state"], told["comment"], told["digest_fits"], told["commands"]) == ("rejected", "not now", True, {})
    assert "not now" in (await command("show", request)).stdout
    failed(await command("approve", request), 1, f"{request} is rejected already")


async def test_an_answer_says_its_effect_and_counts_once(world: World, command: Command) -> None:
    request = await asks(world)
    answered = await command("approve", request, "--comment", "go on")
    assert answered.exit_code == 0, answered.stderr
    assert "approved" in answered.stderr
    assert "first sprint" in answered.stderr
    failed(await command("approve", request), 1, "approved already")


async def test_a_revised_plan_carries_the_words_to_the_architect(world: World, command: Command) -> None:
    request = await asks(world)
    told = json.loads((await command("revise", request, "leave the tests alone", "--json")).stdout)
    assert (told["state"], told["comment"]) == ("revised", "leave the tests alone")
    await eventually(lambda: len(world.script.runs(Work.PLAN)) == 2)
    assert [item.text for item in world.script.runs(Work.PLAN)[1].feedback] == ["leave the tests alone"]


async def test_waiting_begins_before_the_question_and_ends_with_its_consequence(world: World, command: Command) -> None:
    planned = asyncio.Event()

    async def plan(run: AgentRun) -> AgentOutcome:
        await planned.wait()
        return world.script.usual(run)

    world.script.agents[(Work.PLAN, "*")] = plan
    await world.start(autonomy="milestone")
    answer = asyncio.ensure_future(command("approve", world.project, "--wait", "--json"))
    await eventually(lambda: bool(world.script.runs(Work.PLAN)))
    assert not answer.done()
    planned.set()
    told = json.loads((await answer).stdout)
    assert told["state"] == "approved"
    assert told["consumed"]


async def test_waiting_for_a_project_that_is_not_there_is_refused(command: Command) -> None:
    failed(await command("approve", "nobody", "--wait"), 1, "there is no project 'nobody'")


async def test_an_unknown_request_names_those_that_are_open(world: World, command: Command) -> None:
    request = await asks(world)
    failed(await command("approve", f"{world.project}.plan-9"), 1, "nothing called", request)
    for name in ("what is this", f"{world.project}.plan-9", f"{world.project}.s9.x.plan-1", 'a"b'):
        failed(await command("show", name), 1, "no workflow knows a request")


async def test_a_decision_waits_for_a_worker_and_counts_once(
    server: WorkflowEnvironment, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "ANSWER_WITHIN", timedelta(seconds=1))
    project = f"inbox{next(NUMBERS)}"
    async with working(server.client, project) as world:
        request = await asks(world)
    failed(await command("approve", request, "--by", "pat"), 1, "was sent", "is a worker running?")
    async with working(server.client, project) as world:
        await eventually(lambda: _sprint(world))
        [view] = [view for view in (await world.approvals()).decided if view.id == request]
        await end_all(world)
    assert (view.state, view.decided_by, len(view.votes)) == ("approved", "pat", 1)


# Signatures.


async def test_only_a_signed_decision_counts_where_the_rules_say_so(
    world: World, command: Command, tmp_path: Path
) -> None:
    mine, theirs = tmp_path / "me.jwk", tmp_path / "them.jwk"
    entry = json.loads((await command("keys", "new", str(mine), "--name", "pat", "--json")).stdout)
    await command("keys", "new", str(theirs))
    request = await asks(world, approvers=[entry], approvals={"plan": {"signed": True}})
    assert "[signed]" in (await command("inbox", world.project)).stdout
    failed(await command("approve", request), 2, "signed decisions only", "--key FILE")
    failed(await command("approve", request, "--key", str(theirs), "--by", "pat"), 1, "refused", "no approver")
    failed(await command("approve", request, "--key", str(mine), "--by", "kim"), 1, "refused")
    told = json.loads((await command("approve", request, "--key", str(mine), "--by", "pat", "--json")).stdout)
    assert (told["state"], told["decided_by"]) == ("approved", "pat")
    assert told["decided_key"] == told["votes"][0]["key"]
    assert "verified, key" in (await command("show", request)).stdout


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"kty": "OKP"}', b"\xff\xfe"])
async def test_a_file_that_is_no_key_is_refused(command: Command, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    failed(await command("approve", "x", "--key", str(path)), 2, str(path))
    path.chmod(0o644)
    failed(await command("approve", "x", "--key", str(path)), 2, "chmod 600")
    failed(await command("approve", "x", "--key", str(tmp_path / "none")), 2, "No such file")


# All of a kind.


async def test_a_batch_releases_every_request_of_a_kind(world: World, command: Command) -> None:
    worlds = [world, another(world), another(world)]
    for one in worlds:
        await asks(one)
    told = json.loads((await command("approve", "--all", "--kind", "plan", "--json", "--wait")).stdout)
    assert told["released"] == told["requests"] >= 3
    assert told["kept"] == []
    for one in worlds:
        assert await _sprint(one)


async def test_a_batch_can_be_about_one_project(world: World, command: Command) -> None:
    other = another(world)
    await asks(world)
    kept = await asks(other)
    told = await command("reject", "--all", "--kind", "plan", "--project", world.project)
    assert told.exit_code == 0, told.stderr
    assert "released 1 of 1 requests of kind plan" in told.stderr
    assert "temporal workflow signal" in told.stderr
    assert [request.id for request in await inbox(world.client, other.project)] == [kept]
    await command("reject", kept)


async def test_a_batch_is_not_sent_where_every_request_wants_its_own_digest(world: World, command: Command) -> None:
    await asks(world, mode="strict")
    told = await command("approve", "--all", "--kind", "plan", "--project", world.project)
    failed(told, 1, "one by one")
    assert not (await world.approvals()).refused


async def test_what_a_batch_does_not_release_is_named_with_the_reason(world: World, command: Command) -> None:
    other = another(world)
    await asks(world, approvals={"plan": {"who": ["lee"]}})
    await asks(other)
    told = await command("approve", "--all", "--kind", "plan", "--by", "pat")
    failed(told, 1, "still open", f"{world.project}.plan-1", "asked are lee")
    assert await _sprint(other)
    await command("reject", f"{world.project}.plan-1", "--by", "lee")


async def test_a_batch_about_nothing_says_so(command: Command) -> None:
    failed(await command("approve", "--all", "--kind", "tool"), 1, "no request of kind tool waits")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("approve",), "name a request"),
        (("approve", "x", "--all", "--kind", "plan"), "leave x out"),
        (("reject", "--all"), "--all needs a kind: --kind plan|"),
        (("approve", "x", "--kind", "plan"), "go with --all"),
        (("approve", "x", "--project", "y"), "go with --all"),
        (("approve", "--all", "--kind", "nonsense"), "nonsense"),
        (("approve", "--all", "--kind", "plan", "--key", "k"), "sign each by its id"),
        (("approve", "--all", "--kind", "budget"), "--budget USD"),
        (("approve", "x", "--budget", "much"), "--budget much"),
        (("approve", "x", "--budget-tokens", "0"), "--budget-tokens"),
        (("revise", "x"), "say what should change"),
        (("revise", "x", " "), "say what should change"),
        (("revise", "--all", "--kind", "plan"), "say what should change"),
        (("revise", "x", "y", "--all", "--kind", "plan"), "leave x out"),
        (("show",), "Missing argument"),
    ],
)
async def test_a_command_line_that_means_nothing_is_a_usage_error(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    failed(await command(*words), 2, said)


async def test_a_thousand_requests_are_one_listing(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [
        Waiting(id=f"many{number}.review-1", kind="review", digest="d" * 64, summary="a plan of some length" * 5)
        for number in range(1_000)
    ]
    gate = asyncio.Semaphore(50)

    async def ask(request: Waiting) -> None:
        async with gate:
            await server.client.start_workflow(
                "Nobody",
                id=f"project/{request.id.partition('.')[0]}",
                task_queue="nobody",
                memo={MEMO: [request.memo()]},
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(AWAITING, ["review"]), SearchAttributePair(PROJECT, "many")]
                ),
            )

    await asyncio.gather(*map(ask, waiting))
    listed: list[int] = []
    real = server.client.workflow_service.list_workflow_executions

    async def counted(*given: Any, **named: Any) -> Any:
        answer = await real(*given, **named)
        listed.append(len(answer.executions))
        return answer

    monkeypatch.setattr(server.client.workflow_service, "list_workflow_executions", counted)
    ids = {request.id for request in waiting}
    async with asyncio.timeout(60):
        while {request.id for request in await inbox(server.client, "many")} != ids:
            listed.clear()
    assert listed[0] == len(waiting)
    assert sum(listed) == len(waiting)

"""All signals and updates, right, nearly right and garbage, at all three workflows in several phases.

Whatever comes: no workflow task fails, each workflow answers queries and can be brought to an end, and each history replays.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import WorkflowFailureError, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, TaskKind, sprint_workflow_id, task_workflow_id
from tests.workflows.recorded import Books
from tests.workflows.script import change, ended, plan
from tests.workflows.strays import APPROVAL, CONTENT, DIGEST, LATER, LONG, PROJECT, Stray, strays
from tests.workflows.world import World, working
from workers.payloads import SERVER_LIMIT, data_converter
from workers.sandbox import new_workflow_runner
from workflows.agent_task import AgentTask
from workflows.approval_models import DecisionEffect
from workflows.hearing import KEPT_LIMIT
from workflows.messages import SIGNALS, UPDATES
from workflows.project import Project
from workflows.reports import ProjectReport
from workflows.sprint import Sprint
from workflows.views import ApprovalsView

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="session")]

PHASES: dict[str, dict[str, Any]] = {
    "planning": {"autonomy": "milestone"},
    "asked": {"autonomy": "milestone"},
    "working": {"autonomy": "autonomous"},
    "supervised": {"autonomy": "supervised", "approvals": {"plan": {"ask": False}, "architecture": {"ask": False}}},
    "paused": {"autonomy": "autonomous", "mode": "strict", "approvals": {"task": {"ask": False}}},
}
"""Where a project is met -> its brief."""

NUMBERS = itertools.count(1)
ENDS_WITHIN_S = 60
GONE = ("already completed", "not found", "aborted by closing workflow")
"""How the server says that a workflow has ended meanwhile."""

SEQUENCES = st.fixed_dictionaries({phase: st.lists(strays(), min_size=12, max_size=20) for phase in PHASES})


OVERTAKEN = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
"""An end that a message overtakes is put off by the server: it gives the workflow that message first."""


class Meeting:
    """One project that gets messages in one phase, and is brought to its end."""

    def __init__(self, world: World, books: Books, phase: str) -> None:
        self.phase = phase
        self.world = World(world.client, world.script, f"{world.project}-{phase}-{next(NUMBERS)}")
        self.books = books
        self.may_go_on = asyncio.Event()
        self.reached = asyncio.Event()
        self._answered: set[str] = set()

    @property
    def ids(self) -> dict[str, str]:
        project = self.world.project
        return {
            "project": self.world.id,
            "sprint": sprint_workflow_id(project, 1),
            "task": task_workflow_id(project, 1, "one"),
        }

    async def begin(self) -> None:
        """Start the project and wait until it is where it is to be met."""
        handle = await self.world.start(**PHASES[self.phase])
        if self.phase == "asked":
            await self.world.awaiting(ApprovalKind.PLAN)
        elif self.phase == "supervised":
            await self.world.awaiting(ApprovalKind.TASK, self.ids["task"])
        else:
            await asyncio.wait_for(self.reached.wait(), 30)
        if self.phase == "paused":
            await handle.signal("pause", {"by": "pat"})

    async def hold(self, run: AgentRun, wanted: str) -> None:
        """Keep an agent at work where the phase is about it."""
        if self.phase == wanted or (wanted == "working" and self.phase == "paused"):
            self.reached.set()
            await asyncio.wait_for(self.may_go_on.wait(), 120)

    # Messages.

    async def send(self, stray: Stray) -> None:
        workflow_id = self.ids[stray.to]
        handle = self.world.handle(workflow_id)
        open_request = await self._open_request(workflow_id, stray)

        def filled(text: str) -> str:
            known = {PROJECT: self.world.project, APPROVAL: open_request[0], DIGEST: open_request[1]}
            label, _, number = open_request[0].rpartition("-")
            known |= {LONG: "x" * 20_001, LATER: f"{label}-{int(number or 0) + 1}"}
            return re.sub(r"\$(?:approval|digest|project|long|later)", lambda found: known[found.group()], text)

        arguments = [RawValue(payload) for payload in stray.payloads(filled)]
        try:
            if stray.is_update:
                asked = handle.execute_update(stray.name, args=arguments, result_type=DecisionEffect)
                answer = await asyncio.wait_for(asked, 30)
                assert (answer.effect is None) != (answer.refusal is None)
            else:
                await handle.signal(stray.name, args=arguments)
        except (RPCError, WorkflowUpdateFailedError) as error:
            if not any(words in f"{error} {error.__cause__}" for words in GONE):
                raise

    async def _open_request(self, workflow_id: str, stray: Stray) -> tuple[str, str]:
        if not any(b"$" in argument for argument in stray.arguments):
            return ("", "")
        found = (await self._approvals(workflow_id)).open
        return (found[0].id, found[0].digest) if found else ("none-1", "0" * 64)

    async def _approvals(self, workflow_id: str) -> ApprovalsView:
        try:
            return await self.world.approvals(workflow_id)
        except RPCError as error:
            if not any(words in str(error) for words in GONE):
                raise
            return ApprovalsView(open=(), decided=(), refused=())

    # The end.

    async def end(self) -> None:
        """Let everybody go on, and answer whatever is asked."""
        self.may_go_on.set()
        result = asyncio.create_task(self.world.handle().result())
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                while not result.done():
                    await self._help()
                    await asyncio.wait([result], timeout=0.1)
        except TimeoutError:
            raise AssertionError(await self._why_stuck()) from None
        finally:
            result.cancel()
        if not result.cancelled() and (error := result.exception()) is not None:
            assert isinstance(error, WorkflowFailureError)

    async def _help(self) -> None:
        for workflow_id in self.books.workflows(self.world.project):
            for body in self.books.bodies(workflow_id, "approval_requested"):
                if body["approval"] not in self._answered:
                    self._answered.add(body["approval"])
                    await self._answer(workflow_id, body)
            if await self._is_paused(workflow_id):
                await self._signal(workflow_id, "resume", {"by": "pat"})

    async def _answer(self, workflow_id: str, body: dict[str, Any]) -> None:
        more = {"budget_usd": "900", "budget_tokens": 10**9} if body["approval_kind"] == "budget" else {}
        answer = {"approval": body["approval"], "decision": "approve", "by": "lee", "digest": body["digest"], **more}
        await self._signal(workflow_id, "decide", answer)

    async def _signal(self, workflow_id: str, name: str, content: dict[str, Any]) -> None:
        try:
            await self.world.handle(workflow_id).signal(name, content)
        except RPCError as error:
            if not any(words in str(error) for words in GONE):
                raise

    async def _is_paused(self, workflow_id: str) -> bool:
        return (await self.world.status(workflow_id)).paused

    async def _why_stuck(self) -> str:
        lines = [f"{self.world.project} did not end"]
        for workflow_id in self.books.workflows(self.world.project):
            status = await self.world.status(workflow_id)
            lines.append(f"{workflow_id}: {status.phase} paused={status.paused} {[v.id for v in status.awaiting]}")
            lines += status.events
        return "\n".join(lines)

    async def histories(self) -> list[WorkflowHistory]:
        ids = self.books.workflows(self.world.project)
        return [await self.world.handle(workflow_id).fetch_history() for workflow_id in ids]


def staff(world: World, meetings: dict[str, Meeting]) -> None:
    """Agents that wait at their work until their project may go on."""
    script = world.script
    script.plan = plan(change("one"), change("two", kind=TaskKind.ANALYSIS, depends_on=("one",)))

    async def design(run: AgentRun) -> AgentOutcome:
        await meetings[run.project].hold(run, "planning")
        return script.usual(run)

    async def work(run: AgentRun) -> AgentOutcome:
        await meetings[run.project].hold(run, "working")
        if run.answer is None and run.task == "two":
            return ended(run, OutcomeKind.NEEDS_HUMAN, "asks", question="left or right?", question_id="q")
        return script.usual(run)

    script.agents[(Work.PLAN, "*")] = design
    for change_or_report in (Work.CHANGE, Work.ANALYSIS):
        script.agents[(change_or_report, "*")] = work


async def meet(world: World, books: Books, meetings: dict[str, Meeting], phase: str, messages: list[Stray]) -> Meeting:
    meeting = Meeting(world, books, phase)
    meetings[meeting.world.project] = meeting
    await meeting.begin()
    for stray in messages:
        await meeting.send(stray)
    for workflow_id in books.workflows(meeting.world.project):
        assert (await meeting.world.status(workflow_id)).project == meeting.world.project
    await meeting.end()
    return meeting


async def fuzz(world: World, sequences: dict[str, list[Stray]]) -> None:
    """Meet one project in each phase, side by side, and look at all histories."""
    assume(
        len({stray.name for messages in sequences.values() for stray in messages}) > 1
    )  # the first draw is all alike
    books, meetings = Books(world.script), dict[str, Meeting]()
    staff(world, meetings)
    met = await asyncio.gather(*(meet(world, books, meetings, *pair) for pair in sequences.items()))
    histories = [history for meeting in met for history in await meeting.histories()]
    failed = [
        event.workflow_task_failed_event_attributes.failure.message
        for history in histories
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        and event.workflow_task_failed_event_attributes.cause != OVERTAKEN
    ]
    assert failed == []
    await replay(histories)


async def replay(histories: list[WorkflowHistory]) -> None:
    replayer = Replayer(
        workflows=[Project, Sprint, AgentTask], workflow_runner=new_workflow_runner(), data_converter=data_converter
    )

    async def one_by_one() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    results = await replayer.replay_workflows(one_by_one(), raise_on_replay_failure=False)
    assert results.replay_failures == {}


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    )


@bounded(1)
@given(SEQUENCES)
async def test_no_message_breaks_or_stops_a_workflow(world: World, sequences: dict[str, list[Stray]]) -> None:
    await fuzz(world, sequences)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@bounded(40)
@given(SEQUENCES)
async def test_a_great_many_messages_break_and_stop_no_workflow(
    world: World, sequences: dict[str, list[Stray]]
) -> None:
    await fuzz(world, sequences)


async def test_a_flood_of_words_that_waited_for_a_worker_is_written_down_and_bounded(
    server: WorkflowEnvironment,
) -> None:
    project = f"flood-{next(NUMBERS)}"
    async with working(server.client, project) as world:
        await world.start(autonomy="milestone")
        view = await world.awaiting(ApprovalKind.PLAN)
    words = {"text": "x" * 20_000, "by": "pat"}
    for _ in range(SERVER_LIMIT // 20_000 + 10):  # more than one write to the record may hold
        await server.client.get_workflow_handle(world.id).signal("feedback", words)
    async with working(server.client, project) as world:
        await world.decide(view, "approve")
        await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
        report = ProjectReport.model_validate(await asyncio.wait_for(world.handle().result(), 60))
        assert report.state == "done"
        applied, refused = (world.script.entries(kind) for kind in ("message_applied", "message_refused"))
        assert (len(applied), len(applied) + len(refused)) == (KEPT_LIMIT // 20_000, SERVER_LIMIT // 20_000 + 10)


async def test_every_signal_and_every_update_is_among_the_messages() -> None:
    assert set(CONTENT) == {*SIGNALS, *UPDATES}

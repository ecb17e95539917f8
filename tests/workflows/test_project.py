"""Projects from goal to delivered branch, over scripted activities on a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from agents.assignments import Plan, PlannedSprint, Report, Requirements, Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import ApprovalKind, OutcomeKind, Phase, Role, TaskKind, TaskState, sprint_workflow_id
from tests.workflows.script import change, done, ended, plan
from tests.workflows.world import World, eventually, serving, working
from workflows.options import WORKFLOW_QUEUE
from workflows.reports import ProjectReport
from workflows.specs import Carried

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_goal_becomes_merged_tasks_and_a_delivered_branch(world: World) -> None:
    report = await world.run()

    assert report.state is Phase.DONE, report.summary
    assert (report.tasks_merged, report.tasks_total) == (2, 2)
    assert [task.state for task in report.tasks] == [TaskState.MERGED, TaskState.MERGED]
    assert report.branch == f"syndic/{world.project}"
    assert report.ledger_verified
    assert [run.work for run in world.script.runs(Work.JUDGE, "one")] == [Work.JUDGE] * 4
    assert len(world.script.asked("close_project")) == 1


async def test_the_record_tells_the_whole_story(world: World) -> None:
    await world.run()

    kinds = world.script.kinds()
    for kind in ("phase_changed", "plan_proposed", "task_started", "verdict_given", "task_finished", "sprint_finished"):
        assert kind in kinds
    phases = [body["phase"] for body in world.script.entries("phase_changed") if body["workflow_id"] == world.id]
    assert phases == ["discovery", "architecture", "sprints", "integration", "closing", "done"]
    keys = [entry.key for batch in world.script.asked("record") for entry in batch.entries]
    assert len(keys) == len(set(keys))


async def test_product_owner_and_analyst_work_side_by_side(world: World) -> None:
    met = asyncio.Barrier(2)

    async def meet(run: AgentRun, result: Requirements | Report) -> AgentOutcome:
        await asyncio.wait_for(met.wait(), 10)
        return done(run, result)

    world.script.agents[(Work.REQUIREMENTS, "*")] = lambda run: meet(
        run, Requirements(summary="r", requirements=("r",))
    )
    world.script.agents[(Work.SURVEY, "*")] = lambda run: meet(run, Report(summary="s", markdown="s"))
    assert (await world.run()).state is Phase.DONE


async def test_a_goal_that_cannot_be_served_ends_the_project_with_the_reason(world: World) -> None:
    world.script.agents[(Work.REQUIREMENTS, "*")] = lambda run: ended(
        run, OutcomeKind.REFUSED, "refused", question="I can repair, tidy and analyse; set a model for more"
    )
    report = await world.run()
    assert report.state is Phase.FAILED
    assert "set a model" in report.summary
    assert world.script.runs(Work.PLAN) == []
    assert len(world.script.asked("close_project")) == 1


async def test_a_plan_without_sprints_is_a_success_with_nothing_to_do(world: World) -> None:
    world.script.plan = plan(summary="all is well")
    report = await world.run(autonomy="milestone")
    assert (report.state, report.tasks_total, report.branch) == (Phase.DONE, 0, None)
    assert "all is well" in report.summary
    assert world.script.asked("deliver") == []


async def test_tasks_of_the_brief_are_the_plan(world: World) -> None:
    tasks = [{"id": "b", "instructions": "second", "depends_on": ["a"]}, {"id": "a", "instructions": "first"}]
    report = await world.run(tasks=tasks, scope=["lib/**"])
    assert report.tasks_merged == 2
    assert world.script.runs(Work.PLAN) == []
    assert [run.scope for run in world.script.runs(Work.CHANGE)] == [("lib/**",), ("lib/**",)]
    assert [run.task for run in world.script.runs(Work.CHANGE)] == ["a", "b"]


async def test_an_invalid_plan_goes_back_once_and_then_up_the_ladder_to_a_person(world: World) -> None:
    world.script.plan = plan(change("one", depends_on=("missing",)))
    await world.start()
    view = await world.awaiting(ApprovalKind.ESCALATION)
    architects = world.script.runs(Work.PLAN)
    assert len(architects) == 3  # as asked, with the faults as feedback, another architect
    assert "missing" in architects[1].feedback[0].text
    assert architects[2].agent != architects[0].agent
    world.script.plan = plan(change("one"))
    await world.decide(view, "approve", comment="once more")
    report = ProjectReport.model_validate(await asyncio.wait_for(world.handle().result(), 30))
    assert (report.state, report.approvals) == (Phase.DONE, 1)
    assert report.repairs == 3


async def test_dry_run_merges_and_delivers_nothing_and_reports_the_diffs(world: World) -> None:
    report = await world.run(mode="dry_run")
    assert report.state is Phase.DONE
    assert [task.state for task in report.tasks] == [TaskState.ACCEPTED, TaskState.ACCEPTED]
    assert all("diff" in [document.name for document in task.documents] for task in report.tasks)
    assert (report.branch, report.tasks_merged) == (None, 0)
    assert world.script.asked("integrate") == [] == world.script.asked("deliver")
    # The dependent begins where its dependency left off, although nothing was merged.
    first, second = world.script.runs(Work.CHANGE)
    assert second.base_commit == f"commit-one-{first.lineage}"


async def test_without_any_gate_work_stops_at_a_branch_and_says_so(world: World) -> None:
    world.script.target_gates = ()
    await world.start(autonomy="milestone")
    view = await world.awaiting(ApprovalKind.PLAN)
    assert "no gate" in view.summary
    await world.decide(view, "approve")
    report = ProjectReport.model_validate(await asyncio.wait_for(world.handle().result(), 30))
    assert [task.state for task in report.tasks] == [TaskState.ACCEPTED, TaskState.ACCEPTED]
    assert any("no gate" in warning for warning in report.warnings)
    assert world.script.asked("integrate") == []


async def test_what_is_left_after_a_sprint_is_planned_again(world: World) -> None:
    world.script.plan = Plan(
        summary="two sprints",
        sprints=(
            PlannedSprint(goal="first", tasks=(change("one"),)),
            PlannedSprint(goal="second", tasks=(change("two"),)),
        ),
    )
    world.script.replan = plan(change("three", depends_on=("one",)), summary="another second sprint")
    report = await world.run(max_sprints=2)
    assert [task.task for task in report.tasks] == ["one", "three"]
    manager = next(run for run in world.script.runs(Work.PLAN) if run.role is Role.PROJECT_MANAGER)
    assert manager.params["replan"] is True
    assert [row["task"]["id"] for row in manager.params["left"]] == ["two"]
    assert manager.params["sprints_left"] == 1
    # A task may depend on one of an earlier sprint, and is given what that one produced.
    names = [document.name for document in world.script.runs(Work.CHANGE, "three")[0].documents]
    assert "one/diff" in names


async def test_a_sprint_that_qa_stops_is_not_merged_and_its_work_is_built_on(world: World) -> None:
    verdicts = iter([False, True])
    world.script.agents[(Work.QA, "*")] = lambda run: done(
        run, Report(summary="the door is open", markdown="", passed=next(verdicts))
    )
    world.script.plan = plan(change("one"))
    world.script.replan = plan(change("two"))
    report = await world.run()
    assert (report.state, report.tasks_merged) == (Phase.DONE, 2)
    assert [request.sprint for request in world.script.asked("integrate") if request.task is None] == [2]
    manager = next(run for run in world.script.runs(Work.PLAN) if run.role is Role.PROJECT_MANAGER)
    assert "the door is open" in manager.feedback[0].text


async def test_only_analysis_needs_no_merge(world: World) -> None:
    world.script.plan = plan(change("look", kind=TaskKind.ANALYSIS, role=Role.ANALYST))
    report = await world.run()
    assert [task.state for task in report.tasks] == [TaskState.REPORTED]
    assert (report.state, report.branch) == (Phase.DONE, None)
    assert world.script.asked("run_gates") == []
    assert len(world.script.runs(Work.JUDGE, "look")) == 4


async def test_the_time_limit_stops_everything_and_closes(world: World) -> None:
    started = asyncio.Event()

    async def hang(run: AgentRun) -> AgentOutcome:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError("cancelled before")

    world.script.agents[(Work.CHANGE, "*")] = hang
    carried = Carried(
        commit="base",
        base="main",
        head="base",
        baseline={"name": "baseline", "digest": "d"},  # pyright: ignore[reportArgumentType]
        target={
            "baseline": {"name": "baseline", "digest": "d"},
            "environment": "plain",
            "gates": [{"name": "tests", "kind": "tests", "passed": True}],
            "sandbox": "bubblewrap",
        },
        plan=world.script.plan.model_dump(mode="json"),
        sprint=1,
        autonomy="autonomous",  # pyright: ignore[reportArgumentType]
        started_at=datetime.now(UTC) - timedelta(seconds=57),
    )
    report = await world.run(timeout_minutes=1, carried=carried.model_dump(mode="json"))
    assert started.is_set()
    assert report.state is Phase.FAILED
    assert "time limit" in report.summary
    assert len(world.script.asked("close_project")) == 1


async def test_a_repository_that_cannot_be_worked_on_fails_the_workflow_readably(world: World) -> None:
    world.script.open_error = ApplicationError("/nowhere is no git repository", type="InvalidRepository")
    with pytest.raises(WorkflowFailureError) as failed:
        await world.run()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("InvalidRepository", True)
    assert "no git repository" in str(cause)


async def test_cancellation_stops_the_children_cleans_up_and_ends_as_cancelled(world: World) -> None:
    at_work = asyncio.Event()
    stopped: list[str] = []

    async def hang(run: AgentRun) -> AgentOutcome:
        at_work.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(run.task)
            raise
        raise AssertionError("it was not cancelled")

    world.script.agents[(Work.CHANGE, "*")] = hang
    handle = await world.start()
    await asyncio.wait_for(at_work.wait(), 30)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), 30)
    assert "ancel" in str(failed.value.cause)
    assert stopped == ["one"]
    for workflow_id in (world.id, sprint_workflow_id(world.project, 1)):
        described = await world.handle(workflow_id).describe()
        assert described.status is not None
        assert described.status.name == "CANCELED"
    assert [request.state for request in world.script.asked("close_project")] == ["cancelled"]
    assert world.script.entries("task_finished")[0]["state"] == "cancelled"
    assert [request.standing.value for request in world.script.asked("change_standing")] == ["cancelled"]
    assert world.script.entries("phase_changed")[-1]["phase"] == "cancelled"
    # The record is complete before the project closes it.
    names = [name for name, _ in world.script.calls]
    assert names[-1] == "close_project"


async def test_a_cancellation_during_the_closing_comes_too_late_to_leave_it_half_done(world: World) -> None:
    world.script.may_close.clear()
    handle = await world.start()
    await eventually(lambda: world.script.asked("close_project"))
    await handle.cancel()

    async def requested() -> bool:
        history = await handle.fetch_history()
        return any(event.HasField("workflow_execution_cancel_requested_event_attributes") for event in history.events)

    await eventually(requested)
    world.script.may_close.set()
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.tasks_merged) == (Phase.DONE, 2)


async def test_cancelling_while_a_person_is_asked_takes_the_request_back(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    await world.awaiting(ApprovalKind.PLAN)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    view = await world.approvals()
    assert view.open == ()
    assert [request.state for request in view.decided] == ["expired"]
    described = await handle.describe()
    assert "SyndicAwaiting" not in described.search_attributes


async def test_pause_stops_new_work_everywhere_and_resume_goes_on_with_the_same_thread(world: World) -> None:
    waiting = asyncio.Event()
    release = asyncio.Event()

    async def paused_once(run: AgentRun) -> AgentOutcome:
        if not release.is_set():
            waiting.set()
            await asyncio.wait_for(release.wait(), 30)
            return ended(run, OutcomeKind.PAUSED, "standing is paused")
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = paused_once
    handle = await world.start()
    await asyncio.wait_for(waiting.wait(), 30)
    await handle.signal("pause", {"by": "pat", "reason": "lunch"})
    task = f"project/{world.project}/sprint/1/task/one"

    async def all_paused() -> bool:
        ids = [world.id, sprint_workflow_id(world.project, 1), task]
        return all([(await world.status(workflow_id)).paused for workflow_id in ids])

    await eventually(all_paused)
    release.set()
    assert (await world.status()).phase is Phase.PAUSED
    await eventually(lambda: len(world.script.asked("change_standing")) == 3)
    assert world.script.asked("change_standing")[0].subject == world.project
    assert len(world.script.runs(Work.CHANGE)) == 1
    await handle.signal("resume", {"by": "pat"})
    report = await asyncio.wait_for(handle.result(), 30)
    assert report.state is Phase.DONE
    first, second = world.script.runs(Work.CHANGE, "one")
    assert first == second
    standings = [request.standing.value for request in world.script.asked("change_standing")]
    assert standings == ["paused"] * 3 + ["active"] * 3
    assert [body["message"] for body in world.script.entries("message_applied")].count("pause") == 3


async def test_feedback_reaches_the_agents_at_work(world: World) -> None:
    at_work = asyncio.Event()
    release = asyncio.Event()

    async def wait(run: AgentRun) -> AgentOutcome:
        at_work.set()
        await asyncio.wait_for(release.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = wait
    handle = await world.start()
    await asyncio.wait_for(at_work.wait(), 30)
    await handle.signal("feedback", {"text": "mind the tests", "by": "pat", "task": "one"})
    await handle.signal("feedback", {"text": "lost", "by": "pat", "task": "nobody"})

    def posted() -> list[object]:
        return [message for batch in world.script.asked("record") for message in batch.messages]

    (message,) = await eventually(posted)
    assert message.target == world.script.runs(Work.CHANGE, "one")[0].agent
    assert message.payload["text"] == "mind the tests"
    assert (message.source, message.type) == ("person:pat", "FEEDBACK")
    release.set()
    assert (await asyncio.wait_for(handle.result(), 30)).state is Phase.DONE
    sprint = await world.approvals(sprint_workflow_id(world.project, 1))
    assert [refusal.message for refusal in sprint.refused] == ["feedback"]


async def test_a_project_continues_from_what_it_carried(world: World) -> None:
    """The second half of continue-as-new: nothing is opened, surveyed or planned again."""
    first = await world.run(mode="dry_run")
    carried = {
        "commit": "base",
        "base": "main",
        "head": "merge-1",
        "baseline": {"name": "baseline", "digest": "d"},
        "target": {
            "baseline": {"name": "baseline", "digest": "d"},
            "environment": "plain",
            "gates": [{"name": "tests", "kind": "tests", "passed": True}],
            "sandbox": "bubblewrap",
        },
        "plan": plan(change("three")).model_dump(mode="json"),
        "sprint": 1,
        "tasks": [task.model_copy(update={"state": TaskState.MERGED}).model_dump(mode="json") for task in first.tasks],
        "merged": [1],
        "approvals": 2,
        "repairs": 1,
        "autonomy": "autonomous",
        "cost_usd": "1.5",
        "model_calls": 40,
    }
    world.script.calls.clear()
    report = await world.client.execute_workflow(
        "Project",
        world.brief(carried=carried),
        id=f"{world.id}x",
        task_queue=WORKFLOW_QUEUE,
        result_type=ProjectReport,
    )
    assert world.script.asked("open_project") == [] == world.script.runs(Work.PLAN)
    assert (report.tasks_merged, report.tasks_total, report.approvals) == (3, 3, 2)
    assert world.script.asked("open_workspace")[0].base == "merge-1"
    assert [request.sprint for request in world.script.asked("integrate") if request.task is None] == [2]


async def test_a_long_history_goes_on_in_a_new_run_between_two_sprints() -> None:
    limit = {"limit.historyCount.suggestContinueAsNew": 40}
    async with serving(**limit) as environment, working(environment.client, project="long") as world:
        world.script.plan = plan(change("one"))
        world.script.replan = Plan(summary="left", sprints=(PlannedSprint(goal="g", tasks=(change("two"),)),))
        world.script.agents[(Work.QA, "*")] = lambda run: done(
            run, Report(summary="more", markdown="", passed=run.sprint == 2)
        )
        handle = await world.start()
        first = await handle.describe()
        report = await asyncio.wait_for(handle.result(), 60)
        assert (report.state, report.tasks_merged, report.tasks_total) == (Phase.DONE, 2, 2), report.summary
        last = await world.handle().describe()
        assert last.run_id != first.run_id
        assert len(world.script.asked("open_project")) == 1
        assert len(world.script.runs(Work.REQUIREMENTS)) == 1
        keys = [entry.key for batch in world.script.asked("record") for entry in batch.entries]
        assert len(keys) == len(set(keys))
        assert report.model_calls == 7


@pytest.mark.chaos
@pytest.mark.parametrize("cached_workflows", [0])
async def test_everything_also_holds_when_each_task_replays_the_history(world: World) -> None:
    handle = await world.start(autonomy="milestone")
    await world.decide(await world.awaiting(ApprovalKind.PLAN), "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    report = await asyncio.wait_for(handle.result(), 60)
    assert (report.state, report.tasks_merged, report.approvals) == (Phase.DONE, 2, 2)

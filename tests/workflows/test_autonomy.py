"""What is asked with each autonomy and mode, what each answer does, and how both change while the work runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import product
from typing import Any

import pytest

from activities.contracts import Integration
from agents.assignments import Report, Work
from agents.runs import AgentOutcome, AgentRun, PendingCall
from ledger.vocabulary import (
    ApprovalKind,
    Autonomy,
    Mode,
    OutcomeKind,
    Phase,
    TaskState,
    sprint_workflow_id,
    task_workflow_id,
)
from tests.workflows.attending import Desk
from tests.workflows.script import change, done, ended, plan, prepared
from tests.workflows.world import World, eventually, serving, working
from workflows.checkpoints import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = {
    ApprovalKind.ARCHITECTURE, ApprovalKind.PLAN, ApprovalKind.TASK, ApprovalKind.REVIEW, ApprovalKind.MERGE,
    ApprovalKind.MILESTONE,
}  # fmt: skip
"""What a project of two tasks that runs without a hitch can be asked about."""


async def project(world: World, **brief: Any) -> Desk:
    return Desk(world, await world.start(**brief))


@pytest.mark.parametrize(("autonomy", "mode"), list(product(Autonomy, Mode)))
async def test_each_autonomy_and_mode_asks_what_the_table_says(world: World, autonomy: Autonomy, mode: Mode) -> None:
    desk = await project(world, autonomy=autonomy.value, mode=mode.value)
    report = await desk.attend()

    assert report.state is Phase.DONE, report.summary
    expected = {kind for kind in ALL if asked(kind, autonomy, mode)}
    assert set(desk.kinds) == expected
    per_task = {ApprovalKind.TASK, ApprovalKind.REVIEW, ApprovalKind.MERGE} & expected
    # The sprint itself reaches the project's branch as a milestone, or where those do not ask, as one more merge.
    more = Counter({ApprovalKind.MERGE: 1}) if mode is Mode.STRICT and autonomy is Autonomy.AUTONOMOUS else Counter()
    assert desk.kinds == Counter(expected - per_task) + Counter(dict.fromkeys(per_task, 2)) + more
    assert report.approvals == len(desk.seen)
    assert report.tasks_merged == (0 if mode is Mode.DRY_RUN else 2)


async def test_kinds_are_asked_or_left_out_as_the_brief_says(world: World) -> None:
    wishes = {"review": {"ask": True}, "plan": {"ask": False}, "milestone": {"ask": False}}
    desk = await project(world, autonomy="milestone", approvals=wishes)
    report = await desk.attend()
    assert report.state is Phase.DONE
    assert desk.kinds == Counter({ApprovalKind.REVIEW: 2})


async def test_requirements_are_made_again_with_a_persons_words(world: World) -> None:
    desk = await project(world, approvals={"architecture": {"ask": True}})
    desk.answers[ApprovalKind.ARCHITECTURE] = [{"decision": "revise", "comment": "leave the parser alone"}]
    assert (await desk.attend()).state is Phase.DONE
    first, second = desk.of(ApprovalKind.ARCHITECTURE)
    assert first.subject["requirements"]["summary"] == "required"
    assert first.producers == (f"{world.project}.product_owner.ada", f"{world.project}.analyst.ada")
    assert second.workflow_id == world.id
    for work in (Work.REQUIREMENTS, Work.SURVEY):
        assert [[note.text for note in run.feedback] for run in world.script.runs(work)] == [
            [], ["leave the parser alone"],
        ]  # fmt: skip
    assert len(world.script.runs(Work.PLAN)) == 1


async def test_a_rejected_architecture_ends_the_project_before_any_plan(world: World) -> None:
    desk = await project(world, autonomy="supervised")
    desk.answers[ApprovalKind.ARCHITECTURE] = [{"decision": "reject", "comment": "not now"}]
    report = await desk.attend()
    assert (report.state, report.tasks_total) == (Phase.FAILED, 0)
    assert "not now" in report.summary
    assert world.script.runs(Work.PLAN) == []


async def test_a_task_starts_with_the_words_that_were_approved(world: World) -> None:
    world.script.plan = plan(change("one"))
    desk = await project(world, mode="strict")
    desk.answers[ApprovalKind.TASK] = [
        {"decision": "revise", "comment": "keep the names"}, {"decision": "approve", "comment": "and hurry"},
    ]  # fmt: skip
    assert (await desk.attend()).tasks_merged == 1
    first, second = desk.of(ApprovalKind.TASK)
    assert first.digest != second.digest
    assert [note["text"] for note in second.subject["feedback"]] == ["keep the names"]
    [run] = world.script.runs(Work.CHANGE)
    assert [note.text for note in run.feedback] == ["keep the names", "and hurry"]


async def test_a_task_that_is_not_let_start_is_skipped_with_what_depends_on_it(world: World) -> None:
    desk = await project(world, mode="strict")
    desk.answers[ApprovalKind.TASK] = [{"decision": "reject", "comment": "too risky"}]
    report = await desk.attend()
    assert [task.state for task in report.tasks] == [TaskState.SKIPPED, TaskState.SKIPPED]
    assert "too risky" in report.tasks[0].summary
    assert world.script.runs(Work.CHANGE) == [] == world.script.asked("integrate")


async def test_a_reviewed_attempt_goes_on_with_the_same_agent_and_is_no_repair(world: World) -> None:
    world.script.plan = plan(change("one"))
    desk = await project(world, approvals={"review": {"ask": True}})
    desk.answers[ApprovalKind.REVIEW] = [{"decision": "revise", "comment": "smaller"}] * 4
    report = await desk.attend()
    assert report.tasks_merged == 1
    assert (report.tasks[0].attempts, report.tasks[0].repairs, report.repairs) == (5, 0, 0)
    runs = world.script.runs(Work.CHANGE)
    assert len({run.agent for run in runs}) == 1
    assert [note.text for note in runs[1].feedback] == ["smaller"]
    view = desk.seen[0]
    assert view.subject["commit"] == f"commit-one-{runs[0].lineage}"
    assert set(view.subject["verdicts"]) == {"constitutional", "technical", "quality", "integration"}
    assert view.producers == (runs[0].agent,)


async def test_a_rejected_review_fails_the_task(world: World) -> None:
    world.script.plan = plan(change("one"))
    desk = await project(world, approvals={"review": {"ask": True}})
    desk.answers[ApprovalKind.REVIEW] = [{"decision": "reject", "comment": "wrong idea"}]
    report = await desk.attend()
    assert report.tasks[0].state is TaskState.FAILED
    assert "wrong idea" in report.tasks[0].summary
    assert world.script.asked("integrate") == []


async def test_the_commit_that_was_shown_is_the_one_that_is_merged(world: World) -> None:
    world.script.plan = plan(change("one"))
    desk = await project(world, mode="strict")
    report = await desk.attend()
    task, sprint = desk.of(ApprovalKind.MERGE)
    made = [request.prepared for request in world.script.asked("integrate") if request.prepared]
    assert made == [task.subject["commit"], sprint.subject["commit"]]
    assert (task.subject["task"], sprint.subject["task"]) == ("one", None)
    assert task.subject["diff"]["digest"]
    assert task.subject["branch"] == f"syndic/{world.project}.s1"
    assert report.tasks[0].merge_commit == task.subject["commit"]


async def test_a_merge_is_asked_again_when_the_branch_moved_and_its_tree_changed(world: World) -> None:
    world.script.plan = plan(change("one"))
    source = "commit-one-engineer-1.1"
    world.script.merges["one"] = [
        Integration(merged=False, prepared=prepared(source)),
        Integration(merged=False, moved=True),
        # Another parent, the same files: approved already.
        Integration(merged=False, prepared=prepared(source).model_copy(update={"commit": "again", "parent": "other"})),
        Integration(merged=False, moved=True),
        Integration(merged=False, prepared=prepared(source, tree="other")),
    ]
    desk = await project(world, approvals={"merge": {"ask": True}, "milestone": {"ask": True}})
    assert (await desk.attend()).tasks_merged == 1
    first, second = desk.of(ApprovalKind.MERGE)
    assert (first.subject["tree"], second.subject["tree"]) == (f"tree-{source}", f"other-{source}")
    made = [request.prepared for request in world.script.asked("integrate") if request.prepared]
    assert made == [first.subject["commit"], "again", second.subject["commit"]]


async def test_a_merge_that_cannot_be_made_is_not_asked_about(world: World) -> None:
    world.script.plan = plan(change("one"))
    conflict = Integration(merged=False, conflict=True)
    world.script.merges["one"] = [conflict]
    desk = await project(world, mode="strict")
    report = await desk.attend()
    assert report.tasks_merged == 1
    assert desk.kinds[ApprovalKind.MERGE] == 2  # the second try, and the sprint
    assert desk.kinds[ApprovalKind.TASK] == 1  # sent back, it need not be let start again


async def test_a_merge_goes_back_as_often_as_a_person_wants_and_fails_when_they_reject_it(world: World) -> None:
    world.script.plan = plan(change("one"))
    desk = await project(world, mode="strict")
    again = {"decision": "revise", "comment": "without the renames"}
    desk.answers[ApprovalKind.MERGE] = [again, again, again, again, {"decision": "reject", "comment": "enough"}]
    report = await desk.attend()
    runs = world.script.runs(Work.CHANGE)
    assert [run.lineage for run in runs] == [f"engineer-{generation}.1" for generation in range(1, 6)]
    assert all("without the renames" in [note.text for note in run.feedback] for run in runs[1:])
    assert (report.tasks[0].state, report.tasks_merged) == (TaskState.FAILED, 0)
    assert "enough" in report.tasks[0].summary


async def test_a_tool_call_is_decided_as_this_very_call_and_the_thread_goes_on(world: World) -> None:
    world.script.plan = plan(change("one"))

    def call(run: AgentRun, place: int) -> PendingCall:
        return PendingCall(
            place=f"t/{place}/0", tool="deploy", tier="MERGE", arguments={"to": place}, digest=str(place), why="tier"
        )

    def work(run: AgentRun) -> AgentOutcome:
        if len(run.rulings) < 3:
            wanted = call(run, len(run.rulings))
            return ended(run, OutcomeKind.NEEDS_HUMAN, f"wants {wanted.tool}", call=wanted)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = work
    desk = await project(world, autonomy="supervised", approvals={"tool": {"tools": ["run_program"]}})
    desk.answers[ApprovalKind.TOOL] = [
        {"decision": "approve"}, {"decision": "reject", "comment": "no"}, {"decision": "revise", "comment": "first ask"},
    ]  # fmt: skip
    assert (await desk.attend()).state is Phase.DONE
    last = world.script.runs(Work.CHANGE)[-1]
    assert [(ruling.place, ruling.digest, ruling.allowed) for ruling in last.rulings] == [
        ("t/0/0", "0", True), ("t/1/0", "1", False), ("t/2/0", "2", False),
    ]  # fmt: skip
    assert "pat (claimed): no" in last.rulings[1].reason
    assert "first ask" in last.rulings[2].reason
    assert len({run.lineage for run in world.script.runs(Work.CHANGE)}) == 1
    shown = desk.of(ApprovalKind.TOOL)[0]
    assert shown.subject["arguments"] == {"to": 0}
    assert shown.producers == (last.agent,)
    assert (last.confirm, last.asks_above_tier) == (("run_program",), True)


async def test_calls_above_the_tier_are_refused_where_nobody_is_asked(world: World) -> None:
    await world.run()
    assert {run.asks_above_tier for run in world.script.asked("agent_run")} == {False}


async def test_an_agents_question_is_of_a_kind_of_its_own_and_gets_the_answers_words(world: World) -> None:
    world.script.plan = plan(change("one"))

    def work(run: AgentRun) -> AgentOutcome:
        if run.answer is None:
            return ended(run, OutcomeKind.NEEDS_HUMAN, "asks", question="left or right?", question_id="q")
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "one")] = work
    desk = await project(world)
    desk.answers[ApprovalKind.QUESTION] = [{"decision": "approve", "comment": "left"}]
    assert (await desk.attend()).state is Phase.DONE
    assert (world.script.runs(Work.CHANGE)[-1].answer, desk.kinds) == ("left", Counter({ApprovalKind.QUESTION: 1}))


async def test_what_may_not_be_asked_counts_as_unanswered(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = lambda run: ended(run, OutcomeKind.NEEDS_HUMAN, "?", question="?")
    wishes = {"question": {"ask": False}, "escalation": {"ask": False}}
    report = await world.run(approvals=wishes)
    assert report.tasks[0].state is TaskState.FAILED
    assert report.approvals == 0


async def test_a_plan_made_between_sprints_is_asked_about_under_supervision(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.replan = plan(change("two"), summary="the rest")
    world.script.agents[(Work.CHANGE, "one")] = lambda run: ended(run, OutcomeKind.REFUSED, "no")
    desk = await project(world, autonomy="supervised")
    desk.answers[ApprovalKind.PLAN] = [{"decision": "approve"}, {"decision": "revise", "comment": "differently"}]
    assert (await desk.attend()).state is Phase.DONE
    plans = desk.of(ApprovalKind.PLAN)
    assert [view.subject["plan"]["summary"] for view in plans] == ["the plan", "the rest", "the rest"]
    assert plans[1].on_reject.startswith("the project ends; what was merged")
    assert "differently" in [note.text for note in world.script.runs(Work.PLAN)[-1].feedback]


# While it runs.


async def held(world: World, task: str = "one") -> tuple[asyncio.Event, asyncio.Event]:
    """Keep a task's agent at work: set when it is, and to let it end."""
    at_work, release = asyncio.Event(), asyncio.Event()

    async def work(run: AgentRun) -> AgentOutcome:
        at_work.set()
        await asyncio.wait_for(release.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, task)] = work
    return at_work, release


async def test_autonomy_and_mode_change_for_everything_at_work(world: World) -> None:
    at_work, release = await held(world)
    desk = await project(world)
    await asyncio.wait_for(at_work.wait(), 30)
    await desk.handle.signal("set_autonomy", {"autonomy": "supervised", "mode": "strict", "by": "pat"})
    ids = [world.id, sprint_workflow_id(world.project, 1), task_workflow_id(world.project, 1, "one")]

    async def changed() -> bool:
        found = [await world.status(workflow_id) for workflow_id in ids]
        return all((view.autonomy, view.mode) == (Autonomy.SUPERVISED, Mode.STRICT) for view in found)

    await eventually(changed)
    release.set()
    report = await desk.attend()
    assert report.tasks_merged == 2
    # Task one had started before; everything after the change is asked.
    assert desk.kinds == Counter(
        {ApprovalKind.REVIEW: 2, ApprovalKind.MERGE: 2, ApprovalKind.TASK: 1, ApprovalKind.MILESTONE: 1}
    )


async def test_a_running_project_becomes_a_dry_run_and_its_sprint_reaches_no_branch(world: World) -> None:
    at_work, release = await held(world)
    desk = await project(world)
    await asyncio.wait_for(at_work.wait(), 30)
    await desk.handle.signal("set_autonomy", {"mode": "dry_run", "by": "pat"})

    async def changed() -> bool:
        return (await world.status()).mode is Mode.DRY_RUN

    await eventually(changed)
    assert (await world.status(sprint_workflow_id(world.project, 1))).mode is Mode.AUTO
    release.set()
    report = await desk.attend()
    assert (report.state, report.tasks_merged, report.branch) == (Phase.DONE, 0, None)
    assert [request.task for request in world.script.asked("integrate")] == ["one", "two"]
    assert world.script.asked("deliver") == []
    [closing] = world.script.asked("close_project")
    assert [(diff.task, diff.diff.name) for diff in closing.diffs] == [("one", "diff"), ("two", "diff")]


async def test_what_cannot_change_is_refused_on_the_record(world: World) -> None:
    at_work, release = await held(world)
    desk = await project(world, mode="dry_run")
    await asyncio.wait_for(at_work.wait(), 30)
    sprint = sprint_workflow_id(world.project, 1)
    await desk.handle.signal("set_autonomy", {"mode": "auto", "autonomy": "supervised"})
    await world.handle(sprint).signal("set_autonomy", {"mode": "strict"})
    await desk.handle.signal("set_autonomy", {"by": "pat"})

    async def refused() -> bool:
        at_project, at_sprint = await world.approvals(), await world.approvals(sprint)
        return (len(at_project.refused), len(at_sprint.refused)) == (2, 1)

    await eventually(refused)
    first, second = (await world.approvals()).refused
    assert "has begun its sprints" in first.reason
    assert "say what changes" in second.reason
    status = await world.status()
    assert (status.mode, status.autonomy) == (Mode.DRY_RUN, Autonomy.AUTONOMOUS)
    release.set()
    assert (await desk.attend()).tasks_merged == 0


async def test_no_dry_run_begins_while_a_merge_waits_for_an_answer(world: World) -> None:
    handle = await world.start(autonomy="milestone", approvals={"plan": {"ask": False}})
    view = await world.awaiting(ApprovalKind.MILESTONE)
    await handle.signal("set_autonomy", {"mode": "dry_run"})

    async def refusals() -> list[str]:
        return [refusal.reason for refusal in (await world.approvals()).refused]

    reasons: list[str] = await eventually(refusals)
    assert "decide it first" in reasons[0]
    await world.decide(view, "approve")
    assert (await asyncio.wait_for(handle.result(), 30)).tasks_merged == 2


async def test_a_changed_mode_goes_along_into_the_next_run_of_a_project() -> None:
    limit = {"limit.historyCount.suggestContinueAsNew": 40}
    async with serving(**limit) as environment, working(environment.client, project="long") as world:
        world.script.plan = plan(change("one"))
        world.script.replan = plan(change("two"), summary="left")
        world.script.agents[(Work.QA, "*")] = lambda run: done(
            run, Report(summary="more", markdown="", passed=run.sprint == 2)
        )
        at_work, release = await held(world)
        desk = await project(world)
        await asyncio.wait_for(at_work.wait(), 30)
        await desk.handle.signal("set_autonomy", {"mode": "strict"})

        async def changed() -> bool:
            return (await world.status(task_workflow_id("long", 1, "one"))).mode is Mode.STRICT

        await eventually(changed)
        release.set()
        report = await desk.attend()
        assert (await world.status()).mode is Mode.STRICT
        assert report.tasks_merged == 2, report.summary
        assert [view.subject["task"]["id"] for view in desk.of(ApprovalKind.TASK)] == ["two"]


async def test_a_task_that_nobody_decides_about_starts_where_its_rule_says_so(world: World) -> None:
    world.script.plan = plan(change("one"))
    rule = {"ask": True, "expires_h": 0.0004}
    report = await world.run(approvals={"task": {**rule, "on_expiry": "continue"}})
    assert (report.tasks_merged, report.approvals) == (1, 0)


async def test_a_task_that_nobody_lets_start_is_skipped(world: World) -> None:
    world.script.plan = plan(change("one"))
    report = await world.run(approvals={"task": {"ask": True, "expires_h": 0.0004}})
    assert report.tasks[0].state is TaskState.SKIPPED
    assert "nobody decided" in report.tasks[0].summary


@pytest.mark.parametrize("kind", ["architecture", "plan", "merge", "milestone"])
async def test_a_project_ends_or_leaves_out_what_nobody_decides_about(world: World, kind: str) -> None:
    world.script.plan = plan(change("one"))
    report = await world.run(approvals={kind: {"ask": True, "expires_h": 0.0004}})
    assert report.state is Phase.FAILED
    assert "in time" in report.summary
    assert report.tasks_merged == 0

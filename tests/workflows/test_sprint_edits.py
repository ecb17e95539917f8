"""A running sprint as people change it: add, drop, skip, cancel, retry and reassign tasks, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import OutcomeKind, Phase, TaskState
from tests.workflows.script import change, ended, plan
from tests.workflows.steered import Held, applied, edit, sprint, states, task, until
from tests.workflows.world import World, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW = {"id": "new", "instructions": "write the page", "scope": ["src/page/**"]}


async def end(handle: Any) -> Any:
    return await asyncio.wait_for(handle.result(), 30)


async def test_a_task_that_is_added_runs_after_what_it_depends_on(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    answer = await edit(world, sprint(world), do="add", task={**NEW, "depends_on": ["one"]})
    assert applied(answer)
    held.let_go("one")
    report = await end(handle)
    assert [(one.task, one.state) for one in report.tasks] == [("one", TaskState.MERGED), ("new", TaskState.MERGED)]
    one, new = world.script.runs(Work.CHANGE)
    assert (new.title, new.scope) == ("write the page", ("src/page/**",))
    assert new.base_commit == f"merge-commit-one-{one.lineage}"
    assert new.agent != one.agent


async def test_the_ledger_shows_each_edit_with_its_digests_and_who_claimed_it(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    await edit(world, sprint(world), do="add", task={**NEW, "depends_on": ["one"]})
    await edit(world, sprint(world), do="drop", task="new", by="kim")
    held.let_go("one")
    report = await end(handle)
    added, dropped = world.script.entries("plan_edited")
    assert (added["do"], added["task"], added["claimed_by"], added["sprint"]) == ("add", "new", "pat", 1)
    assert added["digest"] == dropped["before"] != added["before"] == dropped["digest"]
    assert dropped["claimed_by"] == "kim"
    assert [one.task for one in report.tasks] == ["one"]


UNFIT = [
    ({"id": "two"}, "used 2 times"),
    ({"depends_on": ["nobody"]}, "does not exist"),
    ({"depends_on": ["new"]}, "circle"),
    ({"role": "qa"}, "changes files, which the role qa may not"),
    ({"scope": ["elsewhere/**"]}, "not within the brief's scope"),
]


async def test_a_task_is_added_only_where_a_plan_could_have_it(world: World) -> None:
    held = Held(world, "one")
    handle = await world.start(scope=["src/**"])
    await held.at_work("one")
    for wrong, reason in UNFIT:
        answer = await edit(world, sprint(world), do="add", task={**NEW, **wrong})
        assert reason in str(answer.refusal), wrong
    assert set(await states(world)) == {"one", "two"}
    held.let_go("one")
    await end(handle)
    assert world.script.entries("plan_edited") == []
    refused = world.script.entries("message_refused")
    assert {(entry["message"], entry["sender"]) for entry in refused} == {("edit_now", "pat")}


async def test_skipping_a_task_leaves_out_what_depends_on_it_and_is_not_planned_again(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"), change("three", depends_on=("two",)))
    held = Held(world, "one")
    handle = await world.start(max_parallel=1)
    await held.at_work("one")
    assert applied(await edit(world, sprint(world), do="skip", task="two"))
    assert await states(world) == {"one": "running", "two": "skipped", "three": "skipped"}
    held.let_go("one")
    report = await end(handle)
    assert report.state is Phase.DONE
    assert [one.task for one in world.script.runs(Work.CHANGE)] == ["one"]
    assert len(world.script.runs(Work.PLAN)) == 1
    assert "left out by pat (claimed)" in report.tasks[1].summary


async def test_dependents_can_run_without_the_task_that_is_skipped(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"), change("three", depends_on=("two",)))
    held = Held(world, "one")
    handle = await world.start(max_parallel=1)
    await held.at_work("one")
    assert applied(await edit(world, sprint(world), do="skip", task="two", dependents="run"))
    held.let_go("one")
    await end(handle)
    assert [one.task for one in world.script.runs(Work.CHANGE)] == ["one", "three"]


async def test_a_task_at_work_is_cancelled_with_what_it_holds_and_the_others_go_on(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"), change("three", depends_on=("one",)))
    held = Held(world, "one", "two")
    handle = await world.start()
    await held.at_work("one")
    await held.at_work("two")
    assert applied(await edit(world, sprint(world), do="cancel", task="one", reason="not needed"))
    await until(world, "one", TaskState.CANCELLED)
    assert (await states(world))["three"] == "skipped"
    [given_up] = world.script.asked("give_up_task")
    assert (given_up.task, given_up.branch) == ("one", f"syndic/{world.project}.s1.one")
    held.let_go("two")
    report = await end(handle)
    assert [one.state for one in report.tasks] == [TaskState.CANCELLED, TaskState.MERGED, TaskState.SKIPPED]
    assert report.tasks[0].summary == "cancelled by pat (claimed): not needed"
    assert len(world.script.runs(Work.PLAN)) == 1


async def test_a_failed_task_is_tried_again_and_revives_what_was_skipped_for_its_sake(world: World) -> None:
    world.script.plan = plan(change("one"), change("two", depends_on=("one",)), change("slow"))
    refusals = [True]

    def refuse_once(run: AgentRun) -> AgentOutcome:
        if refusals:
            refusals.clear()
            return ended(run, OutcomeKind.REFUSED, "it cannot be done")
        return world.script.usual(run)

    held = Held(world, "slow")
    world.script.agents[(Work.CHANGE, "one")] = refuse_once
    handle = await world.start()
    await held.at_work("slow")
    await until(world, "two", TaskState.SKIPPED)
    answer = await edit(world, sprint(world), do="retry", task="two")
    assert answer.refusal is not None
    assert "retry that first" in answer.refusal
    assert applied(await edit(world, sprint(world), do="retry", task="one", note="keep it small"))
    await until(world, "two", TaskState.MERGED)
    held.let_go("slow")
    report = await end(handle)
    assert {one.task: one.state for one in report.tasks} == {
        "one": TaskState.MERGED, "two": TaskState.MERGED, "slow": TaskState.MERGED,
    }  # fmt: skip
    last = world.script.runs(Work.CHANGE, "one")[-1]
    assert last.lineage.startswith("engineer-2.")
    assert [note.text for note in last.feedback if note.source == "retry"] == [
        "An earlier attempt ended as refused: it cannot be done"
    ]
    assert [note.text for note in last.feedback if note.source == "person:pat"] == ["keep it small"]


async def test_a_task_that_has_not_begun_gets_another_agent_and_another_role(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    held = Held(world, "one")
    handle = await world.start(max_parallel=1)
    await held.at_work("one")
    assert applied(await edit(world, sprint(world), do="reassign", task="two", role="devops", agent="radia"))
    held.let_go("one")
    await end(handle)
    [two] = world.script.runs(Work.CHANGE, "two")
    assert (two.role.value, two.agent) == ("devops", f"{world.project}.devops.radia")


async def test_a_task_at_work_changes_hands_as_it_stands(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    first = await held.at_work("one")
    assert applied(await edit(world, sprint(world), do="reassign", task="one", agent="radia", note="use the parser"))
    second = await held.at_work("one", 2)
    assert second.agent == f"{world.project}.engineer.radia" != first.agent
    assert second.lineage != first.lineage
    assert second.feedback[-1].text == "use the parser"
    assert [request.restart for request in world.script.asked("open_workspace")] == [False, False]
    held.let_go("one")
    report = await end(handle)
    assert (report.tasks_merged, report.tasks[0].agent) == (1, second.agent)
    [handed] = world.script.entries("task_handed_over")
    assert (handed["giver"], handed["taker"]) == (first.agent, second.agent)


CANNOT = [
    ({"do": "drop", "task": "one"}, "depends on task 'one'"),
    ({"do": "drop", "task": "slow"}, "is at work: a task that has begun cannot be dropped"),
    ({"do": "skip", "task": "nobody"}, "there is no task 'nobody'"),
    ({"do": "retry", "task": "slow"}, "is at work"),
    ({"do": "retry", "task": "one"}, "has not begun"),
    ({"do": "rewind", "task": "one", "step": 3}, "has not begun"),
    ({"do": "rewind", "task": "slow", "step": 0}, "greater than or equal to 1"),
    ({"do": "reassign", "task": "one", "role": "qa"}, "the role qa cannot take task 'one'"),
    ({"do": "reassign", "task": "one", "agent": "nobody"}, "there is no engineer 'nobody'"),
    ({"do": "reassign", "task": "one"}, "say to whom"),
    ({"do": "add", "task": {"id": "x"}}, "instructions"),
    ({"do": "undo", "task": "one"}, "expected tags"),
    ({"do": "skip", "task": "one", "force": True}, "Extra inputs"),
]


async def test_an_edit_that_cannot_be_made_changes_nothing_and_says_why(world: World) -> None:
    world.script.plan = plan(change("slow"), change("one"), change("two", depends_on=("one",)))
    held = Held(world, "slow")
    handle = await world.start(max_parallel=1)
    await held.at_work("slow")
    before = await states(world)
    for wrong, reason in CANNOT:
        answer = await edit(world, sprint(world), **wrong)
        assert reason in str(answer.refusal), wrong
        assert await states(world) == before
    held.let_go("slow")
    assert (await end(handle)).tasks_merged == 3
    assert len(world.script.entries("message_refused")) == len(CANNOT)
    assert world.script.entries("plan_edited") == []


async def test_an_edit_counts_once_and_a_late_one_is_refused(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    assert applied(await edit(world, sprint(world), do="add", task=NEW, id="e1"))
    again = await edit(world, sprint(world), do="add", task={**NEW, "id": "other"}, id="e1")
    assert again.refusal == "edit e1 was made already"
    waiting = asyncio.Event()

    async def judge(run: Any) -> Any:
        await asyncio.wait_for(waiting.wait(), 30)
        return world.script.usual(run)

    world.script.agents[(Work.QA, "*")] = judge
    held.let_go("one")
    await eventually(lambda: world.script.runs(Work.QA))
    late = await edit(world, sprint(world), do="retry", task="one")
    assert late.refusal is not None
    assert "past its tasks" in late.refusal
    waiting.set()
    await end(handle)


async def test_a_project_passes_an_edit_on_to_its_running_sprint(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    await world.handle().signal("edit", {"do": "add", "task": NEW, "by": "pat"})
    await eventually(lambda: world.script.entries("plan_edited"))
    await world.handle().signal("edit", {"do": "drop", "task": "nobody", "by": "pat"})

    async def refused() -> bool:
        return bool((await world.approvals(sprint(world))).refused)

    await eventually(refused)
    held.let_go("one")
    assert (await end(handle)).tasks_merged == 2


async def test_a_task_asked_for_itself_sends_edits_of_the_plan_to_the_sprint(world: World) -> None:
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    answer = await edit(world, task(world, "one"), do="skip", task="one")
    assert answer.refusal == "skip is for the sprint: send it to its workflow"
    held.let_go("one")
    await end(handle)

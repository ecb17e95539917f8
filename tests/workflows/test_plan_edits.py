"""A plan before it is confirmed: edited while it is asked about, held open by hooks, frozen afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from agents.assignments import PlannedSprint, Work
from ledger.vocabulary import ApprovalKind, Phase
from tests.workflows.script import change, plan
from tests.workflows.steered import Held, applied, edit
from tests.workflows.world import World, eventually
from workflows.approval_models import ApprovalView

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW = {"id": "new", "instructions": "write the page", "scope": ["src/page/**"]}
PLAN_ONLY = {"autonomy": "autonomous", "approvals": {"plan": {"ask": True}}}


async def end(handle: Any) -> Any:
    return await asyncio.wait_for(handle.result(), 30)


async def asked(world: World, before: ApprovalView | None = None) -> ApprovalView:
    """The open request for the plan, another one than before."""

    async def found() -> ApprovalView | None:
        views = [view for view in (await world.approvals()).open if view.kind is ApprovalKind.PLAN]
        return next((view for view in views if before is None or view.id != before.id), None)

    return await eventually(found)


async def test_an_edit_replaces_the_request_by_one_with_a_new_digest_and_the_old_one_is_stale(world: World) -> None:
    handle = await world.start(**PLAN_ONLY)
    first = await asked(world)
    assert applied(await edit(world, world.id, do="add", task={**NEW, "depends_on": ["one"]}))
    second = await asked(world, first)
    assert second.digest != first.digest
    assert [task["id"] for task in second.subject["plan"]["sprints"][0]["tasks"]] == ["one", "two", "new"]
    await world.decide(first, "approve")
    await world.handle().signal(
        "decide", {"approval": second.id, "decision": "approve", "by": "kim", "digest": first.digest}
    )

    async def both_refused() -> bool:
        return len((await world.approvals()).refused) == 2

    await eventually(both_refused)
    assert (await asked(world)).id == second.id
    await world.decide(second, "approve", by="kim")
    assert (await end(handle)).tasks_merged == 3
    [edited] = world.script.entries("plan_edited")
    proposals = world.script.entries("plan_proposed")
    assert (edited["sprint"], edited["claimed_by"]) == (0, "pat")
    assert [edited["before"], edited["digest"]] == [proposal["digest"] for proposal in proposals]
    [confirmed] = world.script.entries("plan_confirmed")
    assert (confirmed["digest"], confirmed["by"]) == (edited["digest"], "kim")


async def test_tasks_are_dropped_skipped_and_given_to_somebody_before_the_plan_is_confirmed(world: World) -> None:
    world.script.plan = plan(
        change("one"), change("two", depends_on=("one",)), change("three"), change("four", depends_on=("three",))
    )
    handle = await world.start(**PLAN_ONLY)
    view = await asked(world)
    for content, reason in (
        ({"do": "drop", "task": "one"}, "two depends on task 'one'"),
        ({"do": "retry", "task": "one"}, "no task has begun"),
        ({"do": "rewind", "task": "one", "step": 2}, "no task has begun"),
        ({"do": "drop", "task": "nobody"}, "there is no task 'nobody' in the plan"),
        ({"do": "add", "task": NEW, "sprint": 3}, "add the task to one of them, or to sprint 2"),
        ({"do": "add", "task": {**NEW, "depends_on": ["nobody"]}}, "does not exist"),
    ):
        assert reason in str((await edit(world, world.id, **content)).refusal), content
    assert (await asked(world)).id == view.id
    assert applied(await edit(world, world.id, do="skip", task="one"))
    second = await asked(world, view)
    assert applied(await edit(world, world.id, do="skip", task="three", dependents="run"))
    third = await asked(world, second)
    assert applied(await edit(world, world.id, do="reassign", task="four", agent="radia", note="be brief"))
    fourth = await asked(world, third)
    assert fourth.subject["agents"] == {"four": f"{world.project}.engineer.radia"}
    await world.decide(fourth, "approve", by="kim")
    await end(handle)
    [four] = world.script.runs(Work.CHANGE)
    assert (four.task, four.agent) == ("four", f"{world.project}.engineer.radia")
    assert four.instructions.endswith("be brief")


async def test_a_confirmed_plan_is_frozen(world: World) -> None:
    world.script.plan = plan(change("one")).model_copy(
        update={
            "sprints": (
                PlannedSprint(goal="first", tasks=(change("one"),)),
                PlannedSprint(goal="second", tasks=(change("later"),)),
            )
        }
    )
    held = Held(world, "one")
    handle = await world.start(**PLAN_ONLY, max_sprints=2)
    await world.decide(await asked(world), "approve")
    await held.at_work("one")
    answer = await edit(world, world.id, do="drop", task="later")
    assert "confirmed and frozen" in str(answer.refusal)
    held.let_go("one")
    await end(handle)


async def test_a_hook_that_fails_leaves_the_plan_open_with_its_words(world: World) -> None:
    world.script.hooks["policy"] = ["task two has no owner"]
    hooks = {"before_plan": [{"name": "policy", "run": "python tools/policy.py --strict"}]}
    handle = await world.start(**PLAN_ONLY, hooks=hooks)
    first = await asked(world)
    await world.decide(first, "approve")
    second = await asked(world, first)
    assert "hook policy failed: task two has no owner" in second.summary
    assert second.subject["hooks"] == "hook policy failed: task two has no owner"
    assert world.script.runs(Work.CHANGE) == []
    await world.decide(second, "approve")
    assert (await end(handle)).state is Phase.DONE
    assert [request.argv for request in world.script.asked("run_hook")] == [
        ("python", "tools/policy.py", "--strict")
    ] * 2
    assert [body["passed"] for body in world.script.entries("hook_run")] == [False, True]
    assert len(world.script.entries("plan_confirmed")) == 1


async def test_a_hook_asks_a_person_also_where_plans_are_not_asked_about(world: World) -> None:
    world.script.hooks["ticket"] = ["no ticket"]
    hooks = {"after_plan": [{"name": "ticket", "run": "./ticket"}, {"name": "notes", "run": "./notes"}]}
    handle = await world.start(hooks=hooks)
    view = await asked(world)
    assert "no ticket" in view.summary
    await world.decide(view, "approve")
    assert (await end(handle)).state is Phase.DONE
    assert [request.name for request in world.script.asked("run_hook")] == ["ticket", "notes"] * 2


async def test_a_hook_that_does_not_block_only_stands_on_the_record(world: World) -> None:
    world.script.hooks["notes"] = ["no network"]
    hooks = {"before_plan": [{"name": "notes", "run": "./notes", "blocking": False}]}
    report = await world.run(hooks=hooks)
    assert report.state is Phase.DONE
    [body] = world.script.entries("hook_run")
    assert (body["when"], body["passed"], body["blocking"], body["words"]) == (
        "before_plan",
        False,
        False,
        "no network",
    )


async def test_a_hook_that_no_shell_could_split_fails_the_start_readably(world: World) -> None:
    with pytest.raises(WorkflowFailureError) as fault:
        await world.run(hooks={"before_plan": [{"name": "odd", "run": "say 'hello"}]})
    assert "hook 'odd'" in str(fault.value.__cause__)

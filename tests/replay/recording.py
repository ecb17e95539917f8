"""Records histories: short stories over scripted activities on a real server, each with a way of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import WorkflowFailureError

from activities.contracts import Integration
from agents.assignments import Handover, Reply, Ruling, Supervision, Work, WorkResult
from agents.profiles import Profile
from agents.runs import AgentOutcome, AgentRun, PendingCall
from agents.situations import Situation
from ledger.teamwork import BoardEntry, Question, Section, Vote
from ledger.vocabulary import (
    ApprovalKind,
    OutcomeKind,
    Role,
    TaskState,
    sprint_workflow_id,
    task_workflow_id,
    thread_id,
)
from tests.support.signing import approvers, signed
from tests.workflows.attending import Desk
from tests.workflows.script import change, done, ended, failing, plan, prepared
from tests.workflows.steered import Held, edit, sprint, until
from tests.workflows.world import World, eventually, serving, working
from workflows.approval_models import ApprovalView


async def approved(world: World) -> None:
    """Plan sent back once, then approved; a gate failure; the milestone approved."""
    world.script.gates["one"] = [failing("test_x is red")]
    handle = await world.start(autonomy="milestone")
    first = await world.awaiting(ApprovalKind.PLAN)
    await handle.signal("nonsense")
    await world.decide(first, "revise", comment="smaller steps")
    await eventually(lambda: len(world.script.runs(Work.PLAN)) == 2)
    await world.decide(await world.awaiting(ApprovalKind.PLAN), "approve")
    await world.decide(await world.awaiting(ApprovalKind.MILESTONE), "approve")
    await handle.result()


async def cancelled(world: World) -> None:
    """Two tasks side by side, cancelled while both are at work."""
    world.script.plan = plan(change("one"), change("two"))

    async def hang(run: AgentRun) -> AgentOutcome:
        await asyncio.sleep(60)
        raise AssertionError(run.task)

    world.script.agents[(Work.CHANGE, "*")] = hang
    handle = await world.start()
    await eventually(lambda: len(world.script.runs(Work.CHANGE)) == 2)
    await handle.cancel()
    try:
        await handle.result()
    except WorkflowFailureError:
        return
    raise AssertionError("the project was not cancelled")


async def paused(world: World) -> None:
    """Paused and resumed with an agent at work, which is told something meanwhile."""
    release = asyncio.Event()

    async def wait(run: AgentRun) -> AgentOutcome:
        if release.is_set():
            return world.script.usual(run)
        await release.wait()
        return ended(run, OutcomeKind.PAUSED, "paused")

    world.script.agents[(Work.CHANGE, "one")] = wait
    handle = await world.start()
    await eventually(lambda: world.script.runs(Work.CHANGE))
    await handle.signal("feedback", {"text": "mind the tests", "by": "pat"})
    await handle.signal("pause", {"by": "pat"})
    await eventually(lambda: len(world.script.asked("change_standing")) == 3)
    release.set()
    await handle.signal("resume", {"by": "pat"})
    await handle.result()


async def repaired(world: World) -> None:
    """A task up the ladder to a person, who gives it up; its dependent is skipped and the rest planned again."""
    world.script.replan = plan(change("three"))
    gave_up = WorkResult(summary="no template fits", outcome="gave_up")
    world.script.agents[(Work.CHANGE, "one")] = lambda run: done(run, gave_up)
    handle = await world.start()
    one = task_workflow_id(world.project, 1, "one")
    await world.decide(await world.awaiting(ApprovalKind.ESCALATION, one), "reject")
    await handle.result()


async def talking(world: World) -> None:
    """Two engineers wait for each other, and a third gives its task away; the project manager sees to both."""
    together = asyncio.Barrier(2)
    world.script.plan = plan(change("one"), change("two"), change("three"))
    asked: set[str] = set()

    async def ask(run: AgentRun) -> AgentOutcome:
        if run.task in asked:
            return world.script.usual(run)
        asked.add(run.task)
        await together.wait()
        to = f"{run.project}.engineer.{'grace' if run.task == 'one' else 'ada'}"
        thread = thread_id(run.project, run.sprint, run.task, run.lineage)
        return ended(
            run, OutcomeKind.NEEDS_TEAMMATE, "asks", question=f"{run.task}?", question_id=f"{thread}/2", to_agent=to
        )

    def give(run: AgentRun) -> AgentOutcome:
        if run.role is Role.ENGINEER:
            return ended(run, OutcomeKind.HANDOFF, "this is packaging", to_role=Role.ARCHITECT)
        return world.script.usual(run)

    def manage(run: AgentRun) -> AgentOutcome:
        situation = Situation.model_validate(run.params["situation"])
        rulings = tuple(Ruling(question=question.id, answer="go on") for question in situation.questions[:1])
        handovers = tuple(Handover(task=situation.task, role=role) for role in situation.candidates[-1:])
        return done(run, Supervision(summary="decided", rulings=rulings, handovers=handovers))

    for task in ("one", "two"):
        world.script.agents[(Work.CHANGE, task)] = ask
    world.script.agents[(Work.CHANGE, "three")] = give
    world.script.agents[(Work.SUPERVISE, "*")] = manage
    world.script.agents[(Work.ANSWER, "*")] = lambda run: done(run, Reply(answer="this way"))
    handle = await world.start()
    await handle.result()


async def divided(world: World) -> None:
    """A market for tasks, a profile of the repository, and a vote that ties until a mediator decides it."""
    world.script.plan = plan(change("one"), change("two"))
    world.script.profiles["keeper"] = Profile(name="keeper", role=Role.ENGINEER, names=("ada",), folder="src/parser")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entry = BoardEntry(
        project=world.project, task="", section=Section.CONSENSUS, name="which", version=1, text="which way?",
        options=("left", "right"), author=f"{world.project}.engineer.ada", at=at,
    )  # fmt: skip
    votes = tuple(
        Vote(question="which", task="", version=1, agent=agent, choice=choice, reasoning="so", confidence=80, at=at)
        for agent, choice in (("ada", "left"), ("grace", "right"))
    )
    world.script.questions = [Question(entry=entry, votes=votes)]
    result = WorkResult(summary="changed", outcome="changed")
    world.script.agents[(Work.CHANGE, "one")] = lambda run: done(run, result, commit="commit-one", questions=("which",))
    handle = await world.start(topology="market", profiles=["keeper"])
    await handle.result()


async def decided(world: World) -> None:
    """A plan that others are asked about after a reminder; two keys of three for the sprint, beside strays."""
    world.script.plan = plan(change("one"))
    second = 1 / 3600
    rules = {
        "plan": {"who": ["pat"], "expires_h": 2 * second, "reminders_h": [second], "on_expiry": "escalate", "then": ["kim"]},
        "milestone": {"quorum": 2},
    }  # fmt: skip
    handle = await world.start(autonomy="milestone", approvers=approvers(), approvals=rules)
    first = await world.awaiting(ApprovalKind.PLAN)
    await eventually(lambda: world.script.entries("approval_escalated"))
    await world.decide(first, "approve", by="pat")
    await handle.signal("decide", {"all_of": "plan", "decision": "approve", "by": "kim", "id": "all"})
    await handle.signal("decide", {"all_of": "plan", "decision": "approve", "by": "kim", "id": "all"})
    view = await world.awaiting(ApprovalKind.MILESTONE)
    await world.decide(view, "approve")
    await handle.signal("decide", signed(view, "pat", "approve", datetime.now(UTC), id="once"))
    early = {"approval": view.id.replace("-1", "-2"), "decision": "approve", "by": "pat", "digest": view.digest}
    await handle.signal("decide", early)
    update = signed(view, "lee", "approve", datetime.now(UTC), comment="go")
    await handle.execute_update("decide_now", update)
    await handle.result()


async def supervised(world: World) -> None:
    """Asked at every checkpoint in strict mode, and everything sent back once; a branch that moves under a merge."""
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = _curious(world)
    desk = Desk(world, await world.start(autonomy="supervised", mode="strict"))
    again = [{"decision": "revise", "comment": "otherwise"}]
    kinds = (ApprovalKind.ARCHITECTURE, ApprovalKind.PLAN, ApprovalKind.TASK, ApprovalKind.REVIEW, ApprovalKind.MERGE)
    desk.answers = {kind: list(again) for kind in kinds}
    desk.answers[ApprovalKind.QUESTION] = [{"decision": "approve", "comment": "left"}]
    source = "commit-one-engineer-2.1"
    first = Integration(merged=False, prepared=prepared("commit-one-engineer-1.2"))
    moved = Integration(merged=False, moved=True)
    world.script.merges["one"] = [first, Integration(merged=False, prepared=prepared(source)), moved]
    await desk.attend()
    seen = {*kinds, ApprovalKind.TOOL, ApprovalKind.QUESTION, ApprovalKind.MILESTONE}
    assert set(desk.kinds) == seen, desk.kinds


def _curious(world: World) -> Callable[[AgentRun], AgentOutcome]:
    """An engineer with a question, and then a call that is above its tier."""

    def work(run: AgentRun) -> AgentOutcome:
        if run.lineage != "engineer-1.1":
            return world.script.usual(run)
        if run.answer is None:
            return ended(run, OutcomeKind.NEEDS_HUMAN, "asks", question="left or right?", question_id="q")
        if not run.rulings:
            call = PendingCall(place="p", tool="deploy", tier="MERGE", arguments={"to": "x"}, digest="d", why="tier")
            return ended(run, OutcomeKind.NEEDS_HUMAN, "wants to deploy", call=call)
        return world.script.usual(run)

    return work


async def summoned(world: World) -> None:
    """Everything is brought before a person and goes on, then one task is and is given up; asked more on the way."""
    at_work, halted = asyncio.Event(), asyncio.Event()

    async def work(run: AgentRun) -> AgentOutcome:
        at_work.set()
        await halted.wait()
        return ended(run, OutcomeKind.PAUSED, "paused")

    world.script.agents[(Work.CHANGE, "one")] = work
    handle = await world.start()
    await at_work.wait()
    await handle.signal("set_autonomy", {"autonomy": "milestone", "mode": "strict", "by": "pat"})
    await handle.signal("escalate", {"reason": "look", "by": "pat"})
    view = await world.awaiting(ApprovalKind.ESCALATION)
    await handle.signal("pause", {"by": "kim"})
    await handle.signal("resume", {"by": "kim"})
    await eventually(lambda: len(world.script.asked("change_standing")) == 3)
    await world.decide(view, "approve", comment="smaller")
    await eventually(lambda: len(world.script.asked("change_standing")) == 6)
    await handle.signal("escalate", {"reason": "still", "by": "pat", "task": "one"})
    task = task_workflow_id(world.project, 1, "one")
    await world.decide(await world.awaiting(ApprovalKind.ESCALATION, task), "reject", comment="leave it")
    halted.set()
    await handle.result()


async def steered(world: World) -> None:
    """A plan edited while it is asked about, a hook, then a sprint in which tasks are added, cancelled, retried, handed on."""
    world.script.plan = plan(change("one"), change("two"), change("three", depends_on=("two",)))
    world.script.hooks["policy"] = ["task two has no owner"]
    held = Held(world, "one", "two")
    hooks = {"before_plan": [{"name": "policy", "run": "./policy"}]}
    handle = await world.start(autonomy="autonomous", approvals={"plan": {"ask": True}}, hooks=hooks)
    first = await world.awaiting(ApprovalKind.PLAN)
    await handle.signal("feedback", {"text": "mind the tests", "task": "three", "by": "pat"})
    await edit(world, world.id, do="reassign", task="three", agent="radia")
    await world.decide(await _another(world, first.id), "approve", by="kim")
    await world.decide(await _another(world, first.id, "no owner"), "approve", by="kim")
    await held.at_work("one")
    await held.at_work("two")
    await handle.signal("edit", {"do": "add", "task": {"id": "new", "instructions": "x"}, "by": "pat"})
    await edit(world, sprint(world), do="cancel", task="two")
    await until(world, "two", TaskState.CANCELLED)
    await edit(world, sprint(world), do="retry", task="two", note="smaller")
    await edit(world, sprint(world), do="reassign", task="one", agent="radia")
    await held.at_work("one", 2)
    held.let_go("one", "two")
    await handle.result()


async def _another(world: World, before: str, text: str = "") -> ApprovalView:
    """The open request for the plan that is not the one before."""

    async def found() -> ApprovalView | None:
        views = (await world.approvals()).open
        return next((view for view in views if view.id != before and text in view.summary), None)

    return await eventually(found)


async def rewound(world: World) -> None:
    """A task rewound at work, then once more while it waits for a person."""
    world.script.plan = plan(change("one"))
    held = Held(world, "one")
    handle = await world.start()
    await held.at_work("one")
    one = task_workflow_id(world.project, 1, "one")
    await edit(world, one, do="rewind", task="one", step=5, note="the other way")
    await held.at_work("one", 2)
    gave_up = WorkResult(summary="no template fits", outcome="gave_up")
    world.script.agents[(Work.CHANGE, "one")] = lambda run: done(run, gave_up)
    held.let_go("one")
    world.script.gates["one"] = [failing("red")]
    await world.awaiting(ApprovalKind.ESCALATION, one)
    world.script.agents.clear()
    await edit(world, sprint(world), do="rewind", task="one", step=3, attempt=1)
    await handle.result()


STORIES: dict[str, Callable[[World], Awaitable[None]]] = {
    "approved": approved,
    "cancelled": cancelled,
    "paused": paused,
    "repaired": repaired,
    "talking": talking,
    "divided": divided,
    "steered": steered,
    "rewound": rewound,
    "decided": decided,
    "supervised": supervised,
    "summoned": summoned,
}


async def record(story: str, folder: Path) -> None:
    """Run a story and keep the histories of its project, first sprint and first task."""
    async with serving() as environment, working(environment.client, project=story) as world:
        await asyncio.wait_for(STORIES[story](world), 60)
        tasks = ["one", "three"] if story == "talking" else ["one"]
        ids = [world.id, sprint_workflow_id(story, 1), *(task_workflow_id(story, 1, task) for task in tasks)]
        for workflow_id in ids:
            history = await world.handle(workflow_id).fetch_history()
            path = folder / f"{story}.{workflow_id.replace('/', '+')}.json"
            path.write_text(json.dumps(history.to_json_dict(), separators=(",", ":")) + "\n", encoding="utf-8")

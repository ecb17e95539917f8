"""Agents that ask each other: answers, circles, silence, and tasks that change hands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from agents.assignments import Handover, Reply, Ruling, Supervision, Work
from agents.runs import AgentOutcome, AgentRun
from agents.situations import Situation
from ledger.vocabulary import (
    ApprovalKind,
    OutcomeKind,
    Role,
    TaskState,
    sprint_workflow_id,
    task_workflow_id,
    thread_id,
)
from tests.workflows.script import Script, change, done, ended, plan
from tests.workflows.world import DEADLINE_S, World, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def asks(run: AgentRun, to: str, question: str, ordinal: int = 2, **more: Any) -> AgentOutcome:
    """The outcome of a run that asks a colleague."""
    thread = thread_id(run.project, run.sprint, run.task, run.lineage)
    return ended(
        run, OutcomeKind.NEEDS_TEAMMATE, f"asks {to}", question=question, question_id=f"{thread}/{ordinal}",
        to_agent=f"{run.project}.{to}", **more,
    )  # fmt: skip


class Curious:
    """Asks once, then does its work."""

    def __init__(self, script: Script, to: str, question: str = "which way?") -> None:
        self.script = script
        self.to = to
        self.question = question
        self.begun: dict[str, int] = {}
        self.together: asyncio.Barrier | None = None

    async def __call__(self, run: AgentRun) -> AgentOutcome:
        self.begun[run.lineage] = self.begun.get(run.lineage, 0) + 1
        if self.begun[run.lineage] > 1:
            return self.script.usual(run)
        if self.together is not None:
            await self.together.wait()
        return asks(run, self.to, self.question)


def replying(text: str = "this way") -> Any:
    return lambda run: done(run, Reply(answer=text, confidence=0.8))


async def settled(world: World) -> list[tuple[str, str]]:
    return [(entry["how"], entry["by"].rpartition(".")[2]) for entry in world.script.entries("question_settled")]


async def test_a_question_is_answered_by_a_run_of_its_own_and_the_asker_goes_on_in_its_thread(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "architect.ada")
    world.script.agents[(Work.ANSWER, "*")] = replying()
    report = await world.run(models={"architect": ["wise"], "default": ["plain"]})
    assert report.tasks_merged == 1
    first, second = world.script.runs(Work.CHANGE)
    (answer,) = world.script.runs(Work.ANSWER)
    assert first.lineage == second.lineage
    assert (answer.agent, answer.chain, answer.instructions) == (
        f"{world.project}.architect.ada",
        ("wise",),
        "which way?",
    )
    assert answer.lineage == f"{first.lineage}.q2"
    assert (answer.params["asker"], answer.params["question"].rpartition("/")[2]) == (first.agent, "2")
    scopes = {request.scope: request.limit_usd for request in world.script.asked("open_budget")}
    assert answer.budget_scope.startswith(f"{first.budget_scope}/")
    assert scopes[answer.budget_scope] == 1
    assert await settled(world) == [("colleague", "ada")]
    assert f"{world.project}.architect.ada" in first.colleagues
    assert first.agent not in first.colleagues


async def test_who_waits_for_whom_is_shown_in_sprint_and_task(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "architect.ada")
    release = asyncio.Event()

    async def wait(run: AgentRun) -> AgentOutcome:
        await release.wait()
        return done(run, Reply(answer="this way"))

    world.script.agents[(Work.ANSWER, "*")] = wait
    handle = await world.start()
    await eventually(lambda: world.script.runs(Work.ANSWER))
    for name in (sprint_workflow_id(world.project, 1), task_workflow_id(world.project, 1, "one")):
        (view,) = (await world.status(name)).waits
        assert (view.to, view.text, view.task) == (f"{world.project}.architect.ada", "which way?", "one")
    release.set()
    await asyncio.wait_for(handle.result(), DEADLINE_S)


def waiting_for_each_other(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    together = asyncio.Barrier(2)
    for task, other in (("one", "grace"), ("two", "ada")):
        curious = Curious(world.script, f"engineer.{other}", f"{task} needs to know")
        curious.together = together
        world.script.agents[(Work.CHANGE, task)] = curious
    world.script.agents[(Work.ANSWER, "*")] = replying()


def ruling(run: AgentRun) -> AgentOutcome:
    situation = Situation.model_validate(run.params["situation"])
    assert len(situation.questions) == 2
    question = next(question for question in situation.questions if question.task == "one")
    return done(run, Supervision(summary="one goes on", rulings=(Ruling(question=question.id, answer="use tabs"),)))


@pytest.mark.parametrize("cached_workflows", [100, 0])
async def test_two_engineers_who_wait_for_each_other_are_parted_by_the_project_manager(world: World) -> None:
    waiting_for_each_other(world)
    world.script.agents[(Work.SUPERVISE, "*")] = ruling
    report = await world.run()
    assert report.tasks_merged == 2
    (circle,) = world.script.entries("wait_cycle_found")
    assert {name.rpartition(".")[2] for name in circle["agents"]} == {"ada", "grace"}
    (manager,) = world.script.runs(Work.SUPERVISE)
    assert manager.role is Role.PROJECT_MANAGER
    # One is told by the project manager; the other is answered by its colleague, which is free again then.
    assert sorted(await settled(world)) == [("colleague", "ada"), ("supervisor", "ada")]
    (answer,) = world.script.runs(Work.ANSWER)
    assert (answer.agent.rpartition(".")[2], answer.task) == ("ada", "two")
    messages = [message for batch in world.script.asked("record") for message in batch.messages]
    (told,) = [message for message in messages if message.type == "RESPONSE"]
    assert (told.payload["answer"], told.target.rpartition(".")[2]) == ("use tabs", "ada")
    assert told.correlation == circle["questions"][-1] or told.correlation == circle["questions"][0]


async def test_a_person_is_asked_where_the_project_manager_does_not_help(world: World) -> None:
    waiting_for_each_other(world)
    world.script.agents[(Work.SUPERVISE, "*")] = lambda run: ended(run, OutcomeKind.FAILED, "no idea")
    handle = await world.start()
    view = await world.awaiting(ApprovalKind.ESCALATION, sprint_workflow_id(world.project, 1))
    assert "waits for" in view.summary
    await world.decide(view, "approve", comment="take the left one")
    report = await asyncio.wait_for(handle.result(), DEADLINE_S)
    assert report.tasks_merged == 2
    assert sorted(how for how, _ in await settled(world)) == ["colleague", "person"]


async def test_an_engineer_at_work_answers_when_its_own_run_has_ended(world: World) -> None:
    world.script.plan = plan(change("one"), change("two"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "engineer.grace")
    world.script.agents[(Work.ANSWER, "*")] = replying()
    order: list[str] = []

    async def busy(run: AgentRun) -> AgentOutcome:
        await eventually(lambda: world.script.entries("question_asked"))
        order.append("worked")
        return world.script.usual(run)

    world.script.agents[(Work.CHANGE, "two")] = busy
    world.script.agents[(Work.ANSWER, "*")] = lambda run: (order.append("answered"), replying()(run))[1]
    assert (await world.run()).tasks_merged == 2
    assert order == ["worked", "answered"]


async def test_an_answer_that_does_not_come_in_time_is_ruled_on(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "architect.ada")

    async def silent(run: AgentRun) -> AgentOutcome:
        await asyncio.sleep(60)
        raise AssertionError(run.task)

    def rule(run: AgentRun) -> AgentOutcome:
        (question,) = Situation.model_validate(run.params["situation"]).questions
        return done(run, Supervision(summary="go on", rulings=(Ruling(question=question.id, answer="decide"),)))

    world.script.agents[(Work.ANSWER, "*")] = silent
    world.script.agents[(Work.SUPERVISE, "*")] = rule
    report = await world.run(time_limits={"blocked_s": 1})
    assert report.tasks_merged == 1
    (late,) = world.script.entries("state_timed_out")
    assert (late["state"], late["limit_s"], late["what"]) == ("blocked", 1, f"{world.project}.architect.ada")
    assert [how for how, _ in await settled(world)] == ["supervisor"]


async def test_a_colleague_who_cannot_answer_does_not_hold_the_asker_up(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "architect.ada")
    world.script.agents[(Work.ANSWER, "*")] = lambda run: ended(run, OutcomeKind.OVER_BUDGET, "spent")
    assert (await world.run()).tasks_merged == 1
    assert [how for how, _ in await settled(world)] == ["unanswered"]
    assert world.script.runs(Work.SUPERVISE) == []


async def test_a_chain_of_questions_that_comes_back_to_its_beginning_is_a_circle_too(world: World) -> None:
    world.script.plan = plan(change("one"))
    world.script.agents[(Work.CHANGE, "one")] = Curious(world.script, "architect.ada")

    def answer(run: AgentRun) -> AgentOutcome | Awaitable[AgentOutcome]:
        first = len([seen for seen in world.script.runs(Work.ANSWER) if seen.lineage == run.lineage]) == 1
        return asks(run, "engineer.ada", "what do you mean?") if first else replying()(run)

    def rule(run: AgentRun) -> AgentOutcome:
        question = Situation.model_validate(run.params["situation"]).questions[0]
        ruled = Ruling(question=question.id, answer="they mean the parser")
        return done(run, Supervision(summary="the architect goes on", rulings=(ruled,)))

    world.script.agents[(Work.ANSWER, "*")] = answer
    world.script.agents[(Work.SUPERVISE, "*")] = rule
    assert (await world.run()).tasks_merged == 1
    assert [how for how, _ in await settled(world)] == ["supervisor", "colleague"]


async def test_planners_can_ask_too(world: World) -> None:
    world.script.agents[(Work.REQUIREMENTS, "*")] = Curious(world.script, "architect.ada")
    world.script.agents[(Work.ANSWER, "*")] = replying()
    assert (await world.run()).tasks_merged == 2
    assert await settled(world) == [("colleague", "ada")]


async def test_a_task_that_is_handed_to_a_role_that_cannot_take_it_goes_where_the_project_manager_says(
    world: World,
) -> None:
    world.script.plan = plan(change("one"))

    def give(run: AgentRun) -> AgentOutcome:
        if run.role is Role.ENGINEER:
            return ended(run, OutcomeKind.HANDOFF, "this is packaging", to_role=Role.ARCHITECT)
        return world.script.usual(run)

    def assign(run: AgentRun) -> AgentOutcome:
        situation = Situation.model_validate(run.params["situation"])
        assert set(situation.candidates) == {Role.ENGINEER, Role.DEVOPS}
        return done(run, Supervision(summary="devops", handovers=(Handover(task="one", role=Role.DEVOPS),)))

    world.script.agents[(Work.CHANGE, "one")] = give
    world.script.agents[(Work.SUPERVISE, "*")] = assign
    report = await world.run()
    assert report.tasks[0].state is TaskState.MERGED
    assert ".devops." in report.tasks[0].agent
    (handed,) = world.script.entries("task_handed_over")
    assert (handed["giver"], handed["taker"]) == (f"{world.project}.engineer.ada", report.tasks[0].agent)

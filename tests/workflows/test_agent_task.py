"""One task: gates, council, the repair ladder, people, money, and starting alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from agents.assignments import Verdict, Work, WorkResult
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import Answer, ApprovalKind, Exceeded, OutcomeKind, Role, Seat, TaskState, task_workflow_id
from tests.workflows.script import change as planned
from tests.workflows.script import done, ended, failing, plan
from tests.workflows.world import World
from workflows.answering import Waiting, answering_command
from workflows.details import details
from workflows.reports import TaskReport

pytestmark = pytest.mark.asyncio(loop_scope="session")

TASK = {"id": "one", "title": "Change one", "kind": "change", "instructions": "do it"}


async def run_task(world: World, **spec: Any) -> TaskReport:
    handle = await world.start_task({"task": TASK, **spec})
    return await asyncio.wait_for(handle.result(), 30)


def answers(*results: Callable[[AgentRun], AgentOutcome]) -> Callable[[AgentRun], AgentOutcome]:
    """One answer after the other, the last one for ever."""
    waiting: Iterator[Callable[[AgentRun], AgentOutcome]] = iter(results)
    last = results[-1]
    return lambda run: next(waiting, last)(run)


def changed(run: AgentRun) -> AgentOutcome:
    return done(run, WorkResult(summary="changed", outcome="changed"), commit=f"commit-{run.lineage}")


def gave_up(run: AgentRun) -> AgentOutcome:
    return done(run, WorkResult(summary="no template fits", outcome="gave_up"))


def failed(run: AgentRun) -> AgentOutcome:
    return ended(run, OutcomeKind.FAILED, "the model talks nonsense")


def verdict(answer: Answer) -> Callable[[AgentRun], AgentOutcome]:
    return lambda run: done(run, Verdict(verdict=answer, confidence=0.8, reasons=(f"{run.seat} says {answer}",)))


async def test_a_task_alone_opens_delivers_and_closes_its_own_project(world: World) -> None:
    report = await run_task(world)
    assert report.state is TaskState.ACCEPTED
    assert report.branch == f"syndic/{world.project}.s1.one"
    assert [name for name, _ in world.script.calls if name in ("open_project", "prepare_target")] == [
        "open_project",
        "prepare_target",
    ]
    assert world.script.asked("deliver")[0].branch == report.branch
    assert [request.state for request in world.script.asked("close_project")] == ["done"]


async def test_a_gate_failure_goes_back_to_the_same_agent_with_the_failure(world: World) -> None:
    world.script.gates["one"] = [failing("test_x is red")]
    report = await run_task(world)
    first, second = world.script.runs(Work.CHANGE)
    assert (report.state, report.attempts, report.repairs) == (TaskState.ACCEPTED, 2, 1)
    assert second.agent == first.agent
    assert second.feedback[0].text == "test_x is red"
    assert [document.name for document in first.documents] == []
    assert [document.name for document in second.documents] == ["diff"]
    assert second.lineage != first.lineage
    assert [body["level"] for body in world.script.entries("repair_chosen")] == [1]
    assert len(world.script.runs(Work.JUDGE)) == 4  # judges see only what passed the gates


async def test_the_ladder_goes_from_feedback_to_model_to_agent_to_a_person(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = failed
    handle = await world.start_task({"task": TASK, "models": {"engineer": ["big", "bigger"], "default": ["x"]}})
    view = await world.awaiting(ApprovalKind.ESCALATION, handle.id)
    runs = world.script.runs(Work.CHANGE)
    assert [run.chain_offset for run in runs] == [0, 0, 1, 0]
    assert [run.agent == runs[0].agent for run in runs] == [True, True, True, False]
    assert [request.restart for request in world.script.asked("open_workspace")] == [False, True]
    assert "nonsense" in view.summary
    world.script.agents[(Work.CHANGE, "one")] = changed
    await world.decide(view, "revise", comment="use the other function")
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.attempts, report.approvals) == (TaskState.ACCEPTED, 5, 1)
    assert world.script.runs(Work.CHANGE)[-1].feedback[-1].source == "person:pat"
    assert [body["level"] for body in world.script.entries("repair_chosen")] == [1, 2, 3, 4]


async def test_a_person_can_end_a_task_that_keeps_failing(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = gave_up
    handle = await world.start_task({"task": TASK})
    await world.decide(await world.awaiting(ApprovalKind.ESCALATION, handle.id), "reject")
    report = await asyncio.wait_for(handle.result(), 30)
    assert report.state is TaskState.FAILED
    assert "no template fits" in report.summary
    # Who gives up is not asked the same again: one try, then another agent.
    assert report.attempts == 2
    assert world.script.asked("deliver") == []


async def test_nothing_to_do_is_a_success_without_gates_or_judges(world: World) -> None:
    nothing = WorkResult(summary="clean already", outcome="nothing_to_do")
    world.script.agents[(Work.CHANGE, "one")] = lambda run: done(run, nothing, commit="base")
    report = await run_task(world)
    assert (report.state, report.commit) == (TaskState.NOTHING_TO_DO, None)
    assert world.script.asked("run_gates") == [] == world.script.runs(Work.JUDGE)


async def test_a_result_that_claims_a_change_without_one_is_a_failure(world: World) -> None:
    claim = WorkResult(summary="trust me", outcome="changed")
    world.script.agents[(Work.CHANGE, "one")] = answers(lambda run: done(run, claim, commit="base"), changed)
    report = await run_task(world)
    assert (report.state, report.repairs) == (TaskState.ACCEPTED, 1)
    assert "no file was changed" in world.script.runs(Work.CHANGE)[1].feedback[0].text


async def test_one_dissenting_judge_is_outvoted_but_one_rejection_is_not(world: World) -> None:
    def seats(run: AgentRun) -> AgentOutcome:
        revising = run.seat is Seat.QUALITY
        return verdict(Answer.REVISE if revising else Answer.APPROVE)(run)

    world.script.agents[(Work.JUDGE, "one")] = seats
    assert (await run_task(world)).repairs == 0

    def rejecting(run: AgentRun) -> AgentOutcome:
        first = run.attempt == 1 and run.seat is Seat.CONSTITUTIONAL
        return verdict(Answer.REJECT if first else Answer.APPROVE)(run)

    world.script.agents[(Work.JUDGE, "two")] = rejecting
    handle = await world.start_task({"task": {**TASK, "id": "two"}})
    report = await asyncio.wait_for(handle.result(), 30)
    assert report.repairs == 1
    assert world.script.runs(Work.CHANGE, "two")[1].feedback[0].source == "judge:constitutional"


async def test_judges_are_four_seats_and_never_the_producer(world: World) -> None:
    await run_task(world)
    judges = world.script.runs(Work.JUDGE)
    assert {run.seat for run in judges} == set(Seat)
    (producer,) = world.script.runs(Work.CHANGE)
    assert producer.agent not in {run.agent for run in judges}
    assert all([ref.name for ref in run.documents][-2:] == ["diff", "gates"] for run in judges)


async def test_a_judge_without_a_verdict_is_no_approval(world: World) -> None:
    def lost(run: AgentRun) -> AgentOutcome:
        lost = run.attempt == 1 and run.seat in (Seat.TECHNICAL, Seat.QUALITY)
        return ended(run, OutcomeKind.FAILED, "no answer") if lost else verdict(Answer.APPROVE)(run)

    world.script.agents[(Work.JUDGE, "one")] = lost
    assert (await run_task(world)).repairs == 1


async def test_a_question_goes_to_a_person_and_the_answer_to_the_same_thread(world: World) -> None:
    def curious(run: AgentRun) -> AgentOutcome:
        if run.answer is None:
            return ended(run, OutcomeKind.NEEDS_HUMAN, "asks", question="tabs or spaces?", question_id="q1")
        return changed(run)

    world.script.agents[(Work.CHANGE, "one")] = curious
    handle = await world.start_task({"task": TASK})
    view = await world.awaiting(ApprovalKind.QUESTION, handle.id)
    assert view.subject["question"] == "tabs or spaces?"
    await world.decide(view, "approve", comment="spaces")
    report = await asyncio.wait_for(handle.result(), 30)
    first, second = world.script.runs(Work.CHANGE)
    assert (report.state, report.attempts) == (TaskState.ACCEPTED, 1)
    assert (second.lineage, second.answer, second.answer_to) == (first.lineage, "spaces", "q1")


async def test_an_empty_budget_asks_and_a_raised_one_lets_the_same_thread_go_on(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = answers(
        lambda run: ended(run, OutcomeKind.OVER_BUDGET, "5 of 5 USD spent"), changed
    )
    handle = await world.start_task({"task": TASK})
    view = await world.awaiting(ApprovalKind.BUDGET, handle.id)
    await world.decide(view, "approve")
    await world.decide(view, "approve", budget_usd="4")
    await world.decide(view, "approve", budget_usd="20")
    report = await asyncio.wait_for(handle.result(), 30)
    assert report.state is TaskState.ACCEPTED
    raised = [request for request in world.script.asked("open_budget") if request.raised]
    assert [(request.scope, request.limit_usd) for request in raised] == [(world.project, Decimal(20))]
    reasons = [refusal.reason for refusal in (await world.approvals(handle.id)).refused]
    assert "needs budget_usd" in reasons[0]
    assert "more than the present limit" in reasons[1]
    first, second = world.script.runs(Work.CHANGE)
    assert first.lineage == second.lineage


async def test_a_budget_of_tokens_says_that_it_was_met_and_is_raised_alone(world: World) -> None:
    met = {"exceeded": Exceeded.TOKENS, "tokens": 900}
    world.script.agents[(Work.CHANGE, "one")] = answers(
        lambda run: ended(run, OutcomeKind.OVER_BUDGET, "limit 1000 tokens").model_copy(update=met), changed
    )
    handle = await world.start_task({"task": TASK, "budget_tokens": 1000})
    view = await world.awaiting(ApprovalKind.BUDGET, handle.id)
    assert (view.subject["limit_tokens"], view.subject["tokens"], view.subject["exceeded"]) == (1000, 900, "tokens")
    assert '"budget_tokens": 2000' in answering_command(Waiting.of(view))
    assert "budget_tokens" in view.on_approve
    status = await world.status(handle.id)
    assert "900 of 1,000 tokens" in details(status, ())
    await world.decide(view, "approve", budget_usd="20")
    await world.decide(view, "approve", budget_tokens=3000)
    await asyncio.wait_for(handle.result(), 30)
    [raised] = [request for request in world.script.asked("open_budget") if request.raised]
    assert (raised.scope, raised.limit_usd, raised.limit_tokens) == (world.project, None, 3000)
    [refused] = (await world.approvals(handle.id)).refused
    assert "the limit of 1000 tokens was met" in refused.reason
    assert (await world.status(handle.id)).budget_tokens == 3000


async def test_a_budget_that_is_nearly_spent_is_shown_once_and_stops_nothing(world: World) -> None:
    def warned(run: AgentRun) -> AgentOutcome:
        return changed(run).model_copy(update={"notices": ("budget p: 80 % of 5.00 USD are spent",)})

    world.script.agents[(Work.CHANGE, "one")] = warned
    world.script.gates["one"] = [failing("test_x is red")]
    handle = await world.start_task({"task": TASK})
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.attempts) == (TaskState.ACCEPTED, 2)
    status = await world.status(handle.id)
    assert status.notices == ("budget p: 80 % of 5.00 USD are spent",)
    assert "**Notice**: budget p: 80 %" in details(status, ())
    assert world.script.kinds().count("approval_requested") == 0


async def test_agents_that_run_out_of_money_together_ask_once(world: World) -> None:
    poor = dict.fromkeys(Seat, True)

    def judge(run: AgentRun) -> AgentOutcome:
        assert run.seat is not None
        if poor.pop(run.seat, False):
            return ended(run, OutcomeKind.OVER_BUDGET, "spent")
        return verdict(Answer.APPROVE)(run)

    world.script.agents[(Work.JUDGE, "one")] = judge
    handle = await world.start_task({"task": TASK})
    await world.decide(await world.awaiting(ApprovalKind.BUDGET, handle.id), "approve", budget_usd="20")
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.state, report.approvals) == (TaskState.ACCEPTED, 1)


async def test_a_refused_budget_fails_the_attempt_and_ends_with_a_person(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = lambda run: ended(run, OutcomeKind.OVER_BUDGET, "spent")
    handle = await world.start_task({"task": TASK})
    for _ in range(3):  # as asked, L1, L3
        await world.decide(await world.awaiting(ApprovalKind.BUDGET, handle.id), "reject")
    await world.decide(await world.awaiting(ApprovalKind.ESCALATION, handle.id), "reject")
    assert (await asyncio.wait_for(handle.result(), 30)).state is TaskState.FAILED


async def test_a_task_changes_hands_when_its_agent_says_so(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = answers(
        lambda run: ended(run, OutcomeKind.HANDOFF, "this is deployment", to_role=Role.DEVOPS), changed
    )
    report = await run_task(world)
    first, second = world.script.runs(Work.CHANGE)
    assert (report.state, second.role) == (TaskState.ACCEPTED, Role.DEVOPS)
    assert second.agent != first.agent
    assert second.feedback[-1].text == "this is deployment"


async def test_a_refusing_agent_ends_the_task_without_repairs(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = lambda run: ended(run, OutcomeKind.REFUSED, "no", question="cannot")
    report = await run_task(world)
    assert (report.state, report.summary, report.repairs) == (TaskState.REFUSED, "cannot", 0)


async def test_an_unanswered_escalation_expires_and_fails_the_task(world: World) -> None:
    world.script.agents[(Work.CHANGE, "one")] = failed
    report = await run_task(world, approval_timeout_minutes=0)
    assert report.state is TaskState.FAILED
    assert [body["approval_kind"] for body in world.script.entries("approval_expired")] == ["escalation"]
    assert report.approvals == 0


async def test_cost_and_calls_of_a_thread_that_runs_again_count_once(world: World) -> None:
    def twice(run: AgentRun) -> AgentOutcome:
        if run.answer is None:
            return ended(run, OutcomeKind.NEEDS_HUMAN, "?", cost_usd=Decimal("0.50"), model_calls=5)
        return changed(run).model_copy(update={"cost_usd": Decimal("0.75"), "model_calls": 7})

    world.script.agents[(Work.CHANGE, "one")] = twice
    handle = await world.start_task({"task": TASK})
    await world.decide(await world.awaiting(ApprovalKind.QUESTION, handle.id), "approve")
    report = await asyncio.wait_for(handle.result(), 30)
    assert (report.cost_usd, report.model_calls) == (Decimal("0.79"), 15)  # and four judges at 0.01 and 2 calls
    described = await handle.describe()
    assert described.search_attributes["SyndicCostUsd"] == [pytest.approx(0.79)]


async def test_dependents_of_a_failed_task_are_skipped_and_the_rest_goes_on(world: World) -> None:
    world.script.plan = plan(planned("one"), planned("two", depends_on=("one",)), planned("three"))
    world.script.agents[(Work.CHANGE, "one")] = gave_up
    await world.start(max_sprints=1)
    task = task_workflow_id(world.project, 1, "one")
    await world.decide(await world.awaiting(ApprovalKind.ESCALATION, task), "reject")
    report = await asyncio.wait_for(world.handle().result(), 30)
    states = {item["task"]: item["state"] for item in report["tasks"]}
    assert states == {"one": "failed", "two": "skipped", "three": "merged"}

"""Where agents' questions to colleagues go: the answer is worked out by a run of its own and lands in the asker's inbox.

The workflow at the top (a sprint for its tasks, a project for its planners) keeps the waits, runs the answers, notices circles
and silence, and calls the project manager. A task under a sprint only passes questions on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from activities.contracts import OpenBudget, RecordActivities
from agents.messages import SYSTEM, MessageType
from agents.runs import AgentOutcome, AgentRun
from agents.situations import OpenQuestion, Situation, Trouble
from ledger.events import QuestionAsked, QuestionSettled, StateTimedOut, WaitCycleFound
from ledger.messages import NewMessage
from ledger.vocabulary import AgentState, OutcomeKind, task_workflow_id
from workflows import messages, options
from workflows.inquiries import answering_run, open_question, told, wait_view
from workflows.lifecycle import Lifecycle
from workflows.stopping import dropped, stop
from workflows.supervision import UNHELPED, Settled, Supervisor
from workflows.team_signals import Answered, Freed, Question, Wanted
from workflows.waits import WaitGraph
from workflows.working import Engages

DEPTH = 3
"""Questions on the way to an answer, each of which may lead to another one."""

COLLEAGUE = "colleague"
UNANSWERED = "unanswered"


class Exchange(Protocol):
    """Takes questions of agents at work."""

    async def serve(self, question: Question) -> None:
        """Return once the answer, of whatever kind, is in the asker's inbox."""
        ...


class Switchboard:
    """Settles questions with the agents of one crew."""

    def __init__(self, life: Lifecycle, crew: Engages) -> None:
        self._life = life
        self._crew = crew
        self._waits = WaitGraph()
        self._rulings: dict[str, Settled] = {}
        self._breaking: set[str] = set()
        """Questions of circles that somebody looks at."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One question at a time for each agent."""
        self._freed: set[tuple[str, str]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self.supervisor = Supervisor(life, crew)
        self.employed: dict[str, str] = {}
        """Task at work -> the agent it was given to, where tasks have workflows of their own."""

    def open(self, question: Question) -> None:
        """Serve a question of a task at work, and tell the task when that is done."""
        self._spawn(self._serve_task(question))

    def freed(self, news: Freed) -> None:
        """A task says that the wanted agent is not at work there."""
        self._freed.add((news.question, news.task))

    async def close(self) -> None:
        """End what nobody waits for any more."""
        await stop(*self._beside)

    async def serve(self, question: Question) -> None:
        run = question.run
        self._waits.add(open_question(question))
        self._life.waits[question.id] = wait_view(question)
        asked = QuestionAsked(
            question=question.id, asker=run.agent, to=question.to, sprint=run.sprint, task=run.task, text=question.text
        )
        self._life.note(asked, f"{run.agent} asks {question.to}", told(run, f"asks {question.to}: {question.text}"))
        self._life.refresh()
        try:
            await self._life.recorder.flush()
            settled = await self._settled(question)
        finally:
            self._waits.remove(question.id)
            self._rulings.pop(question.id, None)
            self._life.waits.pop(question.id, None)
            self._life.refresh()
        self._tell(question, settled)
        await self._life.recorder.flush()

    # One question.

    async def _settled(self, question: Question) -> Settled:
        if question.run.lineage.count(".q") >= DEPTH:
            return Settled(by=SYSTEM, how=UNANSWERED, text=f"This leads too far. {UNHELPED}")
        attempt = asyncio.create_task(self._attempt(question))
        try:
            self._look_for_a_circle(question)
            if not await self._decided(question, attempt):
                await self._give_up(question, attempt)
            return attempt.result() if question.id not in self._rulings else self._rulings[question.id]
        finally:
            if not dropped():
                await stop(attempt)

    async def _decided(self, question: Question, attempt: asyncio.Task[Settled]) -> bool:
        """Wait for the answer or a ruling; False where the asker has waited for as long as it may."""

        def decided() -> bool:
            return attempt.done() or question.id in self._rulings

        limit = timedelta(seconds=self._crew.limits.blocked_s)
        text = f"{question.run.agent} waits for {question.to}"
        while True:
            try:
                await workflow.wait_condition(decided, timeout=limit, timeout_summary=text)
                return True
            except TimeoutError:
                if question.id in self._breaking:
                    # Somebody decides this very question: the project manager, or a person it asked.
                    await workflow.wait_condition(decided)
                elif self._life.paused:
                    await self._life.clearance()
                else:
                    return False

    async def _give_up(self, question: Question, attempt: asyncio.Task[Settled]) -> None:
        limit = self._crew.limits.blocked_s
        event = StateTimedOut(
            agent=question.run.agent, thread=question.id.rpartition("/")[0], state=AgentState.BLOCKED.value,
            limit_s=limit, what=question.to,
        )  # fmt: skip
        self._life.note(event, f"{question.run.agent} has waited {limit} s for {question.to}")
        self._breaking.add(question.id)
        await stop(attempt)
        late = (open_question(question).model_copy(update={"waited_s": limit}),)
        situation = Situation(trouble=Trouble.TIMEOUT, questions=late, others=self._waits.others(late))
        self._rulings |= await self.supervisor.rule(situation, question.run)
        self._breaking.discard(question.id)

    async def _attempt(self, question: Question) -> Settled:
        try:
            async with self._turns[question.to]:
                await self._until_free(question)
                outcome = await self._answer(question)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return Settled(by=SYSTEM, how=UNANSWERED, text=f"{question.to} could not be asked. {UNHELPED}")
        if outcome.kind is OutcomeKind.FINISHED:
            return Settled(by=question.to, how=COLLEAGUE, text=str(outcome.result.get("answer", "")))
        reason = messages.bounded(outcome.summary)
        return Settled(by=SYSTEM, how=UNANSWERED, text=f"{question.to} could not answer: {reason}. {UNHELPED}")

    async def _until_free(self, question: Question) -> None:
        """An agent does one thing at a time: wait until it is not at work, neither here nor in a task."""
        for task in [task for task, agent in self.employed.items() if agent == question.to]:
            # A task that was just given out may not have a workflow yet.
            await workflow.wait_condition(lambda task=task: task in self._life.children or task not in self.employed)
            wanted = Wanted(question=question.id, agent=question.to)
            if await _signal(self._life, question.run.sprint, task, "wanted", wanted):
                await workflow.wait_condition(
                    lambda task=task: (question.id, task) in self._freed or task not in self._life.children
                )
        await workflow.wait_condition(lambda: question.to not in self._crew.at_work.values())

    async def _answer(self, question: Question) -> AgentOutcome:
        run = answering_run(question, self._crew)
        limit = self._life.budget_usd
        share = None if limit is None else (limit * options.ANSWER_SHARE).quantize(Decimal("1e-9"))
        budget = OpenBudget(scope=run.budget_scope, limit_usd=share)
        await self._life.call(RecordActivities.open_budget, budget, options.RECORD, f"budget of {question.to}'s answer")
        return await self._crew.engage(run, f"{question.to} answers {question.run.agent}: {question.text}")

    def _tell(self, question: Question, settled: Settled) -> None:
        """Put it on the record; what no colleague wrote is written to the asker's inbox with it."""
        run = question.run
        event = QuestionSettled(
            question=question.id, asker=run.agent, by=settled.by, how=settled.how, text=messages.bounded(settled.text)
        )
        self._life.note(event, f"{run.agent} has an answer ({settled.how})", told(run, f"hears from {settled.by}"))
        if settled.how == COLLEAGUE:
            return
        self._life.recorder.post(
            NewMessage(
                id=f"{question.id}/{settled.how}",
                project=run.project,
                source=settled.by if settled.how == "supervisor" else SYSTEM,
                target=run.agent,
                type=MessageType.RESPONSE.value,
                payload={"answer": settled.text, "by": settled.by, "how": settled.how},
                correlation=question.id,
            )
        )

    # Circles.

    def _look_for_a_circle(self, question: Question) -> None:
        circle = self._waits.circle(question.id)
        ids = {one.id for one in circle}
        if circle and not ids & self._breaking:
            self._breaking |= ids
            self._spawn(self._break(circle, question.run))

    async def _break(self, circle: tuple[OpenQuestion, ...], asker: AgentRun) -> None:
        agents = tuple(question.asker for question in circle)
        ids = tuple(question.id for question in circle)
        text = f"{' waits for '.join((*agents, agents[0]))}"
        feed = told(asker, text)
        self._life.note(WaitCycleFound(agents=agents, questions=ids), text, feed)
        try:
            situation = Situation(trouble=Trouble.CYCLE, questions=circle, others=self._waits.others(circle))
            self._rulings |= await self.supervisor.rule(situation, asker)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            # They wait until their time is up, and are ruled on one by one.
            self._life.remark(f"the project manager could not be called: {error}")
        finally:
            self._breaking -= set(ids)

    # Tasks.

    async def _serve_task(self, question: Question) -> None:
        try:
            await self.serve(question)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            # Without an answer in its inbox the run asks again, and ends as failed.
            self._life.remark(f"the question of {question.run.agent} could not be settled: {error}")
        await _signal(self._life, question.run.sprint, question.run.task, "answered", Answered(question=question.id))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


async def _signal(life: Lifecycle, sprint: int, task: str, name: str, message: Wanted | Answered) -> bool:
    """Tell a task at work something; False where it has ended meanwhile."""
    handle = workflow.get_external_workflow_handle(task_workflow_id(life.project, sprint, task))
    try:
        # Shielded: the SDK holds a cancellation back until the signal has arrived, and drops it then.
        await asyncio.shield(handle.signal(name, message))
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        workflow.logger.info("task_not_signalled", extra={"task": task, "error": str(error)})
        return False
    return True

"""Steering a task while it is worked on: its round is stopped in order and it goes on another way."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from activities.lineage_contracts import LineageActivities, ReadRun, RewindRun, Rewound, RunSoFar
from agents.assignments import Feedback
from agents.messages import feedback_message
from agents.runs import AgentOutcome, AgentRun
from ledger.vocabulary import OutcomeKind, Role, TaskState, thread_id
from workflows import options, reassigning, team
from workflows.assessing import Assessment
from workflows.edits import Edit, EditError, Reassign, Rewind, words
from workflows.interrupting import Interrupted, unless
from workflows.withdrawing import withdraw

if TYPE_CHECKING:
    from workflows.agent_task import AgentTask

T = TypeVar("T")


class Steered(Exception):
    """The round was stopped because a person wants the task to go on another way."""


class Steering:
    """What people change about one task that is worked on."""

    def __init__(self, task: AgentTask) -> None:
        self._task = task
        self._wanted: Rewind | Reassign | None = None

    async def take(self, edit: Edit) -> str | None:
        """Look whether the edit can be made and stop the round for it; returns why not, or None."""
        task = self._task
        if task.state is not TaskState.RUNNING or not task.attempts.runs:
            return f"task {task.spec.task.id} is not worked on"
        if edit.about != task.spec.task.id:
            return f"this is task {task.spec.task.id!r}, not {edit.about!r}"
        if self._wanted is not None:
            return f"{words(self._wanted)} comes first; send it again"
        try:
            if isinstance(edit, Rewind):
                await self._check_rewind(edit)
            elif isinstance(edit, Reassign):
                reassigning.chosen(edit, task.spec.task, task.project, task.team)
            else:
                return f"{edit.do} is for the sprint: send it to its workflow"
        except EditError as error:
            return str(error)
        if task.state is not TaskState.RUNNING:
            return f"task {task.spec.task.id} has ended meanwhile"
        self._wanted = edit
        return None

    async def through(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a round of work.

        Raises:
            Steered: it was stopped in order, and `turn` says how to go on.
        """
        at_work: list[str] = []

        def wanted() -> bool:
            at_work[:] = self._task.crew.at_work
            return self._wanted is not None

        try:
            return await unless(self._task, wanted, work)
        except Interrupted:
            withdraw(self._task, "the task goes on another way")
            for thread in at_work:
                self._count(await self._read(thread))
            raise Steered from None

    async def turn(self) -> None:
        """Make the change that the round was stopped for."""
        edit, self._wanted = self._wanted, None
        if isinstance(edit, Rewind):
            await self._rewind(edit)
        elif isinstance(edit, Reassign):
            await self._reassign(edit)

    # Rewinding.

    async def _check_rewind(self, edit: Rewind) -> None:
        run = self._run_of(edit)
        so_far = await self._read(_thread(run))
        if edit.step > so_far.steps:
            raise EditError(f"attempt {edit.attempt or len(self._task.attempts.runs)} has {so_far.steps} steps so far")

    def _run_of(self, edit: Rewind) -> AgentRun:
        runs = self._task.attempts.runs
        if edit.attempt is not None and edit.attempt > len(runs):
            raise EditError(f"there were {len(runs)} attempts so far")
        return runs[(edit.attempt or len(runs)) - 1]

    async def _rewind(self, edit: Rewind) -> None:
        task = self._task
        source = self._run_of(edit)
        run = task.attempts.go_on_from(source)
        request = RewindRun(
            project=task.project,
            sprint=task.spec.sprint,
            task=task.spec.task.id,
            source=_thread(source),
            target=_thread(run),
            step=edit.step,
            by=edit.by,
        )
        text = f"{run.agent} goes on from step {edit.step}"
        rewound: Rewound = await task.call(LineageActivities.rewind_run, request, options.RECORD, text)
        if rewound.refusal is not None:
            task.refuse("edit", rewound.refusal, edit.by)
            task.attempts.stay()
            return
        task.remark(f"{text} of attempt {source.attempt}, by {edit.by} (claimed)")
        task.failure, task.result = (), Assessment()
        if edit.note:
            self._tell(run, edit)

    def _tell(self, run: AgentRun, edit: Rewind) -> None:
        task = self._task
        said = Feedback(source=f"person:{edit.by}", text=edit.note)
        task.said = (*task.said, said)
        task.recorder.post(
            feedback_message(
                id=f"{_thread(run)}/note", project=task.project, target=run.agent, feedback=said, source=said.source
            )
        )

    # Reassigning.

    async def _reassign(self, edit: Reassign) -> None:
        task = self._task
        role, agent = reassigning.chosen(edit, task.spec.task, task.project, task.team)
        giver = task.attempts.runs[-1]
        task.attempts.name(agent or self._somebody_else(role), role)
        said = edit.note or f"You take the task over from {giver.agent}; its branch holds what was done so far."
        task.failure = (*task.failure, Feedback(source=f"person:{edit.by}", text=said))
        reason = f"{edit.by} (claimed): {words(edit)}"
        task.handing.reassign(
            giver, task.agent, edit.by, reason, task.feed("message", f"takes over from {giver.agent}")
        )

    def _somebody_else(self, role: Role) -> str:
        task = self._task
        names = reassigning.names_for(role, task.team)
        agents = [team.named(task.project, role, name) for name in names]
        fit = [agent for agent in agents if task.team.narrowed(agent, task.spec.task.scope) is not None]
        return next((agent for agent in fit if agent != task.agent), task.agent)

    # Reading runs.

    async def _read(self, thread: str) -> RunSoFar:
        return await self._task.call(
            LineageActivities.read_run, ReadRun(thread=thread), options.RECORD, f"read {thread}"
        )

    def _count(self, run: RunSoFar) -> None:
        """A run that was stopped has no outcome to count."""
        self._task.tally.count(
            AgentOutcome(
                kind=OutcomeKind.PAUSED,
                thread=run.thread,
                summary="stopped",
                model_calls=run.model_calls,
                cost_usd=run.cost_usd,
                tokens=run.tokens,
            )
        )


def _thread(run: AgentRun) -> str:
    return thread_id(run.project, run.sprint, run.task, run.lineage)

"""The attempts at one task: who makes the next one, what its agent is asked, and which runs there were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.assignments import Work
from agents.runs import AgentOutcome, AgentRun
from ledger.events import TaskStarted
from ledger.vocabulary import ArtifactRef, Phase, Role, TaskKind
from workflows import team

if TYPE_CHECKING:
    from workflows.agent_task import AgentTask


class Attempts:
    """Counts them from 1; each is a run with a lineage of its own."""

    def __init__(self, task: AgentTask, producer: Role) -> None:
        self._task = task
        self.producer = producer
        self.number = 0
        self.handovers = 0
        self.runs: list[AgentRun] = []
        """What each attempt was asked, in order."""
        self._named = task.spec.agent
        self._named_at = 0
        self._continuing: AgentRun | None = None

    @property
    def agent(self) -> str:
        """Who makes the attempt: whoever was named for the task, until the ladder or a handover takes it away."""
        task, shift = self._task, self._shift
        if self._named is not None and shift == self._named_at:
            return self._named
        place = task.spec.place if task.spec.place is not None else team.place_of(task.workflow_id)
        if not shift:
            return team.agent_id(task.project, self.producer, place)
        reliefs = [team.agent_id(task.project, self.producer, place, n + 1) for n in range(len(team.BEGINNERS))]
        # Nobody relieves themselves, and nobody is called out of the folder that a profile gives them.
        fit = [name for name in reliefs if name != self._named and task.team.narrowed(name, task.spec.task.scope)]
        return (fit or reliefs)[(shift - 1) % len(fit or reliefs)]

    @property
    def _shift(self) -> int:
        return self._task.ladder.agent_shift + self.handovers

    def name(self, agent: str, role: Role) -> None:
        """From now on this agent, in this role."""
        self.producer, self._named, self._named_at = role, agent, self._shift

    def hand_over(self, taker: Role | None) -> None:
        """The agent gives the task away: to this role, or to somebody else of its own."""
        self.handovers += 1
        self.producer = taker or self.producer

    def go_on_from(self, run: AgentRun) -> AgentRun:
        """Make the next attempt a continuation of an earlier one; returns its run, whose lineage must be begun first."""
        self.name(run.agent, run.role)
        number = self.number + 1
        self._continuing = run.model_copy(
            update={"lineage": self._lineage(run.role, number), "attempt": number, "answer": None, "answer_to": None}
        )
        return self._continuing

    def stay(self) -> None:
        """Let the last attempt go on as it was: nothing else could be begun."""
        self._continuing = self.runs.pop()
        self.number -= 1
        self.name(self._continuing.agent, self._continuing.role)

    async def make(self) -> tuple[AgentRun, AgentOutcome]:
        """The next one, to its agent's outcome."""
        task, spec = self._task, self._task.spec
        self.number += 1
        run, self._continuing = self._continuing or self._run(), None
        self.runs.append(run)
        task.enter(Phase.WORKING, f"{self.agent}, attempt {self.number}")
        started = TaskStarted(
            sprint=spec.sprint, task=run.task, title=run.title, agent=self.agent, generation=spec.generation
        )
        task.note(started, feed=task.feed("task_started", run.title) if self.number == 1 else None)
        return run, await task.crew.engage(run, f"{self.producer.value} {run.task}: {run.title}")

    def _lineage(self, role: Role, number: int) -> str:
        return f"{role.value}-{self._task.spec.generation}.{number}"

    def _run(self) -> AgentRun:
        task, spec = self._task, self._task.spec
        return AgentRun(
            project=spec.project,
            sprint=spec.sprint,
            task=spec.task.id,
            lineage=self._lineage(self.producer, self.number),
            role=self.producer,
            agent=self.agent,
            work=Work.CHANGE if spec.task.kind is TaskKind.CHANGE else Work.ANALYSIS,
            goal=spec.goal,
            title=spec.task.title,
            instructions=spec.task.instructions,
            scope=task.team.narrowed(self.agent, spec.task.scope) or spec.task.scope,
            acceptance=spec.task.acceptance,
            params=spec.task.params,
            chain=team.chain_of(spec.models, self.producer),
            chain_offset=task.ladder.chain_offset,
            branch=task.workspace.branch,
            base_commit=task.workspace.base_commit,
            baseline=spec.baseline,
            documents=(*spec.documents, *self._earlier_diff()),
            feedback=(*spec.feedback, *task.failure, *task.said),
            attempt=self.number,
            max_steps=spec.max_steps,
            budget_scope=task.subject,
        )

    def _earlier_diff(self) -> tuple[ArtifactRef, ...]:
        """What the branch holds of the attempt before, so that the next one can take parts of it back."""
        return tuple(ref for ref in self._task.result.documents if ref.name == "diff")

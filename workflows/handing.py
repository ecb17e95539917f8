"""A task changes hands because its agent wants it: who takes it, and how everybody is told."""

from __future__ import annotations

from agents.messages import MessageType
from agents.runs import AgentOutcome, AgentRun
from agents.situations import Situation, Trouble
from ledger.events import TaskHandedOver
from ledger.messages import NewMessage
from ledger.vocabulary import Json, Role
from workflows import briefs
from workflows.lifecycle import Lifecycle
from workflows.specs import TaskSpec
from workflows.supervision import Supervisor
from workflows.working import Engages


class Handing:
    """Hands one task over."""

    def __init__(self, life: Lifecycle, crew: Engages, spec: TaskSpec) -> None:
        self._life = life
        self._task = spec.task
        self._sprint = spec.sprint
        self._supervisor = Supervisor(life, crew, spec.task.id, f"{spec.generation}.")

    async def taker(self, run: AgentRun, outcome: AgentOutcome) -> Role | None:
        """The role that was named where it can take the task, else one that the project manager names, or None."""
        takers = briefs.TAKERS[self._task.kind]
        if outcome.to_role in takers:
            return outcome.to_role
        situation = Situation(
            trouble=Trouble.HANDOVER, task=self._task.id, giver=run.agent, reason=_reason(outcome), candidates=takers
        )
        return await self._supervisor.taker(situation, run)

    def announce(self, run: AgentRun, outcome: AgentOutcome, taker: str, feed: dict[str, Json]) -> None:
        """Put it on the record, and `TASK_HANDOFF` into the inbox of who takes over."""
        event = TaskHandedOver(
            sprint=self._sprint, task=self._task.id, giver=run.agent, taker=taker, reason=_reason(outcome)
        )
        self._life.note(event, f"{run.agent} hands over to {taker}", feed)
        self._life.recorder.post(
            NewMessage(
                id=f"{outcome.thread}/handed-over/{taker}",
                project=run.project,
                source=run.agent,
                target=taker,
                type=MessageType.TASK_HANDOFF.value,
                payload={"task": self._task.id, "sprint": self._sprint, "reason": _reason(outcome)},
                correlation=outcome.thread,
            )
        )

    def reassign(self, giver: AgentRun, taker: str, by: str, reason: str, feed: dict[str, Json]) -> None:
        """The same where a person wants it."""
        event = TaskHandedOver(sprint=self._sprint, task=self._task.id, giver=giver.agent, taker=taker, reason=reason)
        self._life.note(event, f"{taker} takes over from {giver.agent}, by {by} (claimed)", feed)


def _reason(outcome: AgentOutcome) -> str:
    return outcome.question or outcome.summary

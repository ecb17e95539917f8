"""What people say to a sprint, to one of its tasks, or to one agent by name: told at its next step, kept, or refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from temporalio.exceptions import FailureError

from agents.assignments import Feedback
from ledger.vocabulary import Role, TaskState
from workflows import reassigning, team
from workflows.controls import FeedbackNote

if TYPE_CHECKING:
    from workflows.sprint import Sprint


KEPT_LIMIT = 200_000
"""Characters of persons' words that may wait for whoever begins next: what they are started with must fit into one message."""


def objection(kept: Iterable[Feedback], note: FeedbackNote) -> str | None:
    """Why no more words can be kept beside those that wait already, or None where they can."""
    if sum(len(words.text) for words in kept) + len(note.text) > KEPT_LIMIT:
        return f"{KEPT_LIMIT:,} characters at most can be kept for whoever begins next, and others wait already"
    return None


def said(note: FeedbackNote) -> Feedback:
    """A person's words as agents read them."""
    return Feedback(source=f"person:{note.by}", text=note.text)


def is_called(agent: str, name: str) -> bool:
    """Whether an agent id is meant by `grace`, `engineer.grace` or the whole id."""
    return agent == name or agent.endswith(f".{name}")


class Hearing:
    """Takes feedback for one sprint."""

    def __init__(self, sprint: Sprint) -> None:
        self._sprint = sprint

    async def take(self, note: FeedbackNote) -> str | None:
        """Bring words to whom they concern; returns why that is not possible, or None."""
        if (why := objection(self._sprint.worklist.most_kept, note)) is not None:
            return why
        if note.task is not None:
            return await self._to_task(note.task, note)
        if note.agent is not None:
            return await self._to_agent(note.agent, note)
        sprint = self._sprint
        told = sprint.crew.tell(note)
        await sprint.tell_children("feedback", note)
        if told or sprint.children:
            return None
        waiting = [name for name, state in sprint.worklist.states.items() if state is TaskState.WAITING]
        sprint.worklist.keep(waiting, said(note))
        return None if waiting else "nobody is at work, and no task is left that could begin"

    async def _to_task(self, task: str, note: FeedbackNote) -> str | None:
        sprint, states = self._sprint, self._sprint.worklist.states
        if task not in states:
            return f"there is no task {task!r} in this sprint; there are {', '.join(states)}"
        if states[task] not in (TaskState.WAITING, TaskState.RUNNING):
            return f"task {task!r} has ended: {states[task].value}"
        child = sprint.children.get(task)
        if child is not None:
            try:
                await child.signal("feedback", note)
            except FailureError:
                child = None  # it has just ended, and may come back from the merge
        if child is None:
            sprint.worklist.keep([task], said(note))
        return None

    async def _to_agent(self, name: str, note: FeedbackNote) -> str | None:
        sprint = self._sprint
        if sprint.crew.tell(note):
            return None
        employed = sprint.worklist.employed()
        tasks = [task for task, agent in employed.items() if is_called(agent, name)]
        for task in tasks:
            await self._to_task(task, note)
        if tasks:
            return None
        if (agent := self._whole(name)) is not None:
            # Its task may have changed hands; whatever it does next, it reads its inbox first.
            sprint.crew.write(agent, note)
            return None
        at_work = ", ".join(dict.fromkeys((*sprint.crew.at_work.values(), *employed.values())))
        return f"nobody called {name!r} is at work in this sprint; at work: {at_work or 'nobody'}"

    def _whole(self, name: str) -> str | None:
        """The id of an agent that is named with its role; None where the team has none."""
        role, _, own = name.removeprefix(f"{self._sprint.project}.").partition(".")
        if (
            role not in list(Role)
            or role == Role.JUDGE
            or own not in reassigning.names_for(Role(role), self._sprint.team)
        ):
            return None
        return team.named(self._sprint.project, Role(role), own)

"""The switchboard of a task under a sprint: it passes questions on and waits for word."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from workflows.inquiries import wait_view
from workflows.lifecycle import Lifecycle
from workflows.team_signals import Answered, Freed, Question, Wanted
from workflows.working import Engages


class Extension:
    """Speaks with the sprint of one task by signals."""

    def __init__(self, life: Lifecycle, crew: Engages, sprint: str) -> None:
        self._life = life
        self._crew = crew
        self._sprint = workflow.get_external_workflow_handle(sprint)
        self._answered: set[str] = set()

    async def serve(self, question: Question) -> None:
        self._life.waits[question.id] = wait_view(question)
        self._life.refresh()
        try:
            await self._sprint.signal("ask", question)
            await workflow.wait_condition(lambda: question.id in self._answered)
        finally:
            self._life.waits.pop(question.id, None)
            self._life.refresh()

    def answered(self, news: Answered) -> None:
        self._answered.add(news.question)

    def wanted(self, news: Wanted, task: str) -> asyncio.Task[None]:
        """Tell the sprint once the agent is not at work here."""
        return asyncio.create_task(self._free(news, task))

    async def _free(self, news: Wanted, task: str) -> None:
        def free() -> bool:
            return self._crew.engaged > 0 and news.agent not in self._crew.at_work.values()

        await workflow.wait_condition(free)
        await self._sprint.signal("free", Freed(question=news.question, task=task))

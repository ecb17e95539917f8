"""Which workflows and activities each task queue serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from activities.agent_run import AgentRuns
from activities.hooks import Hooks
from activities.lineages import Lineages
from activities.record import Records
from activities.teamwork import Teamwork
from activities.workspace import Workspaces
from workers.dependencies import Dependencies
from workers.queues import check_queues
from workflows.agent_task import AgentTask
from workflows.options import AGENTS_QUEUE, WORKFLOW_QUEUE
from workflows.project import Project
from workflows.sprint import Sprint


@dataclass(frozen=True)
class Served:
    """What one task queue offers."""

    queue: str
    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]


def served(queues: Sequence[str], dependencies: Dependencies) -> list[Served]:
    """The parts for some queues, sharing one set of dependencies.

    Raises:
        UnknownQueueError: a queue that Syndic does not have; the text lists those it has.
    """
    return [_part(queue, dependencies) for queue in check_queues(queues)]


def _part(queue: str, dependencies: Dependencies) -> Served:
    lineages = Lineages(dependencies.store, dependencies.agents.layout)
    if queue == WORKFLOW_QUEUE:
        records = Records(dependencies.store, dependencies.feed)
        team = Teamwork(dependencies.store, dependencies.agents.layout)
        return Served(
            queue,
            [Project, Sprint, AgentTask],
            [
                records.record,
                records.keep_document,
                records.open_budget,
                records.change_standing,
                team.read_questions,
                team.close_question,
                team.survey_team,
                lineages.read_run,
                lineages.rewind_run,
            ],
        )
    if queue == AGENTS_QUEUE:
        return Served(queue, [], [AgentRuns(dependencies.agents).agent_run])
    work = Workspaces(dependencies.agents, dependencies.settings.models, dependencies.settings.limits())
    return Served(
        queue,
        [],
        [
            work.open_project,
            work.prepare_target,
            work.open_workspace,
            work.run_gates,
            work.integrate,
            work.deliver,
            work.close_project,
            Teamwork(dependencies.store, dependencies.agents.layout).read_profiles,
            lineages.give_up_task,
            Hooks(dependencies.agents).run_hook,
        ],
    )

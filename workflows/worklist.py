"""The tasks of a running sprint as they stand: what is planned, who has it, how far it is, and what people change."""

from __future__ import annotations

from collections.abc import Iterable

from agents.assignments import Feedback, PlannedTask
from ledger.chain import digest
from ledger.vocabulary import Phase, TaskState, task_workflow_id
from workflows import team
from workflows.reports import TaskReport
from workflows.schedule import Schedule
from workflows.specs import SprintSpec
from workflows.views import TaskView


class Worklist:
    """Begins with the plan's tasks. The places of tasks never change: agents and branches are told apart by them.

    Raises:
        ScheduleError: the plan's tasks cannot be put in an order.
    """

    def __init__(self, spec: SprintSpec) -> None:
        self._spec = spec
        self._tasks = {task.id: task for task in spec.tasks}
        self._places = {task.id: place for place, task in enumerate(spec.tasks)}
        self._placed = len(spec.tasks)
        self.schedule = Schedule(spec.tasks, spec.max_parallel, spec.earlier)
        self.states = dict.fromkeys(self._tasks, TaskState.WAITING)
        self.reports: dict[str, TaskReport] = {}
        """Of the tasks that have ended."""
        self.agents: dict[str, str] = {}
        """Task -> agent, of the tasks that were given out."""
        self.named: dict[str, str] = dict(spec.agents)
        """Task -> agent that a person named for it."""
        self.waived: set[str] = set()
        """Tasks that a person took out; they are not planned again."""
        self.forgone: set[str] = set()
        """Tasks without which their dependents run."""
        self.is_open = True
        """Whether tasks can still begin."""
        self._kept: dict[str, tuple[Feedback, ...]] = dict(spec.kept)

    @property
    def tasks(self) -> tuple[PlannedTask, ...]:
        """In the order of the plan, added ones behind."""
        return tuple(self._tasks.values())

    @property
    def digest(self) -> str:
        """Of the tasks and the agents that were named for them."""
        named = {name: agent for name, agent in self.named.items() if name in self._tasks}
        return digest({"tasks": [task.model_dump(mode="json") for task in self.tasks], "agents": named})

    def task(self, name: str) -> PlannedTask | None:
        return self._tasks.get(name)

    def place(self, name: str) -> int:
        return self._places[name]

    def agent_of(self, task: PlannedTask) -> str:
        """Who has the task, or would get it by its place."""
        given = self.agents.get(task.id) or self.named.get(task.id)
        return given or team.agent_id(self._spec.project, task.role, self._places[task.id])

    def employed(self) -> dict[str, str]:
        """Task -> agent, of the tasks that run."""
        running = (task for task in self.tasks if self.states[task.id] is TaskState.RUNNING)
        return {task.id: self.agent_of(task) for task in running}

    # Words for tasks that have not begun.

    def keep(self, names: Iterable[str], words: Feedback) -> None:
        """Keep what a person said until the task's agent begins."""
        for name in names:
            self._kept[name] = (*self._kept.get(name, ()), words)

    @property
    def most_kept(self) -> tuple[Feedback, ...]:
        """What waits for the task of which most was said; each task begins with its own."""
        return max(self._kept.values(), key=lambda words: sum(len(one.text) for one in words), default=())

    def take_kept(self, name: str) -> tuple[Feedback, ...]:
        return self._kept.pop(name, ())

    # Changes.

    def add(self, task: PlannedTask) -> None:
        self._places[task.id], self._placed = self._placed, self._placed + 1
        self._tasks[task.id] = task
        self.states[task.id] = TaskState.WAITING
        self.schedule.add(task)

    def replace(self, task: PlannedTask) -> None:
        self._tasks[task.id] = task
        self.schedule.replace(task)

    def drop(self, name: str) -> None:
        del self._tasks[name], self.states[name]
        self.named.pop(name, None)
        self.schedule.drop(name)

    def end(self, task: PlannedTask, state: TaskState, text: str) -> None:
        """A task ends that nobody works on."""
        self.settle(unworked(task, self._spec.sprint, state, text))

    def settle(self, report: TaskReport) -> None:
        """A task has ended."""
        taken_out = report.task in self.waived
        self.states[report.task] = report.state
        self.reports[report.task] = report.model_copy(update={"taken_out": taken_out}) if taken_out else report

    def begin_again(self, name: str) -> None:
        self.states[name] = TaskState.WAITING
        self.reports.pop(name, None)
        self.waived.discard(name)
        self.forgone.discard(name)

    # What is shown.

    def views(self) -> tuple[TaskView, ...]:
        return tuple(self._view(task) for task in self.tasks)

    def _view(self, task: PlannedTask) -> TaskView:
        report = self.reports.get(task.id)
        state = self.states[task.id]
        started = state not in (TaskState.WAITING, TaskState.SKIPPED)
        working = state is TaskState.RUNNING
        return TaskView(
            id=task.id,
            title=task.title,
            kind=task.kind,
            state=state,
            # The task's own workflow knows better, once agents change.
            phase=Phase.WORKING if working else None,
            agent=report.agent if report else self.agent_of(task) if working else None,
            depends_on=task.depends_on,
            detail=report.summary if report else "",
            attempts=report.attempts if report else 0,
            repairs=report.repairs if report else 0,
            workflow_id=task_workflow_id(self._spec.project, self._spec.sprint, task.id) if started else None,
        )


def unworked(task: PlannedTask, sprint: int, state: TaskState, text: str) -> TaskReport:
    """The report of a task that has none of its own."""
    return TaskReport(
        task=task.id,
        sprint=sprint,
        kind=task.kind,
        title=task.title,
        state=state,
        summary=text,
        agent="",
        attempts=0,
    )

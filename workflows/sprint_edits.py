"""What people change in a running sprint: each edit is looked at, made at once or refused, and stands on the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.exceptions import FailureError

from agents.assignments import Feedback, PlannedTask
from ledger.events import PlanEdited
from ledger.vocabulary import TaskState
from workflows import briefs, reassigning
from workflows.edits import (
    Add,
    Cancel,
    Drop,
    Edit,
    EditError,
    Reassign,
    Retry,
    Rewind,
    Skip,
    TaskEdit,
    words,
)

if TYPE_CHECKING:
    from workflows.sprint import Sprint

AGAIN = frozenset({TaskState.FAILED, TaskState.REFUSED, TaskState.CANCELLED, TaskState.SKIPPED})
"""Ends after which a task can be tried again."""


class SprintEdits:
    """Makes edits of one sprint."""

    def __init__(self, sprint: Sprint) -> None:
        self._sprint = sprint
        self._list = sprint.worklist
        self._applied: set[str] = set()

    async def take(self, edit: Edit) -> str | None:
        """Make the edit; returns why it cannot be made, or None."""
        if edit.id is not None and edit.id in self._applied:
            return f"edit {edit.id} was made already"
        before = self._list.digest
        try:
            await self._make(edit)
        except EditError as error:
            return str(error)
        if edit.id is not None:
            self._applied.add(edit.id)
        self._record(edit, before)
        return None

    def _record(self, edit: Edit, before: str) -> None:
        sprint = self._sprint
        event = PlanEdited(
            workflow_id=sprint.workflow_id,
            sprint=sprint.spec.sprint,
            do=edit.do,
            task=edit.about,
            claimed_by=edit.by,
            text=words(edit),
            before=before,
            digest=self._list.digest,
        )
        sprint.note(event, f"{words(edit)}, by {edit.by} (claimed)")
        sprint.refresh()

    async def _make(self, edit: Edit) -> None:
        if not self._list.is_open:
            raise EditError(
                f"the sprint is past its tasks ({self._sprint.phase.value}); what is left is planned after it"
            )
        match edit:
            case Add():
                self._add(edit)
            case Drop():
                self._drop(self._waiting(edit, "dropped; skip or cancel it"))
            case Skip():
                self._take_out(edit, TaskState.SKIPPED, f"left out by {edit.by} (claimed)", edit.dependents == "run")
            case Cancel():
                why = f": {edit.reason}" if edit.reason else ""
                self._take_out(
                    edit, TaskState.CANCELLED, f"cancelled by {edit.by} (claimed){why}", dependents_run=False
                )
            case Retry():
                self._retry(edit)
            case Reassign():
                await self._reassign(edit)
            case Rewind():
                await self._pass_on(edit)

    # Which task.

    def _task(self, edit: TaskEdit) -> PlannedTask:
        task = self._list.task(edit.task)
        if task is None:
            known = ", ".join(task.id for task in self._list.tasks)
            raise EditError(f"there is no task {edit.task!r} in this sprint; there are {known}")
        return task

    def _waiting(self, edit: TaskEdit, what: str) -> PlannedTask:
        task = self._task(edit)
        if self._list.states[task.id] is not TaskState.WAITING:
            raise EditError(f"{self._stands(task)}: a task that has begun cannot be {what}")
        return task

    def _stands(self, task: PlannedTask) -> str:
        state = self._list.states[task.id]
        return f"task {task.id!r} " + ("is at work" if state is TaskState.RUNNING else f"has ended: {state.value}")

    # The plan.

    def _add(self, edit: Add) -> None:
        spec = self._sprint.spec
        if edit.sprint not in (None, spec.sprint):
            raise EditError(f"this is sprint {spec.sprint}; tasks of others can be added while those run")
        task = briefs.planned(edit.task, spec.scope)
        faults = briefs.task_faults((*self._list.tasks, task), spec.earlier)
        faults += briefs.scope_faults(task, spec.scope)
        lost = [name for name in task.depends_on if name in self._list.states and self._list.schedule.is_lost(name)]
        faults += [f"task {task.id!r} depends on {name!r}, which did not succeed" for name in lost]
        if faults:
            raise EditError("; ".join(faults))
        self._list.add(task)

    def _drop(self, task: PlannedTask) -> None:
        if needed := self._list.schedule.dependents(task.id):
            raise EditError(f"{', '.join(needed)} depends on task {task.id!r}; skip it instead, or drop those first")
        self._list.drop(task.id)

    # Ending and beginning again.

    def _take_out(self, edit: Skip | Cancel, state: TaskState, text: str, dependents_run: bool) -> None:
        task = self._task(edit)
        present = self._list.states[task.id]
        if present is TaskState.RUNNING:
            self._sprint.lanes.stop(task.id, state, text)
        elif present is not TaskState.WAITING:
            raise EditError(f"{self._stands(task)}")
        self._list.waived.add(task.id)
        if dependents_run:
            self._list.forgone.add(task.id)
        if present is TaskState.WAITING:
            self._list.end(task, state, text)
            self._skip(self._list.schedule.leave_out(task.id, dependents_run=dependents_run), task.id)

    def _skip(self, tasks: list[PlannedTask], because: str) -> None:
        for task in tasks:
            self._list.waived.add(task.id)
            self._list.end(task, TaskState.SKIPPED, f"left out with {because}")

    def _retry(self, edit: Retry) -> None:
        task = self._task(edit)
        if self._list.states[task.id] not in AGAIN:
            raise EditError(f"{self._stands(task)}" if self._has_begun(task) else f"task {task.id!r} has not begun")
        if lost := self._list.schedule.lost_needs(task):
            raise EditError(f"task {task.id!r} depends on {', '.join(lost)}, which did not succeed; retry that first")
        report = self._list.reports[task.id]
        self._list.begin_again(task.id)
        for revived in self._list.schedule.again(task.id):
            self._list.begin_again(revived.id)
        if report.attempts:
            text = f"An earlier attempt ended as {report.state.value}: {report.summary}"
            self._list.keep([task.id], Feedback(source="retry", text=text))
        if edit.note:
            self._list.keep([task.id], Feedback(source=f"person:{edit.by}", text=edit.note))

    def _has_begun(self, task: PlannedTask) -> bool:
        return self._list.states[task.id] is not TaskState.WAITING

    # Who has it.

    async def _reassign(self, edit: Reassign) -> None:
        task = self._task(edit)
        role, agent = reassigning.chosen(edit, task, self._sprint.project, self._sprint.team)
        if self._list.states[task.id] is TaskState.RUNNING:
            await self._pass_on(edit)
            if agent is not None:
                self._list.agents[task.id] = agent
            return
        if self._has_begun(task):
            raise EditError(f"{self._stands(task)}; retry it, then reassign it")
        self._list.replace(task.model_copy(update={"role": role}))
        self._list.named.pop(task.id, None)
        if agent is not None:
            self._list.named[task.id] = agent
        if edit.note:
            self._list.keep([task.id], Feedback(source=f"person:{edit.by}", text=edit.note))

    async def _pass_on(self, edit: Reassign | Rewind) -> None:
        """To the workflow of a task at work, which knows its runs and decides."""
        task = self._task(edit)
        if self._list.states[task.id] is TaskState.WAITING:
            raise EditError(f"task {task.id!r} has not begun: there is no step to go back to")
        if self._list.states[task.id] is not TaskState.RUNNING:
            raise EditError(f"{self._stands(task)}; retry it instead")
        child = self._sprint.children.get(task.id)
        if child is None:
            raise EditError(f"task {task.id!r} is being given out or merged at this moment; send it again")
        try:
            await child.signal("edit", edit)
        except FailureError as error:
            raise EditError(f"task {task.id!r} has just ended ({error})") from None

"""What people say to a project and change about it: the plan while it is not confirmed, then the running sprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.exceptions import FailureError

from agents.assignments import Feedback
from ledger.events import PlanEdited
from ledger.vocabulary import Phase
from workflows.controls import FeedbackNote
from workflows.edits import Add, Edit, EditError, words
from workflows.hearing import objection, said
from workflows.plan_edits import Limits, edited

if TYPE_CHECKING:
    from workflows.project import Project


class ProjectSteering:
    """Takes feedback and edits for one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.kept: dict[str, tuple[Feedback, ...]] = {}
        """What persons said to tasks that have not begun, by task."""
        self.agents: dict[str, str] = {}
        """Task -> agent that a person named for it."""

    # Feedback.

    async def hear(self, note: FeedbackNote) -> str | None:
        """Bring words to whom they concern; returns why that is not possible, or None."""
        project = self._project
        kept = (*project.said, *(words for words_of_task in self.kept.values() for words in words_of_task))
        if (why := objection(kept, note)) is not None:
            return why
        if note.task is not None:
            return await self._to_task(note.task, note)
        told = project.crew.tell(note)
        if note.agent is not None:
            if told:
                return None
            if not project.children:
                return f"nobody called {note.agent!r} is at work"
        await project.tell_children("feedback", note)
        if not told and not project.children:
            # Nobody is at work, during an approval for instance: the next plan takes it into account.
            project.said = (*project.said, said(note))
        return None

    async def _to_task(self, task: str, note: FeedbackNote) -> str | None:
        project = self._project
        here, later = self._planned
        ended = {report.task: report.state.value for report in project.progress.reports}
        if task in later or (task in here and not project.children):
            self.kept[task] = (*self.kept.get(task, ()), said(note))
        elif project.children:
            await project.tell_children("feedback", note)
        elif task in ended:
            return f"task {task!r} has ended: {ended[task]}"
        else:
            return f"there is no task {task!r}; there are {', '.join((*here, *later)) or 'none'}"
        return None

    @property
    def _planned(self) -> tuple[list[str], list[str]]:
        """Tasks of the sprint that runs or comes next, and of those after it."""
        names = [[task.id for task in sprint.tasks] for sprint in self._project.plan.sprints] or [[]]
        return names[0], [task for later in names[1:] for task in later]

    def take_kept(self, tasks: tuple[str, ...]) -> dict[str, tuple[Feedback, ...]]:
        """What was said to these, which begin now."""
        return {task: self.kept.pop(task) for task in tasks if task in self.kept}

    def give_back(self) -> None:
        """Words for tasks that a new plan does not have are told to everyone."""
        here, later = self._planned
        for task in [task for task in self.kept if task not in (*here, *later)]:
            self._project.said = (*self._project.said, *self.kept.pop(task))

    # Edits.

    async def edit(self, edit: Edit) -> str | None:
        """Change the plan while it is open, or let the running sprint decide; returns why not, or None."""
        project = self._project
        if project.approval.is_open:
            return self._edit_plan(edit)
        sprint = project.children.get("sprint")
        if sprint is None:
            return self._closed()
        _, later = self._planned
        if not isinstance(edit, Add) and edit.task in later:
            return f"the plan is confirmed and frozen: task {edit.task!r} can be edited once its sprint runs"
        try:
            await sprint.signal("edit", edit)
        except FailureError as error:
            return f"the sprint has just ended ({error})"
        return None

    def _closed(self) -> str:
        if self._project.phase in (Phase.DISCOVERY, Phase.ARCHITECTURE) and not self._project.plan.sprints:
            return "there is no plan yet"
        return "the plan is confirmed and frozen, and no sprint runs at this moment"

    def _edit_plan(self, edit: Edit) -> str | None:
        project = self._project
        approval = project.approval
        before = approval.draft
        limits = Limits.of(
            project.spec, project.project, project.sprint_number or 0, tuple(project.progress.succeeded), project.team
        )
        try:
            draft = edited(before, edit, limits)
        except EditError as error:
            return str(error)
        approval.change(draft, edit.by)
        project.plan, self.agents = draft.plan, dict(draft.agents)
        event = PlanEdited(
            workflow_id=project.workflow_id,
            sprint=0,
            do=edit.do,
            task=edit.about,
            claimed_by=edit.by,
            text=words(edit),
            before=before.digest,
            digest=draft.digest,
        )
        project.note(event, f"{words(edit)}, by {edit.by} (claimed)")
        return None

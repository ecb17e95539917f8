"""A task's way through a sprint: its own workflow, the merge onto the sprint's branch, and back where it does not fit."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError, WorkflowAlreadyStartedError, is_cancelled_exception

from activities.contracts import Integrate, Integration
from agents.assignments import Feedback, PlannedTask
from ledger.vocabulary import ApprovalKind, ArtifactRef, TaskState, sprint_branch, task_workflow_id
from workflows import messages, options, team
from workflows.agent_task import AgentTask
from workflows.assigning import Assigning
from workflows.children import adopt, begin
from workflows.crew import cause_of
from workflows.descriptions import task_details
from workflows.edits import EditError
from workflows.lifecycle import Lifecycle
from workflows.merging import Unmerged, integrate
from workflows.reports import TaskReport
from workflows.specs import SprintSpec, TaskSpec
from workflows.visibility import summary
from workflows.worklist import Worklist, unworked

SEND_BACKS = 2
"""How often a change comes back because the branch that takes it has moved on."""


class Lanes:
    """Takes the tasks of one sprint through, side by side; merges are made one at a time."""

    def __init__(self, life: Lifecycle, spec: SprintSpec, assigning: Assigning, worklist: Worklist) -> None:
        self._life = life
        self._assigning = assigning
        self._spec = spec
        self._list = worklist
        self._merging = asyncio.Lock()
        self._merged: set[str] = set()
        """Tasks at the merge, or beyond."""
        self._earlier: dict[str, list[TaskReport]] = defaultdict(list)
        self._generations: Counter[str] = Counter()
        self._stopped: dict[str, tuple[TaskState, str]] = {}
        """Tasks that a person ends, as what and in which words."""
        self.head = spec.base_commit

    def stop(self, task: str, state: TaskState, text: str) -> None:
        """End a task that runs.

        Raises:
            EditError: its change is being merged.
        """
        if task in self._merged:
            raise EditError(f"task {task!r} is being merged at this moment")
        self._stopped[task] = state, text
        if (child := self._life.children.get(task)) is not None:
            child.cancel()

    async def run(self, task: PlannedTask) -> TaskReport:
        """One task to its end. Only a cancellation is raised."""
        try:
            spec = await self._assigning.assign(self._task_spec(task))
            return await self._through(spec)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return unworked(task, self._spec.sprint, TaskState.FAILED, cause_of(error))
        finally:
            self._assigning.done(task.id)
            self._stopped.pop(task.id, None)
            self._merged.discard(task.id)

    async def _through(self, spec: TaskSpec) -> TaskReport:
        """Worked on and merged, again where it does not fit."""
        earlier = self._earlier[spec.task.id]
        task, misfits = spec.task, 0
        while True:
            report = await self._worked(spec)
            back: tuple[Feedback, ...] = ()
            if report.state is TaskState.ACCEPTED and self._spec.merge:
                self._merged.add(task.id)
                merged = await self._integrate(report, spec)
                # What a person wants otherwise is no misfit; they may say so as often as they like.
                misfits += isinstance(merged, Integration)
                report, back = _merged(report, merged, misfits)
            earlier.append(report)
            if not back:
                return summed(earlier)
            self._merged.discard(task.id)
            spec = self._again(spec, back)

    async def _worked(self, spec: TaskSpec) -> TaskReport:
        task = spec.task
        self._generations[task.id] = spec.generation
        try:
            self._life.check()
            if task.id in self._stopped:
                return unworked(task, spec.sprint, *self._stopped[task.id])
            spec = spec.model_copy(update={"feedback": (*spec.feedback, *self._list.take_kept(task.id))})
            start = workflow.start_child_workflow(
                AgentTask.run,
                args=[spec],
                id=task_workflow_id(spec.project, spec.sprint, task.id),
                static_summary=summary(f"{task.kind.value} {task.id}: {task.title}"),
                static_details=task_details(spec),
                task_timeout=options.TAKEN_UP_AGAIN,
                **options.CHILD,
            )
            child = await begin(self._life, start)
            self._life.desk.began(f"task {task.id}")
            await adopt(self._life, task.id, child, spec)
            if task.id in self._stopped:
                child.cancel()
            report = await child
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            self._life.check()
            if is_cancelled_exception(error):
                ended = self._stopped.get(task.id, (TaskState.CANCELLED, "cancelled"))
                return unworked(task, spec.sprint, *ended)
            return unworked(task, spec.sprint, TaskState.FAILED, cause_of(error))
        finally:
            self._life.children.pop(task.id, None)
        self._life.check()
        self._life.tally.add(report.model_calls, report.cost_usd, report.tokens)
        if task.id in self._stopped:
            # It had ended by itself when the word reached it.
            state, text = self._stopped[task.id]
            return report.model_copy(update={"state": state, "summary": text})
        return report

    async def _integrate(self, report: TaskReport, spec: TaskSpec) -> Integration | Unmerged | str:
        """What came of the merge; a text where it could not even be tried."""
        try:
            async with self._merging:
                result = await self._merge(report, spec)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return cause_of(error)
        merged = isinstance(result, Integration) and result.merged
        if isinstance(result, Integration) and result.merged and result.commit is not None:
            self.head = result.commit
        self._life.remark(f"{spec.task.id}: {'merged' if merged else 'not merged'}")
        return result

    async def _merge(self, report: TaskReport, spec: TaskSpec) -> Integration | Unmerged:
        assert report.commit is not None
        await self._life.clearance()
        request = Integrate(
            project=spec.project,
            sprint=spec.sprint,
            task=spec.task.id,
            source=report.commit,
            target=sprint_branch(spec.project, spec.sprint),
            base_commit=self._spec.baseline_commit,
            baseline=self._spec.baseline,
            title=spec.task.title or spec.task.id,
            key=self._life.recorder.key(f"integrate-{spec.task.id}-{spec.generation}"),
        )
        what = f"{spec.task.id}: {spec.task.title}"
        asks = self._life.asks(ApprovalKind.MERGE)
        return await integrate(self._life, request, what, asks=asks, producers=(report.agent,))

    def _again(self, spec: TaskSpec, back: tuple[Feedback, ...]) -> TaskSpec:
        """The task once more, on the sprint's present head, with what was in the way."""
        return spec.model_copy(
            update={
                "generation": spec.generation + 1,
                "feedback": (*self._spec.feedback, *back),
                "base_commit": self.head,
                "paused": self._life.paused,
                "mode": self._life.mode,
                "autonomy": self._life.autonomy,
                "budget_usd": self._life.budget_usd,
                "budget_tokens": self._life.budget_tokens,
            }
        )

    def _task_spec(self, task: PlannedTask) -> TaskSpec:
        spec = self._spec
        return TaskSpec(
            project=spec.project,
            task=task,
            goal=spec.goal,
            sprint=spec.sprint,
            base_commit=self._base_for(task),
            baseline=spec.baseline,
            baseline_commit=spec.baseline_commit,
            documents=(*spec.documents, *self._documents_for(task)),
            feedback=spec.feedback,
            generation=self._generations[task.id] + 1,
            models=spec.models,
            mode=self._life.mode,
            autonomy=self._life.autonomy,
            budget_usd=self._life.budget_usd,
            budget_tokens=self._life.budget_tokens,
            place=self._list.place(task.id),
            team=spec.team,
            limits=spec.limits,
            colleagues=self._roster(),
            max_steps=spec.max_steps,
            approval_timeout_minutes=spec.approval_timeout_minutes,
            approvers=spec.approvers,
            approvals=spec.approvals,
            paused=self._life.paused,
        )

    def _roster(self) -> tuple[str, ...]:
        """Who was given a task so far, where it is known, and who else is there to be asked."""
        return team.roster(self._spec.project, map(self._list.agent_of, self._list.tasks))

    def _base_for(self, task: PlannedTask) -> str:
        """Where a task begins: the sprint's head, or where nothing is merged, what the last of its dependencies left."""
        if self._spec.merge:
            return self.head
        commits = [
            report.commit for name in task.depends_on if (report := self._list.reports.get(name)) and report.commit
        ]
        return commits[-1] if commits else self.head

    def _documents_for(self, task: PlannedTask) -> tuple[ArtifactRef, ...]:
        """What the task's dependencies produced, each named after its task."""
        found: list[ArtifactRef] = []
        for name in task.depends_on:
            report = self._list.reports.get(name)
            found += named_after(name, report.documents if report else self._spec.earlier.get(name, ()))
        return tuple(found)


def named_after(task: str, documents: tuple[ArtifactRef, ...]) -> list[ArtifactRef]:
    """Documents as others are given them: `<task>/<name>`."""
    return [ref.model_copy(update={"name": f"{task}/{ref.name}"}) for ref in documents]


def _merged(
    report: TaskReport, merged: Integration | Unmerged | str, misfits: int
) -> tuple[TaskReport, tuple[Feedback, ...]]:
    """The report after a merge that was tried, and with what the task goes back; nothing where it has ended."""
    if isinstance(merged, str):
        return report.model_copy(update={"state": TaskState.FAILED, "summary": merged}), ()
    if isinstance(merged, Unmerged):
        if merged.decision is not None and merged.revised:
            by = merged.decision.by
            return report, (Feedback(source=f"person:{by}", text=merged.decision.comment),)
        return report.model_copy(update={"state": TaskState.FAILED, "summary": messages.bounded(merged.reason)}), ()
    if merged.merged:
        return report.model_copy(update={"state": TaskState.MERGED, "merge_commit": merged.commit}), ()
    if misfits <= SEND_BACKS:
        return report, merged.feedback or (Feedback(source="merge", text="it could not be merged"),)
    reasons = "; ".join(item.text for item in merged.feedback)
    text = messages.bounded(f"could not be integrated after {misfits} attempts: {reasons}")
    return report.model_copy(update={"state": TaskState.FAILED, "summary": text}), ()


def summed(reports: list[TaskReport]) -> TaskReport:
    """The last report with what all generations of the task took; being sent back is a repair as well."""
    return reports[-1].model_copy(
        update={
            "attempts": sum(report.attempts for report in reports),
            "repairs": sum(report.repairs for report in reports) + len(reports) - 1,
            "approvals": sum(report.approvals for report in reports),
            "model_calls": sum(report.model_calls for report in reports),
            "questions": tuple(sorted({name for report in reports for name in report.questions})),
            "cost_usd": sum((report.cost_usd for report in reports[1:]), start=reports[0].cost_usd),
            "tokens": sum(report.tokens for report in reports),
        }
    )

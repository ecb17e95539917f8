"""Between a sprint and the project's branch: consent where a person wants to be asked, the merge, what is built on."""

from __future__ import annotations

from activities.contracts import Integrate, KeepDocument, RecordActivities
from agents.assignments import Feedback
from ledger.vocabulary import ApprovalKind, ArtifactRef, Phase, project_branch
from workflows import options
from workflows.confirming import wish_of
from workflows.lifecycle import Lifecycle
from workflows.merging import Unmerged, integrate
from workflows.planning import Ended, Ground
from workflows.progress import Progress
from workflows.reports import SprintReport

LATER = {"tokens": True, "planned": True, "tasks": {"__all__": {"tokens", "questions", "taken_out"}}}
"""Fields of reports that are no part of what a person approves: its digest must not change under a request that is open."""


class Milestones:
    """Where the project's branch stands, and the only way onto it."""

    def __init__(self, life: Lifecycle, ground: Ground, progress: Progress) -> None:
        self._life = life
        self._ground = ground
        self._progress = progress
        self.head = ground.commit
        """Where the next sprint begins."""
        self.held: list[int] = []
        """Sprints that are built on but not on the project's branch."""
        self.documents: tuple[ArtifactRef, ...] = ()
        """What the last sprint's review and report say."""

    async def pass_sprint(self, report: SprintReport) -> tuple[Feedback, ...]:
        """Bring a sprint onto the project's branch.

        Returns what must change before that; the sprint's work is then built on by the next one.

        Raises:
            Ended: a person rejected it, nobody decided, or it could not be merged.
        """
        self.documents = report.documents
        if report.commit == self.head:
            return ()
        if self._life.asks(ApprovalKind.MILESTONE):
            wish = await self._ask(report)
        else:
            wish = None if report.passed else Feedback(source="review", text=report.summary)
        if wish is not None:
            return self._hold(report, wish)
        return await self._merge(report)

    async def _ask(self, report: SprintReport) -> Feedback | None:
        self._life.enter(Phase.APPROVAL, f"sprint {report.sprint}: {report.summary}")
        document = KeepDocument(name=f"sprint-{report.sprint}", text=report.model_dump_json())
        kept = await self._life.call(
            RecordActivities.keep_document, document, options.RECORD, "keep the sprint's report"
        )
        self.documents = (*self.documents, kept)
        decision = await self._life.ask(
            ApprovalKind.MILESTONE,
            {"sprint": report.sprint, "commit": report.commit, "report": report.model_dump(mode="json", exclude=LATER)},
            text=f"sprint {report.sprint} {'passed' if report.passed else 'DID NOT PASS'}: {report.summary}",
            on_approve=f"the sprint is merged into {project_branch(self._life.project)}",
            on_reject="the project ends; what was merged before stays",
            on_revise="the next sprint builds on it, with your words",
            producers=tuple(sorted({task.agent for task in report.tasks if task.agent})),
        )
        return wish_of(decision, f"sprint {report.sprint}")

    async def _merge(self, report: SprintReport) -> tuple[Feedback, ...]:
        self._life.enter(Phase.INTEGRATION, f"sprint {report.sprint}")
        request = Integrate(
            project=self._life.project,
            sprint=report.sprint,
            task=None,
            source=report.commit,
            target=project_branch(self._life.project),
            base_commit=self._ground.commit,
            baseline=self._ground.target.baseline,
            title=f"Sprint {report.sprint}",
            key=self._life.recorder.key(f"integrate-sprint-{report.sprint}"),
        )
        asks = self._life.asks(ApprovalKind.MERGE) and not self._life.asks(ApprovalKind.MILESTONE)
        producers = tuple(sorted({task.agent for task in report.tasks if task.agent}))
        merged = await integrate(self._life, request, f"sprint {report.sprint}", asks=asks, producers=producers)
        if isinstance(merged, Unmerged):
            return self._hold(report, wish_of(merged.decision, f"the merge of sprint {report.sprint}"))
        if not merged.merged or merged.commit is None:
            reasons = "; ".join(item.text for item in merged.feedback)
            raise Ended(f"sprint {report.sprint} could not be merged: {reasons}")
        self.head = merged.commit
        self._progress.merge([*self.held, report.sprint])
        self.held = []
        self._life.remark(f"sprint {report.sprint} merged")
        return ()

    def _hold(self, report: SprintReport, wish: Feedback | None) -> tuple[Feedback, ...]:
        """Leave a sprint off the project's branch for now; the next one builds on it."""
        self.head = report.commit
        self.held.append(report.sprint)
        return () if wish is None else (wish,)

"""What an attempt at a task is worth: its claim, the gates, the council."""

from __future__ import annotations

from pydantic import ValidationError

from activities.contracts import GateReport, RunGates, WorkspaceActivities
from agents.assignments import Feedback, Report, WorkResult
from agents.runs import AgentOutcome, AgentRun
from agents.topology import TOPOLOGIES
from ledger.vocabulary import Answer, ApprovalKind, ArtifactRef, OutcomeKind, Phase, Record, Role, TaskKind, TaskState
from workflows import council, messages, options, second_look, team
from workflows.council import Opinion
from workflows.crew import Crew
from workflows.lifecycle import Lifecycle
from workflows.review import Review
from workflows.specs import TaskSpec


class Assessment(Record):
    """`state` is what the attempt has earned; None means that it failed, for the reasons in `failure`."""

    state: TaskState | None = None
    failure: tuple[Feedback, ...] = ()
    documents: tuple[ArtifactRef, ...] = ()
    """What the attempt produced: its result, the diff, the gates' results."""
    commit: str | None = None
    changed_paths: tuple[str, ...] = ()
    reason: str = ""
    """In a person's words, where one decided."""
    sent_back: bool = False
    """A person wants it otherwise: the same agent goes on, and nothing has failed."""


class Assessor:
    """Judges attempts at one task."""

    def __init__(self, life: Lifecycle, crew: Crew, spec: TaskSpec) -> None:
        self._life = life
        self._spec = spec
        self._review = Review(life, crew)

    async def assess(self, run: AgentRun, outcome: AgentOutcome) -> Assessment:
        """Assess the outcome of `run`, which is also what the judges are told about."""
        if outcome.kind is not OutcomeKind.FINISHED:
            return _failed(f"{outcome.kind.value}: {outcome.summary}")
        try:
            if self._spec.task.kind is TaskKind.CHANGE:
                return await self._change(run, outcome, WorkResult.model_validate(outcome.result))
            Report.model_validate(outcome.result)
        except ValidationError as error:
            return _failed(messages.faults(error))
        earned = Assessment(state=TaskState.REPORTED, documents=_named(outcome.artifact))
        return await self._judged(run, earned)

    async def _change(self, run: AgentRun, outcome: AgentOutcome, result: WorkResult) -> Assessment:
        if result.outcome == "nothing_to_do":
            return Assessment(state=TaskState.NOTHING_TO_DO, documents=_named(outcome.artifact))
        if result.outcome == "gave_up":
            return _failed(f"gave up: {result.summary}")
        if outcome.commit is None or outcome.commit == run.base_commit:
            return _failed("the result says `changed`, but no file was changed")
        gates = await self._gates(run, outcome.commit)
        earned = Assessment(
            state=TaskState.ACCEPTED,
            documents=(*_named(outcome.artifact), *gates.documents),
            commit=outcome.commit,
            changed_paths=gates.changed_paths,
        )
        if not gates.passed:
            failure = gates.feedback or (Feedback(source="gate:unknown", text="the gates did not pass"),)
            return earned.model_copy(update={"state": None, "failure": failure})
        return await self._judged(run, earned)

    async def _gates(self, run: AgentRun, commit: str) -> GateReport:
        await self._life.clearance()
        self._life.enter(Phase.GATES, commit[:12])
        assert run.baseline is not None
        assert run.base_commit is not None
        request = RunGates(
            project=run.project,
            sprint=run.sprint,
            task=run.task,
            commit=commit,
            base_commit=run.base_commit,
            baseline=run.baseline,
            scope=run.scope,
            attempt=run.attempt,
        )
        report = await self._life.call(WorkspaceActivities.run_gates, request, options.TOOL, f"gates of {run.task}")
        self._life.remark(f"gates {'passed' if report.passed else 'failed'} for {commit[:12]}")
        return report

    async def _judged(self, run: AgentRun, earned: Assessment) -> Assessment:
        self._life.enter(Phase.REVIEW, "council of four judges")
        chain = team.chain_of(self._spec.models, Role.JUDGE)
        # The judged documents come last: whoever looks for "the diff" finds this one, not a predecessor's.
        told = run.model_copy(update={"chain": chain, "documents": (*run.documents, *earned.documents)})
        opinions = await self._review.opinions(
            told, TOPOLOGIES[self._life.team.topology].council, f"{self._spec.generation}.{run.attempt}"
        )
        if council.accepted(opinions):
            return await self._looked_at(told, earned, opinions) if self._life.asks(ApprovalKind.REVIEW) else earned
        return earned.model_copy(update={"state": None, "failure": council.objections(opinions)})

    async def _looked_at(self, run: AgentRun, earned: Assessment, opinions: list[Opinion]) -> Assessment:
        decision = await second_look.review(self._life, run, earned.commit, earned.documents, opinions)
        if (reason := second_look.refusal(decision)) is not None:
            return earned.model_copy(update={"state": TaskState.FAILED, "reason": reason})
        if decision is not None and decision.decision is Answer.REVISE:
            back = {"state": None, "sent_back": True, "failure": second_look.wishes(decision)}
            return earned.model_copy(update=back)
        return earned


def _failed(reason: str) -> Assessment:
    return Assessment(failure=(Feedback(source="validation", text=reason),))


def _named(artifact: ArtifactRef | None) -> tuple[ArtifactRef, ...]:
    return (artifact,) if artifact is not None else ()

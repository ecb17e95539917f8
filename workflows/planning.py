"""How a project thinks: requirements and survey side by side, a plan, and a new plan from what is left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TypeVar

from pydantic import ValidationError

from activities.contracts import KeepDocument, RecordActivities, TargetReport
from agents.assignments import Feedback, Plan, Report, Requirements, Work
from agents.runs import AgentOutcome, AgentRun, TimeLimits
from ledger.chain import digest
from ledger.events import PlanProposed, RepairChosen
from ledger.vocabulary import (
    Answer,
    ApprovalKind,
    ArtifactRef,
    Json,
    OutcomeKind,
    Phase,
    Record,
    Role,
    project_branch,
    project_scope,
)
from workflows import briefs, messages, options, team
from workflows.crew import Crew
from workflows.lifecycle import Lifecycle
from workflows.repair import Ladder, Level
from workflows.specs import ProjectSpec
from workflows.stopping import together

Document = TypeVar("Document", bound=Record)

NO_MODEL_KEY = "NoModelKey"
"""What no other agent and no feedback mends: only another model, or a key where the workers run."""


class Ended(Exception):
    """The project ends here, for a reason that a person can read."""

    def __init__(self, reason: str, state: Phase = Phase.FAILED) -> None:
        super().__init__(reason)
        self.reason = reason
        self.state = state


class Ground(Record):
    """What every agent of the project stands on."""

    commit: str
    base: str
    target: TargetReport
    models: dict[str, tuple[str, ...]] = {}
    limits: TimeLimits = TimeLimits()


class Planning:
    """The runs of product owner, analyst, architect and project manager."""

    def __init__(self, life: Lifecycle, crew: Crew, spec: ProjectSpec, ground: Ground) -> None:
        self._life = life
        self._crew = crew
        self._spec = spec
        self._ground = ground
        self.documents: tuple[ArtifactRef, ...] = ()
        self.requirements: Requirements
        self.survey: Report
        self.repairs = 0
        self._plans = 0

    async def discover(self, feedback: tuple[Feedback, ...] = ()) -> None:
        """Requirements and survey, side by side; `feedback` is what a person wants looked into again.

        Raises:
            Ended: the goal cannot be served.
        """
        owner = self._consult(Work.REQUIREMENTS, Role.PRODUCT_OWNER, "requirements", Requirements, feedback=feedback)
        analyst = self._consult(Work.SURVEY, Role.ANALYST, "survey", Report, feedback=feedback)
        (self.requirements, requirements), (self.survey, survey) = await together(owner, analyst)
        self.documents = (*_named(requirements, "requirements"), *_named(survey, "survey"))

    async def plan(self, feedback: tuple[Feedback, ...] = ()) -> Plan:
        """The architect's plan, valid; `feedback` is what a person wants changed."""

        def check(plan: Plan) -> list[str]:
            return briefs.plan_faults(plan, self._spec.max_sprints)

        plan, outcome = await self._consult(
            Work.PLAN,
            Role.ARCHITECT,
            "plan",
            Plan,
            check,
            feedback=feedback,
            params=self._means(self._spec.max_sprints),
        )
        return await self._propose(plan, outcome)

    async def replan(
        self,
        left: list[Json],
        sprints_left: int,
        known: Collection[str],
        documents: tuple[ArtifactRef, ...],
        feedback: tuple[Feedback, ...],
    ) -> Plan:
        """The project manager's plan for what is left after a sprint."""

        def check(plan: Plan) -> list[str]:
            return briefs.plan_faults(plan, sprints_left, known)

        plan, outcome = await self._consult(
            Work.PLAN,
            Role.PROJECT_MANAGER,
            "replan",
            Plan,
            check,
            feedback=feedback,
            documents=documents,
            params={**self._means(sprints_left), "replan": True, "left": left},
        )
        return await self._propose(plan, outcome)

    async def adopt(self, plan: Plan) -> Plan:
        """A plan that a person wrote."""
        return await self._propose(plan, None)

    def _means(self, sprints_left: int) -> dict[str, Json]:
        limit = self._life.budget_usd
        return {
            "sprints_left": sprints_left,
            "budget_left_usd": None if limit is None else str(max(limit - self._life.tally.cost_usd, Decimal(0))),
            "scope": list(self._spec.scope),
        }

    async def _propose(self, plan: Plan, outcome: AgentOutcome | None) -> Plan:
        plan = briefs.within(self._spec.scope, plan)
        content = plan.model_dump(mode="json")
        artifact = outcome.artifact if outcome is not None else None
        if artifact is None:
            document = KeepDocument(name="plan", text=plan.model_dump_json())
            artifact = await self._life.call(RecordActivities.keep_document, document, options.RECORD, "keep the plan")
        others = tuple(ref for ref in self.documents if ref.name != "plan")
        self.documents = (*others, artifact.model_copy(update={"name": "plan"}))
        event = PlanProposed(
            digest=digest(content),
            summary=plan.summary,
            sprints=len(plan.sprints),
            tasks=sum(len(sprint.tasks) for sprint in plan.sprints),
        )
        self._life.note(event, f"plan: {plan.summary}")
        return plan

    async def _consult(
        self,
        work: Work,
        role: Role,
        name: str,
        model: type[Document],
        check: Callable[[Document], list[str]] = lambda _: [],
        *,
        feedback: tuple[Feedback, ...] = (),
        documents: tuple[ArtifactRef, ...] = (),
        params: dict[str, Json] | None = None,
    ) -> tuple[Document, AgentOutcome]:
        """Ask until there is a valid answer, by the repair ladder.

        Raises:
            Ended: the agent refused, or a person gave it up.
        """
        chain = team.chain_of(self._ground.models, role)
        ladder = Ladder(len(chain))
        attempt = 1
        failure: tuple[Feedback, ...] = ()
        while True:
            self._plans += 1
            run = self._run(work, role, name, chain).model_copy(
                update={
                    "agent": team.agent_id(self._life.project, role, 0, ladder.agent_shift),
                    "lineage": f"{role.value}-{self._plans}",
                    "attempt": attempt,
                    "chain_offset": ladder.chain_offset,
                    "feedback": (*feedback, *failure),
                    "documents": (*self.documents, *documents),
                    "params": params or {},
                }
            )
            outcome = await self._crew.engage(run, f"{role.value}: {name}")
            if outcome.kind is OutcomeKind.REFUSED:
                raise Ended(outcome.question or outcome.summary)
            answer, faults = _validated(outcome, model, check)
            if answer is not None:
                return answer, outcome
            if outcome.failure == NO_MODEL_KEY and ladder.chain_offset >= len(chain) - 1:
                raise Ended(f"{name}: {outcome.summary}")
            failure = (Feedback(source="validation", text=faults),)
            attempt += 1
            await self._repair(ladder, name, failure)

    async def _repair(self, ladder: Ladder, name: str, failure: tuple[Feedback, ...]) -> None:
        rung = ladder.climb()
        self.repairs += 1
        text = failure[0].text
        event = RepairChosen(sprint=0, task=name, level=rung.level, reason=f"{rung.reason}: {text}")
        self._life.note(event, f"repair L{rung.level.value} of {name}: {rung.reason}")
        if rung.level is not Level.PERSON:
            return
        if not self._life.asks(ApprovalKind.ESCALATION):
            raise Ended(f"{name} failed: {text}")
        decision = await self._life.ask(
            ApprovalKind.ESCALATION,
            {"work": name, "failure": text},
            text=f"{name} failed: {text}",
            on_approve="one more attempt",
            on_reject="the project ends",
        )
        if decision is None or decision.decision is Answer.REJECT:
            raise Ended(f"{name} failed: {text}")

    def _run(self, work: Work, role: Role, name: str, chain: tuple[str, ...]) -> AgentRun:
        project = self._life.project
        return AgentRun(
            project=project,
            sprint=0,
            task=name,
            lineage="",
            role=role,
            agent="",
            work=work,
            goal=self._spec.goal,
            title=name,
            scope=self._spec.scope,
            chain=chain,
            branch=project_branch(project),
            base_commit=self._ground.commit,
            baseline=self._ground.target.baseline,
            max_steps=self._spec.max_steps,
            budget_scope=project_scope(project),
        )


def _validated(
    outcome: AgentOutcome, model: type[Document], check: Callable[[Document], list[str]]
) -> tuple[Document | None, str]:
    if outcome.kind is not OutcomeKind.FINISHED:
        return None, f"{outcome.kind.value}: {outcome.summary}"
    try:
        answer = model.model_validate(outcome.result)
    except ValidationError as error:
        return None, messages.faults(error)
    faults = check(answer)
    return (None, messages.bounded("; ".join(faults))) if faults else (answer, "")


def _named(outcome: AgentOutcome, name: str) -> tuple[ArtifactRef, ...]:
    return () if outcome.artifact is None else (outcome.artifact.model_copy(update={"name": name}),)

"""What a project's plan will be built on, confirmed by a person where they are asked."""

from __future__ import annotations

from agents.assignments import Feedback
from ledger.vocabulary import Answer, ApprovalKind, Json, Phase, Role
from workflows import team
from workflows.approval_models import Decision
from workflows.lifecycle import Lifecycle
from workflows.planning import Ended, Ground, Planning
from workflows.specs import ProjectSpec

NO_GATES = "no gate can judge a change here: accepted changes stay on their branches, nothing is merged"


class Confirming:
    """Asks about the requirements of one project."""

    def __init__(self, life: Lifecycle, spec: ProjectSpec, ground: Ground, planning: Planning) -> None:
        self._life = life
        self._spec = spec
        self._ground = ground
        self._planning = planning

    async def architecture(self) -> Feedback | None:
        """Ask about requirements and survey; what to look into again, or None when the architect may begin.

        Raises:
            Ended: it was rejected, or nobody decided in time.
        """
        requirements, survey = self._planning.requirements, self._planning.survey
        self._life.enter(Phase.APPROVAL, requirements.summary)
        target = self._ground.target
        subject: dict[str, Json] = {
            "goal": self._spec.goal,
            "commit": self._ground.commit,
            "requirements": requirements.model_dump(mode="json"),
            "survey": survey.summary,
            "documents": {ref.name: ref.digest for ref in self._planning.documents},
            "environment": target.environment,
            "gates": {gate.name: gate.passed for gate in target.gates},
        }
        project = self._life.project
        decision = await self._life.ask(
            ApprovalKind.ARCHITECTURE,
            subject,
            text=f"{len(requirements.requirements)} requirements: {requirements.summary}",
            on_approve="the architect plans on these requirements",
            on_reject="the project ends, nothing is changed",
            on_revise="requirements and survey are made again with your words",
            producers=tuple(team.agent_id(project, role, 0) for role in (Role.PRODUCT_OWNER, Role.ANALYST)),
        )
        return wish_of(decision, "the requirements")


def wish_of(decision: Decision | None, what: str) -> Feedback | None:
    """What a person wants changed; None where they approve.

    Raises:
        Ended: they rejected it, or nobody decided in time.
    """
    if decision is None:
        raise Ended(f"nobody decided about {what} in time")
    if decision.decision is Answer.REJECT:
        reason = f": {decision.comment}" if decision.comment else ""
        raise Ended(f"{what} was rejected by {decision.signer}{reason}")
    if decision.decision is Answer.APPROVE:
        return None
    return Feedback(source=f"person:{decision.by}", text=decision.comment)

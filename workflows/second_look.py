"""A person beside the council: looks at what the judges accepted, before it counts."""

from __future__ import annotations

from collections.abc import Sequence

from agents.assignments import Feedback
from agents.runs import AgentRun
from ledger.vocabulary import Answer, ApprovalKind, ArtifactRef, Json, Phase
from workflows import messages
from workflows.approval_models import Decision
from workflows.council import Opinion
from workflows.lifecycle import Lifecycle


async def review(
    life: Lifecycle, run: AgentRun, commit: str | None, documents: Sequence[ArtifactRef], opinions: Sequence[Opinion]
) -> Decision | None:
    """Ask about an attempt that the council accepted; None when nobody decided in time."""
    life.enter(Phase.APPROVAL, f"{run.task} waits for a person's review")
    subject: dict[str, Json] = {
        "sprint": run.sprint,
        "task": run.task,
        "title": run.title,
        "agent": run.agent,
        "attempt": run.attempt,
        "commit": commit,
        "base_commit": run.base_commit,
        "documents": {ref.name: ref.digest for ref in documents},
        "verdicts": {opinion.seat.value: _verdict(opinion) for opinion in opinions},
    }
    return await life.ask(
        ApprovalKind.REVIEW,
        subject,
        text=f"{run.task} attempt {run.attempt} by {run.agent}: gates and council passed",
        on_approve="the attempt is accepted",
        on_reject="the task fails, and what depends on it is skipped",
        on_revise="the same agent goes on with your words",
        producers=(run.agent,),
    )


def refusal(decision: Decision | None) -> str | None:
    """Why the task ends here; None where it goes on."""
    if decision is None:
        return "nobody reviewed it in time"
    if decision.decision is not Answer.REJECT:
        return None
    comment = f": {decision.comment}" if decision.comment else ""
    return messages.bounded(f"rejected in review by {decision.signer}{comment}")


def wishes(decision: Decision) -> tuple[Feedback, ...]:
    """What the agent is told of a revision."""
    return (Feedback(source=f"person:{decision.by}", text=decision.comment),)


def _verdict(opinion: Opinion) -> Json:
    if opinion.verdict is None:
        return {"verdict": None, "trouble": opinion.trouble}
    return opinion.verdict.model_dump(mode="json", include={"verdict", "confidence", "reasons"})

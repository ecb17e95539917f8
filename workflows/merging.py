"""Merges with consent: what is brought in is the very commit that was shown, and it is asked again when that changes."""

from __future__ import annotations

from activities.contracts import Integrate, Integration, Prepared, WorkspaceActivities
from ledger.vocabulary import Answer, ApprovalKind, Json, Record
from workflows import options
from workflows.approval_models import Decision
from workflows.lifecycle import Lifecycle


class Unmerged(Record):
    """A person does not want the merge as it is; None: nobody said so in time."""

    decision: Decision | None

    @property
    def revised(self) -> bool:
        return self.decision is not None and self.decision.decision is Answer.REVISE

    @property
    def reason(self) -> str:
        if self.decision is None:
            return "nobody decided about the merge in time"
        comment = f": {self.decision.comment}" if self.decision.comment else ""
        return f"the merge was rejected by {self.decision.signer}{comment}"


async def integrate(
    life: Lifecycle, request: Integrate, what: str, *, asks: bool, producers: tuple[str, ...]
) -> Integration | Unmerged:
    """Merge, with a person's consent where `asks`.

    Args:
        what: the task or sprint, in the words of summaries.
        producers: the agents whose work it is.
    """
    if not asks:
        return await _integrate(life, request, f"merge {what}")
    approved: str | None = None
    while True:
        offered = await _integrate(life, request.model_copy(update={"prepare": True}), f"prepare the merge of {what}")
        if offered.prepared is None:
            return offered
        if offered.prepared.tree != approved:
            decision = await _ask(life, request, offered.prepared, what, producers)
            if decision is None or decision.decision is not Answer.APPROVE:
                return Unmerged(decision=decision)
            approved = offered.prepared.tree
            await life.clearance()
        made = await _integrate(
            life, request.model_copy(update={"prepared": offered.prepared.commit}), f"merge {what}, as approved"
        )
        if not made.moved:
            return made


async def _integrate(life: Lifecycle, request: Integrate, text: str) -> Integration:
    return await life.call(WorkspaceActivities.integrate, request, options.TOOL, text)


async def _ask(
    life: Lifecycle, request: Integrate, prepared: Prepared, what: str, producers: tuple[str, ...]
) -> Decision | None:
    subject: dict[str, Json] = {
        "sprint": request.sprint,
        "task": request.task,
        "title": request.title,
        "branch": request.target,
        "source": request.source,
        **prepared.model_dump(mode="json"),
    }
    size = f"{len(prepared.paths)} files, +{prepared.insertions} -{prepared.deletions}"
    return await life.ask(
        ApprovalKind.MERGE,
        subject,
        text=f"merge {what} into {request.target}: {size}; its gates passed",
        on_approve=f"{request.target} moves to {prepared.commit[:12]}, which is what you see",
        on_reject="nothing is merged, and what depends on it does not start",
        on_revise="it goes back with your words and is asked again",
        producers=producers,
    )

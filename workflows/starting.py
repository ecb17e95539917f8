"""A task before it starts: whether a person lets it, with which words, and what they were shown."""

from __future__ import annotations

from agents.assignments import Feedback
from ledger.vocabulary import Answer, ApprovalKind, Json, Phase, Record
from workflows import messages
from workflows.lifecycle import Lifecycle
from workflows.specs import TaskSpec


class Consent(Record):
    """Whether the task starts; `refusal` says why it does not."""

    refusal: str | None = None
    words: tuple[Feedback, ...] = ()
    """What persons want its agent to know."""


async def consent(life: Lifecycle, spec: TaskSpec, agent: str) -> Consent:
    """Ask where tasks ask. One that comes back because it did not fit was let start before."""
    words: tuple[Feedback, ...] = ()
    while spec.generation == 1 and life.asks(ApprovalKind.TASK):
        life.enter(Phase.APPROVAL, f"{spec.task.id} waits for consent to start")
        decision = await life.ask(
            ApprovalKind.TASK,
            _subject(spec, agent, words),
            text=f"start {spec.task.kind.value} {spec.task.id} with {agent}: {spec.task.title}",
            on_approve="its agent starts, and is told your comment",
            on_reject="the task is skipped, and what depends on it",
            on_revise="your words become part of the task, and you are asked again",
        )
        if decision is None:
            return Consent(refusal="not started: nobody decided in time")
        if decision.decision is Answer.REJECT:
            comment = f": {decision.comment}" if decision.comment else ""
            return Consent(refusal=messages.bounded(f"not started: rejected by {decision.signer}{comment}"))
        if decision.comment:
            words = (*words, Feedback(source=f"person:{decision.by}", text=decision.comment))
        if decision.decision is Answer.APPROVE:
            break
    return Consent(words=words)


def _subject(spec: TaskSpec, agent: str, words: tuple[Feedback, ...]) -> dict[str, Json]:
    """Everything that decides what the agent will be asked."""
    return {
        "sprint": spec.sprint,
        "task": spec.task.model_dump(mode="json"),
        "agent": agent,
        "base_commit": spec.base_commit,
        "documents": {ref.name: ref.digest for ref in spec.documents},
        "feedback": [note.model_dump(mode="json") for note in (*spec.feedback, *words)],
        "models": {role: list(chain) for role, chain in spec.models.items()},
        "max_steps": spec.max_steps,
    }

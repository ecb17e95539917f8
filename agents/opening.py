"""The first step of every run: the assignment, put together from what the request refers to, and journaled."""

from __future__ import annotations

from agents.assignments import Assignment, Document, Work
from agents.context import PROMPT_VERSION, window_for
from agents.messages import SYSTEM, MessageType, as_feedback, step_message
from agents.roles import AGENT_TYPES
from agents.runs import AgentRun
from agents.target import Baseline
from agents.team import card
from agents.wiring import Reading
from ledger.items import Started
from ledger.messages import Message, NewMessage
from ledger.store import Store
from ledger.vocabulary import ArtifactRef, Record

ASSIGNMENT = "assignment"


class Opening(Record):
    """What a run is told at its beginning and keeps, whatever is deployed or edited while it works."""

    assignment: Assignment
    commit: str | None
    """Where its worktree begins."""
    prompt: str
    """Version of the system prompts."""
    window: int
    """Characters of conversation that its models are sent."""
    guidance: str = ""
    """What the project's people ask of this agent."""


async def load_baseline(store: Store, reference: ArtifactRef | None) -> Baseline | None:
    """Raises UnknownArtifactError."""
    if reference is None:
        return None
    return Baseline.model_validate_json(await store.get_artifact(reference.digest))


async def read_opening(
    request: AgentRun, store: Store, begun: Started, baseline: Baseline | None, commit: str | None
) -> Reading:
    """The run's first input, and the message by which it was given; `begun` is the thread as it was taken."""
    assignment = await _assignment(request, store, begun, baseline)
    opening = Opening(
        assignment=assignment,
        commit=commit,
        prompt=PROMPT_VERSION,
        window=window_for(request.chain),
        guidance=request.guidance,
    )
    message = _given(request, begun.lease.thread)
    # The run has its assignment with this very step, so nothing of it is left unread.
    known = [unread.id for unread in begun.unread if _is_about(request, unread)]
    return Reading(opening.model_dump(mode="json"), outbox=(message,), acknowledged=(message.id, *known))


def _is_about(request: AgentRun, message: Message) -> bool:
    """Whether the assignment says what the message says: the question, the task that was handed over, a person's words."""
    if message.type == MessageType.QUERY:
        return request.work is Work.ANSWER and message.correlation == request.params.get("question")
    if message.type == MessageType.FEEDBACK:
        return as_feedback(message) in request.feedback
    return message.type == MessageType.TASK_HANDOFF and message.payload.get("task") == request.task


async def _assignment(request: AgentRun, store: Store, begun: Started, baseline: Baseline | None) -> Assignment:
    return Assignment(
        work=request.work,
        project=request.project,
        sprint=request.sprint,
        task=request.task,
        role=request.role,
        seat=request.seat,
        agent=request.agent,
        goal=request.goal,
        title=request.title,
        instructions=request.instructions,
        scope=request.scope,
        acceptance=request.acceptance,
        params=request.params,
        gates=tuple(result.state() for result in baseline.gates) if baseline else (),
        documents=(
            *[await _document(store, reference) for reference in request.documents],
            *_memories(request, begun),
        ),
        feedback=request.feedback,
        attempt=request.attempt,
        colleagues=request.colleagues,
    )


async def _document(store: Store, reference: ArtifactRef) -> Document:
    content = await store.get_artifact(reference.digest)
    return Document(name=reference.name, media_type=reference.media_type, text=content.decode("utf-8", "replace"))


def _memories(request: AgentRun, begun: Started) -> list[Document]:
    """What the agent wrote down for itself in earlier runs and is still of use."""
    if not AGENT_TYPES[request.role].shares:
        return []
    return [Document(name=f"memory/{memory.name}", text=memory.text) for memory in begun.memories]


def _given(request: AgentRun, thread: str) -> NewMessage:
    kind = MessageType.REVIEW_REQUEST if request.work is Work.JUDGE else MessageType.TASK_ASSIGNMENT
    return step_message(
        kind,
        place=(thread, 0, 0),
        project=request.project,
        source=SYSTEM,
        target=request.agent,
        payload={
            "work": request.work.value,
            "sprint": request.sprint,
            "task": request.task,
            "title": request.title,
            "attempt": request.attempt,
            "card": card(request.agent, request.role, request.seat).model_dump(mode="json"),
        },
    )

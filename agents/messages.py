"""Messages between agents: their types, their ids and the text in which a model reads them.

An id is derived from what caused the message, so that a step that is repeated sends the same message again.
"""

from __future__ import annotations

import json
from enum import StrEnum

from pydantic import ValidationError

from agents.assignments import Feedback
from ledger.messages import EVERYONE as EVERYONE
from ledger.messages import TEAM as TEAM
from ledger.messages import Message, NewMessage
from ledger.vocabulary import Json

SYSTEM = "syndic"
"""The source of messages that no agent sent."""


class MessageType(StrEnum):
    TASK_ASSIGNMENT = "TASK_ASSIGNMENT"
    TASK_HANDOFF = "TASK_HANDOFF"
    CONTEXT_SHARE = "CONTEXT_SHARE"
    """What others should know for their work, such as a decision or a constraint."""
    REVIEW_REQUEST = "REVIEW_REQUEST"
    REVIEW_RESULT = "REVIEW_RESULT"
    FEEDBACK = "FEEDBACK"
    """For the receiving agent's next turn; the payload is a `Feedback`."""
    ESCALATION = "ESCALATION"
    ARTIFACT = "ARTIFACT"
    """The payload refers to a document (`ArtifactRef`)."""
    PROPOSAL = "PROPOSAL"
    QUERY = "QUERY"
    """A question to a colleague; its id is the correlation."""
    RESPONSE = "RESPONSE"
    """The answer to the question that is its correlation."""
    SYNC = "SYNC"
    """Where the sender stands."""


def message_id(thread: str, ordinal: int, sub: int, purpose: str) -> str:
    """Id of the message that a step sends for one purpose."""
    return f"{thread}/{ordinal}/{sub}/{purpose}"


def step_message(
    kind: MessageType, *, place: tuple[str, int, int], project: str, source: str, target: str, payload: dict[str, Json]
) -> NewMessage:
    """A message that a step sends; `place` is its thread, ordinal and sub-ordinal, and the thread is the correlation."""
    return NewMessage(
        id=message_id(*place, kind.lower()),
        project=project,
        source=source,
        target=target,
        type=kind,
        payload=payload,
        correlation=place[0],
    )


def feedback_message(*, id: str, project: str, target: str, feedback: Feedback, source: str = SYSTEM) -> NewMessage:
    """A `Feedback` for an agent that is at work."""
    return NewMessage(
        id=id, project=project, source=source, target=target, type=MessageType.FEEDBACK,
        payload=feedback.model_dump(mode="json"),
    )  # fmt: skip


def as_feedback(message: Message) -> Feedback:
    """What the model is shown of a message; a payload of another shape becomes text, never an error."""
    try:
        return Feedback.model_validate(message.payload)
    except ValidationError:
        text = json.dumps(message.payload, ensure_ascii=False)
        return Feedback(source=f"agent:{message.source}", text=f"{message.type}: {text}")

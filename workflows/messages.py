"""Everything that reaches a workflow from outside, parsed from raw payloads: start input, signals, updates.

One malformed message must never freeze a workflow, so parsing never raises for a message (it answers with a reason) and
raises a non-retryable failure for a start input.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ledger.vocabulary import Brief, Json, Record
from workflows.approval_models import BatchDecision, Decision
from workflows.controls import AutonomyChange, Control, Escalation, FeedbackNote
from workflows.edits import EDIT, EditBase
from workflows.entitlement import Entitlement, PolicyError, Rules
from workflows.team_signals import Answered, Freed, Question, TeamSignal, Wanted

SIGNALS: dict[str, type[Brief]] = {
    "decide": Decision,
    "feedback": FeedbackNote,
    "edit": EditBase,
    "pause": Control,
    "resume": Control,
    "set_autonomy": AutonomyChange,
    "escalate": Escalation,
    "ask": Question,
    "wanted": Wanted,
    "free": Freed,
    "answered": Answered,
}
"""Every signal and the model of its one argument."""

UPDATES: dict[str, type[Brief]] = {"decide_now": Decision, "edit_now": EditBase, "feedback_now": FeedbackNote}

OPTIONAL = frozenset({"pause", "resume"})
"""Signals that mean something without an argument."""

NAME_LIMIT = 80
REASON_LIMIT = 600
"""Characters kept of what a stranger sent."""

SIZE_LIMIT = 400_000
"""Characters of one message as JSON: what it says goes on the record, and must fit into what Temporal takes."""

ENCODINGS = (b"json/plain", b"json/protobuf")

Model = TypeVar("Model", bound=BaseModel)
Run = TypeVar("Run", bound=Callable[..., object])


class Refusal(Record):
    """Why a message is not applied."""

    reason: str
    sender: str | None = None


class InvalidBriefError(ApplicationError):
    """A start input that no retry can mend."""

    def __init__(self, message: str) -> None:
        super().__init__(message, type="InvalidBrief", non_retryable=True)


def one_raw_argument(run: Run) -> Run:
    """Let the SDK hand over a single start argument undecoded.

    The SDK decodes by the declared parameters and fails the workflow task for ever where that, or the call itself, raises.
    `run` takes any number of arguments; the signature shown to the SDK says one raw value.
    """
    own, values, *_ = inspect.signature(run).parameters.values()
    one = values.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(run)["__signature__"] = inspect.Signature([own, one])
    return run


def parse_start(values: Sequence[object], model: type[Model]) -> Model:
    """The input of a workflow.

    Raises:
        InvalidBriefError: no argument, more than one, or one that is not a `model`; the text names each fault.
    """
    if len(values) != 1:
        raise InvalidBriefError(f"{model.__name__}: expected one argument, got {len(values)}")
    content = _json(values[0])
    if isinstance(content, Refusal):
        raise InvalidBriefError(f"{model.__name__}: {content.reason}")
    try:
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise InvalidBriefError(f"{model.__name__}: {faults(error)}") from None


def entitlement_of(rules: Rules | None) -> Entitlement:
    """Who may decide by a spec.

    Raises:
        InvalidBriefError: a key cannot be used, or the rules demand what nobody can give.
    """
    if rules is None:
        return Entitlement()
    try:
        return Entitlement(rules.approvers, rules.approvals)
    except PolicyError as error:
        raise InvalidBriefError(f"{type(rules).__name__}: {error}") from None


def unknown_fields(value: object, path: str, model: type[BaseModel]) -> list[str]:
    """Names under `path` of a raw start input that `model` does not have, for parts that a person may have written."""
    content = _json(value)
    part = cast("dict[str, Json]", content).get(path) if isinstance(content, dict) else None
    return [name for name in cast("dict[str, Json]", part) if name not in model.model_fields] if part else []


def parse_signal(name: str, values: Sequence[object]) -> Brief | Refusal:
    """The payload of a signal, or why it is refused; never raises."""
    return _parse(name, values, SIGNALS, "signal")


def parse_update(name: str, values: Sequence[object]) -> Brief | Refusal:
    """The payload of an update, or why it is refused; never raises."""
    return _parse(name, values, UPDATES, "update")


def faults(error: ValidationError) -> str:
    """What is wrong with an input in one line, each fault with its place, without the input's values."""
    parts: list[str] = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(step) for step in fault["loc"]) or "input"
        parts.append(f"{place}: {fault['msg']}")
    return bounded("; ".join(parts))


def bounded(text: str, limit: int = REASON_LIMIT) -> str:
    """Text cut to what may go on the record."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _parse(name: str, values: Sequence[object], known: dict[str, type[Brief]], what: str) -> Brief | Refusal:
    model = known.get(name)
    if model is None:
        return Refusal(reason=f"unknown {what}; known: {', '.join(known)}")
    if not values and name in OPTIONAL:
        return model()
    if len(values) != 1:
        return Refusal(reason=f"expected one argument, got {len(values)}")
    content = _json(values[0])
    if isinstance(content, Refusal):
        return content
    if model is Decision and isinstance(content, dict) and "all_of" in content:
        model = BatchDecision
    try:
        text = json.dumps(content)
        # What workflows tell each other is not for them to put better, and somebody waits for it.
        if not issubclass(model, TeamSignal) and (fault := _unwritable(text)):
            return Refusal(reason=fault, sender=_sender(content))
        return EDIT.validate_json(text) if model is EditBase else model.model_validate_json(text)
    except RecursionError:
        return Refusal(reason="nested too deeply")
    except ValidationError as error:
        return Refusal(reason=faults(error), sender=_sender(content))


def _unwritable(text: str) -> str | None:
    """Why JSON text could not be written down as it is; parsing refuses halves of surrogate pairs itself."""
    if len(text) > SIZE_LIMIT:
        return f"it has {len(text)} characters, more than {SIZE_LIMIT}"
    # A NUL fits into no column of text, and a name that holds one would be tried again for ever.
    return "it holds a NUL character" if "\\u0000" in text.replace("\\\\", "") else None


def _json(value: object) -> Json | Refusal:
    """The JSON value of a payload; values that the SDK has decoded already come as they are."""
    if not isinstance(value, RawValue):
        return value
    encoding = value.payload.metadata.get("encoding", b"")
    if encoding == b"binary/null":
        return None
    if encoding not in ENCODINGS:
        return Refusal(reason=bounded(f"unknown encoding {encoding.decode(errors='replace')!r}; send json/plain"))
    try:
        return json.loads(value.payload.data)
    except (ValueError, RecursionError) as error:
        return Refusal(reason=bounded(f"not valid JSON: {error}"))


def _sender(content: Json) -> str | None:
    sender: Json = cast("dict[str, Json]", content).get("by") if isinstance(content, dict) else None
    return bounded(sender, NAME_LIMIT) if isinstance(sender, str) else None

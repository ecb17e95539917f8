"""Sorting what providers raise: which fault it is, and what follows from it; with text that holds no key.

LiteLLM maps every provider's errors to a few classes without a common base, and some wrongly: a cut connection and an
unreadable answer both come out as the provider's error 500. What really happened stands in the chain of causes: a status
that the provider sent, a connection that was never made, or neither, and then the answer is lost and may be billed.
Classes are known by name here, so that this module stays light and `agents.gateway` the only one that imports LiteLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

MAX_TEXT = 400
"""Characters of a provider's complaint that are kept."""


class Fault(StrEnum):
    """What can go wrong with one call to one model."""

    RATE_LIMIT = "rate limit"
    OVERLOAD = "overload"
    UNREACHABLE = "unreachable"
    TIMEOUT = "time-out"
    CUT = "cut connection"
    MALFORMED = "malformed response"
    KEY_REFUSED = "key refused"
    CONTEXT_TOO_LONG = "context too long"
    FILTERED = "content filter"
    UNKNOWN_MODEL = "unknown model"
    REFUSED = "bad request"
    RESTING = "circuit open"


LOST = frozenset({Fault.TIMEOUT, Fault.CUT, Fault.MALFORMED})
"""The request was sent and no usable answer came: it may stand on the bill."""
UNHEALTHY = LOST | {Fault.OVERLOAD, Fault.UNREACHABLE}
"""What counts against the provider's circuit."""
REQUEST_BOUND = frozenset({Fault.CONTEXT_TOO_LONG, Fault.FILTERED, Fault.UNKNOWN_MODEL})
"""This model cannot serve this request, now or later; another one may."""

_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
_OWN = frozenset({"StreamCutError", "StreamGarbledError"})
"""Raised below the library, which then says less in its own words."""
_CUT = frozenset(
    {"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "ServerDisconnectedError", "StreamCutError"}
)
_BY_CLASS = {
    "ContextWindowExceededError": Fault.CONTEXT_TOO_LONG,
    "ContentPolicyViolationError": Fault.FILTERED,
    "AuthenticationError": Fault.KEY_REFUSED,
    "PermissionDeniedError": Fault.KEY_REFUSED,
    "RateLimitError": Fault.RATE_LIMIT,
    "NotFoundError": Fault.UNKNOWN_MODEL,
    "UnprocessableEntityError": Fault.REFUSED,
    "BadRequestError": Fault.REFUSED,
}
_BY_STATUS = {
    401: Fault.KEY_REFUSED,
    402: Fault.RATE_LIMIT,
    403: Fault.KEY_REFUSED,
    404: Fault.UNKNOWN_MODEL,
    408: Fault.TIMEOUT,
    413: Fault.CONTEXT_TOO_LONG,
    429: Fault.RATE_LIMIT,
    504: Fault.TIMEOUT,
}
_TOO_LONG = ("maximum context length", "context_length_exceeded", "prompt is too long", "input is too long")
_NOT_WANTED = ("content_policy", "content policy", "content_filter", "content management policy", "safety system")


@dataclass(frozen=True)
class Trouble:
    """Why one model did not answer."""

    fault: Fault
    text: str
    retry_after: float | None = None
    """Seconds, as the provider asked for."""
    billed: bool = False
    """An answer came and its tokens count, although it is of no use."""

    @property
    def may_be_billed(self) -> bool:
        return self.billed or self.fault in LOST


def trouble_of(error: Exception, model: str, secret: str | None = None) -> Trouble:
    """Sort what LiteLLM raised."""
    own = next((cause for cause in _causes(error) if type(cause).__name__ in _OWN), error)
    # LiteLLM pastes tracebacks into some messages.
    reason = " ".join(str(own).partition("Traceback (most recent call last)")[0].split())
    if secret:
        reason = reason.replace(secret, "[secret]")
    text = f"{model}: {type(own).__name__}: {reason}"[:MAX_TEXT]
    return Trouble(_fault_of(error, reason), text, retry_after=_retry_after(error))


def _fault_of(error: Exception, reason: str) -> Fault:
    chain = list(_causes(error))
    status = next((found for cause in chain if (found := _status_sent(cause)) is not None), None)
    by_class = next((_BY_CLASS[base.__name__] for base in type(error).__mro__ if base.__name__ in _BY_CLASS), None)
    if status is None:
        return by_class or _without_status(chain)
    if by_class is Fault.REFUSED or status == 400:
        return _refused(by_class, status, reason.lower())
    return by_class or _BY_STATUS.get(status) or (Fault.OVERLOAD if status >= 500 else Fault.REFUSED)


def _refused(by_class: Fault | None, status: int, reason: str) -> Fault:
    if any(words in reason for words in _TOO_LONG):
        return Fault.CONTEXT_TOO_LONG
    if any(words in reason for words in _NOT_WANTED):
        return Fault.FILTERED
    # From some providers, Anthropic among them, every status that LiteLLM does not know comes out as a bad request.
    return _BY_STATUS.get(status) or by_class or Fault.REFUSED


def _without_status(chain: list[BaseException]) -> Fault:
    names = {base.__name__ for cause in chain for base in type(cause).__mro__}
    if names & _NEVER_SENT:
        return Fault.UNREACHABLE
    if names & _CUT:
        return Fault.CUT
    return Fault.TIMEOUT if any("Timeout" in name for name in names) else Fault.MALFORMED


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        following = error.__cause__ or error.__context__
        if following is None:
            return
        error = following


def _status_sent(error: BaseException) -> int | None:
    """The status that the provider itself answered with; LiteLLM invents one for errors without."""
    if not type(error).__name__.endswith("HTTPStatusError"):
        return None
    return getattr(getattr(error, "response", None), "status_code", None)


def _retry_after(error: Exception) -> float | None:
    for cause in _causes(error):
        headers: Any = getattr(getattr(cause, "response", None), "headers", None) or {}
        more: Any = getattr(cause, "litellm_response_headers", None) or {}
        for source in (headers, more):
            value = source.get("retry-after") or source.get("llm_provider-retry-after")
            if (seconds := _seconds(value)) is not None:
                return seconds
    return None


def _seconds(value: Any) -> float | None:
    """Retry-After is a number of seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        pass
    try:
        return max(0.0, (parsedate_to_datetime(str(value)) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None

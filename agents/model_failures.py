"""Sorting what providers raise: ask the next model, wait, or give up; with text that holds no key.

LiteLLM maps every provider's errors to a few classes without a common base. They are known by name here, so that this
module stays light and `agents.gateway` the only one that imports LiteLLM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_TEXT = 400
"""Characters of a provider's complaint that are kept."""

_REQUEST_BOUND = frozenset({"ContextWindowExceededError", "ContentPolicyViolationError"})
_KEY_BOUND = frozenset({"AuthenticationError", "PermissionDeniedError"})
_FINAL = _KEY_BOUND | {"NotFoundError", "UnprocessableEntityError", "BadRequestError"}
_LOST = frozenset({"Timeout", "APIConnectionError", "TimeoutError"})


@dataclass(frozen=True)
class Trouble:
    """Why one model did not answer."""

    text: str
    final: bool = False
    """The request or the key is refused; another attempt changes nothing."""
    key_refused: bool = False
    request_bound: bool = False
    """This model cannot serve this request (too long, filtered); another model may."""
    retry_after: float | None = None
    """Seconds, as the provider asked for."""
    may_be_billed: bool = False
    """The request was sent and the answer was lost."""


def trouble_of(error: Exception, model: str, secret: str | None = None) -> Trouble:
    """Sort what LiteLLM raised; unknown errors count as passing ones."""
    # LiteLLM pastes tracebacks into some messages.
    reason = " ".join(str(error).partition("Traceback (most recent call last)")[0].split())
    if secret:
        reason = reason.replace(secret, "[secret]")
    text = f"{model}: {type(error).__name__}: {reason}"[:MAX_TEXT]
    names = {base.__name__ for base in type(error).__mro__}
    if names & _REQUEST_BOUND:
        return Trouble(text, request_bound=True)
    if names & _FINAL:
        return Trouble(text, final=True, key_refused=bool(names & _KEY_BOUND))
    return Trouble(text, retry_after=_retry_after(error), may_be_billed=bool(names & _LOST))


def _retry_after(error: Exception) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    more: Any = getattr(error, "litellm_response_headers", None) or {}
    for source in (headers, more):
        value = source.get("retry-after") or source.get("llm_provider-retry-after")
        try:
            return max(0.0, float(value))
        except (TypeError, ValueError):
            continue
    return None

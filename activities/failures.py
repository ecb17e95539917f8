"""The one translation of domain errors into Temporal's `ApplicationError`: retryable or not, bounded text, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from agents import errors as agent
from agents.disk import is_full
from agents.profiles import ProfileError
from ledger import errors as ledger

TEXT_LIMIT = 2_000
"""Characters of an error's text that go into a history."""

_SECRET = re.compile(
    r"(?i)(\b(?:sk|pk|hvs|ghp|xox[bp])[-_.][A-Za-z0-9_\-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?<=bearer )[A-Za-z0-9._\-]{8,}"
    r"|(?:api[_-]?key|token|password)\s*[=:]\s*['\"]?[^\s'\",]{6,})"
)

_FINAL: tuple[tuple[type[Exception], str], ...] = (
    (agent.RepositoryError, "InvalidRepository"),
    (agent.ProjectUsedError, "InvalidBrief"),
    (ProfileError, "InvalidBrief"),
    (agent.SetupFailedError, "SetupFailed"),
    (agent.SandboxMissingError, "SandboxMissing"),
    (agent.DivergenceError, "Divergence"),
    (agent.ReplayError, "Divergence"),
    (agent.NoModelKeyError, "NoModelKey"),
    (agent.UnpricedModelError, "NoModelKey"),
    (ledger.SchemaError, "SchemaMismatch"),
    (ledger.KeyConflictError, "KeyConflict"),
)
"""What no retry can mend, with the failure type of `activities.contracts.NOT_RETRYABLE`."""


def scrub(text: str, limit: int = TEXT_LIMIT) -> str:
    """Replace what looks like a key, a token or a password, and cut to `limit` characters."""
    clean = _SECRET.sub("[secret]", text)
    return clean if len(clean) <= limit else f"{clean[:limit]}… ({len(clean)} characters)"


@contextmanager
def translated() -> Iterator[None]:
    """Raise domain errors of the block as `ApplicationError`, their chain cut because it could carry a secret."""
    try:
        yield
    except (agent.AgentError, ledger.LedgerError, ValidationError, OSError) as error:
        raise failure(error) from None


def failure(error: Exception) -> ApplicationError:
    """The `ApplicationError` for a domain error."""
    if isinstance(error, OSError) and is_full(error):
        error = agent.DiskFullError(str(error.filename or "under the state folder"))
    for kind, name in _FINAL:
        if isinstance(error, kind):
            return ApplicationError(scrub(str(error)), type=name, non_retryable=True)
    return ApplicationError(scrub(str(error)), type=type(error).__name__, next_retry_delay=_delay(error))


def worker_stopping() -> ApplicationError:
    """This worker shuts down; another one goes on at once from the journal."""
    return ApplicationError(
        "the worker is shutting down", type="WorkerStopping", next_retry_delay=timedelta(milliseconds=100)
    )


def worker_gone() -> ApplicationError:
    """The process that made this attempt has ended; the next attempt comes when the activity's retry policy says.

    No delay of ours: an activity that brings its workers down must not do so faster and faster.
    """
    return ApplicationError("the worker's process ended while it was at work", type="WorkerGone")


def _delay(error: Exception) -> timedelta | None:
    if isinstance(error, ledger.LeaseHeldError):
        return timedelta(seconds=max(0.2, min(error.seconds_left, 5.0)))
    if isinstance(error, agent.ModelUnavailableError) and error.retry_after is not None:
        return timedelta(seconds=error.retry_after)
    return None

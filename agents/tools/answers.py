"""How tools answer: a JSON object as text, bounded in size, and failures as answers instead of exceptions."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict

from agents.disk import is_full
from agents.errors import AgentError, DiskFullError, PathEscapeError, SandboxMissingError
from agents.tools.base import ToolContext, ToolResult
from ledger.vocabulary import Json

MAX_CONTENT = 40_000
"""Characters that a model is given to read for one tool call."""
_MAX_ERROR = 2_000

log = structlog.get_logger(__name__)

A = TypeVar("A", bound=BaseModel)
Run = Callable[[ToolContext, A], Awaitable[ToolResult]]


class Arguments(BaseModel):
    """Base of what models write: unknown fields are refused, so that a misspelt one is never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def answer(content: Mapping[str, Json], *shrinkable: str, data: Mapping[str, Json] | None = None) -> ToolResult:
    """A successful answer of at most `MAX_CONTENT` characters.

    Args:
        content: What the model reads.
        shrinkable: Fields (texts or lists) that lose their end, in this order, until the answer fits. Where one did,
            the answer says `truncated: true`.
        data: For the record and the graph.
    """
    return ToolResult(ok=True, content=_fit(dict(content), shrinkable), data=dict(data or {}))


def failure(error: str, hint: str = "") -> ToolResult:
    """An answer that says what went wrong and what to do about it; the run goes on."""
    content = {"error": error[:_MAX_ERROR], "hint": hint[:_MAX_ERROR]}
    return ToolResult(ok=False, content=json.dumps(content, ensure_ascii=False))


def guarded(run: Run[A]) -> Run[A]:
    """Turn what a tool raises into a failure that the model reads; only what the machine lacks and cancellation pass."""

    @wraps(run)
    async def call(context: ToolContext, arguments: A) -> ToolResult:
        try:
            return await run(context, arguments)
        except (SandboxMissingError, DiskFullError):
            raise
        except PathEscapeError as error:
            return failure(str(error), "name a path inside the worktree, relative to it")
        except AgentError as error:
            return failure(str(error))
        except OSError as error:
            if is_full(error):
                raise DiskFullError(_base_name(error)) from error
            return failure(f"{error.strerror or type(error).__name__}: {_base_name(error)}", "look with list_files")
        except Exception as error:  # a defect of the tool must not end the agent's run, but must not be silent either
            log.exception("tool_failed", tool=run.__name__)
            return failure(f"the tool failed: {type(error).__name__}", "try other arguments or another tool")

    return call


def cut(text: str, limit: int) -> str:
    """The end of a text, which is where programs say what went wrong, with a mark where its beginning is missing."""
    return text if len(text) <= limit else f"… {len(text) - limit} characters left out …\n{text[-limit:]}"


def _base_name(error: OSError) -> str:
    return str(error.filename or "").rsplit("/", 1)[-1]


def _fit(content: dict[str, Json], shrinkable: tuple[str, ...]) -> str:
    text = json.dumps(content, ensure_ascii=False)
    for name in shrinkable:
        if len(text) <= MAX_CONTENT:
            break
        content["truncated"] = True
        content[name] = _longest(content, name)
        text = json.dumps(content, ensure_ascii=False)
    if len(text) > MAX_CONTENT:
        raise AgentError(f"the answer has {len(text)} characters and cannot be shortened below {MAX_CONTENT}")
    return text.encode("utf-8", "replace").decode()  # names of files may hold bytes that are no text


def _longest(content: dict[str, Json], name: str) -> Any:
    """The longest beginning of the field with which the answer fits, found by bisection."""
    value, low, high = content[name], 0, len(content[name])
    while low < high:
        middle = (low + high + 1) // 2
        size = len(json.dumps(content | {name: value[:middle]}, ensure_ascii=False))
        low, high = (middle, high) if size <= MAX_CONTENT else (low, middle - 1)
    return value[:low]

"""What commands share: one JSON document or plain text on stdout, everything else on stderr, and how they end."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import structlog
import typer
from pydantic import BaseModel

from ledger.vocabulary import Json
from workers.errors import WorkersError

USAGE = 2
FAILED = 1
INTERRUPTED = 130

T = TypeVar("T")


class CommandError(WorkersError):
    """A command cannot do what was asked; the text says what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = code


def emit(document: BaseModel | Json) -> None:
    """Write the one JSON document of `--json`."""
    plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False, default=_plain))


def show(text: str) -> None:
    """Write a line of the answer."""
    typer.echo(text)


def say(text: str) -> None:
    """Write a message that is not the answer."""
    typer.echo(text, err=True)


def plain(text: str) -> str:
    """Text of strangers without what a terminal would obey, and without signs that turn the direction of reading."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def give_up(error: object, code: int = FAILED) -> NoReturn:
    """End with one clear text on stderr."""
    say(f"error: {error}")
    raise typer.Exit(code)


def run_work(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; expected errors end it with their text and a code, never with a traceback."""
    _log_to_stderr()
    try:
        return asyncio.run(work)
    except WorkersError as error:
        give_up(error, error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if text := expected(error):
            give_up(text)
        raise


def _log_to_stderr() -> None:
    """Warnings only, and never on stdout, which belongs to the answer."""
    structlog.configure(
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the stream of the moment, not of this call
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def expected(error: BaseException) -> str | None:
    """The text of an error that a person can mend; None for a defect of ours.

    Looks at what is loaded already: a command that never opened a client need not import its errors.
    """
    from agents.errors import AgentError
    from ledger.errors import LedgerError

    if isinstance(error, (AgentError, LedgerError)):
        return str(error)
    if (service := sys.modules.get("temporalio.service")) and isinstance(error, service.RPCError):
        return f"Temporal answered: {error}"
    if (temporal := sys.modules.get("temporalio.exceptions")) and isinstance(error, temporal.ApplicationError):
        return str(error)
    if (postgres := sys.modules.get("psycopg")) and isinstance(error, postgres.OperationalError):
        return f"the database cannot be reached ({str(error).strip()}); `syndic doctor` shows what is wrong"
    return None


def whoami() -> str:
    """The name a decision is signed with: a claim, no proof."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _plain(value: object) -> str:
    return str(value)

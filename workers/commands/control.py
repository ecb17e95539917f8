"""`syndic pause`, `resume`, `cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.vocabulary import Json
from workers import operations
from workers.console import emit, run_work, say, whoami
from workers.session import open_session

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; it stands on the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def pause(project: Project, reason: Reason = "", as_json: AsJson = False) -> None:
    """Start no new step in a project; calls in flight finish and are journaled."""
    run_work(_control(project, "pause", reason))
    _done({"project_id": project, "sent": "pause"}, f"{project} pauses; go on with `syndic resume {project}`", as_json)


def resume(project: Project, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let a paused project go on."""
    run_work(_control(project, "resume", reason))
    _done({"project_id": project, "sent": "resume"}, f"{project} goes on", as_json)


def cancel(project: Project, as_json: AsJson = False) -> None:
    """Stop a project: it cleans up and closes the record; what is merged stays on its branch."""

    async def work() -> None:
        await operations.cancel((await open_session()).client, project)

    run_work(work())
    _done({"project_id": project, "sent": "cancel"}, f"{project} stops; see `syndic status {project}`", as_json)


async def _control(project: str, name: str, reason: str) -> None:
    await operations.control((await open_session()).client, project, name, whoami(), reason)


def _done(document: Json, text: str, as_json: bool) -> None:
    if as_json:
        emit(document)
    else:
        say(text)

"""`syndic pause`, `resume`, `escalate`, `autonomy`, `cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from ledger.vocabulary import Autonomy, Brief, Json, Mode
from workers import operations
from workers.console import emit, run_work, say, whoami
from workers.session import open_session
from workflows.controls import AutonomyChange, Control, Escalation

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; it stands on the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def pause(project: Project, reason: Reason = "", as_json: AsJson = False) -> None:
    """Start no new step in a project; calls in flight finish and are journaled."""
    _control(project, "pause", reason)
    _done({"project_id": project, "sent": "pause"}, f"{project} pauses; go on with `syndic resume {project}`", as_json)


def resume(project: Project, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let a paused project go on."""
    _control(project, "resume", reason)
    _done({"project_id": project, "sent": "resume"}, f"{project} goes on", as_json)


def escalate(
    project: Project,
    reason: Annotated[str, typer.Option(help="What a person should look at.", show_default=False)],
    task: Annotated[str | None, typer.Option(help="This task alone.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Start no new step until a person has decided how the project, or one task, goes on."""
    run_work(_tell(project, "escalate", Escalation(reason=reason, by=whoami(), task=task)))
    _done({"project_id": project, "sent": "escalate"}, f"{project} waits for a decision; see `syndic inbox`", as_json)


def autonomy(
    project: Project,
    level: Annotated[
        Autonomy | None, typer.Argument(help="What is asked from now on.", show_default=False, metavar="[LEVEL]")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="What becomes of accepted work.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Change how much a running project asks; what cannot change is refused on its record."""
    if level is None and mode is None:
        raise typer.BadParameter("say what changes: LEVEL, --mode or both")
    run_work(_tell(project, "set_autonomy", AutonomyChange(autonomy=level, mode=mode, by=whoami())))
    _done(
        {"project_id": project, "sent": "set_autonomy"}, f"{project} was told; see `syndic status {project}`", as_json
    )


def cancel(
    project: Project,
    task: Annotated[str | None, typer.Option(help="This task alone.", show_default=False)] = None,
    reason: Annotated[str, typer.Option(help="Why a task is; it stands on the record.")] = "",
    as_json: AsJson = False,
) -> None:
    """Stop a project, or one task: it puts down what it holds; what is merged stays on its branch."""
    if task is not None:
        from workers.commands.steering import cancel_task

        cancel_task(project, task, reason, as_json)
        return

    async def work() -> None:
        await operations.cancel((await open_session()).client, project)

    run_work(work())
    _done({"project_id": project, "sent": "cancel"}, f"{project} stops; see `syndic status {project}`", as_json)


def _control(project: str, name: str, reason: str) -> None:
    run_work(_tell(project, name, Control(by=whoami(), reason=reason)))


async def _tell(project: str, name: str, message: Brief) -> None:
    await operations.tell((await open_session()).client, project, name, message)


def _done(document: Json, text: str, as_json: bool) -> None:
    if as_json:
        emit(document)
    else:
        say(text)

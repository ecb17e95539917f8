"""`syndic edit`, `syndic feedback`: change what a project works on, and say something to those who work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ledger.vocabulary import Role
from workers.console import USAGE, CommandError, emit, run_work, say, whoami
from workers.session import open_session

if TYPE_CHECKING:
    from workers.steering import Steered

T = TypeVar("T")

app = typer.Typer(
    help="Change the tasks of a running sprint, or of a plan that is not confirmed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
Task = Annotated[str, typer.Argument(help="Task id.", show_default=False)]
Words = Annotated[str, typer.Option("--note", help="What its agent is told with it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def add(
    project: Project,
    file: Annotated[Path, typer.Argument(help="A task as a brief has it, .yaml or .json.", show_default=False)],
    sprint: Annotated[
        int | None, typer.Option(min=1, help="Of a plan that is not confirmed.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a task."""
    _edit(project, as_json, do="add", task=_task(file), sprint=sprint)


@app.command()
def drop(project: Project, task: Task, as_json: AsJson = False) -> None:
    """Take a task out that has not begun and that nothing depends on."""
    _edit(project, as_json, do="drop", task=task)


@app.command()
def skip(
    project: Project,
    task: Task,
    dependents: Annotated[str, typer.Option(help="skip: leave them out too; run: let them run without.")] = "skip",
    as_json: AsJson = False,
) -> None:
    """Leave a task out."""
    _edit(project, as_json, do="skip", task=task, dependents=dependents)


@app.command()
def retry(project: Project, task: Task, note: Words = "", as_json: AsJson = False) -> None:
    """Begin a task again that ended without success."""
    _edit(project, as_json, do="retry", task=task, note=note)


@app.command()
def reassign(
    project: Project,
    task: Task,
    role: Annotated[Role | None, typer.Option(help="Another role.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="An agent's name.", show_default=False)] = None,
    note: Words = "",
    as_json: AsJson = False,
) -> None:
    """Give a task to another role or agent."""
    _edit(project, as_json, do="reassign", task=task, role=role, agent=agent, note=note)


@app.command()
def rewind(
    project: Project,
    task: Task,
    step: Annotated[int, typer.Option(min=1, help="The first step that is done again.", show_default=False)],
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Of which attempt; default: the last one.", show_default=False)
    ] = None,
    note: Words = "",
    as_json: AsJson = False,
) -> None:
    """Let a task go on from an earlier step, as a lineage of its own."""
    _edit(project, as_json, do="rewind", task=task, step=step, attempt=attempt, note=note)


def feedback(
    project: Project,
    text: Annotated[str, typer.Argument(help="What you want to say.", show_default=False)],
    task: Annotated[str | None, typer.Option(help="To one task.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="To one agent, by name.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Say something to a project, a task or an agent; it is read at the next step."""

    async def work() -> Steered:
        from workers import steering
        from workflows.controls import FeedbackNote

        content = {"text": text, "by": whoami(), "task": task, "agent": agent}
        note = _fit(FeedbackNote.model_validate, content)
        return await steering.tell((await open_session()).client, project, note)

    _done(run_work(work()), as_json)


def cancel_task(project: str, task: str, reason: str, as_json: bool) -> None:
    """What `syndic cancel --task` does."""
    _edit(project, as_json, do="cancel", task=task, reason=reason)


def _edit(project: str, as_json: bool, **content: Any) -> None:
    async def work() -> Steered:
        from workers import steering
        from workflows.edits import EDIT

        change = _fit(EDIT.validate_python, {**content, "by": whoami()})
        return await steering.edit((await open_session()).client, project, change)

    _done(run_work(work()), as_json)


def _fit(read: Callable[[dict[str, Any]], T], content: dict[str, Any]) -> T:
    from pydantic import ValidationError

    from workflows.messages import faults

    try:
        return read(content)
    except ValidationError as error:
        raise CommandError(faults(error), USAGE) from None


def _task(file: Path) -> dict[str, Any]:
    from workers.briefs import BriefError, read_brief
    from workers.console import give_up

    try:
        return read_brief(file)
    except BriefError as error:
        give_up(error, USAGE)


def _done(done: Steered, as_json: bool) -> None:
    if as_json:
        emit(done)
    else:
        say(f"{done.sent}: {done.effect}")

"""`syndic run`, `status`, `watch`, `init`."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.vocabulary import Autonomy, Json, Mode, Phase, dollars, project_branch, project_workflow_id
from workers.briefs import BriefError, derive_project_id, is_brief, parse_minutes, parse_spec, read_brief
from workers.console import FAILED, USAGE, CommandError, emit, give_up, run_work, say, show
from workflows.reports import ProjectReport
from workflows.specs import ProjectSpec
from workflows.views import StatusView

if TYPE_CHECKING:
    from temporalio.client import Client

BEGINNING = "0-0"
EVENT_ID = re.compile(r"\d+(-\d+)?")

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def run(
    goal: Annotated[
        str, typer.Argument(metavar="GOAL|BRIEF", help="A goal in words, or a .yaml or .json file.", show_default=False)
    ],
    repo: Annotated[str | None, typer.Option(help="Git repository: a folder or a URL. Default: this folder.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="dry_run merges nothing; strict asks first.")] = None,
    autonomy: Annotated[Autonomy | None, typer.Option(help="milestone asks about the plan and each sprint.")] = None,
    budget: Annotated[str | None, typer.Option(help="Limit in USD.", show_default=False)] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Limit of tokens, of prompts and answers.", show_default=False)
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Whole project: 90 (minutes), 2h, 1d.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a goal or a brief to a team. Options win over the brief."""
    try:
        content: dict[str, Json] = read_brief(Path(goal)) if is_brief(goal) else {"goal": goal}
        minutes = None if timeout is None else parse_minutes(timeout)
        options = {
            "mode": mode,
            "autonomy": autonomy,
            "budget_usd": _usd(budget),
            "budget_tokens": budget_tokens,
            "timeout_minutes": minutes,
        }
        content |= {name: value for name, value in options.items() if value is not None}
        repository = content["repository"] = _repository(repo or content.get("repository") or ".")
        if content.get("project_id") is None:
            content["project_id"] = derive_project_id(str(repository))
        spec = parse_spec(content)
    except BriefError as error:
        give_up(error, USAGE)
    run_work(_check_repository(spec))
    report = run_work(_start(spec, watch, as_json))
    if watch:
        _conclude(report, as_json)


def status(
    project: Annotated[str | None, typer.Argument(help="Project id; all projects without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a project stands, or list all projects."""
    run_work(_list(as_json) if project is None else _status(project, as_json))


def watch(
    project: Project,
    start: Annotated[
        str, typer.Option("--from", metavar="ID", help="Only events of the live feed after this one.")
    ] = BEGINNING,
    as_json: AsJson = False,
) -> None:
    """Follow a project on a live board until it ends; exits with 1 when it failed."""
    if not EVENT_ID.fullmatch(start):
        give_up(
            f"--from {start}: an id of the feed looks like 1763700000000-0; it is said where a watch was left", USAGE
        )

    async def work() -> ProjectReport | None:
        from workers.session import open_session

        return await _follow(await open_session(), project, to_stderr=as_json, start=start)

    _conclude(run_work(work()), as_json)


def init(
    repo: Annotated[Path, typer.Option(help="Git repository.")] = Path(),
    output: Annotated[Path | None, typer.Option(help="File to write; default: syndic.yaml there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented brief for a repository. An existing file is never overwritten."""
    from workers.brief_template import brief_for

    folder = repo.expanduser().resolve()
    path = output or folder / "syndic.yaml"
    text = run_work(brief_for(folder, str(path)))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        give_up(f"{path} exists and stays as it is; name another file with --output", FAILED)
    except OSError as error:
        give_up(f"{path} cannot be written: {error.strerror}", FAILED)
    if as_json:
        emit({"brief": str(path)})
    else:
        say(f"wrote {path}; write your goal into it, then: syndic run {path} --watch")


def _usd(text: str | None) -> str | None:
    try:
        if text is None or (Decimal(text).is_finite() and Decimal(text) >= 0):
            return text
    except InvalidOperation:
        pass
    raise BriefError(f"--budget {text}: write an amount in USD, such as 2.50")


def _repository(named: Json) -> Json:
    """An absolute path, since workers have another working folder; URLs stay as they are.

    Raises:
        BriefError: It names nothing that could be a folder or a URL.
    """
    from agents.errors import RepositoryError
    from agents.git_source import remote_url

    if not isinstance(named, str):
        return named  # the brief's own check complains about it
    try:
        return named if remote_url(named) else str(Path(named.removeprefix("file://")).expanduser().resolve())
    except RepositoryError as error:
        raise BriefError(str(error)) from None
    except (ValueError, RuntimeError, OSError) as error:
        raise BriefError(f"repository: {named!r} is no path: {error}") from None


async def _check_repository(spec: ProjectSpec) -> None:
    """Find out now what the first activity would find out: no repository, no commit, no such base."""
    from agents.git import GitStore
    from agents.git_source import check_free, checked_out_branch, find_commit, locate, remote_url

    if remote_url(spec.repository):
        return
    source = await asyncio.to_thread(locate, spec.repository)
    await find_commit(source, spec.base)
    if spec.base is None and await checked_out_branch(source) is None:
        say("note: HEAD is detached; the work starts at that commit")
    with TemporaryDirectory(prefix="syndic-look-") as folder:
        store = GitStore(Path(folder) / "repo.git")
        await store.create()
        for warning in await store.uncommitted(spec.repository):
            say(f"note: {warning}")
    await check_free(source, project_branch(str(spec.project_id)))


async def _start(spec: ProjectSpec, watch: bool, as_json: bool) -> ProjectReport | None:
    from workers import operations
    from workers.session import open_session

    session, project = await open_session(), str(spec.project_id)
    await operations.start_project(session.client, spec, project)
    commands = {
        what: operations.quoted(operations.temporal_command(session.addresses, "workflow", *words))
        for what, words in {
            "watch": ("query", "--workflow-id", project_workflow_id(project), "--type", "status"),
            "approvals": ("query", "--workflow-id", project_workflow_id(project), "--type", "approvals"),
            "cancel": ("cancel", "--workflow-id", project_workflow_id(project)),
        }.items()
    }
    if watch:
        say(f"project {project}")
        return await _follow(session, project, to_stderr=as_json)
    if as_json:
        emit({"project_id": project, "workflow_id": project_workflow_id(project), "commands": commands})
        return None
    show(project)
    say(f"watch it:       syndic watch {project}")
    say(f"                {commands['watch']}")
    say("what it asks:   syndic inbox")
    say(f"                {commands['approvals']}")
    if session.addresses.web_ui:
        say(f"in the browser: {session.addresses.web_ui}")
    return None


async def _follow(session: object, project: str, *, to_stderr: bool, start: str = BEGINNING) -> ProjectReport:
    from rich.console import Console

    from workers.board import Watcher, follow, open_view
    from workers.session import Session, open_feed

    assert isinstance(session, Session)
    async with open_feed(session.addresses) as feed:
        watcher = Watcher(session, feed, project, start)
        try:
            with open_view(session, Console(stderr=to_stderr)) as view:
                return await follow(watcher, view)
        except asyncio.CancelledError:  # Ctrl-C
            say(
                f"project {project} goes on; see it with `syndic watch {project}`, stop it with `syndic cancel {project}`"
            )
            say(f"from here on: `syndic watch {project} --from {watcher.position}`")
            raise


def _conclude(report: ProjectReport | None, as_json: bool) -> None:
    from workers.board import closing_lines

    if report is None:
        return
    if as_json:
        emit(report)
    else:
        show("\n".join(closing_lines(report)))
    stranded = report.tasks_merged and report.branch is None  # the notes say why, and how to fetch it
    if report.state is not Phase.DONE or stranded:
        raise typer.Exit(FAILED)


async def _status(project: str, as_json: bool) -> None:
    from workers import operations
    from workers.session import open_session

    client = (await open_session()).client
    view = await operations.status(client, project)
    tasks = await operations.board(client, project, view.sprint)
    failure, warnings = await _ending(client, project)
    warnings += await operations.troubles(client, project, view, tasks)
    if as_json:
        document: dict[str, Json] = view.model_dump(mode="json")
        more = {"failure": failure, "warnings": list(warnings)}
        emit({**document, "tasks": [task.model_dump(mode="json") for task in tasks], **more})
        return
    show(_headline(view) if failure is None else failure)
    for task in tasks:
        show(f"  {task.id:<24} {task.state.value:<14} {task.agent or '-':<20} {task.title}")
    for request in view.awaiting:
        show(f"  waits for you: {request.id} ({request.kind.value}) {request.summary}: syndic approve {request.id}")
    for warning in warnings:
        show(f"  note: {warning}")


async def _ending(client: Client, project: str) -> tuple[str | None, tuple[str, ...]]:
    """Why a project ended without a report, and the warnings of one that has a report."""
    from workers import operations

    try:
        report = await operations.outcome(client, project)
    except CommandError as error:
        return str(error), ()
    return None, report.warnings if report else ()


def _headline(view: StatusView) -> str:
    paused = " (paused)" if view.paused else ""
    limit = "" if view.budget_usd is None else f" of {dollars(view.budget_usd)}"
    tokens = "" if view.budget_tokens is None else f"  {view.tokens:,} of {view.budget_tokens:,} tokens"
    done = f"{view.tasks_done}/{view.tasks_total} tasks"
    return f"{view.project}  {view.phase.value}{paused}  {view.detail}  {done}  {dollars(view.cost_usd)}{limit} USD{tokens}"


async def _list(as_json: bool) -> None:
    from workers import operations
    from workers.session import open_session

    lines = await operations.projects((await open_session()).client)
    if as_json:
        emit([line.model_dump(mode="json") for line in lines])
    for line in lines if not as_json else ():
        started = f"{line.started_at:%Y-%m-%d %H:%M}" if line.started_at else ""
        show(f"{line.project:<48} {line.status:<12} {line.phase or '':<12} {started}")
    if not lines and not as_json:
        say('there is no project yet; start one with `syndic run "GOAL"`')

"""`syndic messages` and `syndic dlq list|replay|drop`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.messages import DeadLetter, Message
from ledger.vocabulary import Json
from workers.console import FAILED, CommandError, emit, run_work, say, show, whoami
from workers.settings import load_settings

if TYPE_CHECKING:
    from ledger.postgres import PostgresStore

PAGE = 1_000
WIDTH = 100

app = typer.Typer(
    help="Dead letters: messages that could not be delivered or read.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Ids = Annotated[list[str], typer.Argument(help="Ids, as `syndic dlq list` shows them.", show_default=False)]


def messages(
    project: Project,
    agent: Annotated[
        str | None, typer.Option(help="Only from and to this agent: its id or its name.", show_default=False)
    ] = None,
    after: Annotated[int, typer.Option(help="Only after this position.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what the agents of a project tell each other, in order.

    The same with psql: SELECT * FROM syndic.messages WHERE project = '...' ORDER BY position.
    """

    async def work() -> None:
        async with _open_store() as store:
            found = await read_messages(store, project, agent, after)
        if as_json:
            emit([document(message) for message in found])
            return
        for message in found:
            show(line_of(message))
        if not found:
            say("there is no such message")

    run_work(work())


@app.command(name="list")
def list_letters(
    project: Annotated[str | None, typer.Argument(help="Project id; all projects without it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was replayed or dropped.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters with their reasons, oldest first."""

    async def work() -> None:
        async with _open_store() as store:
            letters = await store.dead_letters(project, settled=everything)
        if as_json:
            emit([letter.model_dump(mode="json") for letter in letters])
            return
        for letter in letters:
            show(letter_lines(letter))
        if not letters:
            say("there is no dead letter")

    run_work(work())


@app.command()
def replay(ids: Ids, as_json: AsJson = False) -> None:
    """Deliver dead letters again, as the newest messages of their inboxes; exits with 1 where one could not be."""
    _settle(ids, "replayed", as_json)


@app.command()
def drop(ids: Ids, as_json: AsJson = False) -> None:
    """Give dead letters up; they stay on the record with who dropped them. Exits with 1 where one could not be."""
    _settle(ids, "dropped", as_json)


async def read_messages(store: PostgresStore, project: str, agent: str | None, after: int) -> list[Message]:
    """A project's messages in order; an agent may be named by the last part of its id.

    Raises:
        CommandError: The project has no record.
    """
    if (await store.head(project)).seq == 0 and not await store.conversation(project, limit=1):
        known = ", ".join((await store.projects())[:10]) or "none yet"
        raise CommandError(f"there is no record of a project {project!r}; on record: {known}")
    found: list[Message] = []
    while page := await store.conversation(project, after=after, limit=PAGE):
        found += page
        after = page[-1].position
    return [message for message in found if agent is None or _is_of(message, agent)]


def document(message: Message) -> dict[str, Json]:
    """A message as `--json` shows it."""
    return {**message.model_dump(mode="json"), "state": message.state.value}


def line_of(message: Message) -> str:
    """A message on one line."""
    words = next(
        (message.payload[name] for name in ("text", "question", "answer", "title") if message.payload.get(name)), None
    )
    text = " ".join(str(words or message.payload or "").split())
    short = text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
    route = f"{message.source} -> {message.target}"
    return (
        f"{message.position:>6}  {message.at:%H:%M:%S}  {message.state.value:<9}  {message.type:<15}  {route}  {short}"
    )


def letter_lines(letter: DeadLetter) -> str:
    """A dead letter on two lines: what it is, and why."""
    settled = f"  {letter.settled} by {letter.settled_by}" if letter.settled else ""
    kind = "" if letter.is_message else "  (never was a message)"
    return f"{letter.id}  {letter.at:%Y-%m-%d %H:%M:%S}  to {letter.inbox} of {letter.project}{kind}{settled}\n    {letter.reason}"


def _settle(ids: list[str], how: str, as_json: bool) -> None:
    async def work() -> dict[str, str | None]:
        async with _open_store() as store:
            act = store.replay_letter if how == "replayed" else store.drop_letter
            return {id: await _refusal(act, id) for id in dict.fromkeys(ids)}

    refusals = run_work(work())
    if as_json:
        emit(
            [{"id": id, "state": how if reason is None else None, "refusal": reason} for id, reason in refusals.items()]
        )
    for id, reason in refusals.items():
        if reason is not None:
            say(f"error: {reason}")
        elif not as_json:
            show(f"{how} {id}")
    if any(refusals.values()):
        raise typer.Exit(FAILED)


async def _refusal(act: Callable[[str, str], Awaitable[None]], id: str) -> str | None:
    from ledger.errors import UndeliverableError

    try:
        await act(id, f"person:{whoami()}")
    except UndeliverableError as error:
        return str(error)
    return None


def _is_of(message: Message, agent: str) -> bool:
    return any(name == agent or name.endswith(f".{agent}") for name in (message.source, message.target))


@asynccontextmanager
async def _open_store() -> AsyncIterator[PostgresStore]:
    from workers.database import open_store
    from workers.stack import resolve

    async with open_store(resolve(load_settings()).database_url) as store:
        yield store

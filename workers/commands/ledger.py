"""`syndic ledger verify|show` and `syndic cost`."""

from __future__ import annotations

import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.rows import CostBy, Entry
from ledger.vocabulary import Json, dollars, project_scope
from workers import costs
from workers.console import FAILED, CommandError, emit, run_work, say, show
from workers.settings import load_settings

if TYPE_CHECKING:
    from ledger.postgres import PostgresStore

PAGE = 1000

app = typer.Typer(
    help="Verify or show the record.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Project = Annotated[str, typer.Argument(help="Project id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def verify(project: Project, as_json: AsJson = False) -> None:
    """Check a project's hash chain and its signed decisions; exits with 1 and names what does not hold."""

    async def work() -> bool:
        from ledger.chain import verify as verify_chain
        from ledger.decisions import check_decisions
        from workers.database import open_store
        from workers.stack import resolve

        async with open_store(resolve(load_settings()).database_url) as store:
            entries = await read_entries(store, project)
        found = verify_chain(entries)
        decisions = check_decisions(entries[: found.entries])
        if as_json:
            emit(
                {"project_id": project, **found.model_dump(mode="json"), "decisions": decisions.model_dump(mode="json")}
            )
            return found.ok and decisions.ok
        if found.ok:
            show(f"{found.entries} entries, all intact; head {found.head}")
        else:
            say(f"error: entry {found.first_bad_seq} of {project} does not fit the chain: {found.reason}")
        if decisions.verified or decisions.claimed:
            show(
                f"decisions: {decisions.verified} with a signature that holds, {decisions.claimed} of persons by claim"
            )
        for fault in decisions.faults:
            say(f"error: entry {fault.seq} of {project}, decision about {fault.approval}: {fault.reason}")
        return found.ok and decisions.ok

    if not run_work(work()):
        raise typer.Exit(FAILED)


@app.command(name="show")
def show_entries(
    project: Project,
    after: Annotated[int, typer.Option(help="Only entries after this number.", min=0)] = 0,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Show the entries of a project in order."""

    async def work() -> None:
        from workers.database import open_store
        from workers.stack import resolve

        async with open_store(resolve(load_settings()).database_url) as store:
            entries = await read_entries(store, project, after)
        chosen = [entry for entry in entries if kind in (None, entry.kind)]
        if as_json:
            emit([entry.model_dump(mode="json", exclude={"payload"}) for entry in chosen])
        for entry in chosen if not as_json else ():
            show(line_of(entry))

    run_work(work())


def cost(
    project: Project,
    by: Annotated[
        CostBy | None,
        typer.Option(help="Sum by this; every task, agent and model where it is left out.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a project has spent, and on what; calls in doubt count at their bound.

    The same with psql: the views syndic.cost_by_agent, _role, _model, _sprint and _day.
    """

    async def work() -> None:
        from workers.database import open_store
        from workers.stack import resolve

        async with open_store(resolve(load_settings()).database_url) as store:
            await _known(store, project)
            budget = await store.budget(project_scope(project))
            if by is None:
                rows = await store.usage(project)
                shown = costs.table(rows)
            else:
                rows = await store.cost(project, by)
                shown = costs.bars(rows, by, width=shutil.get_terminal_size().columns)
        if as_json:
            emit(costs.document(project, budget, rows, by))
            return
        show(costs.headline(budget))
        show(shown)

    run_work(work())


async def read_entries(store: PostgresStore, project: str, after: int = 0) -> list[Entry]:
    """All entries of a project's chain after a number.

    Raises:
        CommandError: The project has no chain.
    """
    await _known(store, project)
    entries: list[Entry] = []
    while page := await store.entries(project, after=after, limit=PAGE):
        entries += page
        after = page[-1].seq
    return entries


async def _known(store: PostgresStore, project: str) -> None:
    if (await store.head(project)).seq == 0:
        known = ", ".join((await store.projects())[:10]) or "none yet"
        raise CommandError(f"there is no record of a project {project!r}; on record: {known}")


def line_of(entry: Entry) -> str:
    """One entry on one line."""
    body = "  ".join(
        f"{name}={_short(name, value)}" for name, value in entry.body.items() if value not in (None, "", [], {})
    )
    return f"{entry.seq:>5}  {entry.at:%H:%M:%S}  {entry.hash[:12]}  {entry.kind:<18} {body}"


def _short(name: str, value: Json) -> str:
    text = dollars(Decimal(str(value))) if name.endswith("_usd") else str(value).replace("\n", " ")
    return text if len(text) <= 48 else text[:47] + "…"

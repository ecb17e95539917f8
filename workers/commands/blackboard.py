"""`syndic board`: what a team has written down and voted on. How the tasks stand is `syndic status` and `syndic watch`."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from ledger.teamwork import AgentFacts, Board, Card
from workers import blackboard
from workers.console import CommandError, emit, run_work, say, show
from workers.settings import load_settings


def board(
    project: Annotated[str, typer.Argument(help="Project id.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show a team's board: problem, constraints, solutions, progress, consensus with its votes, and who is on the team.

    How the tasks stand is another thing: see `syndic status` and `syndic watch`. The same with psql: syndic.board_now,
    syndic.votes, syndic.verdicts, syndic.agents.
    """

    async def work() -> None:
        found, cards, facts = await _read(project)
        if as_json:
            emit(blackboard.document(found, cards, facts))
            return
        width = shutil.get_terminal_size().columns
        if text := blackboard.lines(found, cards, facts, width, colour=sys.stdout.isatty()):
            show(text)
        if not found.entries:
            say("nothing stands on the board")

    run_work(work())


async def _read(project: str) -> tuple[Board, list[Card], list[AgentFacts]]:
    from workers.database import open_store
    from workers.stack import resolve

    async with open_store(resolve(load_settings()).database_url) as store:
        found, cards = await store.board(project), await store.cards(project)
        if not found.entries and not cards and (await store.head(project)).seq == 0:
            known = ", ".join((await store.projects())[:10]) or "none yet"
            raise CommandError(f"there is no record of a project {project!r}; on record: {known}")
        return found, cards, await store.team_facts(project)

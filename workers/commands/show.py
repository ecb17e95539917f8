"""`syndic show`: one request in full."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from ledger.vocabulary import Answer, Json
from workers import operations
from workers.console import emit, expected, run_work, whoami
from workers.deciding import look_up
from workers.exhibits import Exhibit, fits, read_exhibits, references
from workers.session import Session, open_session
from workers.showing import page
from workflows.answering import Waiting
from workflows.approval_models import ApprovalView


def show(
    request: Annotated[
        str, typer.Argument(help="Id of a request, or of a project that waits for one.", show_default=False)
    ],
    documents: Annotated[bool, typer.Option("--documents", help="Every document in full, not only diffs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show a request in full, open or decided: the question, its digest, the plan or the diff, who decided what.

    Everything that the digest covers is shown, and whether the digest fits it. Without Syndic:
    temporal workflow query --workflow-id WORKFLOW --type approvals
    """

    async def work() -> None:
        session = await open_session()
        view = await look_up(session.client, request)
        exhibits = await _exhibits(session, view, everything=documents)
        commands = _commands(session, view)
        if as_json:
            emit(_document(view, exhibits, commands))
            return
        console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
        for line in page(view, exhibits, commands, datetime.now(UTC)):
            console.print(line)

    run_work(work())


async def _exhibits(session: Session, view: ApprovalView, *, everything: bool) -> list[Exhibit]:
    """The documents; without the database the request is shown all the same, and says so."""
    found = list(references(view.subject))
    if not found:
        return []
    from workers.database import open_store

    try:
        async with open_store(session.addresses.database_url) as store:
            return [exhibit async for exhibit in read_exhibits(store, view.subject, everything=everything)]
    except Exception as error:
        if (text := expected(error)) is None:
            raise
        return [Exhibit(reference=reference, task=task, fault=text) for task, reference in found]


def _commands(session: Session, view: ApprovalView) -> dict[str, str]:
    """How it is answered: shortly, and with `temporal` alone."""
    request = Waiting.of(view)
    own = {
        "approve": f"syndic approve {view.id}" + (" --budget USD" if request.more else ""),
        "reject": f'syndic reject {view.id} --comment "why"',
        "revise": f'syndic revise {view.id} "what should change"',
    }
    if view.signed:
        return {name: f"{command} --key FILE" for name, command in own.items()}
    plain = operations.decide_command(session.addresses, request, whoami(), Answer.APPROVE)
    return {**own, "temporal": operations.quoted(plain)}


def _document(view: ApprovalView, exhibits: Sequence[Exhibit], commands: dict[str, str]) -> dict[str, Json]:
    documents = [
        {
            **exhibit.reference.model_dump(mode="json"),
            "task": exhibit.task or None,
            "text": exhibit.text,
            "fault": exhibit.fault or None,
        }
        for exhibit in exhibits
    ]
    return {
        **view.model_dump(mode="json"),
        "digest_fits": fits(view),
        "documents": documents,
        "commands": commands if view.state == "open" else {},
    }

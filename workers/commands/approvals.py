"""`syndic approvals`, `approve`, `reject`, `revise`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from ledger.vocabulary import Answer, ApprovalKind
from workers import operations
from workers.console import USAGE, CommandError, emit, run_work, say, show, whoami
from workers.session import open_session
from workflows.approval_models import ApprovalView, Decision

Request = Annotated[
    str, typer.Argument(help="Id of a request, or of a project that waits for one.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def approvals(
    project: Annotated[str | None, typer.Argument(help="Only this project.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for a decision, oldest first, each with the command line that answers it."""

    async def work() -> None:
        session = await open_session()
        waiting = await operations.inbox(session.client, project)
        if as_json:
            emit([request.model_dump(mode="json") for request in waiting])
        elif not waiting:
            say("nothing waits for a decision")
        for request in waiting if not as_json else ():
            show(describe(request))
            show("  " + operations.quoted(operations.decide_command(session.addresses, request, whoami())))

    run_work(work())


def approve(
    request: Request,
    comment: Annotated[str, typer.Option(help="Stands on the record.")] = "",
    budget: Annotated[
        str | None, typer.Option(help="New limit in USD, for a request about the budget.", show_default=False)
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="New limit of tokens, for a request about the budget.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say yes to a request. The answer is bound to what the request shows now."""
    run_work(_decide(request, Answer.APPROVE, comment, as_json, budget, budget_tokens))


def reject(
    request: Request, comment: Annotated[str, typer.Option(help="Why; agents read it.")] = "", as_json: AsJson = False
) -> None:
    """Say no to a request."""
    run_work(_decide(request, Answer.REJECT, comment, as_json))


def revise(
    request: Request,
    comment: Annotated[str, typer.Argument(help="What should change; agents read it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Send a request back with what should change."""
    run_work(_decide(request, Answer.REVISE, comment, as_json))


async def _decide(
    name: str, answer: Answer, comment: str, as_json: bool, budget: str | None = None, tokens: int | None = None
) -> None:
    limit = _limit(budget)
    client = (await open_session()).client
    request = await operations.find_request(client, name)
    if request.kind is ApprovalKind.BUDGET and answer is Answer.APPROVE and limit is None and tokens is None:
        other = "" if request.subject.get("limit_tokens") is None else ", or --budget-tokens NUMBER"
        raise CommandError(f"a request about the budget is approved with a new limit: --budget USD{other}", USAGE)
    decision = Decision(
        approval=request.id,
        decision=answer,
        by=whoami(),
        digest=request.digest,
        comment=comment,
        budget_usd=limit,
        budget_tokens=tokens,
    )
    decided = await operations.decide(client, request, decision)
    if as_json:
        emit(decided)
    else:
        say(f"{decided.id} is {decided.state}: {decided.on_approve if answer is Answer.APPROVE else decided.on_reject}")


def _limit(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        limit = Decimal(text)
    except InvalidOperation:
        limit = Decimal(-1)
    if not limit.is_finite() or limit < 0:
        raise CommandError(f"--budget {text}: write an amount in USD, such as 2.50", USAGE)
    return limit


def describe(request: ApprovalView) -> str:
    """A request as people read it."""
    return "\n".join(
        [
            f"{request.id}  {request.kind.value}  {request.summary}",
            f"  digest   {request.digest}",
            f"  approve  {request.on_approve}",
            f"  reject   {request.on_reject}",
            f"  expires  {request.expires_at.isoformat(timespec='minutes')}",
        ]
    )

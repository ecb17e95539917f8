"""`syndic approve`, `reject`, `revise`: one request by its id, or all of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from ledger.vocabulary import Answer, ApprovalKind
from workers import deciding, operations
from workers.console import FAILED, USAGE, CommandError, emit, give_up, plain, run_work, say, whoami
from workers.inbox import query
from workers.session import Session, open_session
from workflows.answering import Waiting
from workflows.approval_models import BatchDecision, Decision

if TYPE_CHECKING:
    from ledger.signatures import SigningKey
    from workers.batch import Progress, Released

Request = Annotated[
    str | None, typer.Argument(help="Id of a request, or of a project that waits for one.", show_default=False)
]
Comment = Annotated[str, typer.Option(help="Stands on the record; agents read it.")]
Everything = Annotated[bool, typer.Option("--all", help="Every open request of a --kind, in one batch.")]
Kind = Annotated[ApprovalKind | None, typer.Option(help="With --all: which kind.", show_default=False)]
Project = Annotated[str | None, typer.Option(help="With --all: only this project.", show_default=False)]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the request to be asked, and for what it held up to go on.")
]
By = Annotated[str | None, typer.Option(help="Your name on the record. Default: your login.", show_default=False)]
Key = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your private key: sign the decision.", show_default=False)
]
Budget = Annotated[
    str | None, typer.Option(help="New limit in USD, for a request about the budget.", show_default=False)
]
BudgetTokens = Annotated[
    int | None, typer.Option(min=1, help="New limit of tokens, for a request about the budget.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@dataclass(frozen=True)
class Target:
    """What is answered: one request, or all of a kind."""

    request: str | None
    everything: bool
    kind: ApprovalKind | None
    project: str | None
    wait: bool

    def fault(self) -> str | None:
        """What is wrong with it, in words."""
        if self.everything:
            if self.request is not None:
                return f"--all is about every request of a kind: leave {self.request} out, or --all"
            if self.kind is None:
                return f"--all needs a kind: --kind {'|'.join(kind.value for kind in ApprovalKind)}"
            return None
        if self.kind is not None or self.project is not None:
            return "--kind and --project go with --all"
        if self.request is None:
            return "name a request (syndic inbox lists them), or say --all --kind KIND"
        return None


@dataclass(frozen=True)
class Wish:
    """What a person wants done, as the command line says it."""

    answer: Answer
    target: Target
    comment: str = ""
    by: str | None = None
    key: Path | None = None
    budget: str | None = None
    tokens: int | None = None

    def content(self) -> dict[str, Any]:
        """The fields that a decision about one request and one about all of a kind have in common."""
        return {
            "decision": self.answer,
            "by": self.by or whoami(),
            "comment": self.comment,
            "id": str(uuid4()),
            "budget_usd": _limit(self.budget),
            "budget_tokens": self.tokens,
        }


def approve(
    request: Request = None,
    everything: Everything = False,
    kind: Kind = None,
    project: Project = None,
    comment: Comment = "",
    budget: Budget = None,
    budget_tokens: BudgetTokens = None,
    key: Key = None,
    by: By = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Say yes to a request. The answer is bound to what the request shows now."""
    meant = Target(request, everything, kind, project, wait)
    _answer(Wish(Answer.APPROVE, meant, comment, by, key, budget, budget_tokens), as_json)


def reject(
    request: Request = None,
    everything: Everything = False,
    kind: Kind = None,
    project: Project = None,
    comment: Comment = "",
    key: Key = None,
    by: By = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Say no to a request."""
    _answer(Wish(Answer.REJECT, Target(request, everything, kind, project, wait), comment, by, key), as_json)


def revise(
    request: Request = None,
    comment: Annotated[
        str | None, typer.Argument(help="What should change; agents read it.", show_default=False)
    ] = None,
    everything: Everything = False,
    kind: Kind = None,
    project: Project = None,
    key: Key = None,
    by: By = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Send a request back with what should change. With --all the text is the only argument."""
    if everything and comment is None:
        request, comment = None, request
    if not (comment or "").strip():
        give_up('say what should change: syndic revise REQUEST "leave docs/ alone"', USAGE)
    meant = Target(request, everything, kind, project, wait)
    _answer(Wish(Answer.REVISE, meant, comment or "", by, key), as_json)


def _answer(wish: Wish, as_json: bool) -> None:
    if (fault := wish.target.fault()) is not None:
        give_up(fault, USAGE)
    if wish.target.everything and wish.key is not None:
        give_up("a signature is about one request: sign each by its id", USAGE)
    released = run_work(_all(wish, as_json) if wish.target.everything else _one(wish, as_json))
    if released is not None and released.kept:
        raise typer.Exit(FAILED)


async def _one(wish: Wish, as_json: bool) -> None:
    key, content = _signing_key(wish.key), wish.content()
    client = (await open_session()).client
    request = await deciding.open_request(client, str(wish.target.request), wait=wish.target.wait)
    _check_budget(wish, request)
    if request.signed and key is None:
        raise CommandError(f"{request.id} takes signed decisions only: say --key FILE", USAGE)
    decision = Decision(approval=request.id, digest=request.digest, **content)
    if key is not None:
        decision = deciding.signed(decision, key, datetime.now(UTC))
    decided = await deciding.decide(client, request, decision, wait=wish.target.wait)
    view = decided.request
    if as_json:
        emit({**(view or request).model_dump(mode="json"), "effect": decided.effect})
        return
    follows = {Answer.APPROVE: "on_approve", Answer.REJECT: "on_reject", Answer.REVISE: "on_revise"}[wish.answer]
    what = getattr(view, follows) if view is not None and view.state != "open" else ""
    say(plain(f"{decided.effect}: {what}" if what else decided.effect))


async def _all(wish: Wish, as_json: bool) -> Released:
    from workers.batch import answer_all

    kind, project = wish.target.kind, wish.target.project
    assert kind is not None
    if kind is ApprovalKind.BUDGET:
        _check_budget(wish, None)
    decision = BatchDecision(all_of=kind, **wish.content())
    session = await open_session()
    say(f"the same with Temporal alone: {_batch_command(session, decision, project)}")
    released = await answer_all(session.client, decision, project, _report, wait=wish.target.wait)
    if as_json:
        emit(released)
    else:
        say("\n".join(_outcome(released, kind)))
    return released


async def _report(progress: Progress) -> None:
    say(
        f"sent to {progress.signalled} of {progress.workflows} workflows, "
        f"{progress.released} of {progress.requests} requests released"
    )


def _outcome(released: Released, kind: ApprovalKind) -> list[str]:
    lines = [f"released {released.released} of {released.requests} requests of kind {kind.value}"]
    if released.failed:
        lines.append(f"{released.failed} workflows could not be told: they have ended, or the server was busy")
    if released.kept:
        named = ", ".join(plain(request.id) for request in released.kept[:5])
        lines.append(f"still open: {named}{' …' if len(released.kept) > 5 else ''}")
        lines += [f"  {plain(reason)}" for reason in released.reasons]
        if not released.reasons:
            lines.append("  no workflow has acted on it yet; what was sent is kept until a worker runs")
    return lines


def _batch_command(session: Session, decision: BatchDecision, project: str | None) -> str:
    payload = decision.model_dump_json(exclude_none=True, exclude_defaults=True, exclude={"id"})
    words = ["--query", query(project, decision.all_of), "--name", "decide", "--input", payload]
    reason = f"{decision.decision.value} all {decision.all_of.value}"
    return operations.quoted(
        operations.temporal_command(session.addresses, "workflow", "signal", *words, "--reason", reason, "--yes")
    )


def _check_budget(wish: Wish, request: Waiting | None) -> None:
    asks = request is None or request.kind == ApprovalKind.BUDGET
    if asks and wish.answer is Answer.APPROVE and wish.budget is None and wish.tokens is None:
        other = ", or --budget-tokens NUMBER" if request is None or "budget_tokens" in request.more else ""
        raise CommandError(f"a request about the budget is approved with a new limit: --budget USD{other}", USAGE)


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


def _signing_key(path: Path | None) -> SigningKey | None:
    if path is None:
        return None
    from workers.keys import read_key

    return read_key(path.expanduser())

"""What keeps a decision from counting by its content: words that are missing, limits that are too low. Pure."""

from __future__ import annotations

from decimal import Decimal

from ledger.vocabulary import Answer, ApprovalKind, Exceeded
from workflows.approval_models import ApprovalView, Decision
from workflows.entitlement import Refused


def check_content(view: ApprovalView, decision: Decision, key: str | None) -> None:
    """Raises Refused where the decision lacks what it needs, or does not fit those before it.

    Args:
        view: the open request, with the decisions that count so far.
        decision: as it was sent, its signature verified.
        key: id of the key that signed it.
    """
    if any(vote.by == decision.by or (key is not None and vote.key == key) for vote in view.votes):
        raise Refused(f"{decision.by} has answered {view.id} already")
    if decision.decision is Answer.REVISE and not decision.comment.strip():
        raise Refused("revise needs a comment that says what to change")
    if view.kind is not ApprovalKind.BUDGET:
        if decision.budget_usd is not None or decision.budget_tokens is not None:
            raise Refused("budget_usd and budget_tokens belong to requests of kind budget")
    elif (reason := _of_budget(view, decision)) is not None:
        raise Refused(reason)


def _of_budget(view: ApprovalView, decision: Decision) -> str | None:
    """Each limit that is given must be more than the present one, and the one that was met must be given."""
    if decision.decision is Answer.REVISE:
        return "a budget request can be approved with budget_usd or rejected"
    if decision.decision is Answer.REJECT:
        return None
    usd, tokens = view.subject.get("limit_usd"), view.subject.get("limit_tokens")
    met = view.subject.get("exceeded")
    if met == Exceeded.TOKENS and decision.budget_tokens is None:
        return f"the limit of {tokens} tokens was met: approving needs budget_tokens, the new limit"
    if decision.budget_usd is None and (met == Exceeded.USD or tokens is None or decision.budget_tokens is None):
        return "approving a budget request needs budget_usd, the new limit"
    for name, limit, new in (
        ("budget_usd", usd, decision.budget_usd),
        ("budget_tokens", tokens, decision.budget_tokens),
    ):
        if limit is not None and new is not None and new <= Decimal(str(limit)):
            return f"{name} must be more than the present limit of {limit}"
    return _of_votes(view, decision)


def _of_votes(view: ApprovalView, decision: Decision) -> str | None:
    """Those who agree must agree on the same limit: else the last of them would decide alone how much it is."""
    for vote in view.votes:
        if (vote.budget_usd, vote.budget_tokens) != (decision.budget_usd, decision.budget_tokens):
            usd, tokens = vote.budget_usd, vote.budget_tokens
            return f"{vote.by} approved with budget_usd={usd}, budget_tokens={tokens}; approve with the same, or reject"
    return None

"""How a request is answered: what lists show of it, and the exact command line that says yes or no."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from decimal import Decimal

from ledger.vocabulary import Answer, ApprovalKind, Exceeded, Json, Record, Risk
from workflows.approval_models import ApprovalView

SOMEBODY = "you"
"""Stands in a command line for the name of whoever runs it."""


class Waiting(Record):
    """An open request as memo and inbox have it: enough to choose and to answer it without asking its workflow."""

    id: str
    kind: str
    """An `ApprovalKind`, or one that a newer build knows."""
    digest: str
    summary: str
    requested_at: datetime | None = None
    expires_at: datetime | None = None
    risk: str = Risk.MEDIUM.value
    signed: bool = False
    """An answer counts only with a signature."""
    bound: bool = False
    """An answer counts only with the digest."""
    more: dict[str, Json] = {}
    """What approving it must say besides, such as a new limit."""
    workflow_id: str = ""

    @classmethod
    def of(cls, view: ApprovalView) -> Waiting:
        """What lists show of a request."""
        return cls(
            id=view.id,
            kind=view.kind.value,
            digest=view.digest,
            summary=view.summary,
            requested_at=view.requested_at,
            expires_at=view.expires_at,
            risk=view.risk.value,
            signed=view.signed,
            bound=view.bound,
            more=more_budget(view),
            workflow_id=view.workflow_id,
        )

    def memo(self) -> dict[str, Json]:
        """As it stands in the workflow's memo; the workflow's own id does not."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"workflow_id"})


def more_budget(view: ApprovalView) -> dict[str, Json]:
    """What approving a request of kind budget must name: twice the limit that was met; a person may write another."""
    if view.kind is not ApprovalKind.BUDGET:
        return {}
    tokens = view.subject.get("limit_tokens")
    if isinstance(tokens, int) and view.subject.get("exceeded") == Exceeded.TOKENS:
        return {"budget_tokens": tokens * 2}
    return {"budget_usd": str(Decimal(str(view.subject.get("limit_usd") or 5)) * 2)}


def answer_payload(request: Waiting, answer: Answer = Answer.APPROVE, by: str = SOMEBODY) -> str:
    """The JSON that a decision about a request consists of."""
    payload: dict[str, Json] = {"approval": request.id, "decision": answer.value, "by": by, "digest": request.digest}
    if answer is Answer.APPROVE:
        payload |= request.more
    if answer is Answer.REVISE:
        payload["comment"] = "what should change"
    return json.dumps(payload)


def answering_command(request: Waiting, answer: Answer = Answer.APPROVE, namespace: str = "default") -> str:
    """The exact `temporal workflow signal` line that answers a request."""
    words = ["temporal", "workflow", "signal", "--workflow-id", request.workflow_id, "--name", "decide"]
    words += ["--input", answer_payload(request, answer)]
    if namespace != "default":
        words += ["--namespace", namespace]
    return shlex.join(words)


def broken(command: str) -> str:
    """The same command over several lines: the Web UI's column is narrow, and it cuts what is longer."""
    for option in ("--name", "--input", "--namespace"):
        command = command.replace(f" {option} ", f" \\\n  {option} ")
    return command.replace(', "', ',\n"').replace('"digest": ', '"digest":\n')

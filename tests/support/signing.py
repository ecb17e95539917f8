"""Persons of tests with keys, and the decisions that they sign."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.signatures import Claims, SigningKey, new_key
from ledger.vocabulary import Json
from workflows.approval_models import ApprovalView, Decision

PEOPLE = {name: new_key() for name in ("pat", "kim", "lee")}


def approvers(*names: str) -> list[Json]:
    """As a brief has them; all of them where none is named."""
    return [{"name": name, "key": PEOPLE[name].public.jwk} for name in names or PEOPLE]


def signed(
    view: ApprovalView, by: str, decision: str, at: datetime, key: SigningKey | None = None, **more: Any
) -> dict[str, Json]:
    """The payload of `decide` as `syndic approve --key` sends it; `key` is another one than the person's own."""
    content = {"approval": view.id, "decision": decision, "by": by, "digest": view.digest, **more}
    plain = Decision.model_validate(content)
    project = view.workflow_id.split("/")[1]
    claims = Claims(project=project, time=at, **plain.model_dump(exclude={"signature"}))
    return {**plain.model_dump(mode="json"), "signature": (key or PEOPLE[by]).sign(claims)}

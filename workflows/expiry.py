"""When a request is called to mind, and how it passes to others. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from ledger.vocabulary import OnExpiry
from workflows.approval_models import ApprovalView
from workflows.approval_policy import KindPolicy


def escalated(view: ApprovalView, rules: KindPolicy, now: datetime) -> ApprovalView:
    """The request as it is put to those who are asked next; its digest stays."""
    ttl = view.expires_at - view.requested_at
    changes = {"who": view.then, "then": (), "on_expiry": OnExpiry.REJECT, "expires_at": now + ttl}
    return view.model_copy(update={**changes, "reminders": reminders(rules, now, ttl)})


def reminders(rules: KindPolicy, now: datetime, ttl: timedelta) -> tuple[datetime, ...]:
    """When a request is called to mind that expires `ttl` after now."""
    # One that comes with the end or after it would remind nobody.
    times = sorted({timedelta(hours=hours) for hours in rules.reminders_h})
    return tuple(now + time for time in times if time < ttl)

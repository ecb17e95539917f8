"""The record and the live feed, as workflows reach them."""

from __future__ import annotations

from temporalio import activity

from activities.contracts import (
    BudgetView,
    ChangeStanding,
    KeepDocument,
    OpenBudget,
    RecordActivities,
    Recorded,
    RecordEntries,
)
from activities.entries import entry
from activities.failures import translated
from agents.feed import Feed
from ledger.events import BudgetChanged, StandingChanged
from ledger.messages import EVERYONE, TEAM
from ledger.rows import NewEntry
from ledger.store import Store
from ledger.vocabulary import ArtifactRef


class Records(RecordActivities):
    """Quick activities on the record; all idempotent by the keys in their requests."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    @activity.defn(name="record")
    async def record(self, request: RecordEntries) -> Recorded:
        """Append entries, post messages, show events on the feed; returns the chain's head."""
        with translated():
            entries = await self._store.record(request.entries)
            for project, target in {(message.project, message.target) for message in request.messages}:
                if target not in (EVERYONE, TEAM):
                    await self._store.open_inbox(project, target)
            # A workflow cannot be told that somebody has finished meanwhile: the dead letters say so.
            await self._store.post(request.messages, park=True)
        for event in request.feed:
            self._feed.tell(entries[0].project if entries else str(event["project"]), event)
        if not entries:
            return Recorded(seq=0, hash="")
        return Recorded(seq=entries[-1].seq, hash=entries[-1].hash)

    @activity.defn(name="keep_document")
    async def keep_document(self, request: KeepDocument) -> ArtifactRef:
        content = request.text.encode()
        with translated():
            digest = await self._store.put_artifact(content, request.media_type)
        return ArtifactRef(name=request.name, digest=digest, media_type=request.media_type, size=len(content))

    @activity.defn(name="open_budget")
    async def open_budget(self, request: OpenBudget) -> BudgetView:
        """Create a budget scope, or set the new limit that a person approved."""
        with translated():
            if request.raised:
                assert request.limit_usd is not None or request.limit_tokens is not None
                # Two workflows may have asked: the smaller answer must not take back what the larger one granted.
                granted = await self._store.budget(request.scope)
                usd = request.limit_usd and max(request.limit_usd, granted.limit_usd or request.limit_usd)
                tokens = request.limit_tokens and max(request.limit_tokens, granted.limit_tokens or 0)
                await self._store.raise_budget(request.scope, usd, tokens)
            else:
                await self._store.open_budget(request.scope, request.limit_usd, request.limit_tokens)
            budget = await self._store.budget(request.scope)
            await self._store.record([_budget_entry(request)])
        return BudgetView.model_validate(budget.model_dump())

    @activity.defn(name="change_standing")
    async def change_standing(self, request: ChangeStanding) -> Recorded:
        """Pause, revoke, cancel or reactivate a subject; no new step starts for it from the next commit on."""
        with translated():
            await self._store.set_standing(request.subject, request.standing, request.reason)
            body = StandingChanged(
                subject=request.subject, standing=request.standing, reason=request.reason, by=request.by
            )
            entries = await self._store.record(
                [NewEntry(project=request.project, key=request.key, kind=body.kind, body=body.model_dump(mode="json"))]
            )
        return Recorded(seq=entries[0].seq, hash=entries[0].hash)


def _budget_entry(request: OpenBudget) -> NewEntry:
    body = BudgetChanged(
        scope=request.scope, limit_usd=request.limit_usd, raised=request.raised, limit_tokens=request.limit_tokens
    )
    tokens = "" if request.limit_tokens is None else f"/{request.limit_tokens} tokens"
    return entry(
        request.scope.split("/", 1)[0], f"budget/{request.scope}/{request.limit_usd}/{request.raised}{tokens}", body
    )

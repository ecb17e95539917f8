"""What a workflow puts on the ledger and the feed: buffered, so that several entries share one hop, and never lost."""

from __future__ import annotations

import asyncio
from itertools import zip_longest
from typing import TypeVar

from temporalio import workflow

from activities.contracts import RecordActivities, RecordEntries
from ledger.chain import digest
from ledger.events import Event
from ledger.messages import NewMessage
from ledger.rows import NewEntry
from ledger.vocabulary import Json
from workflows import options
from workflows.calls import perform

PART_LIMIT = 130_000
"""Characters of entries, of messages, and of feed events that are sent together: even in four bytes each, all three fit into what
Temporal takes, and one that breaks this bound by itself does, too."""

Item = TypeVar("Item")


class Recorder:
    """A buffer of entries, messages and feed events of one workflow run.

    Keys are derived from the first run's id, a counter and the body: a retry writes the same entry, and a run that was
    reset and goes another way writes new ones.
    """

    def __init__(self) -> None:
        info = workflow.info()
        self._prefix = f"{info.workflow_id}#{info.first_execution_run_id[:8]}"
        self._project = ""
        self._count = 0
        self._entries: list[NewEntry] = []
        self._messages: list[NewMessage] = []
        self._feed: list[dict[str, Json]] = []
        self._told: list[str] = []
        self._busy = asyncio.Lock()

    def open(self, project: str, chapter: str = "") -> None:
        """From now on `flush` writes. `chapter` keeps the keys of runs that continue one another apart."""
        self._project = project
        self._prefix += chapter

    def key(self, purpose: str) -> str:
        """An idempotency key that no other call of this run gets."""
        self._count += 1
        return f"{self._prefix}/{self._count}:{purpose}"

    def note(self, event: Event, feed: dict[str, Json] | None = None, text: str = "") -> None:
        """Put an event on the ledger with the next flush, and on the live feed where `feed` is given.

        Args:
            text: what happened, for people who read the list of the workflow's events.
        """
        body = event.body()
        key = f"{self.key(event.kind)}:{digest(body)[:8]}"
        self._entries.append(NewEntry(project=self._project, key=key, kind=event.kind, body=body))
        self._told.append(text or event.kind.replace("_", " "))
        if feed is not None:
            self._feed.append({"at": workflow.now().isoformat(), **feed})

    def post(self, message: NewMessage) -> None:
        self._messages.append(message)

    async def flush(self) -> None:
        """Write what is waiting; on cancellation it waits for the next flush."""
        if not self._project:
            return
        async with self._busy:
            if not (self._entries or self._messages or self._feed):
                return
            story, batches = self._story(), self._take()
            while batches:
                try:
                    await perform(RecordActivities.record, batches[0], options.RECORD, story)
                except BaseException:
                    self._put_back(batches)
                    raise
                del batches[0]

    def _take(self) -> list[RecordEntries]:
        """Everything that waits, in one batch or, where that would be too large to send, in several."""
        entries = [entry.model_copy(update={"project": self._project}) for entry in self._entries]
        feed = [{"project": self._project, **event} for event in self._feed]
        batches = zip_longest(parts(entries), parts(self._messages), parts(feed), fillvalue=())
        self._entries, self._messages, self._feed = [], [], []
        return [RecordEntries(entries=tuple(e), messages=tuple(m), feed=tuple(f)) for e, m, f in batches]

    def _story(self) -> str:
        """What the entries tell, in the order in which it happened; a summary is cut at its end."""
        told, self._told = self._told, []
        return "; ".join(dict.fromkeys(told)) or "news"

    def _put_back(self, batches: list[RecordEntries]) -> None:
        # Keys make a second write of the entries the first one again; the feed may show an event twice.
        self._entries = [*(entry for batch in batches for entry in batch.entries), *self._entries]
        self._messages = [*(message for batch in batches for message in batch.messages), *self._messages]
        self._feed = [*(event for batch in batches for event in batch.feed), *self._feed]


def parts(items: list[Item]) -> list[list[Item]]:
    """The items in their order, in parts of a bounded size; one that is larger by itself is a part."""
    found: list[list[Item]] = []
    size = 0
    for item in items:
        weight = len(repr(item))
        if not found or size + weight > PART_LIMIT:
            found.append([])
            size = 0
        found[-1].append(item)
        size += weight
    return found

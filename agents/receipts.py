"""What a run writes down: intents, receipts and the ledger entries they carry, with keys derived from the step's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from agents.models import Bound, ModelAnswer, ModelRequest
from ledger.chain import canonical, digest
from ledger.events import RunDiverged, StepRecorded
from ledger.items import Intent, Receipt
from ledger.messages import NewMessage
from ledger.rows import Lease, NewEntry, ThreadInfo
from ledger.vocabulary import Json, StepKind, StepStatus

MAX_REASON = 300
"""Characters of a reason that go on the ledger."""


@dataclass(frozen=True)
class StepKey:
    """A step's place in its thread and what it asks."""

    ordinal: int
    sub: int
    kind: StepKind
    name: str
    digest: str


class RequestDigests:
    """The digests of one run's requests. A conversation grows by two messages a turn; the text of the others is known.

    Messages and tools are told by identity, so nobody may change one that was asked with.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Mapping[str, Json], str]] = {}

    def of(self, request: ModelRequest) -> str:
        """What a model step is bound to: `ledger.chain.digest` of the whole request."""
        parts = self._texts((*request.messages, *request.tools))
        messages, tools = parts[: len(request.messages)], parts[len(request.messages) :]
        text = (
            f'{{"max_tokens":{request.max_tokens},"messages":[{",".join(messages)}],"purpose":{canonical(request.purpose)},'
            f'"tool_choice":{canonical(request.tool_choice)},"tools":[{",".join(tools)}]}}'
        )
        return sha256(text.encode()).hexdigest()

    def _texts(self, parts: Sequence[Mapping[str, Json]]) -> list[str]:
        before, self._known = self._known, {}
        for part in parts:
            if id(part) not in self._known:
                known = before.get(id(part))
                self._known[id(part)] = known if known and known[0] is part else (part, canonical(part))
        return [self._known[id(part)][1] for part in parts]


@dataclass(frozen=True)
class Pen:
    """Writes for one run: the thread, its lease and the worker stand in everything."""

    info: ThreadInfo
    lease: Lease
    worker: str

    def intent(self, key: StepKey, bound: Bound, heard: Sequence[str] | None = None) -> Intent:
        return Intent(
            **self._place(key), name=key.name, bound_usd=bound.usd, bound_tokens=bound.tokens,
            heard=None if heard is None else tuple(heard),
        )  # fmt: skip

    def receipt(
        self,
        key: StepKey,
        result: Json,
        *,
        answer: ModelAnswer | None = None,
        commit: str | None = None,
        outbox: tuple[NewMessage, ...] = (),
        acknowledged: tuple[str, ...] = (),
        allowed: bool | None = None,
        reason: str | None = None,
    ) -> Receipt:
        """A step that is done, with its entry for the ledger."""
        cost = answer.cost_usd if answer else Decimal(0)
        model = answer.model if answer else None
        entry = self._recorded(
            key, StepStatus.DONE, digest(result), commit=commit, allowed=allowed, reason=reason,
            model=model, cost_usd=cost if answer else None,
        )  # fmt: skip
        return Receipt(
            **self._place(key), kind=key.kind, name=key.name, result=result, cost_usd=cost, commit=commit,
            model=model, usage=answer.usage if answer else None,
            entries=(entry,), outbox=outbox, acknowledged=acknowledged,
        )  # fmt: skip

    def failure(self, key: StepKey, error: Exception) -> Receipt:
        """An attempt that gave nothing; the epoch keeps its entry apart from those of other attempts."""
        entry = self._recorded(key, StepStatus.FAILED, digest(None), reason=str(error))
        entry = entry.model_copy(update={"key": f"{entry.key}/failed/{self.lease.epoch}"})
        return Receipt(
            **self._place(key), kind=key.kind, name=key.name, result=None, status=StepStatus.FAILED, entries=(entry,)
        )

    def diverged(self, key: StepKey, detail: str) -> NewEntry:
        body = RunDiverged(thread=self.info.thread, ordinal=key.ordinal, detail=detail[:MAX_REASON])
        return self._entry(f"{self._name(key)}/diverged/{self.lease.epoch}", body)

    def _recorded(
        self, key: StepKey, status: StepStatus, result_digest: str, *, reason: str | None, **extra: Any
    ) -> NewEntry:
        body = StepRecorded(
            thread=self.info.thread, ordinal=key.ordinal, sub=key.sub, step=key.kind, name=key.name, status=status,
            request_digest=key.digest, result_digest=result_digest, agent=self.info.agent,
            reason=reason[:MAX_REASON] if reason else None, **extra,
        )  # fmt: skip
        return self._entry(self._name(key), body)

    def _entry(self, key: str, body: StepRecorded | RunDiverged) -> NewEntry:
        return NewEntry(project=self.info.project, key=key, kind=body.kind, body=body.model_dump(mode="json"))

    def _name(self, key: StepKey) -> str:
        return f"{self.info.thread}/{key.ordinal}/{key.sub}"

    def _place(self, key: StepKey) -> dict[str, Any]:
        return {
            "thread": self.info.thread,
            "ordinal": key.ordinal,
            "sub": key.sub,
            "epoch": self.lease.epoch,
            "request_digest": key.digest,
            "worker": self.worker,
        }

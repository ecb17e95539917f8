"""What a request is about, in full: its subject, and the documents that the subject refers to."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from ledger.chain import digest
from ledger.errors import LedgerError
from ledger.vocabulary import ArtifactRef, Json, Record
from workflows.approval_models import ApprovalView

if TYPE_CHECKING:
    from ledger.store import Store

DIFF = "text/x-diff"
REFERENCE = frozenset({"name", "digest", "media_type", "size"})


class Exhibit(Record):
    """A document that a request refers to. `text` is None where it is not read, `fault` says why it cannot be."""

    reference: ArtifactRef
    task: str = ""
    text: str | None = None
    fault: str = ""

    @property
    def is_diff(self) -> bool:
        return self.reference.media_type == DIFF


def fits(view: ApprovalView) -> bool:
    """Whether the digest that a decision is bound to is the digest of what is shown."""
    return digest(view.subject) == view.digest


def references(subject: Json, task: str = "") -> Iterator[tuple[str, ArtifactRef]]:
    """Documents that a subject names, each with the task it belongs to where that is known."""
    if isinstance(subject, Mapping):
        part = cast("Mapping[str, Json]", subject)
        if (reference := reference_of(part)) is not None:
            yield task, reference
            return
        named = part.get("task")
        for value in part.values():
            yield from references(value, named if isinstance(named, str) else task)
    elif isinstance(subject, Sequence) and not isinstance(subject, str):
        for value in cast("Sequence[Json]", subject):
            yield from references(value, task)


def reference_of(part: Mapping[str, Json]) -> ArtifactRef | None:
    """The document that a JSON object names; None for any other object."""
    if not part.keys() <= REFERENCE or not {"name", "digest"} <= part.keys():
        return None
    try:
        return ArtifactRef.model_validate(part)
    except ValidationError:
        return None


async def read_exhibits(store: Store, subject: Json, *, everything: bool) -> AsyncIterator[Exhibit]:
    """The documents of a subject: diffs are read, and all others where `everything` is asked for."""
    seen: set[tuple[str, str]] = set()
    for task, reference in references(subject):
        if (task, reference.digest) in seen:
            continue
        seen.add((task, reference.digest))
        exhibit = Exhibit(reference=reference, task=task)
        yield await _read(store, exhibit) if everything or exhibit.is_diff else exhibit


async def _read(store: Store, exhibit: Exhibit) -> Exhibit:
    try:
        content = await store.get_artifact(exhibit.reference.digest)
    except LedgerError as error:
        return exhibit.model_copy(update={"fault": str(error)})
    if hashlib.sha256(content).hexdigest() != exhibit.reference.digest:
        return exhibit.model_copy(update={"fault": "what is kept does not fit its digest"})
    return exhibit.model_copy(update={"text": content.decode("utf-8", "replace")})

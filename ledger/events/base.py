"""What all bodies of ledger entries have in common."""

from __future__ import annotations

from typing import ClassVar

from ledger.vocabulary import Brief, Json


class Event(Brief):
    """Base of all bodies. `kind` is the entry's kind on the chain."""

    kind: ClassVar[str]
    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came later: absent where they are None, so that a retry finds the entry that a build before wrote."""

    def body(self) -> dict[str, Json]:
        """As it stands on the chain."""
        later = {name for name in self.added if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=later)

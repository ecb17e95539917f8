"""What workflows put on the ledger and the feed of a scripted world, read on as it grows: asking for it costs them nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.workflows.script import Script


class Books:
    """Entries and refusals by workflow; an entry that was written twice counts once."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._read = 0
        self._keys: set[str] = set()
        self._bodies: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._shown: defaultdict[str, list[str]] = defaultdict(list)

    def bodies(self, workflow_id: str, kind: str) -> list[dict[str, Any]]:
        """Entries of one kind that one workflow wrote."""
        self._go_on()
        return self._bodies[(workflow_id, kind)]

    def shown(self, project: str) -> list[str]:
        """Names of the messages of which the project's feed says that they were refused."""
        self._go_on()
        return self._shown[project]

    def _go_on(self) -> None:
        calls, self._read = self._script.calls[self._read :], len(self._script.calls)
        for batch in (request for name, request in calls if name == "record"):
            for entry in batch.entries:
                if entry.key not in self._keys and "workflow_id" in entry.body:
                    self._keys.add(entry.key)
                    self._bodies[(entry.body["workflow_id"], entry.kind)].append(entry.body)
            for event in batch.feed:
                if event["type"] == "refused":
                    self._shown[event["project"]].append(event["data"]["message"])

    def workflows(self, project: str) -> list[str]:
        """Workflows of a project that have written anything."""
        self._go_on()
        top = f"project/{project}"
        return sorted({name for name, _ in self._bodies if name == top or name.startswith(f"{top}/")})

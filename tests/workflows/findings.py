"""What became of every answer that tests sent, and the table that it makes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from ledger.vocabulary import ApprovalKind
from tests.workflows.faults import FAULTS, STRANGER, WAYS

LATE, REPEATED, ANOTHER, KILLED = (
    "late", "the same again", "another one after it", "worker gone between answer and effect",
)  # fmt: skip
ROWS = (*FAULTS, LATE, REPEATED, ANOTHER, KILLED)
NAMES = (
    (r"matrix-[a-z-]+\.plan-1", "REQUEST"),
    (r"matrix-[a-z-]+\.[a-z_]+\.[a-z]+", "AGENT"),
    (r"matrix-[a-z-]+", "PROJECT"),
    (r"0{64}", "OTHER"),
    (r"\b[0-9a-f]{64}", "DIGEST"),
    (STRANGER.public.id, "KEY"),
    (r"(known: [a-z_]+), .*", r"\1, …"),
)
"""Parts of what is said that differ with each run."""


@dataclass(frozen=True)
class Seen:
    """What became of one message."""

    outcome: str
    reason: str = ""
    faults: tuple[str, ...] = ()
    """What should not be so."""


@dataclass
class Findings:
    """What became of every message, by kind, way and what was wrong with it."""

    seen: dict[tuple[ApprovalKind, str, str], Seen] = field(default_factory=dict)

    def keep(self, kind: ApprovalKind, way: str, row: str, seen: Seen) -> None:
        self.seen[(kind, way, row)] = seen

    def cell(self, way: str, row: str) -> str:
        """What became of it, with the number of kinds where not all have such a case."""
        counts = Counter(self.seen[(kind, way, row)].outcome for kind in ApprovalKind if (kind, way, row) in self.seen)
        return ", ".join(f"{outcome} {n}" for outcome, n in sorted(counts.items()))

    def said(self, row: str) -> str:
        """What is said about it where the request is of kind plan, or what the answer led to."""
        text = self.seen[(ApprovalKind.PLAN, "signal", row)].reason
        for found, name in NAMES:
            text = re.sub(found, name, text)
        return text


def table(findings: Findings) -> str:
    rows = [f"| the answer | {' | '.join(WAYS)} | of a plan, by signal |", "|---" * (len(WAYS) + 2) + "|"]
    rows += [
        f"| {row} | {' | '.join(findings.cell(way, row) for way in WAYS)} | {findings.said(row)} |" for row in ROWS
    ]
    return "\n".join(rows)

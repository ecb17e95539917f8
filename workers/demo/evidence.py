"""What the demo's claims are computed from: the record in Postgres, and `git log` in the person's repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.rows import Entry, Step, UsageRow
from ledger.vocabulary import StepKind, StepStatus
from workers.console import CommandError
from workers.demo.target import Target, git

if TYPE_CHECKING:
    from ledger.postgres import PostgresStore

TRAILER = "Syndic-Ledger"
Journal = dict[tuple[str, int, int], Step]


@dataclass(frozen=True)
class Evidence:
    """All that claims are computed from."""

    project: str
    branch: str | None
    entries: Sequence[Entry]
    steps: Sequence[Step]
    before_kill: Journal
    interrupted: frozenset[str]
    """Threads that were at work when the worker was killed."""
    artifacts: dict[str, bytes]
    """Documents by digest."""
    usage: Sequence[UsageRow]
    in_doubt: int
    merges: Sequence[tuple[str, str]]
    """Merge commit and the value of its trailer, from `git log` in the person's repository."""
    untouched: bool
    """HEAD and checkout of the person's repository are as they were."""

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]


async def gather(
    store: PostgresStore,
    project: str,
    branch: str | None,
    target: Target,
    before_kill: Journal,
    interrupted: frozenset[str],
) -> Evidence:
    """Read the record and the repository."""
    entries = await all_entries(store, project)
    digests = {digest for entry in entries for digest in _digests(entry)}
    steps = [step for thread in _threads(entries) for step in await store.steps(thread)]
    merges = await _merges(target, branch) if branch else []
    head = await git(target.repository, "rev-parse", "HEAD")
    status = await git(target.repository, "status", "--porcelain")
    return Evidence(
        project=project,
        branch=branch,
        entries=entries,
        steps=steps,
        before_kill=before_kill,
        interrupted=interrupted,
        artifacts={digest: await store.get_artifact(digest) for digest in sorted(digests)},
        usage=await store.usage(project),
        in_doubt=len(await store.in_doubt(project)),
        merges=merges,
        untouched=head == target.commit and not status,
    )


async def all_entries(store: PostgresStore, project: str) -> list[Entry]:
    """The whole chain."""
    entries: list[Entry] = []
    while page := await store.entries(project, after=len(entries)):
        entries += page
    return entries


async def model_steps(store: PostgresStore, project: str) -> Journal:
    """Answered model calls of all runs so far, by their place."""
    found: Journal = {}
    for thread in _threads(await all_entries(store, project)):
        for step in await store.steps(thread):
            if step.kind is StepKind.MODEL and step.status is StepStatus.DONE:
                found[thread, step.ordinal, step.sub] = step
    return found


def _threads(entries: Sequence[Entry]) -> list[str]:
    return sorted({entry.body["thread"] for entry in entries if entry.kind == "run_started"})


def _digests(entry: Entry) -> Iterator[str]:
    if entry.kind == "target_prepared":
        yield entry.body["baseline"]


async def _merges(target: Target, branch: str) -> list[tuple[str, str]]:
    trailer = f"%H %(trailers:key={TRAILER},valueonly,separator=%x2C)"
    log = await git(target.repository, "log", "--merges", f"--format={trailer}", f"{target.commit}..{branch}")
    if not log:
        raise CommandError(f"branch {branch} has no merge commit")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in log.splitlines()]

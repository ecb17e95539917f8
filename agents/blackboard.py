"""The board of a project as one run sees it: what it may read and write, always as itself and for its own steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agents.errors import HaltedError, LostLeaseError
from ledger.clock import Clock, utc_now
from ledger.teamwork import (
    Board,
    BoardEntry,
    BoardPost,
    BoardStatus,
    Cast,
    Memory,
    NewVote,
    Posted,
    Question,
    StepPlace,
    TeamStore,
)
from ledger.vocabulary import Json

MAX_MEMORY_MINUTES = 7 * 24 * 60


@dataclass(frozen=True)
class Blackboard:
    """One run's access. Project, task and agent are the run's own: no argument of a tool can name another's."""

    store: TeamStore
    project: str
    task: str
    thread: str
    epoch: int
    clock: Clock = utc_now

    async def read(self) -> Board:
        """What stands: of the project, and of the run's own task."""
        board = await self.store.board(self.project)
        return Board(
            project=board.project,
            entries=tuple(entry for entry in board.entries if entry.task in ("", self.task)),
            questions=tuple(question for question in board.questions if question.entry.task in ("", self.task)),
        )

    async def post(self, key: str, posts: Sequence[BoardPost]) -> Posted:
        """Write for the step `key`, all or nothing.

        Raises:
            LostLeaseError: another run has taken the thread over; so with HaltedError.
        """
        posted = await self.store.post_board(self._place(key), posts)
        _check(posted.status, posted.detail)
        return posted

    async def vote(self, key: str, vote: NewVote) -> Cast:
        """Vote for the step `key`. Raises like `post`."""
        cast = await self.store.cast_vote(self._place(key), vote)
        _check(cast.status, cast.detail)
        return cast

    async def remember(self, key: str, name: str, text: str, minutes: int) -> None:
        """Keep something for the agent's next runs. Raises like `post`."""
        memory = Memory(name=name, text=text, expires_at=self.clock() + timedelta(minutes=minutes))
        _check(await self.store.remember(self._place(key), [memory]), "")

    def _place(self, key: str) -> StepPlace:
        return StepPlace(thread=self.thread, epoch=self.epoch, key=key)


def _check(status: BoardStatus, detail: str) -> None:
    if status is BoardStatus.LOST_LEASE:
        raise LostLeaseError
    if status is BoardStatus.HALTED:
        raise HaltedError(detail)


def shown_entry(entry: BoardEntry) -> dict[str, Json]:
    """An entry as models read it."""
    shown: dict[str, Json] = {
        "section": entry.section.value,
        "name": entry.name,
        "version": entry.version,
        "author": entry.author,
        "of": "task" if entry.task else "project",
        "text": entry.text,
    }
    return shown | ({"options": list(entry.options)} if entry.options else {})


def shown_question(question: Question) -> dict[str, Json]:
    """A question as models read it: its votes, and how it was decided."""
    verdict = question.verdict
    return {
        **shown_entry(question.entry),
        "votes": [
            {
                "agent": vote.agent,
                "choice": vote.choice,
                "confidence": vote.confidence / 100,
                "reasoning": vote.reasoning,
            }
            for vote in question.votes
        ],
        "verdict": None
        if verdict is None
        else {"choice": verdict.choice, "how": verdict.how, "decided_by": verdict.decided_by},
    }

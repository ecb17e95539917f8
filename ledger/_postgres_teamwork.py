"""The part of the Postgres store that teams use."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from ledger._gathered import Gathered
from ledger._session import Session
from ledger.clock import Clock
from ledger.errors import LedgerError
from ledger.teamwork import (
    MAX_MEMORIES,
    AgentFacts,
    Board,
    BoardEntry,
    BoardPost,
    BoardStatus,
    Card,
    Cast,
    Memory,
    NewVote,
    Posted,
    Question,
    Section,
    StepPlace,
    Verdict,
    Vote,
)

_POSTS = TypeAdapter(tuple[BoardPost, ...])
_MEMORIES = TypeAdapter(tuple[Memory, ...])


class PostgresTeamwork:
    """Keeps `ledger.teamwork.TeamStore`."""

    _session: Session
    _gathered: dict[str, Gathered]
    _clock: Clock

    async def post_board(self, place: StepPlace, posts: Sequence[BoardPost]) -> Posted:
        check_batch(posts)
        text = _POSTS.dump_json(tuple(posts)).decode()
        values = {"place": place.model_dump_json(), "posts": text, "now": self._clock()}
        [row] = await self._session.rows("post_board", values)
        return Posted.model_validate(row["answer"])

    async def board(self, project: str) -> Board:
        values = {"project": project}
        entries = [BoardEntry.model_validate(row) for row in await self._session.rows("board_entries", values)]
        votes = [Vote.model_validate(row) for row in await self._session.rows("board_votes", values)]
        verdicts = [Verdict.model_validate(row) for row in await self._session.rows("board_verdicts", values)]
        return assemble(project, entries, votes, verdicts)

    async def cast_vote(self, place: StepPlace, vote: NewVote) -> Cast:
        values = {"place": place.model_dump_json(), "vote": vote.model_dump_json(), "now": self._clock()}
        [row] = await self._session.rows("cast_vote", values)
        return Cast.model_validate(row["answer"])

    async def close_question(self, project: str, verdict: Verdict, seen: int) -> Posted:
        values = {"project": project, "verdict": verdict.model_dump_json(), "seen": seen, "now": self._clock()}
        [row] = await self._session.rows("close_question", values)
        return Posted.model_validate(row["answer"])

    async def publish_card(self, project: str, card: Card) -> None:
        shown = card.model_dump(mode="json")
        await self._gathered["publish_card"].rows(project=project, card=shown, now=self._clock())

    async def cards(self, project: str) -> list[Card]:
        return [Card.model_validate(row) for row in await self._session.rows("cards", {"project": project})]

    async def team_facts(self, project: str) -> list[AgentFacts]:
        values = {"project": project, "now": self._clock()}
        return [AgentFacts.model_validate(row) for row in await self._session.rows("team_facts", values)]

    async def remember(self, place: StepPlace, memories: Sequence[Memory]) -> BoardStatus:
        text = _MEMORIES.dump_json(tuple({memory.name: memory for memory in memories}.values())).decode()
        values = {"place": place.model_dump_json(), "memories": text, "most": MAX_MEMORIES, "now": self._clock()}
        [row] = await self._session.rows("remember", values)
        return BoardStatus(row["answer"]["status"])

    async def recall(self, project: str, agent: str) -> list[Memory]:
        rows = await self._gathered["recall"].rows(project=project, agent=agent, now=self._clock())
        return [Memory.model_validate(row) for row in rows]


def check_batch(posts: Sequence[BoardPost]) -> None:
    """Raises LedgerError where two posts of a batch write the same entry."""
    places = [(post.task, post.section, post.name) for post in posts]
    if len(set(places)) < len(places):
        raise LedgerError("two posts of one batch write the same entry")


def assemble(project: str, entries: Sequence[BoardEntry], votes: Sequence[Vote], verdicts: Sequence[Verdict]) -> Board:
    """The board out of its tables; votes on earlier versions of a question are left out."""
    decided = {(verdict.task, verdict.question): verdict for verdict in verdicts}
    questions = tuple(
        Question(
            entry=entry,
            votes=tuple(
                vote
                for vote in votes
                if (vote.task, vote.question, vote.version) == (entry.task, entry.name, entry.version)
            ),
            verdict=decided.get((entry.task, entry.name)),
        )
        for entry in entries
        if entry.section is Section.CONSENSUS and entry.options
    )
    return Board(project=project, entries=tuple(entries), questions=questions)

"""The part of the in-memory twin that teams use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger._memory_state import State, Thread
from ledger._postgres_teamwork import assemble, check_batch
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
    Section,
    StepPlace,
    Verdict,
    Vote,
)
from ledger.vocabulary import TASK_SUCCEEDED, TaskState

EntryKey = tuple[str, str, Section, str]
"""Project, task, section, name."""
QuestionKey = tuple[str, str, str]


@dataclass
class Tables:
    """What Postgres has in tables."""

    entries: dict[EntryKey, BoardEntry] = field(default_factory=dict[EntryKey, BoardEntry])
    written: dict[str, tuple[BoardEntry, ...]] = field(default_factory=dict[str, tuple[BoardEntry, ...]])
    votes: dict[tuple[str, str, str, str], tuple[Vote, str]] = field(
        default_factory=dict[tuple[str, str, str, str], tuple[Vote, str]]
    )
    verdicts: dict[QuestionKey, Verdict] = field(default_factory=dict[QuestionKey, Verdict])
    cards: dict[tuple[str, str], Card] = field(default_factory=dict[tuple[str, str], Card])
    memories: dict[tuple[str, str], dict[str, tuple[Memory, datetime]]] = field(
        default_factory=dict[tuple[str, str], dict[str, tuple[Memory, datetime]]]
    )


class MemoryTeamwork:
    """Keeps `ledger.teamwork.TeamStore` for as long as the process lives."""

    _state: State
    _clock: Clock
    _team: Tables

    async def post_board(self, place: StepPlace, posts: Sequence[BoardPost]) -> Posted:
        check_batch(posts)
        thread, refusal, why = self._writer(place)
        if refusal:
            return Posted(status=refusal, detail=why)
        if place.key in self._team.written:
            return Posted(status=BoardStatus.OK, entries=self._team.written[place.key])
        project = thread.info.project
        for name in sorted(post.name for post in posts if self._is_closed(project, post)):
            return Posted(status=BoardStatus.CLOSED, detail=f"the question {name} is decided")
        found = [self._team.entries.get((project, post.task, post.section, post.name)) for post in posts]
        if any((entry.version if entry else 0) != post.base for entry, post in zip(found, posts, strict=True)):
            return Posted(status=BoardStatus.CONFLICT, entries=_ordered([entry for entry in found if entry]))
        return Posted(status=BoardStatus.OK, entries=self._write(place, thread, posts))

    def _is_closed(self, project: str, post: BoardPost) -> bool:
        return post.section is Section.CONSENSUS and (project, post.task, post.name) in self._team.verdicts

    def _write(self, place: StepPlace, thread: Thread, posts: Sequence[BoardPost]) -> tuple[BoardEntry, ...]:
        now, project = self._clock(), thread.info.project
        for post in posts:
            self._team.entries[project, post.task, post.section, post.name] = BoardEntry(
                **post.model_dump(exclude={"base"}),
                project=project,
                version=post.base + 1,
                author=thread.info.agent,
                at=now,
            )
        written = _ordered([self._team.entries[project, post.task, post.section, post.name] for post in posts])
        self._team.written[place.key] = written
        return written

    async def board(self, project: str) -> Board:
        entries = _ordered([entry for key, entry in self._team.entries.items() if key[0] == project])
        votes = [vote for key, (vote, _) in sorted(self._team.votes.items()) if key[0] == project]
        verdicts = [verdict for key, verdict in self._team.verdicts.items() if key[0] == project]
        return assemble(project, entries, votes, verdicts)

    async def cast_vote(self, place: StepPlace, vote: NewVote) -> Cast:
        thread, refusal, why = self._writer(place)
        if refusal:
            return Cast(status=refusal, detail=why)
        project = thread.info.project
        entry = self._question(project, vote.task, vote.question)
        if entry is None:
            return Cast(status=BoardStatus.UNKNOWN, detail=f"there is no question {vote.question}")
        key = (project, vote.task, vote.question, thread.info.agent)
        before = self._team.votes.get(key)
        if before and before[1] == place.key:
            return Cast(status=BoardStatus.OK, question=entry)
        if (status := self._refuse_vote(project, entry, vote)) is not None:
            return status
        changes = before[0].changes + 1 if before else 0
        kept = Vote(**vote.model_dump(), agent=thread.info.agent, changes=changes, at=self._clock())
        self._team.votes[key] = (kept, place.key)
        return Cast(status=BoardStatus.OK, question=entry)

    def _refuse_vote(self, project: str, entry: BoardEntry, vote: NewVote) -> Cast | None:
        if (project, vote.task, vote.question) in self._team.verdicts:
            return Cast(status=BoardStatus.CLOSED, question=entry, detail="the question is decided")
        if vote.version != entry.version:
            detail = f"the question is at version {entry.version}"
            return Cast(status=BoardStatus.CONFLICT, question=entry, detail=detail)
        if vote.choice not in entry.options:
            detail = f"the options are {', '.join(entry.options)}"
            return Cast(status=BoardStatus.UNKNOWN, question=entry, detail=detail)
        return None

    async def close_question(self, project: str, verdict: Verdict, seen: int) -> Posted:
        entry = self._question(project, verdict.task, verdict.question)
        if entry is None:
            return Posted(status=BoardStatus.UNKNOWN, detail=f"there is no question {verdict.question}")
        key = (project, verdict.task, verdict.question)
        if key in self._team.verdicts:
            return Posted(status=BoardStatus.CLOSED, entries=(entry,))
        [question] = [asked for asked in (await self.board(project)).questions if asked.entry == entry]
        if verdict.version != entry.version or seen != question.seen:
            return Posted(status=BoardStatus.CONFLICT, entries=(entry,))
        self._team.verdicts[key] = verdict
        return Posted(status=BoardStatus.OK, entries=(entry,))

    def _question(self, project: str, task: str, name: str) -> BoardEntry | None:
        entry = self._team.entries.get((project, task, Section.CONSENSUS, name))
        return entry if entry is not None and entry.options else None

    async def publish_card(self, project: str, card: Card) -> None:
        if not card.id.startswith(f"{project}."):
            raise LedgerError(f"the agent {card.id} is not of project {project}")
        self._team.cards[project, card.id] = card

    async def cards(self, project: str) -> list[Card]:
        return [card for key, card in sorted(self._team.cards.items()) if key[0] == project]

    async def team_facts(self, project: str) -> list[AgentFacts]:
        now = self._clock()
        threads = [thread for thread in self._state.threads.values() if thread.info.project == project]
        load = Counter(thread.info.agent for thread in threads if thread.expires_at and thread.expires_at > now)
        ends = [entry.body for entry in self._state.chains.get(project, []) if entry.kind == "task_finished"]
        done = Counter(end["agent"] for end in ends if end.get("agent") and TaskState(end["state"]) in TASK_SUCCEEDED)
        lost = Counter(end["agent"] for end in ends if end.get("agent") and end["state"] == TaskState.FAILED)
        known = {thread.info.agent for thread in threads} | {end["agent"] for end in ends if end.get("agent")}
        return [
            AgentFacts(agent=name, load=load[name], succeeded=done[name], failed=lost[name]) for name in sorted(known)
        ]

    async def remember(self, place: StepPlace, memories: Sequence[Memory]) -> BoardStatus:
        thread, refusal, _ = self._writer(place)
        if refusal:
            return refusal
        now = self._clock()
        key = (thread.info.project, thread.info.agent)
        kept = self._team.memories.get(key, {}) | {memory.name: (memory, now) for memory in memories}
        valid = [(memory, at) for memory, at in kept.values() if memory.expires_at > now]
        valid.sort(key=lambda pair: pair[0].name)
        valid.sort(key=lambda pair: pair[1], reverse=True)
        self._team.memories[key] = {memory.name: (memory, at) for memory, at in valid[:MAX_MEMORIES]}
        return BoardStatus.OK

    async def recall(self, project: str, agent: str) -> list[Memory]:
        kept = self._team.memories.get((project, agent), {})
        return [memory for _, (memory, _) in sorted(kept.items()) if memory.expires_at > self._clock()]

    def _writer(self, place: StepPlace) -> tuple[Thread, BoardStatus | None, str]:
        thread = self._state.threads.get(place.thread)
        if thread is None:
            raise LedgerError(f"there is no thread {place.thread}")
        if thread.epoch != place.epoch:
            return thread, BoardStatus.LOST_LEASE, f"thread {place.thread} is at epoch {thread.epoch}"
        halt = self._state.halted_by(thread)
        return thread, BoardStatus.HALTED if halt else None, halt or ""


def _ordered(entries: Sequence[BoardEntry]) -> tuple[BoardEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.section, entry.task, entry.name)))

"""What a team shares beside messages: a board with versions, votes on its questions, cards of agents, working memory.

Whoever writes from a run writes for one step of it: a step that is made again finds what it wrote, a run that has lost its
thread writes nothing, and project and author are those of the thread, not what somebody says they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field, StringConstraints

from ledger.vocabulary import AgentState, Record, Role, Seat

MAX_BOARD_TEXT = 8_000
MAX_POSTS = 20
MAX_OPTIONS = 10
MAX_MEMORIES = 50
"""Kept for one agent; the oldest give way."""


def writable(text: str) -> str:
    """Raises ValueError for what the database cannot hold."""
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("the text holds a NUL or half of a surrogate pair")
    return text


Words = Annotated[str, StringConstraints(min_length=1, max_length=MAX_BOARD_TEXT), AfterValidator(writable)]
EntryName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9._/-]{0,62}[a-z0-9])?$")]
"""1 to 64 of a-z, 0-9 and inner `.`, `_`, `/`, `-`."""
Percent = Annotated[int, Field(ge=0, le=100)]


class Section(StrEnum):
    """Parts of a board."""

    PROBLEM = "problem"
    CONSTRAINTS = "constraints"
    SOLUTIONS = "solutions"
    PROGRESS = "progress"
    CONSENSUS = "consensus"
    """Entries with options are questions that are voted on."""


class BoardStatus(StrEnum):
    OK = "ok"
    CONFLICT = "conflict"
    """Somebody wrote first; the answer holds what stands now. Nothing was written, no part of a batch either."""
    CLOSED = "closed"
    """The question is decided."""
    UNKNOWN = "unknown"
    """There is no such question, or no such option."""
    LOST_LEASE = "lost_lease"
    HALTED = "halted"


class StepPlace(Record):
    """Which step writes: `key` is `<thread>/<ordinal>/<sub>`."""

    thread: str
    epoch: int
    key: str


class BoardPost(Record):
    """One write. `base` is the version it is built on; 0 makes a new entry."""

    section: Section
    name: EntryName
    text: Words
    base: int = Field(default=0, ge=0)
    task: str = ""
    """Empty: of the whole project."""
    options: tuple[Words, ...] = Field(default=(), max_length=MAX_OPTIONS)
    """For the section consensus: what can be voted for."""


class BoardEntry(Record):
    project: str
    task: str
    section: Section
    name: str
    version: int
    text: str
    options: tuple[str, ...] = ()
    author: str
    at: datetime


class Posted(Record):
    """`entries`: what was written, or after a conflict what stands now (an entry that is not there is left out)."""

    status: BoardStatus
    entries: tuple[BoardEntry, ...] = ()
    detail: str = ""


class NewVote(Record):
    """A vote on one version of a question: a question that is edited is another question."""

    question: EntryName
    task: str = ""
    version: int
    choice: Words
    reasoning: Words
    confidence: Percent


class Vote(Record):
    question: str
    task: str
    version: int
    agent: str
    choice: str
    reasoning: str
    confidence: int
    """Percent."""
    changes: int = 0
    """How often the agent has changed its mind."""
    at: datetime


class Cast(Record):
    """`question` is the entry as it stands, where there is one."""

    status: BoardStatus
    question: BoardEntry | None = None
    detail: str = ""


class Verdict(Record):
    """How a question was decided. It is written once."""

    question: str
    task: str = ""
    version: int
    choice: str | None
    """None: it lapsed."""
    how: str
    """The rule, or `mediator`."""
    reasoning: str = ""
    decided_by: str
    counts: dict[str, int] = {}
    """Votes by option, in percent of one neutral vote."""


class Question(Record):
    """A question with its votes; those on an earlier version are left out."""

    entry: BoardEntry
    votes: tuple[Vote, ...] = ()
    verdict: Verdict | None = None

    @property
    def seen(self) -> int:
        """Grows with every vote and every change of one: what a verdict must name to have counted them all."""
        return sum(1 + vote.changes for vote in self.votes)


class Board(Record):
    """The present state of a project's board."""

    project: str
    entries: tuple[BoardEntry, ...] = ()
    questions: tuple[Question, ...] = ()


class Card(Record):
    """What an agent is, what it can do and how it is; published when it begins and when it ends."""

    id: str
    """`<project>.<role>.<name>`."""
    name: str
    role: Role
    seat: Seat | None = None
    title: str
    capabilities: tuple[str, ...] = ()
    tier: int = 0
    """The highest tier of what it may do."""
    state: AgentState = AgentState.IDLE
    task: str = ""
    """What it works on, or worked on last."""


class AgentFacts(Record):
    """What is known of an agent in one project."""

    agent: str
    load: int = 0
    """Runs at work."""
    succeeded: int = 0
    failed: int = 0
    """Tasks it ended."""


class Memory(Record):
    name: EntryName
    text: Words
    expires_at: datetime


class TeamStore(Protocol):
    """The part of the store that teams use."""

    async def post_board(self, place: StepPlace, posts: Sequence[BoardPost]) -> Posted:
        """Write all or nothing, each entry only onto the version it names.

        Raises:
            LedgerError: two posts of the batch write the same entry, or there is no such thread.
        """
        ...

    async def board(self, project: str) -> Board: ...

    async def cast_vote(self, place: StepPlace, vote: NewVote) -> Cast:
        """One vote an agent and question; a later one replaces it until the question is closed."""
        ...

    async def close_question(self, project: str, verdict: Verdict, seen: int) -> Posted:
        """Write the verdict, unless votes came in meanwhile (`conflict`); a closed question keeps its verdict (`closed`)."""
        ...

    async def publish_card(self, project: str, card: Card) -> None:
        """Raises LedgerError where the agent is not of this project."""
        ...

    async def cards(self, project: str) -> list[Card]: ...

    async def team_facts(self, project: str) -> list[AgentFacts]:
        """Load and results of everyone who has worked in the project, by agent id."""
        ...

    async def remember(self, place: StepPlace, memories: Sequence[Memory]) -> BoardStatus:
        """Keep something for the thread's agent until it expires; the same name replaces what was kept."""
        ...

    async def recall(self, project: str, agent: str) -> list[Memory]:
        """What has not expired, by name."""
        ...

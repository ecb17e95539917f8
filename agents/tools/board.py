"""The team's board and the agent's own memory: reading, writing, voting, remembering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agents.blackboard import MAX_MEMORY_MINUTES, Blackboard, shown_entry, shown_question
from agents.errors import AgentError
from agents.tools.answers import Arguments, answer, failure
from agents.tools.base import Tool, ToolContext, ToolResult
from ledger.teamwork import MAX_OPTIONS, MAX_POSTS, BoardPost, BoardStatus, EntryName, NewVote, Section, Words
from ledger.vocabulary import Json, Tier

Of = Literal["project", "task"]
_OF = "`project`: everyone sees it; `task`: only who works on your task"


class ReadBoard(Arguments):
    sections: list[Section] = Field(default=[], description="Only these sections; none means all")


class Post(Arguments):
    section: Section = Field(description="Where it belongs")
    name: EntryName = Field(description="Short name of the entry: lower case, digits, inner . _ / -")
    text: Words = Field(description="What it says, whole: it replaces the version before")
    base: int = Field(default=0, ge=0, description="The version you have read; 0 for a new entry")
    of: Of = Field(default="project", description=_OF)
    options: list[Words] = Field(
        default=[], max_length=MAX_OPTIONS, description="Section consensus only: what can be voted for, at least two"
    )


class PostBoard(Arguments):
    entries: list[Post] = Field(min_length=1, max_length=MAX_POSTS, description="Written together, or not at all")


class CastVote(Arguments):
    question: EntryName = Field(description="Name of an entry of the section consensus that has options")
    of: Of = Field(default="project", description=_OF)
    version: int = Field(ge=1, description="The version of the question that you have read")
    choice: Words = Field(description="One of its options, word for word")
    reasoning: Words = Field(description="Why, in sentences that somebody who thinks otherwise can answer")
    confidence: float = Field(ge=0, le=1, description="How sure you are, from 0 to 1")


class Remember(Arguments):
    name: EntryName = Field(description="What it is about; the same name replaces what you kept")
    text: Words = Field(description="What you want to know in your next runs in this project")
    minutes: int = Field(default=24 * 60, ge=1, le=MAX_MEMORY_MINUTES, description="How long it is of use")


async def read_board(context: ToolContext, arguments: ReadBoard) -> ToolResult:
    """What stands on the board."""
    board = await _board(context).read()
    wanted = arguments.sections or list(Section)
    questions = [shown_question(question) for question in board.questions]
    entries = [shown_entry(entry) for entry in board.entries if entry.section in wanted and not entry.options]
    return answer({"entries": entries, "questions": questions if Section.CONSENSUS in wanted else []}, "entries")


async def post_board(context: ToolContext, arguments: PostBoard) -> ToolResult:
    """Write on the board, if nobody wrote first."""
    board = _board(context)
    if faults := _faults(arguments.entries):
        return failure("; ".join(faults))
    posted = await board.post(context.place, [_post(post, board) for post in arguments.entries])
    standing: list[Json] = [shown_entry(entry) for entry in posted.entries]
    if posted.status is BoardStatus.CONFLICT:
        return _refused("somebody wrote first; nothing was written", {"standing": standing})
    if posted.status is not BoardStatus.OK:
        return _refused(posted.detail, {})
    asked = [post.name for post in arguments.entries if post.options]
    written: list[Json] = [{"name": entry.name, "version": entry.version} for entry in posted.entries]
    return answer({"written": written}, data={"questions": asked})


async def vote(context: ToolContext, arguments: CastVote) -> ToolResult:
    """Vote on a question, or change the vote."""
    board = _board(context)
    ballot = NewVote(
        question=arguments.question,
        task=_task(arguments.of, board),
        version=arguments.version,
        choice=arguments.choice,
        reasoning=arguments.reasoning,
        confidence=round(arguments.confidence * 100),
    )
    cast = await board.vote(context.place, ballot)
    if cast.status is not BoardStatus.OK:
        return _refused(cast.detail, {"question": shown_entry(cast.question) if cast.question else None})
    return answer({"voted": arguments.choice, "question": arguments.question}, data={"questions": [arguments.question]})


async def remember(context: ToolContext, arguments: Remember) -> ToolResult:
    """Keep a note for the next runs."""
    await _board(context).remember(context.place, arguments.name, arguments.text, arguments.minutes)
    return answer({"remembered": arguments.name, "minutes": arguments.minutes})


def _board(context: ToolContext) -> Blackboard:
    if context.board is None:
        raise AgentError("this run has no board")
    return context.board


def _task(of: Of, board: Blackboard) -> str:
    return board.task if of == "task" else ""


def _faults(posts: Sequence[Post]) -> list[str]:
    places = [(post.of, post.section, post.name) for post in posts]
    faults = [f"{name}: named twice" for of, section, name in set(places) if places.count((of, section, name)) > 1]
    for post in posts:
        if post.options and post.section is not Section.CONSENSUS:
            faults.append(f"{post.name}: only entries of the section consensus have options")
        elif post.options and len(set(post.options)) < 2:
            faults.append(f"{post.name}: a question needs at least two different options")
    return sorted(faults)


def _post(post: Post, board: Blackboard) -> BoardPost:
    return BoardPost(
        section=post.section, name=post.name, text=post.text, base=post.base, task=_task(post.of, board),
        options=tuple(dict.fromkeys(post.options)),
    )  # fmt: skip


def _refused(why: str, more: dict[str, Json]) -> ToolResult:
    """Not done, and what the agent needs to do it right."""
    return answer({"error": why, **more}).model_copy(update={"ok": False})


TOOLS = (
    Tool("read_board", "Read the team's board: problem, constraints, solutions, progress, consensus.", ReadBoard,
         Tier.READ, read_board),
    Tool("post_board", "Write on the team's board. Name the version you have read: who wrote in between is not overwritten.",
         PostBoard, Tier.RUN, post_board, alone=True),
    Tool("vote", "Vote on a question of the board, with your reasons. You may change it until it is decided.", CastVote,
         Tier.RUN, vote, alone=True),
    Tool("remember", "Keep a note for your own next runs in this project, for a while.", Remember, Tier.RUN, remember,
         alone=True),
)  # fmt: skip

"""How the board of a team is shown: one JSON document, or panels by section for people.

What agents wrote is text of strangers: it is shown as it stands, without markup and without control characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ledger.teamwork import AgentFacts, Board, BoardEntry, Card, Question, Section
from ledger.vocabulary import Json
from workers.console import plain


def document(board: Board, cards: Sequence[Card], facts: Sequence[AgentFacts]) -> dict[str, Json]:
    """The JSON document of `syndic board`."""
    known = {fact.agent: fact.model_dump(mode="json", exclude={"agent"}) for fact in facts}
    return {
        **board.model_dump(mode="json"),
        "agents": [{**card.model_dump(mode="json"), **known.get(card.id, {})} for card in cards],
    }


def lines(board: Board, cards: Sequence[Card], facts: Sequence[AgentFacts], width: int, *, colour: bool) -> str:
    """The board as text of that width."""
    console = Console(width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(Group(*_parts(board, cards, facts)))
    return captured.get().rstrip("\n")


def _parts(board: Board, cards: Sequence[Card], facts: Sequence[AgentFacts]) -> Iterator[RenderableType]:
    questions = {(question.entry.task, question.entry.name): question for question in board.questions}
    for section in Section:
        entries = [entry for entry in board.entries if entry.section is section]
        if not entries:
            continue
        shown: list[RenderableType] = []
        for entry in entries:
            question = questions.get((entry.task, entry.name)) if section is Section.CONSENSUS else None
            shown += [_entry(entry), *([_question(question)] if question else [])]
        yield Panel(Group(*shown), title=section.value, title_align="left")
    if cards:
        yield _team(cards, facts)


def _entry(entry: BoardEntry) -> Text:
    place = f", task {entry.task}" if entry.task else ""
    head = f"{entry.name}  v{entry.version} by {entry.author}{place}, {entry.at:%Y-%m-%d %H:%M}"
    return Text.assemble((plain(head), "bold"), "\n", plain(entry.text), "\n")


def _question(question: Question) -> Text:
    text = Text()
    for vote in question.votes:
        text.append(plain(f"  {vote.choice}  {vote.agent}, {vote.confidence} % sure: {vote.reasoning}\n"))
    verdict = question.verdict
    if verdict is not None:
        text.append(plain(f"  decided: {verdict.choice or 'lapsed'} ({verdict.how}, {verdict.decided_by})\n"), "bold")
    else:
        counts = Counter(vote.choice for vote in question.votes)
        so_far = ", ".join(f"{option} {counts[option]}" for option in question.entry.options)
        text.append(plain(f"  open: {so_far}\n"))
    return text


def _team(cards: Sequence[Card], facts: Sequence[AgentFacts]) -> Table:
    known = {fact.agent: fact for fact in facts}
    table = Table(title="team", title_justify="left", title_style="", box=None)
    for name in ("agent", "state", "task", "at work", "well", "badly", "can"):
        table.add_column(name, overflow="fold")
    for card in cards:
        fact = known.get(card.id, AgentFacts(agent=card.id))
        cells = (
            card.id,
            card.state.value,
            card.task,
            fact.load,
            fact.succeeded,
            fact.failed,
            ", ".join(card.capabilities),
        )
        table.add_row(*(Text(plain(str(cell))) for cell in cells))
    return table

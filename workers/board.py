"""What a watcher sees of a project: one snapshot of workflow answers and feed, as a live board or as plain lines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from agents.finishing import pause
from ledger.vocabulary import Json, Phase, TaskState
from workers import operations
from workers.console import CommandError, whoami
from workers.inbox import inbox
from workers.news import event_line, is_news, is_partial
from workflows.answering import Waiting
from workflows.reports import ProjectReport
from workflows.views import StatusView, TaskView

if TYPE_CHECKING:
    from agents.feed import Feed
    from workers.session import Session

REFRESH_SECONDS = 0.4
ANSWER_WITHIN = timedelta(seconds=3)
"""A board that waits longer for an answer looks dead itself."""
EVENTS_SHOWN = 8

STYLES = {
    TaskState.RUNNING: "yellow",
    TaskState.ACCEPTED: "green",
    TaskState.MERGED: "bold green",
    TaskState.NOTHING_TO_DO: "green",
    TaskState.REPORTED: "green",
    TaskState.REFUSED: "red",
    TaskState.FAILED: "bold red",
    TaskState.SKIPPED: "dim",
    TaskState.CANCELLED: "dim",
}


@dataclass(frozen=True)
class Snapshot:
    """All that is known at one moment. `notice` says why something could not be read."""

    project: str
    status: StatusView | None = None
    tasks: tuple[TaskView, ...] = ()
    requests: tuple[Waiting, ...] = ()
    events: tuple[dict[str, Json], ...] = ()
    """What the feed brought since the snapshot before, oldest first."""
    notice: str = ""
    report: ProjectReport | None = None


@dataclass
class Watcher:
    """Reads snapshots of one project; a part that does not answer for a while keeps its last state."""

    session: Session
    feed: Feed | None
    project: str
    position: str = "0-0"
    """Id of the last event of the feed that was seen: where another watcher can go on."""
    _last: Snapshot = field(init=False)

    def __post_init__(self) -> None:
        self._last = Snapshot(self.project)

    async def snapshot(self) -> Snapshot:
        """The project as it stands now.

        Raises:
            CommandError: The project does not exist, or ended without a report.
        """
        client, now = self.session.client, replace(self._last, events=await self._events(), notice="")
        now = replace(now, report=await operations.outcome(client, self.project))
        try:
            status = await operations.status(client, self.project, ANSWER_WITHIN)
            tasks = await operations.board(client, self.project, status.sprint, ANSWER_WITHIN)
            requests = () if now.report else tuple(await inbox(client, self.project, within=ANSWER_WITHIN))
            troubles = () if now.report else await operations.troubles(client, self.project, status, tasks)
            now = replace(now, status=status, tasks=tasks, requests=requests, notice="; ".join(troubles))
        except (CommandError, RPCError) as error:
            now = replace(now, notice=str(error))
        self._last = now
        return now

    async def _events(self) -> tuple[dict[str, Json], ...]:
        found: list[dict[str, Json]] = []
        if self.feed is None:
            return ()
        try:
            async for item in self.feed.read(self.project, self.position):
                self.position = item.id
                found.append(item.event)
        except (RedisError, OSError):
            return tuple(found)  # the feed is for watching only; it comes back or it does not
        return tuple(found)


class Lines:
    """Snapshots as plain lines: only what is new, one line each. For pipes, logs and unattended runs."""

    def __init__(self, session: Session, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._console = console
        self._clock = clock
        self._began = clock()
        self._known: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, snapshot: Snapshot) -> None:
        """Print what has changed."""
        for line in self._changes(snapshot):
            self.say(line)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line of somebody else's, with the seconds since the watching began."""
        stamped = f"{self._clock() - self._began:6.1f}  {text}"
        self._console.print(stamped, style=style, markup=False, highlight=False, soft_wrap=True)

    def _changes(self, snapshot: Snapshot) -> Iterator[str]:
        if (status := snapshot.status) and self._is_new("phase", f"{status.phase.value} {status.detail}".strip()):
            yield f"phase      {self._known['phase']}"
        for task in snapshot.tasks:
            if self._is_new(f"task {task.id}", " ".join(task_words(task))):
                yield f"task       {task.id:<24} {self._known[f'task {task.id}']}"
        for event in snapshot.events:
            if is_news(event) and (line := event_line(event)):
                yield f"agent      {line}"
        for request in snapshot.requests:
            if self._is_new(f"request {request.id}", request.digest):
                yield f"approval   {request.id} ({request.kind}): {request.summary}"
                yield f"           {answer_line(self._session, request)}"
        if self._is_new("notice", snapshot.notice) and snapshot.notice:
            yield f"notice     {snapshot.notice}"

    def _is_new(self, key: str, value: str) -> bool:
        new = self._known.get(key) != value
        self._known[key] = value
        return new


class LiveBoard:
    """Snapshots as a board that is redrawn in place."""

    def __init__(self, session: Session, console: Console) -> None:
        self._session = session
        self._events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self._saying: dict[str, str] = {}
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> LiveBoard:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, snapshot: Snapshot) -> None:
        """Redraw."""
        self._events.extend(line for event in snapshot.events if is_news(event) and (line := event_line(event)))
        self._hear(snapshot.events)
        self._live.update(render(self._session, snapshot, [*self._events, *self._saying.values()]), refresh=True)

    def _hear(self, events: Iterable[dict[str, Json]]) -> None:
        """What agents are saying just now; it goes with the next thing that they do."""
        for event in events:
            agent = str(event.get("agent") or "")
            if is_partial(event):
                self._saying[agent] = event_line(event)
            else:
                self._saying.pop(agent, None)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line above the board."""
        self._live.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


View = Lines | LiveBoard


def open_view(session: Session, console: Console) -> View:
    """A live board on a terminal, plain lines elsewhere."""
    return LiveBoard(session, console) if console.is_terminal else Lines(session, console)


async def follow(watcher: Watcher, view: View) -> ProjectReport:
    """Show a project until it ends.

    Raises:
        CommandError: It does not exist, or ended without a report.
    """
    while True:
        snapshot = await watcher.snapshot()
        view.show(snapshot)
        if snapshot.report is not None:
            return snapshot.report
        await pause(REFRESH_SECONDS)


def render(session: Session, snapshot: Snapshot, events: list[str]) -> RenderableType:
    """The board: state and progress, tasks, open requests with their answers, the last events."""
    parts: list[RenderableType] = [_head(snapshot)]
    if snapshot.tasks:
        parts += [_progress(snapshot), _tasks(snapshot.tasks)]
    parts += [_request(session, request) for request in snapshot.requests]
    if events:
        parts.append(Text("\n".join(events), style="dim", overflow="ellipsis", no_wrap=True))
    if snapshot.notice:
        parts.append(Text(snapshot.notice, style="red"))
    return Panel(Group(*parts), title=f"syndic · {snapshot.project}", title_align="left")


def _head(snapshot: Snapshot) -> Text:
    status = snapshot.status
    if status is None:
        return Text("starting", style="dim")
    budget = f" of {operations.money(status.budget_usd)}" if status.budget_usd is not None else ""
    style = "bold red" if status.phase in (Phase.FAILED, Phase.CANCELLED) else "bold cyan"
    sprint = f"  sprint {status.sprint}" if status.sprint else ""
    return Text.assemble(
        (status.phase.value, style),
        ("  paused" if status.paused else "", "bold yellow"),
        f"{sprint}  {status.detail}  ",
        (f"cost {operations.money(status.cost_usd)}{budget}{_of_tokens(status)}", "dim"),
    )


def _of_tokens(status: StatusView) -> str:
    return "" if status.budget_tokens is None else f", {status.tokens:,} of {status.budget_tokens:,} tokens"


def _progress(snapshot: Snapshot) -> RenderableType:
    done = sum(task.state not in (TaskState.WAITING, TaskState.RUNNING) for task in snapshot.tasks)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=len(snapshot.tasks), completed=done, width=40), f"{done}/{len(snapshot.tasks)} tasks"
    )
    return grid


def _tasks(tasks: tuple[TaskView, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("task", "state", "agent", "tries", "what"):
        table.add_column(name, no_wrap=name != "what", overflow="ellipsis")
    for task in tasks:
        state, *rest = task_words(task)
        tries = f"{task.attempts}" + (f" (+{task.repairs} repair)" if task.repairs else "")
        table.add_row(task.id, Text(state, STYLES.get(task.state, "")), task.agent or "", tries, task.title or rest[-1])
    return table


def _request(session: Session, request: Waiting) -> Panel:
    body = Text.assemble(
        f"{request.summary}\n",
        (f"syndic approve {request.id}\n", "bold"),
        (answer_line(session, request), "green"),
    )
    return Panel(body, title=f"waits for you: {request.kind} {request.id}", border_style="yellow")


def answer_line(session: Session, request: Waiting) -> str:
    """The `temporal` command line that approves a request."""
    return operations.quoted(operations.decide_command(session.addresses, request, whoami()))


def task_words(task: TaskView) -> tuple[str, ...]:
    """State, phase while it works, agent, tries and detail; only what there is."""
    phase = task.phase.value if task.phase and task.state is TaskState.RUNNING else ""
    repairs = f"{task.repairs} repairs" if task.repairs else ""
    words = (f"{task.state.value} {phase}".strip(), task.agent or "", repairs, task.detail)
    return tuple(word for word in words if word)


def closing_lines(report: ProjectReport) -> list[str]:
    """A finished project in a few lines."""
    spent = operations.money(Decimal(report.cost_usd))
    lines = [
        f"{report.project_id} {report.state.value}: {report.summary}",
        f"  {report.tasks_merged} of {report.tasks_total} tasks merged, {report.repairs} repairs, "
        f"{report.approvals} approvals, {report.model_calls} model calls, {spent}",
        f"  ledger: {report.ledger_entries} entries, {'verified' if report.ledger_verified else 'NOT VERIFIED'}",
    ]
    lines += [f"  branch: {report.branch} at {report.commit}"] if report.branch else []
    return lines + [f"  note: {warning}" for warning in report.warnings]

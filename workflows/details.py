"""The state of a workflow as markdown, for the Web UI and `temporal workflow metadata`.

Bounded, however many tasks, events and requests there are. What agents and people wrote is text of strangers: it is shown as
it stands, without markup, so that nobody can draw a request or a command that is none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from temporalio import workflow

from ledger.vocabulary import TASK_SUCCEEDED, Answer, TaskState, dollars
from workflows.answering import Waiting, answering_command, broken
from workflows.approval_models import ApprovalView
from workflows.views import StatusView, TaskView, WaitView

ROWS_SHOWN = 40
EVENTS_SHOWN = 10
REQUESTS_SHOWN = 5
NOTICES_SHOWN = 5
WAITS_SHOWN = 10
NAMES_SHOWN = 5

GAP = "\u00a0\u00a0"
LINE = 120
PARAGRAPH = 400
"""Characters of foreign text in a line of a list, and on a line of its own."""

FIRST = {TaskState.RUNNING: 0, TaskState.FAILED: 1, TaskState.REFUSED: 1, TaskState.WAITING: 2}
"""Which tasks are shown where not all can be."""

MARKUP = re.compile(r"[\\`*<>|~\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def details(status: StatusView, tasks: Sequence[TaskView]) -> str:
    """Phase, open requests with the commands that answer them, board, cost and last events."""
    return "\n\n".join(_parts(status, tasks))


def escaped(text: str, limit: int = LINE) -> str:
    """Foreign text on one line, cut to `limit` characters, in which nothing is markup."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    return MARKUP.sub(lambda found: f"\\{found.group()}", line)


def _parts(status: StatusView, tasks: Sequence[TaskView]) -> Iterator[str]:
    yield from _head(status)
    for notice in status.notices[-NOTICES_SHOWN:]:
        yield f"**Notice**: {escaped(notice, PARAGRAPH)}"
    for view in status.awaiting[:REQUESTS_SHOWN]:
        yield from _request(view)
    if rest := status.awaiting[REQUESTS_SHOWN:]:
        yield f"**{len(rest)} more requests wait**: `syndic inbox --project {status.project}`"
    if status.waits:
        yield "### Waiting for each other"
        yield _listed(map(_wait, status.waits), WAITS_SHOWN)
    if tasks:
        yield "### Board"
        yield _board(tasks, status.project)
    if status.events:
        yield "### Last events"
        yield "\n".join(f"- {escaped(event, LINE + 10)}" for event in reversed(status.events[-EVENTS_SHOWN:]))


def _head(status: StatusView) -> Iterator[str]:
    paused = " (paused)" if status.paused else ""
    yield f"**{status.phase.value}**{paused} {escaped(status.detail, PARAGRAPH)}".rstrip()
    budget = f" of {dollars(status.budget_usd)}" if status.budget_usd is not None else ""
    tokens = "" if status.budget_tokens is None else f" · {status.tokens:,} of {status.budget_tokens:,} tokens"
    refused = f" · {status.refused} messages refused" if status.refused else ""
    yield (
        f"tasks {status.tasks_done}/{status.tasks_total} · cost {dollars(status.cost_usd)}{budget} USD{tokens} · "
        f"mode {status.mode.value} · autonomy {status.autonomy.value}{refused}"
    )


def _request(view: ApprovalView) -> Iterator[str]:
    yield f"### Waits for you: {view.kind.value} `{view.id}`"
    yield escaped(view.summary, PARAGRAPH)
    yield "\n".join(f"- {line}" for line in _terms(view))
    key = " --key FILE" if view.signed else ""
    yield f"Look at it with `syndic show {view.id}`, answer it with `syndic approve {view.id}{key}`{'' if key else ', or:'}"
    if not view.signed:
        command = answering_command(Waiting.of(view), namespace=workflow_namespace())
        yield f"```sh\n{broken(command)}\n```"
        yield 'For no write `"reject"` in place of `"approve"`; for changes `"revise"` and `"comment": "what to change"`.'


def _terms(view: ApprovalView) -> Iterator[str]:
    yield f"**approve**: {escaped(view.on_approve)}"
    yield f"**reject**: {escaped(view.on_reject)}"
    if view.on_revise:
        yield f"**revise**: {escaped(view.on_revise)}"
    if view.who or view.quorum > 1 or view.signed:
        signed = ", signed" if view.signed else ""
        votes = sum(vote.decision is Answer.APPROVE for vote in view.votes)
        whom = ", ".join(view.who[:NAMES_SHOWN]) or "any approver"
        yield f"answered by: {escaped(whom)}{signed}; {votes} of {view.quorum} so far"
    yield f"risk {view.risk.value} · expires {view.expires_at:%Y-%m-%d %H:%M} UTC, then: {view.on_expiry.value}"
    yield f"digest `{view.digest}`"


def workflow_namespace() -> str:
    """The namespace of the workflow that renders; `default` outside of one."""
    return workflow.info().namespace if workflow.in_workflow() else "default"


def _wait(view: WaitView) -> str:
    return f"{view.asker} waits for {view.to} since {view.since:%H:%M:%S}: {escaped(view.text)}"


def _listed(lines: Iterator[str], limit: int) -> str:
    shown = [f"- {line}" for line in lines]
    more = [f"- … and {len(shown) - limit} more"] if len(shown) > limit else []
    return "\n".join([*shown[:limit], *more])


def _board(tasks: Sequence[TaskView], project: str) -> str:
    chosen = sorted(range(len(tasks)), key=lambda place: (_urgency(tasks[place]), place))[:ROWS_SHOWN]
    rows = [_cells("task", "state", "agent", "tries", "title"), "|---|---|---|---|---|"]
    rows += [_row(tasks[place], project) for place in sorted(chosen)]
    if left := [task for place, task in enumerate(tasks) if place not in set(chosen)]:
        counts = Counter(task.state.value for task in left)
        rows.append(f"\n… and {len(left)} more: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    return "\n".join(rows)


def _urgency(task: TaskView) -> int:
    return FIRST.get(task.state, 4 if task.state in TASK_SUCCEEDED else 3)


def _row(task: TaskView, project: str) -> str:
    phase = f" ({task.phase.value})" if task.phase and task.state is TaskState.RUNNING else ""
    agent = escaped((task.agent or "").removeprefix(f"{project}.").replace(".", " "), 60)
    repairs = f" +{task.repairs}" if task.repairs else ""
    return _cells(task.id, f"{task.state.value}{phase}", agent, f"{task.attempts}{repairs}", escaped(task.title, 80))


def _cells(*cells: str) -> str:
    """A row of a table; the Web UI leaves no room between columns."""
    return f"| {' | '.join(f'{cell}{GAP}' for cell in cells[:-1])} | {cells[-1]} |"

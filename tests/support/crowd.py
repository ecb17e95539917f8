"""Many tasks of equally many model calls on real processes, and a provider that can tell each of its calls from all others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from agents.models import ModelRequest
from agents.rehearsal import provider as rehearsal
from agents.rehearsal import server
from agents.rehearsal.script import Bill, Rehearsal, Rule, Said, Saying
from agents.rehearsal.wire import Asked
from ledger.chain import digest
from tests.support.audit import Audit
from tests.support.running import Running, eventually, make_repository, running
from workers.commands.provider import exports

JUDGES = 4
"""Of each report; every judge decides in one call."""
FIRST_BILL = 1000
COMPLETION = 50
LINE = "x" * 79 + "\n"


@dataclass(frozen=True)
class Call:
    """One request as the provider saw it. The bill's prompt tokens are the call's number, so that a bill names its call."""

    number: int
    request_digest: str
    cost_usd: Decimal


class Counting(rehearsal.Provider):
    """Analysts read `turns - 1` times and report, judges approve."""

    def __init__(self, turns: int, first_byte_s: float = 0.05) -> None:
        super().__init__(Rehearsal(first_byte_s=first_byte_s))
        self.turns = turns
        self.seen: list[Call] = []
        self.due: int | None = None
        """The count of calls at which `strike` is called, once."""
        self.strike: Callable[[], None] = lambda: None
        self.struck = threading.Event()
        self._counting = threading.Lock()

    def rule_for(self, asked: Asked) -> Rule:
        said = self._verdict() if _is_judge(asked) else self._look(asked.turn)
        with self._counting:
            number = len(self.seen) + 1
            bill = Bill(prompt_tokens=FIRST_BILL + number, completion_tokens=COMPLETION)
            rate = self.rehearsal.rate(asked.model)
            cost = (rate.prompt * (FIRST_BILL + number) + rate.completion * COMPLETION) / 1_000_000
            self.seen.append(Call(number, _digest(asked), cost))
        return Rule(say=Saying(calls=(said,)), bill=bill)

    def before_answer(self, number: int, asked: Asked) -> None:
        with self._counting:
            is_due = self.due is not None and len(self.seen) >= self.due
            if is_due:
                self.due = None
        if is_due:
            self.strike()
            self.struck.set()

    def strike_at(self, count: int, strike: Callable[[], None]) -> None:
        """Call `strike` while the provider answers the call of this number, or the next where that has passed."""
        self.struck.clear()
        self.strike = strike
        self.due = count

    def _verdict(self) -> Said:
        return Said(name="finish", arguments={"verdict": "approve", "confidence": 0.9, "reasons": ["it was read"]})

    def _look(self, turn: int) -> Said:
        if turn < self.turns - 1:
            return Said(name="read_file", arguments={"path": "big.txt", "start": 1 + turn, "end": 5 + turn})
        return Said(name="finish", arguments={"summary": "read", "markdown": "# Read\n", "findings": []})


def _is_judge(asked: Asked) -> bool:
    return '"role": "judge"' in asked.messages[1]["content"]


def _digest(asked: Asked) -> str:
    """The digest under which the journal knows the request."""
    request = ModelRequest(
        purpose="judge" if _is_judge(asked) else "analysis",
        messages=tuple(map(_as_asked, asked.messages)),
        tools=tuple(asked.tools),
        max_tokens=asked.max_tokens,
    )
    return digest(request.model_dump(mode="json"))


def _as_asked(message: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM leaves out an assistant's empty text."""
    return {"content": None, **message} if message["role"] == "assistant" else message


@dataclass
class Crowd:
    """A stack, its provider, and the tasks that were started."""

    stack: Running
    provider: Counting
    audit: Audit
    repository: Path
    started: list[str] = field(default_factory=list)

    def start(self, tasks: int) -> None:
        """Start so many `AgentTask`s, each a project of its own."""
        for number in range(tasks):
            project = f"crowd-{len(self.started)}"
            task = {"id": "read", "kind": "analysis", "role": "analyst", "title": "Read", "instructions": "Read."}
            spec = {
                "project": project,
                "goal": f"Read big.txt, {number}",
                "repository": str(self.repository),
                "task": task,
            }
            workflow = f"project/{project}/sprint/1/task/read"
            self.stack.temporal(
                "workflow", "start", "--type", "AgentTask", "--task-queue", "syndic", "--workflow-id", workflow,
                "--input", json.dumps({**spec, "autonomy": "autonomous"}),
            )  # fmt: skip
            self.started.append(workflow)

    def finish(self) -> list[dict[str, Any]]:
        """Wait for all of them; their reports."""
        return [self._report(workflow) for workflow in self.started]

    def _report(self, workflow: str) -> dict[str, Any]:
        """Of one task, however long it may take on a busy machine."""
        eventually(lambda: self.stack.has_ended(workflow), f"the end of {workflow}", within_s=300)
        done = self.stack.temporal("workflow", "result", "--workflow-id", workflow, "--output", "json")
        return json.loads(done.stdout)["result"]


@contextmanager
def crowd(folder: Path, turns: int, **settings: str) -> Iterator[Crowd]:
    """A stack with one worker, and the record watched."""
    provider = Counting(turns)
    with server.serving(provider) as url, running(folder, {**exports(url, provider.rehearsal), **settings}) as stack:
        stack.start_worker()
        stack.make_current()
        audit = Audit(stack.addresses["owner_database_url"])
        audit.watch()
        yield Crowd(stack, provider, audit, make_repository(folder / "repository", {"big.txt": LINE * 100}))

"""Runs the rows: a process each, the same groups of tasks in turn, every answer checked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from bench.peers import Row, interpreter
from bench.report import Sample
from bench.rows.task import TOOL_STEPS, TURNS
from tests.support.running import Running

ROOT = Path(__file__).parent.parent
JUDGES = 4
ALONE = "alone"
"""The setting in which tasks are done one by one."""
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # 500 tokens in and 125 out make the 0.001 USD that a call costs.
    "SYNDIC_PRICES": '{"bench/fake": {"prompt": 1, "completion": 4}}',
}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 9
    tasks: int = 200
    """Of a group: four times as many as are in flight, so that what a group does at full load outweighs its begin and its end."""
    in_flight: int = 50
    alone: int = 5
    """Tasks that are done one by one, in each turn."""
    turns: int = 3
    """How often in a round each row does tasks one by one."""
    rest_s: float = 10.0
    """Before these: for so long servers clear up after a group, and a task beside that is not alone."""
    latencies_s: tuple[float, ...] = (0.0, 0.02)


class RowProcess:
    """The process of one row."""

    def __init__(self, row: Row, stack: Running) -> None:
        self.row = row
        self._log = (stack.folder / f"row-{row.name}.log").open("ab")
        command = [str(interpreter(row.requires)), "-m", f"bench.rows.{row.module}", row.argument]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**stack.env, **ENVIRONMENT}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self._say(_addresses(stack, row))

    def ready(self) -> dict[str, Any]:
        """Wait until it has connected."""
        return self._hear()

    def group(self, name: str, tasks: int, in_flight: int, latency_s: float) -> dict[str, Any]:
        """Have it do a group of tasks."""
        self.begin(name, tasks, in_flight, latency_s)
        return self._hear()

    def begin(self, name: str, tasks: int, in_flight: int, latency_s: float) -> None:
        """Have it begin a group of tasks, without waiting."""
        self._say({"group": name, "tasks": tasks, "in_flight": in_flight, "latency_s": latency_s})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def _say(self, value: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.row.name} ended; its words are in {self._log.name}")
        return json.loads(line)


@dataclass
class Measured:
    """Samples by setting (`0 ms`, `20 ms`, `alone`) and row; one for each round or turn."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    load: list[float] = field(default_factory=list)


def measure(stack: Running, rows: Sequence[Row], plan: Plan, say: Any) -> Measured:
    """All rounds. Rows take turns within each, so that a machine that changes its speed changes it for all, in another order each
    time, so that none always comes after the same one: servers clear up for ten seconds after a group.
    """
    measured = Measured()
    with processes(stack, rows) as running:
        for process in running:
            process.group(f"warm-{process.row.name}", 4 if process.row.judged else 20, plan.in_flight, 0.0)
        for number in range(plan.rounds):
            measured.load.append(os.getloadavg()[0])
            for latency_s in plan.latencies_s:
                _take_turns(measured, running, plan, f"{latency_s * 1000:.0f} ms", number, latency_s)
            time.sleep(plan.rest_s)
            for turn in range(plan.turns):
                _take_turns(measured, running, plan, ALONE, number * plan.turns + turn, 0.0)
            say(f"round {number + 1} of {plan.rounds}, load {measured.load[-1]:.1f}")
    return measured


def _take_turns(
    measured: Measured, running: Sequence[RowProcess], plan: Plan, setting: str, number: int, latency_s: float
) -> None:
    for process in Random(f"{number} {setting}").sample(running, len(running)):
        sample = _sample(process, plan, setting, f"{setting.replace(' ', '')}-{number}", latency_s)
        measured.samples[setting][process.row.name].append(sample)


@contextmanager
def processes(stack: Running, rows: Sequence[Row]) -> Iterator[list[RowProcess]]:
    """A process for each row, ready; all are gone afterwards."""
    with ExitStack() as closing:
        running: list[RowProcess] = []
        for row in rows:
            process = RowProcess(row, stack)
            closing.callback(process.kill)
            running.append(process)
            process.ready()  # one after the other: two cores, and imports are heavy
        yield running


def _sample(process: RowProcess, plan: Plan, setting: str, group: str, latency_s: float) -> Sample:
    row = process.row
    alone = setting == ALONE
    tasks = plan.alone if alone else max(2, round(plan.tasks * row.share))
    answer = process.group(f"{row.name}-{group}", tasks, 1 if alone else plan.in_flight, latency_s)
    _check(row, tasks, answer)
    return Sample(tasks, answer["seconds"], answer["cpu_s"], answer["durations"], answer.get("added_ms"))


def _check(row: Row, tasks: int, answer: dict[str, Any]) -> None:
    """A row that did less than it should is an error, not a fast row."""
    calls = TURNS + (JUDGES if row.judged else 0)
    assert answer["model_calls"] == calls * tasks, (row.name, answer["model_calls"], calls * tasks)
    assert row.judged or answer["tool_calls"] == TOOL_STEPS * tasks, (row.name, answer["tool_calls"])
    least = row.kept if row.name in ("temporalio-langgraph", "raw") else row.kept * tasks  # histories: one is counted
    assert answer["kept"] >= least, (row.name, answer["kept"], least)


def _addresses(stack: Running, row: Row) -> dict[str, str]:
    owner = stack.addresses["owner_database_url"]
    database = f"bench_{row.name.replace('-', '_')}"
    if row.requires:
        with psycopg.connect(owner, autocommit=True) as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return {
        "temporal": stack.addresses["temporal"],
        "namespace": stack.addresses["namespace"],
        "owner_database": owner,
        "database": owner.rpartition("/")[0] + f"/{database}",
    }

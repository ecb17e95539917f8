"""`make bench`: Syndic beside its peers on one machine in one run, as ratios. `make bench ARGS=--quick` takes a minute.

Every row does the same task, five model turns and four tool steps, with a model that answers in its own process after a
fixed time, on the same embedded Temporal, Postgres and Redis. Rows take turns; figures are medians over the rounds.
Delivery of messages is measured afterwards, beside raw `redis-py` (`--bus`: nothing else), and the way from a decision to the
next step beside a raw signal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import bus, decisions
from bench.measuring import Measured, Plan, measure
from bench.peers import ROWS, interpreter
from bench.report import aligned, as_json, markdown, table, targets, targets_table
from bench.restart import Restart, restart
from tests.support.running import running

RESULTS = Path(__file__).parent / "results.md"
QUICK = Plan(rounds=1, tasks=20, in_flight=10, alone=3, turns=1, rest_s=0.0)
KILLED = "syndic-run", "syndic-gateway"
"""Rows whose worker is killed: the first is the target's, the second waits for the model library besides."""
KILLS = 3
QUICK_BUS_ROUNDS = 3
QUICK_DECISIONS = 5


def main() -> None:
    """Measure what was asked for, print it, and write `bench/results.md` where all of it was measured in full."""
    asked = _arguments()
    if asked.bus:
        _report_bus(_bus(asked.quick), asked)
        return
    rows = [row for row in ROWS if not asked.rows or row.name in asked.rows]
    for row in rows:
        interpreter(row.requires)
    given = {"rounds": asked.rounds, "tasks": asked.tasks, "in_flight": asked.in_flight}
    plan = QUICK if asked.quick else Plan(**{name: value for name, value in given.items() if value is not None})
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder, running(Path(folder)) as stack:
        try:
            measured = measure(stack, rows, plan, _say)
            kills = [] if asked.no_restart else _kills(stack, 1 if asked.quick else KILLS, plan.in_flight)
        except BaseException:
            for log in Path(folder).glob("row-*.log"):
                sys.stderr.write(f"--- {log.name}\n" + log.read_text(errors="replace")[-3000:])
            raise
    delivery = None if asked.rows else _bus(asked.quick)
    answers = None if asked.rows else _decisions(asked.quick)
    _report(measured, {row.name: row.title for row in rows}, plan, kills, (delivery, answers), asked)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round: does it all still run?")
    parser.add_argument("--rows", nargs="*", choices=[row.name for row in ROWS], default=[], help="default: all")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--tasks", type=int, help="of a group; rows that no target names under load do a part of them")
    parser.add_argument("--in-flight", type=int, dest="in_flight")
    parser.add_argument("--no-restart", action="store_true", help="do not kill workers")
    parser.add_argument("--bus", action="store_true", help="only delivery of messages beside raw redis-py")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output instead of tables")
    return parser.parse_args()


def _kills(stack: Any, number: int, tasks: int) -> list[Restart]:
    kills = [restart(stack, row, f"restart-{row}-{index}", tasks) for index in range(number) for row in KILLED]
    for kill in kills:
        _say(f"restart: {kill}")
    return kills


def _bus(quick: bool) -> bus.Figures:
    _say("delivery of messages")
    return bus.measure(QUICK_BUS_ROUNDS if quick else bus.ROUNDS)


def _decisions(quick: bool) -> decisions.Figures:
    _say("from a decision to the next step")
    return decisions.measure(QUICK_DECISIONS if quick else decisions.ROUNDS)


def _report_bus(delivery: bus.Figures, asked: Any) -> None:
    print(json.dumps(delivery.model_dump()) if asked.json else bus.report(delivery))


def _report(
    measured: Measured,
    titles: dict[str, str],
    plan: Plan,
    kills: list[Restart],
    beside: tuple[bus.Figures | None, decisions.Figures | None],
    asked: Any,
) -> None:
    found = targets(measured.samples, [kill.seconds for kill in kills if kill.row == KILLED[0]])
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"), "cores": os.cpu_count(), "plan": vars(plan),
        "load_before_rounds": [round(load, 1) for load in measured.load], "restarts": [vars(kill) for kill in kills],
    }  # fmt: skip
    if asked.json:
        named = zip(("bus", "decisions"), beside, strict=True)
        others = {name: figures.model_dump() for name, figures in named if figures}
        print(json.dumps({**as_json(measured.samples, found, facts), **others}))
        return
    tables = table(measured.samples, titles), targets_table(found)
    delivery, answers = beside
    messages = [*([bus.report(delivery)] if delivery else []), *([decisions.report(answers)] if answers else [])]
    print("\n" + "\n\n".join([*(aligned(lines) for lines in tables), *messages]))
    if not asked.quick and not asked.rows:
        head = "# Results of the last `make bench`\n\nWritten by the run; what they mean is in `docs/benchmarks.md`."
        RESULTS.write_text("\n\n".join([head, _words(facts), *map(markdown, tables), *messages]) + "\n")
        _say(f"written to {RESULTS}")


def _words(facts: dict[str, Any]) -> str:
    plan = facts["plan"]
    kills = "; ".join(
        f"{kill['row']} {kill['seconds']:.1f} s ({kill['ready_s']:.1f} s start-up, {kill['in_doubt']} calls in doubt)"
        for kill in sorted(facts["restarts"], key=lambda kill: KILLED.index(kill["row"]))
    )
    size = f"{plan['rounds']} rounds of {plan['tasks']} tasks, {plan['in_flight']} in flight"
    size += f", and of {plan['turns']} turns of {plan['alone']} tasks alone"
    load = ", ".join(map(str, facts["load_before_rounds"]))
    return (
        f"{facts['at']}, {facts['cores']} cores, medians of {size}; load before the rounds: {load}. "
        f"Restarts with {plan['in_flight']} tasks under way: {kills or 'not measured'}."
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()

"""What the run has shown, read back from the record: every claim is computed, and one that does not hold fails the demo."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.chain import verify
from ledger.rows import Entry
from ledger.vocabulary import Json, Record, StepKind, dollars
from workers.demo.evidence import TRAILER, Evidence

TASK_ROLES = frozenset({"engineer", "devops", "analyst"})
OVERLAP = timedelta(seconds=1)


class Claim(Record):
    """One thing the demo says it shows. `holds` is what the record says about it."""

    title: str
    holds: bool
    evidence: str


def prove(evidence: Evidence) -> list[Claim]:
    """All claims, whether they hold or not."""
    return [claim(evidence) for claim in CLAIMS]


def _overlap(evidence: Evidence) -> Claim:
    runs = sorted(_intervals(evidence))
    pairs = [
        (min(one[1], other[1]) - other[0], one, other)
        for one, other in itertools.combinations(runs, 2)
        if one[2] != other[2]
    ]
    title = "two agents worked at the same time"
    if not pairs:
        return Claim(title=title, holds=False, evidence="fewer than two agent runs are on the ledger")
    shared, one, other = max(pairs)
    text = f"{one[3]} and {other[3]} overlapped by {shared.total_seconds():.1f} s of ledger time"
    return Claim(title=title, holds=shared >= OVERLAP, evidence=text)


def _intervals(evidence: Evidence) -> Iterator[tuple[datetime, datetime, str, str]]:
    """Start, end, agent and thread of each run that changed something; after a kill only the part that finished it."""
    started: dict[str, Entry] = {}
    for entry in evidence.entries:
        if entry.kind == "run_started" and entry.body["role"] in TASK_ROLES:
            started[entry.body["thread"]] = entry
        if entry.kind == "run_finished" and (first := started.pop(entry.body["thread"], None)):
            yield first.at, entry.at, first.body["agent"], entry.body["thread"]


def _handover(evidence: Evidence) -> Claim:
    title = "a task read what its predecessor had produced"
    produced = {
        digest: (entry.body["task"], name)
        for entry in evidence.of("task_finished")
        for name, digest in entry.body["documents"].items()
    }
    for step in evidence.steps:
        if step.ordinal or step.kind is not StepKind.INPUT or "/engineer" not in step.thread:
            continue
        task = step.thread.split("/")[2]
        for document in _documents(step.result):
            source, name = produced.get(hashlib.sha256(document.encode()).hexdigest(), (task, ""))
            if source != task:
                return Claim(title=title, holds=True, evidence=f"{task} was given the document {name!r} of {source}")
    return Claim(title=title, holds=False, evidence="no assignment holds a document of another task")


def _documents(result: Json) -> Iterator[str]:
    for place in (result, result.get("assignment")) if isinstance(result, dict) else ():
        for document in (place or {}).get("documents", ()):
            yield document["text"]


def _repair(evidence: Evidence) -> Claim:
    title = "a gate failed and the work was repaired"
    for failed in evidence.of("gates_reported"):
        if failed.body["passed"] or not failed.body["task"]:
            continue
        task = failed.body["task"]
        later = [entry for entry in evidence.entries if entry.seq > failed.seq and entry.body.get("task") == task]
        chosen = next((entry for entry in later if entry.kind == "repair_chosen"), None)
        passed = next((entry for entry in later if entry.kind == "gates_reported" and entry.body["passed"]), None)
        if chosen and passed:
            text = (
                f"{task}: attempt {failed.body['attempt']} failed ({_first(failed.body['regressions'])}); "
                f"repair of level {chosen.body['level']}; attempt {passed.body['attempt']} passed"
            )
            return Claim(title=title, holds=True, evidence=text)
    return Claim(title=title, holds=False, evidence="no gate failed and passed later in the same task")


def _escape(evidence: Evidence) -> Claim:
    title = "an attempt to leave the repository was refused"
    for entry in evidence.of("step_recorded"):
        if entry.body["allowed"] is False and entry.body["step"] == "tool":
            text = f"{entry.body['agent']}, {entry.body['name']}: {entry.body['reason']}"
            return Claim(title=title, holds=True, evidence=text)
    return Claim(title=title, holds=False, evidence="policy refused no tool call")


def _killed(evidence: Evidence) -> Claim:
    title = "the worker was killed, and no journaled model call was made again"
    now = {(step.thread, step.ordinal, step.sub): step for step in evidence.steps}
    kept = sum(now.get(key) == step for key, step in evidence.before_kill.items())
    again = [entry for entry in evidence.of("run_started") if entry.body["epoch"] > 1 and entry.body["served"]]
    resumed = [entry for entry in again if entry.body["thread"] in evidence.interrupted]
    served = sum(entry.body["served"] for entry in resumed)
    text = (
        f"{kept} of {len(evidence.before_kill)} calls made before the kill stand unchanged; "
        f"{len(resumed)} of {len(evidence.interrupted)} interrupted runs were served {served} "
        f"steps from the journal; in doubt: {evidence.in_doubt}"
    )
    everybody = {entry.body["thread"] for entry in resumed} == evidence.interrupted
    holds = bool(evidence.interrupted) and everybody and kept == len(evidence.before_kill)
    return Claim(title=title, holds=holds, evidence=text)


def _green(evidence: Evidence) -> Claim:
    title = "a red test is green"
    prepared = next(iter(evidence.of("target_prepared")), None)
    if prepared is None:
        return Claim(title=title, holds=False, evidence="the target was never prepared")
    baseline = json.loads(evidence.artifacts[prepared.body["baseline"]])
    red = {gate["gate"]["name"]: gate["failures"] for gate in baseline["gates"] if gate["gate"]["kind"] == "tests"}
    # What a task's gates said is no answer: its branch need not hold the other tasks' work. QA saw the whole sprint.
    seen = [answer for answer in _quality_assurance(evidence) if answer["gate"] in red]
    green = bool(seen) and all(answer["passed"] and not answer["failures"] for answer in seen)
    failed = sorted(test for tests in red.values() for test in tests)
    verdict = "pass" if green else "do not pass"
    text = (
        f"red at the start: {', '.join(failed) or 'nothing'}; with everything merged, QA saw that all tests {verdict}"
    )
    return Claim(title=title, holds=bool(failed) and green, evidence=text)


def _quality_assurance(evidence: Evidence) -> list[dict[str, Json]]:
    """What gates answered to QA on the merged work of a sprint."""
    return [
        json.loads(step.result["content"])
        for step in evidence.steps
        if step.name == "run_gate" and step.kind is StepKind.TOOL and step.thread.split("/")[2] == "sprint"
    ]


def _decided(evidence: Evidence) -> Claim:
    made = evidence.of("decision_made")
    kinds = ", ".join(f"{entry.body['approval_kind']} by {entry.body['claimed_by']} (a claim)" for entry in made)
    bound = all(entry.body["digest"] for entry in made)
    title = "work waited for decisions that came as signals"
    return Claim(title=title, holds=bool(made) and bound, evidence=kinds or "no decision")


def _merged(evidence: Evidence) -> Claim:
    title = "every merge names its place on the ledger"
    heads = {f"{entry.project}@{entry.seq}:{entry.hash}" for entry in evidence.entries}
    good = [commit for commit, trailer in evidence.merges if trailer in heads]
    text = (
        f"{len(good)} of {len(evidence.merges)} merge commits on {evidence.branch} carry a {TRAILER} trailer that fits"
    )
    return Claim(title=title, holds=bool(good) and len(good) == len(evidence.merges), evidence=text)


def _untouched(evidence: Evidence) -> Claim:
    text = "HEAD and files are as they were; the work is on a branch"
    return Claim(title="your checkout was not touched", holds=evidence.untouched, evidence=text)


def _verified(evidence: Evidence) -> Claim:
    found = verify(evidence.entries)
    text = f"{found.entries} entries, head {found.head}" if found.ok else f"entry {found.first_bad_seq}: {found.reason}"
    return Claim(title="the ledger verifies", holds=found.ok and found.entries > 0, evidence=text)


def _cost(evidence: Evidence) -> Claim:
    calls = sum(row.calls for row in evidence.usage)
    spent = sum((row.cost_usd for row in evidence.usage), Decimal(0))
    models = ", ".join(sorted({row.model for row in evidence.usage if row.calls})) or "no model"
    text = f"{calls} model calls, {dollars(spent)} USD ({models})"
    return Claim(title="what it cost", holds=calls > 0, evidence=text)


CLAIMS: tuple[Callable[[Evidence], Claim], ...] = (
    _decided,
    _overlap,
    _handover,
    _repair,
    _escape,
    _killed,
    _green,
    _merged,
    _untouched,
    _verified,
    _cost,
)


def _first(regressions: Sequence[str]) -> str:
    return regressions[0].splitlines()[0][:120] if regressions else "no detail"

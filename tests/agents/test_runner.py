"""Whole agent runs: real git, real LiteLLM over HTTP, real Redis, the record in memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agents.assignments import Feedback, Work
from agents.errors import LostLeaseError, ModelKeyRefusedError, ModelUnavailableError
from agents.feed import Feed
from agents.gateway import Gateway
from agents.git import GitStore
from agents.layout import Layout
from agents.messages import feedback_message
from agents.model_choice import Choice, SharedChoices
from agents.model_keys import Access, Wanted
from agents.pricing import Price
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Rehearsal
from agents.rehearsal.server import serving
from agents.runner import AgentDeps, run_agent
from agents.runs import AgentOutcome, AgentRun
from agents.sandbox import Unconfined
from agents.workplace import run_branch
from ledger.chain import verify
from ledger.items import Intent
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.vocabulary import OutcomeKind, Role, Seat, Standing, StepKind
from tests.agents.conftest import eventually
from tests.agents.scripted import Says, Server, by_turn, scripted

BRANCH = "syndic/p.s1.t"
MODEL = "openai/scripted"
DONE = Says("done", (("finish", {"summary": "tidied", "outcome": "changed"}),))
READ = Says("look", (("read_file", {"path": "a.py"}), ("list_files", {})))
WRITE = Says("write", (("write_file", {"path": "a.py", "text": "X = 2\n"}),))
MORE = Says("more", (("write_file", {"path": "b.py", "text": "Y = 1\n"}),))


class Keys:
    def __init__(self, url: str) -> None:
        self.url = url

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test", self.url)

    def refused(self) -> None:
        raise AssertionError("the key is good")


@dataclass
class Bench:
    """A project with one file, a worker's dependencies, and a provider to script."""

    deps: AgentDeps
    store: MemoryStore
    server: Server
    git: GitStore
    base: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    beats: list[tuple[int, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def request(self, **changes: Any) -> AgentRun:
        request = AgentRun(
            project="p", sprint=1, task="t", lineage="engineer-1", role=Role.ENGINEER, agent="p.engineer.ada",
            work=Work.CHANGE, goal="tidy the package", chain=(MODEL,), branch=BRANCH, base_commit=self.base,
            budget_scope="p/s1/t",
        )  # fmt: skip
        return request.model_copy(update=changes)

    async def run(self, holder: str = "activity", **changes: Any) -> AgentOutcome:
        return await run_agent(
            self.request(**changes), self.deps, stopping=self.stopping, holder=holder,
            beat=lambda ordinal, name: self.beats.append((ordinal, name)),
        )  # fmt: skip

    async def kinds(self) -> list[str]:
        return [entry.kind for entry in await self.store.entries("p")]

    async def commits(self) -> int:
        """How many the branch holds beyond the base."""
        command = ["git", "--git-dir", str(self.git.path), "rev-list", "--count", f"{self.base}..{BRANCH}"]
        return int(await asyncio.to_thread(subprocess.check_output, command, text=True))

    async def show(self, commit: str, path: str) -> str:
        command = ["git", "--git-dir", str(self.git.path), "show", f"{commit}:{path}"]
        return await asyncio.to_thread(subprocess.check_output, command, text=True)

    async def events(self) -> list[dict[str, Any]]:
        return [item.event async for item in self.deps.feed.read("p")]


def tool_messages(server: Server) -> list[dict[str, Any]]:
    """What the model read of its calls, in its last request."""
    messages = server.requests[-1]["messages"]
    return [json.loads(message["content"]) for message in messages if message["role"] == "tool"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.py").write_text("X = 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted() as running:
        yield running


@pytest.fixture
async def bench(tmp_path: Path, source: Path, server: Server, redis: Redis) -> AsyncIterator[Bench]:
    store = MemoryStore()
    layout = Layout(tmp_path / "state")
    git = GitStore(layout.repository("p"))
    await git.create()
    base = (await git.fetch(str(source))).commit
    await git.create_branch(BRANCH, base)
    await store.open_budget("p", Decimal(5))
    await store.open_budget("p/s1/t", None)
    gateway = Gateway(Keys(server.url), prices={MODEL: Price(Decimal("0.000001"), Decimal("0.000002"))})
    deps = AgentDeps(
        store=store, journal=GroupCommit(store), gateway=gateway, feed=Feed(redis), sandbox=Unconfined(),
        layout=layout, worker="w1",
    )  # fmt: skip
    yield Bench(deps, store, server, git, base)
    await deps.journal.aclose()
    await deps.feed.settle()
    await gateway.close()


async def test_a_lost_call_stays_charged_and_listed_when_the_next_model_answers(bench: Bench) -> None:
    bench.server.queue = [Says("lost", cut=0)]
    bench.server.script = by_turn(DONE)
    second = "openai/second"
    prices = {
        MODEL: Price(Decimal("0.000001"), Decimal("0.000002")),
        second: Price(Decimal("0.000001"), Decimal("0.000002")),
    }
    gateway = Gateway(Keys(bench.server.url), prices=prices)
    bench.deps = replace(bench.deps, gateway=gateway)
    outcome = await bench.run(chain=(MODEL, second))
    assert outcome.kind is OutcomeKind.FINISHED
    assert bench.server.calls == 2
    [doubt] = await bench.store.in_doubt("p")
    budget = await bench.store.budget("p")
    assert outcome.cost_usd == Decimal("0.0012")
    assert doubt.cost_usd > 0
    assert budget.spent_usd + budget.reserved_usd == outcome.cost_usd + doubt.cost_usd
    again = await bench.run(chain=(MODEL, second))
    assert (again.kind, bench.server.calls) == (OutcomeKind.FINISHED, 2)
    await gateway.close()


async def test_a_request_that_no_model_can_serve_ends_the_run(bench: Bench) -> None:
    bench.server.queue = [Says("tools must be a list", status=400)]
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FAILED
    assert "tools must be a list" in outcome.summary
    assert (await bench.store.budget("p")).reserved_usd == 0


async def test_a_refused_key_does_not_end_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keys, "refused", lambda _: None)
    bench.server.queue = [Says("bad key", status=401)]
    bench.server.script = by_turn(DONE)
    with pytest.raises(ModelKeyRefusedError):
        await bench.run()
    assert (await bench.run()).kind is OutcomeKind.FINISHED


async def test_an_engineer_reads_writes_and_finishes(bench: Bench) -> None:
    bench.server.script = by_turn(READ, WRITE, DONE)
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FINISHED
    assert outcome.result["outcome"] == "changed"
    assert (outcome.model_calls, outcome.steps) == (3, 8)
    assert outcome.cost_usd == Decimal("0.0036")
    assert outcome.commit == await bench.git.head(BRANCH)
    assert await bench.show(outcome.commit, "a.py") == "X = 2\n"
    assert outcome.artifact is not None
    assert json.loads(await bench.store.get_artifact(outcome.artifact.digest)) == outcome.result
    kinds = await bench.kinds()
    assert (kinds[0], kinds[-1], kinds.count("step_recorded")) == ("run_started", "run_finished", 8)
    assert verify(await bench.store.entries("p")).ok
    assert [ordinal for ordinal, _ in bench.beats] == [0, 1, 2, 2, 3, 4, 5, 6]


async def test_the_model_sees_the_role_the_assignment_and_its_tools(bench: Bench) -> None:
    bench.server.script = by_turn(DONE)
    await bench.run(instructions="make X two", feedback=(Feedback(source="gate:tests", text="red"),))
    sent = bench.server.requests[0]
    system, user = sent["messages"]
    assert "engineer" in system["content"]
    assert user["content"].startswith("Assignment:\n```json\n")
    told = json.loads(user["content"].split("```json\n")[1].removesuffix("\n```"))
    assert told["instructions"] == "make X two"
    assert told["feedback"][0]["text"] == "red"
    assert {"finish", "refuse", "escalate", "hand_off", "write_file"} <= {
        tool["function"]["name"] for tool in sent["tools"]
    }


async def test_a_repeated_activity_asks_nobody_and_gives_the_same_outcome(bench: Bench) -> None:
    bench.server.script = by_turn(READ, WRITE, DONE)
    first = await bench.run()
    calls, steps = bench.server.calls, await bench.store.steps(first.thread)
    assert await bench.run() == first
    assert bench.server.calls == calls
    assert await bench.store.steps(first.thread) == steps


async def test_a_run_that_breaks_off_goes_on_where_it_stopped(bench: Bench) -> None:
    script = by_turn(READ, WRITE, MORE, DONE)

    def breaking(messages: list[dict[str, Any]]) -> Says:
        broken = bench.server.calls == 3
        return Says("broken", status=500) if broken else script(messages)

    bench.server.script = breaking
    with pytest.raises(ModelUnavailableError):
        await bench.run()
    tree = bench.deps.layout.tree("p", BRANCH)
    (tree / "a.py").write_text("half")
    (tree / "stray.txt").write_text("left behind")
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FINISHED
    assert bench.server.calls == 5
    assert outcome.model_calls == 4
    assert outcome.commit is not None
    assert await bench.show(outcome.commit, "a.py") == "X = 2\n"
    assert not (tree / "stray.txt").exists()


async def test_a_commit_that_was_never_journaled_is_undone(bench: Bench) -> None:
    bench.server.script = by_turn(WRITE, MORE, DONE)
    submit, seen = bench.deps.journal.submit_all, [0]

    async def dying(items: Any) -> Any:
        if any(getattr(item, "commit", None) for item in items):
            seen[0] += 1
            if seen[0] == 2:
                raise LostLeaseError
        return await submit(items)

    bench.deps.journal.submit_all = dying  # type: ignore[method-assign]  # dies between commit and receipt
    with pytest.raises(LostLeaseError):
        await bench.run()
    assert await bench.commits() == 2
    bench.deps.journal.submit_all = submit  # type: ignore[method-assign]  # the next process
    outcome = await bench.run()
    assert outcome.commit == await bench.git.head(BRANCH)
    assert outcome.commit is not None
    assert await bench.commits() == 2
    assert (await bench.git.changes(bench.base, outcome.commit)).paths == ("a.py", "b.py")


async def test_feedback_arrives_with_the_next_turn_and_replays(bench: Bench) -> None:
    note = Feedback(source="person:kim", text="keep X small")
    bench.server.script = by_turn(READ, WRITE, DONE)
    original, calls_begun = bench.deps.journal.submit_all, []

    async def posting(items: Any) -> Any:
        if isinstance(items[-1], Intent):
            calls_begun.append(items[-1])
            if len(calls_begun) == 2:  # somebody writes at the last moment
                message = feedback_message(id="n1", project="p", target="p.engineer.ada", feedback=note)
                await bench.store.post([message])
        return await original(items)

    bench.deps.journal.submit_all = posting  # type: ignore[method-assign]
    outcome = await bench.run()
    second = bench.server.requests[1]["messages"]
    assert second[-1]["content"].startswith("Message:")
    assert "keep X small" in second[-1]["content"]
    assert await bench.store.inbox("p", "p.engineer.ada") == []
    calls = bench.server.calls
    assert await bench.run() == outcome
    assert bench.server.calls == calls


async def test_feedback_between_a_crash_and_the_restart_waits_for_the_next_turn(bench: Bench) -> None:
    bench.server.queue = [READ, Says("broken", status=500)]
    with pytest.raises(ModelUnavailableError):
        await bench.run()
    await bench.store.post(
        [
            feedback_message(
                id="n1", project="p", target="p.engineer.ada", feedback=Feedback(source="person:kim", text="hurry")
            )
        ]
    )
    bench.server.script = by_turn(READ, WRITE, DONE)
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FINISHED
    told = [any("hurry" in str(m["content"]) for m in request["messages"]) for request in bench.server.requests]
    assert told == [False, False, False, True]


async def test_a_swapped_model_goes_on_with_the_same_thread(bench: Bench) -> None:
    bench.server.queue = [READ, Says("broken", status=500)]
    with pytest.raises(ModelUnavailableError):
        await bench.run()
    bench.server.script = by_turn(READ, WRITE, DONE)
    gateway = Gateway(Keys(bench.server.url), prices={"openai/other": Price(Decimal(0), Decimal(0))})
    bench.deps = replace(bench.deps, gateway=gateway)
    outcome = await bench.run(chain=("openai/other",))
    assert outcome.kind is OutcomeKind.FINISHED
    steps = await bench.store.steps(outcome.thread)
    assert [step.model for step in steps if step.model] == [MODEL, "openai/other", "openai/other"]


async def test_an_invalid_result_goes_back_once_with_the_errors(bench: Bench) -> None:
    bad = Says("bad", (("finish", {"summary": "x", "outcome": "perfect"}),))
    bench.server.script = by_turn(bad, DONE)
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FINISHED
    told = tool_messages(bench.server)[0]
    assert told["error"] == "invalid arguments"
    assert "outcome" in told["errors"][0]


async def test_two_invalid_results_fail_the_run(bench: Bench) -> None:
    bench.server.script = by_turn(Says("bad", (("finish", {}),)), Says("bad", (("finish", {"summary": "x"}),)))
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FAILED
    assert "invalid 2 times" in outcome.summary
    assert bench.server.calls == 2


SECOND = "openai/second"
SCRIPTED = Price(Decimal("0.000001"), Decimal("0.000002"))
JUDGE: dict[str, Any] = {
    "role": Role.JUDGE, "seat": Seat.QUALITY, "work": Work.JUDGE, "lineage": "judge-quality-1", "agent": "p.judge.kay",
}  # fmt: skip
VAGUE = Says("bad", (("finish", {"verdict": "fine", "confidence": 2, "reasons": []}),))
VERDICT = Says("ok", (("finish", {"verdict": "approve", "confidence": 0.9, "reasons": ["tests pass"]}),))


def models_asked(server: Server) -> list[str]:
    return [request["model"] for request in server.requests]


async def test_a_choice_is_used_on_the_next_call_and_stays_on_the_journal(bench: Bench) -> None:
    choices = SharedChoices(bench.deps.feed.redis)
    gateway = Gateway(Keys(bench.server.url), prices={MODEL: SCRIPTED, SECOND: SCRIPTED})
    bench.deps = replace(bench.deps, gateway=gateway, choices=choices)
    bench.server.script = by_turn(READ, WRITE, DONE)

    async def swap() -> None:
        await asyncio.to_thread(bench.server.asked.wait, 10)
        await choices.put("engineer", Choice(chain=(SECOND,)))
        bench.hold.set()

    bench.server.queue = [replace(READ, hold=bench.hold)]
    outcome, _ = await asyncio.gather(bench.run(), swap())
    assert outcome.kind is OutcomeKind.FINISHED
    assert models_asked(bench.server) == ["scripted", "second", "second"]
    steps = await bench.store.steps(outcome.thread)
    assert [step.result for step in steps if step.name == "models"] == [{"chain": [SECOND]}]
    await choices.drop("engineer")
    again = await bench.run()
    assert (again.kind, again.steps, bench.server.calls) == (OutcomeKind.FINISHED, outcome.steps, 3)


async def test_a_choice_helps_a_call_that_was_begun_and_failed(bench: Bench) -> None:
    choices = SharedChoices(bench.deps.feed.redis)
    gateway = Gateway(Keys(bench.server.url), prices={MODEL: SCRIPTED, SECOND: SCRIPTED})
    bench.deps = replace(bench.deps, gateway=gateway, choices=choices)
    bench.server.script = by_turn(READ, DONE)
    bench.server.queue = [Says("down", status=503)]
    with pytest.raises(ModelUnavailableError):
        await bench.run()
    await choices.put("engineer", Choice(chain=(SECOND,)))
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FINISHED
    assert models_asked(bench.server) == ["scripted", "second", "second"]
    assert (await bench.run()).steps == outcome.steps


@pytest.mark.parametrize("bad", [VAGUE, Says("I approve")], ids=["invalid verdict", "verdict in prose"])
async def test_after_two_invalid_answers_the_next_model_gives_the_verdict(bench: Bench, bad: Says) -> None:
    bench.deps = replace(
        bench.deps, gateway=Gateway(Keys(bench.server.url), prices={MODEL: SCRIPTED, SECOND: SCRIPTED})
    )
    bench.server.script = by_turn(bad, bad, VERDICT)
    outcome = await bench.run(**JUDGE, chain=(MODEL, SECOND))
    assert (outcome.kind, outcome.result["verdict"]) == (OutcomeKind.FINISHED, "approve")
    assert models_asked(bench.server) == ["scripted", "scripted", "second"]
    again = await bench.run(**JUDGE, chain=(MODEL, SECOND))
    assert (again.result, bench.server.calls) == (outcome.result, 3)


async def test_when_no_model_gives_a_valid_verdict_a_person_is_asked_and_helps(bench: Bench) -> None:
    bench.server.script = by_turn(VAGUE, VAGUE, VERDICT)
    outcome = await bench.run(**JUDGE)
    assert outcome.kind is OutcomeKind.NEEDS_HUMAN
    assert outcome.result == {"question": outcome.question}
    assert "invalid 2 times" in (outcome.question or "")
    assert "verdict" in (outcome.question or "")
    assert bench.server.calls == 2
    helped = await bench.run(**JUDGE, answer="approve it", answer_to=outcome.question_id)
    assert (helped.kind, helped.result["verdict"]) == (OutcomeKind.FINISHED, "approve")
    assert bench.server.calls == 3
    assert "approve it" in bench.server.requests[-1]["messages"][-1]["content"]


async def test_arguments_that_are_no_json_go_back(bench: Bench) -> None:
    bench.server.script = by_turn(Says("oops", (("read_file", '{"path": '),)), DONE)
    assert (await bench.run()).kind is OutcomeKind.FINISHED
    assert "no valid JSON" in tool_messages(bench.server)[0]["error"]


async def test_an_answer_without_a_call_is_nudged_once_then_failed(bench: Bench) -> None:
    bench.server.script = by_turn(Says("I think"), DONE)
    assert (await bench.run()).kind is OutcomeKind.FINISHED
    bench.server.script = by_turn(Says("I think"), Says("I still think"))
    outcome = await bench.run(lineage="engineer-2")
    assert outcome.kind is OutcomeKind.FAILED
    assert "without a tool call" in outcome.summary


async def test_a_run_in_circles_is_told_and_then_failed(bench: Bench) -> None:
    bench.server.script = by_turn(READ)
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.FAILED
    assert "same call" in outcome.summary
    assert bench.server.calls == 4
    assert "3 times in a row" in bench.server.requests[-1]["messages"][-1]["content"]


async def test_the_number_of_turns_is_limited(bench: Bench) -> None:
    bench.server.script = lambda messages: Says("again", (("read_file", {"path": "a.py", "start": len(messages)}),))
    outcome = await bench.run(max_steps=6)
    assert outcome.kind is OutcomeKind.FAILED
    assert "6 model calls" in outcome.summary
    assert bench.server.calls == 6


async def test_an_escape_is_refused_recorded_and_told(bench: Bench) -> None:
    escape = Says("out", (("write_file", {"path": "../../evil", "text": "x"}), ("read_file", {"path": "/etc/passwd"})))
    bench.server.script = by_turn(escape, DONE)
    assert (await bench.run()).kind is OutcomeKind.FINISHED
    assert all(told["refused"] for told in tool_messages(bench.server))
    refused = [e.body for e in await bench.store.entries("p") if e.body.get("allowed") is False]
    assert [body["name"] for body in refused] == ["write_file", "read_file"]
    assert all(body["reason"] for body in refused)


async def test_unknown_tools_and_tools_of_other_roles_are_refused(bench: Bench) -> None:
    asked = Says("try", (("launch", {}), ("write_file", {"path": "a.py", "text": "x"})))
    verdict = Says("no", (("finish", {"verdict": "reject", "confidence": 0.9, "reasons": ["wrong"]}),))
    bench.server.script = by_turn(asked, verdict)
    outcome = await bench.run(
        role=Role.JUDGE, seat=Seat.TECHNICAL, work=Work.JUDGE, lineage="judge-technical-1", agent="p.judge.technical"
    )
    assert outcome.kind is OutcomeKind.FINISHED
    assert all(told["refused"] for told in tool_messages(bench.server))
    assert outcome.summary == "reject: wrong"
    assert await bench.git.head(BRANCH) == bench.base


async def test_four_judges_read_side_by_side_without_moving_the_branch(bench: Bench) -> None:
    verdict = Says("yes", (("finish", {"verdict": "approve", "confidence": 0.8, "reasons": ["good"]}),))
    bench.server.script = by_turn(READ, verdict)
    outcomes = await asyncio.gather(
        *(
            bench.run(
                role=Role.JUDGE,
                seat=seat,
                work=Work.JUDGE,
                lineage=f"judge-{seat}-1",
                agent=f"p.judge.{seat}",
                holder=str(seat),
            )
            for seat in Seat
        )
    )
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.FINISHED}
    assert {outcome.commit for outcome in outcomes} == {bench.base}
    assert await bench.git.head(BRANCH) == bench.base


async def test_runs_without_a_branch_read_side_by_side_in_folders_of_their_own(bench: Bench) -> None:
    report = Says("r", (("finish", {"summary": "s", "markdown": "m"}),))
    bench.server.script = by_turn(READ, report)
    outcomes = await asyncio.gather(
        *(
            bench.run(
                role=Role.ANALYST,
                work=Work.SURVEY,
                task=f"survey-{number}",
                lineage="analyst-1",
                agent="p.analyst.ada",
                branch=None,
            )
            for number in range(4)
        )
    )
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.FINISHED}
    folders = {bench.deps.layout.tree("p", run_branch(bench.request(task=f"survey-{n}"))) for n in range(4)}
    assert len(folders) == 4


async def test_a_plan_in_circles_goes_back(bench: Bench) -> None:
    def plan(*depends: str) -> Says:
        task = {"id": "one", "title": "t", "kind": "change", "instructions": "i", "depends_on": list(depends)}
        return Says("plan", (("finish", {"summary": "s", "sprints": [{"goal": "g", "tasks": [task]}]}),))

    bench.server.script = by_turn(plan("one"), plan("two"))
    outcome = await bench.run(
        role=Role.ARCHITECT, work=Work.PLAN, sprint=0, task="plan", lineage="architect-1", branch=None
    )
    assert outcome.kind is OutcomeKind.NEEDS_HUMAN
    assert "depends on 'two'" in (outcome.question or "")
    assert "circle" in tool_messages(bench.server)[0]["errors"][0]


async def test_a_person_is_asked_and_the_run_goes_on_with_the_answer(bench: Bench) -> None:
    ask = Says("?", (("escalate", {"question": "may I?"}),))
    again = Says("?", (("escalate", {"question": "really?"}),))
    bench.server.script = by_turn(ask, again, DONE)
    first = await bench.run()
    assert (first.kind, first.question) == (OutcomeKind.NEEDS_HUMAN, "may I?")
    second = await bench.run(answer="yes", answer_to=first.question_id)
    assert (second.kind, second.question) == (OutcomeKind.NEEDS_HUMAN, "really?")
    assert "yes" in bench.server.requests[1]["messages"][-1]["content"]
    repeated = await bench.run(answer="yes", answer_to=first.question_id)
    assert repeated == second
    last = await bench.run(answer="yes", answer_to=second.question_id)
    assert last.kind is OutcomeKind.FINISHED
    assert bench.server.calls == 3


async def test_refusal_and_handoff_end_the_run(bench: Bench) -> None:
    bench.server.script = by_turn(Says("no", (("refuse", {"reason": "no package", "can_do": ["analyze"]}),)))
    refused = await bench.run()
    assert (refused.kind, refused.question) == (OutcomeKind.REFUSED, "no package")
    bench.server.script = by_turn(Says("you", (("hand_off", {"role": "devops", "reason": "it is the build"}),)))
    handed = await bench.run(lineage="engineer-2")
    assert (handed.kind, handed.to_role) == (OutcomeKind.HANDOFF, Role.DEVOPS)
    waiting = await bench.store.undelivered()
    assert "TASK_HANDOFF" in [message.type for message in waiting]


async def test_a_paused_project_ends_the_run_as_paused_and_it_goes_on_later(bench: Bench) -> None:
    bench.server.script = by_turn(READ, WRITE, DONE)
    await bench.store.set_standing("p", Standing.PAUSED, "lunch")
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.PAUSED
    assert bench.server.calls == 0
    await bench.store.set_standing("p", Standing.ACTIVE, "back")
    assert (await bench.run()).kind is OutcomeKind.FINISHED


async def test_a_stopping_worker_finishes_the_call_in_flight_and_starts_no_other(bench: Bench) -> None:
    hold = threading.Event()
    bench.server.queue = [replace(READ, hold=hold)]
    running = asyncio.create_task(bench.run())
    await eventually(bench.server.asked.is_set)
    bench.stopping.set()
    hold.set()
    outcome = await running
    assert outcome.kind is OutcomeKind.PAUSED
    assert (bench.server.calls, outcome.model_calls) == (1, 1)


async def test_an_empty_budget_ends_the_run_before_anybody_is_asked(bench: Bench) -> None:
    await bench.store.raise_budget("p", Decimal("0.0001"))
    bench.server.script = by_turn(DONE)
    outcome = await bench.run()
    assert outcome.kind is OutcomeKind.OVER_BUDGET
    assert bench.server.calls == 0


async def test_the_feed_shows_states_and_calls_once(bench: Bench) -> None:
    bench.server.script = by_turn(READ, WRITE, DONE)
    await bench.run()
    events = await bench.events()
    states = [event["data"]["state"] for event in events if event["type"] == "state"]
    assert states[0] == "thinking"
    assert states[-1] == "completed"
    assert "executing" in states
    tools = [event["text"] for event in events if event["type"] == "tool"]
    assert sorted(tools[:2]) == ["list_files", "read_file"]  # they ran side by side
    assert tools[2:] == ["write_file", "finish"]
    await bench.run()
    assert [event["text"] for event in await bench.events() if event["type"] == "tool"] == tools


async def test_the_feed_shows_an_answer_while_it_comes_and_the_journal_holds_it_whole(bench: Bench) -> None:
    write = {"name": "write_file", "arguments": {"path": "a.py", "text": "X = 2\n"}}
    done = {"name": "finish", "arguments": {"summary": "tidied", "outcome": "changed"}}
    rules = [
        {"turn": 0, "first_byte_s": 0.3, "say": {"text": "I think. " * 200, "calls": [write]}},
        {"say": {"text": "done", "calls": [done]}},
    ]
    with serving(Provider(Rehearsal.model_validate({"rules": rules}))) as url:
        bench.deps = replace(bench.deps, gateway=Gateway(Keys(url + "/v1"), prices={MODEL: SCRIPTED}))
        assert (await bench.run()).kind is OutcomeKind.FINISHED
    thoughts = [event for event in await bench.events() if event["type"] == "thinking"]
    partial, *_ = [event for event in thoughts if event["data"].get("partial")]
    whole, *_ = [event for event in thoughts if not event["data"].get("partial")]
    assert partial["text"].startswith("I think")
    assert thoughts.index(partial) < thoughts.index(whole)
    steps = await bench.store.steps("p/s1/t/engineer-1")
    [journaled, *_] = [step.result for step in steps if step.kind is StepKind.MODEL]
    assert journaled["text"] == "I think. " * 200


async def test_a_dead_redis_does_not_stop_a_run(bench: Bench) -> None:
    lonely = Redis(port=1, socket_connect_timeout=0.2)
    bench.deps = replace(bench.deps, feed=Feed(lonely))
    bench.server.script = by_turn(READ, WRITE, DONE)
    assert (await bench.run()).kind is OutcomeKind.FINISHED
    await bench.deps.feed.settle()
    assert bench.deps.feed.failures > 0
    await lonely.aclose()

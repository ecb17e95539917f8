"""Recording and replaying: equal runs without a provider, differences named, no secret written."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from activities.failures import failure
from agents.assignments import Work
from agents.errors import ModelRefusedError, RecordingError, ReplayError
from agents.feed import Feed
from agents.gateway import Gateway
from agents.git import GitStore
from agents.layout import Layout
from agents.model_keys import Access, Wanted
from agents.models import Bound, ModelAnswer, ModelRequest, Models, ToolCall
from agents.recording import Recorder, scrub
from agents.rehearsal.provider import Provider
from agents.rehearsal.server import serving
from agents.replaying import Replayer, read_recording
from agents.runner import AgentDeps, run_agent
from agents.runs import AgentOutcome, AgentRun
from agents.sandbox import Unconfined
from ledger.journal import GroupCommit
from ledger.memory import MemoryStore
from ledger.vocabulary import Json, OutcomeKind, Role, Usage

MODEL = "openai/gpt-4o-mini"
CHAIN = (MODEL,)
KEY = "a-key-of-no-known-shape-0123"


class Keys:
    def __init__(self, url: str) -> None:
        self.url = url

    async def access(self, wanted: Wanted) -> Access:
        return Access(KEY, self.url + "/v1")

    def refused(self) -> None:
        """Nothing is kept."""


def asking(*texts: str, purpose: str = "change", tools: tuple[dict[str, Json], ...] = ()) -> ModelRequest:
    """A conversation of a system prompt and alternating turns."""
    roles = ["system", *(["user", "assistant"] * len(texts))]
    messages = tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=False))
    return ModelRequest(purpose=purpose, messages=messages, tools=tools)


@dataclass
class Echo:
    """Stands for a gateway: numbers its answers."""

    calls: int = 0
    text: str = "answer"
    refuses: bool = False

    async def ready(self) -> None:
        """At once."""

    def bound(self, request: ModelRequest, chain: Any) -> Bound:
        return Bound(Decimal("0.5"), 200)

    async def complete(self, request: ModelRequest, chain: Any, offset: int = 0, *, lost: Any = None) -> ModelAnswer:
        self.calls += 1
        if self.refuses:
            raise ModelRefusedError("too long for every model")
        call = ToolCall(id=f"c{self.calls}", name="finish", arguments="{}")
        return ModelAnswer(
            text=f"{self.text} {self.calls}", tool_calls=(call,), model=MODEL, cost_usd=Decimal("0.1"),
            usage=Usage(prompt_tokens=5),
        )  # fmt: skip


async def recorded(path: Path, *requests: ModelRequest, **echo: Any) -> Replayer:
    recorder = Recorder(Echo(**echo), path, {"default": CHAIN}, [KEY])
    for request in requests:
        await recorder.complete(request, CHAIN)
    recorder.close()
    return Replayer(read_recording(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


async def test_a_replayed_answer_is_the_recorded_one_free_and_labelled(path: Path) -> None:
    replayer = await recorded(path, asking("s", "u"))
    assert replayer.bound(asking("s", "u"), CHAIN) == Bound()
    answer = await replayer.complete(asking("s", "u"), CHAIN)
    assert (answer.text, answer.tool_calls[0].id) == ("answer 1", "c1")
    assert (answer.model, answer.cost_usd, answer.usage) == (f"replay/{MODEL}", Decimal(0), Usage())


async def test_equal_requests_are_answered_in_the_recorded_order_and_the_last_answer_stays(path: Path) -> None:
    replayer = await recorded(path, asking("s", "a"), asking("s", "b"), asking("s", "a"))
    told = [(await replayer.complete(asking("s", text), CHAIN)).text for text in "aaba"]
    assert told == ["answer 1", "answer 3", "answer 2", "answer 3"]


async def test_a_recording_keeps_the_chains_and_what_was_billed(path: Path) -> None:
    await recorded(path, asking("s", "u"))
    found = read_recording(path)
    assert found.chains == {"default": CHAIN}
    assert found.calls[0].line["answer"]["cost_usd"] == "0.1"
    assert path.stat().st_mode & 0o077 == 0


async def test_a_refusal_is_replayed_as_one(path: Path) -> None:
    recorder = Recorder(Echo(refuses=True), path, {})
    with pytest.raises(ModelRefusedError):
        await recorder.complete(asking("s", "u"), CHAIN)
    recorder.close()
    with pytest.raises(ModelRefusedError, match="too long"):
        await Replayer(read_recording(path)).complete(asking("s", "u"), CHAIN)


READ = {"type": "function", "function": {"name": "read_file", "description": "Read."}}
READ_ANEW = {"type": "function", "function": {"name": "read_file", "description": "Read a file."}}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (asking("be kind", "do it", "done", "and now?"), r"request 2 \(change\).*message 0 \(system\) differs"),
        (
            asking("be brief", "do it", "done", "and then?"),
            r"request 2 .*message 3 .*at character 4: recorded 'and now\?'",
        ),
        (asking("be brief", "do it", "done"), r"request 2 .*message 3 \(user\) differs: it is missing, 'and now\?'"),
        (asking("be brief", "do it", "done", "and now?", "so"), r"message 4 \(assistant\) differs: it is new, 'so'"),
        (asking("be brief", "do it", tools=(READ,)), "request 1 .*tools on offer differ: new: read_file"),
        (asking("be brief", "do it").model_copy(update={"max_tokens": 9}), "max_tokens was 4096 and is 9"),
        (asking("be brief", "do it", purpose="plan"), "plan request was not recorded, nor was any other for plan"),
    ],
    ids=["prompt", "text", "shorter", "longer", "tools", "limit", "purpose"],
)
async def test_the_first_difference_is_named(path: Path, asked: ModelRequest, named: str) -> None:
    replayer = await recorded(path, asking("be brief", "do it"), asking("be brief", "do it", "done", "and now?"))
    with pytest.raises(ReplayError, match=named) as caught:
        await replayer.complete(asked, CHAIN)
    failed = failure(caught.value)
    assert (failed.type, failed.non_retryable) == ("Divergence", True)


async def test_a_tool_that_is_described_anew_is_named(path: Path) -> None:
    replayer = await recorded(path, asking("s", "u", tools=(READ,)))
    with pytest.raises(ReplayError, match="described anew: read_file"):
        await replayer.complete(asking("s", "u", tools=(READ_ANEW,)), CHAIN)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("3 passed in 0.03s", "3 passed in 1.20s"),
        ("base " + "ab" * 20, "base " + "cd" * 20),
        ("at 2026-11-21T04:10:18Z", "at 2027-01-02T03:04:05.678+00:00"),
        ("<object at 0x7fa106a8b710>", "<object at 0x7fb206a8b990>"),
        ("rootdir: /home/a/state/projects/p/trees/x", "rootdir: /var/lib/ci/projects/p/trees/x"),
        ('"budget_left_usd": "4.999811000", "scope"', '"budget_left_usd": "5", "scope"'),
        (r"\"duration_s\": 0.341, ", r"\"duration_s\": 0.63, "),
        ("spent $0.19, then", "spent $0, then"),
        ("wrote /tmp/abc/x.log", "wrote /tmp/def/y.log"),
    ],
)
async def test_what_differs_between_equal_runs_by_nature_is_no_difference(path: Path, then: str, now: str) -> None:
    replayer = await recorded(path, asking("s", then))
    assert await replayer.complete(asking("s", now), CHAIN)


SECRETS = [
    "sk-proj-0123456789abcdefghij",
    "ghp_0123456789abcdefghij",
    "AKIA0123456789ABCDEF",
    "hvs.CAESIJ0123456789abcdef",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK",
    KEY,
]


@pytest.mark.parametrize("secret", SECRETS)
async def test_no_secret_is_written_and_the_run_replays_all_the_same(path: Path, secret: str) -> None:
    replayer = await recorded(path, asking("s", f"use {secret} for it"), text=f"I use {secret}")
    assert secret not in path.read_text()
    assert "[secret]" in path.read_text()
    asked = asking("s", "use [secret] for it")  # what a replayed run has been told instead
    assert (await replayer.complete(asked, CHAIN)).text == "I use [secret] 1"


def test_code_that_only_speaks_of_secrets_stays_as_it_is() -> None:
    code = "token = make_token()\npassword: str = read()\nurl = 'https://example.org/a:b'\nskip-this-long-option-name\n"
    assert scrub(code) == code
    assert scrub("postgresql://me:hunter2@host/db") == "postgresql://[secret]@host/db"


async def test_messages_are_written_once_so_that_a_recording_grows_linearly(path: Path) -> None:
    said = [f"message {number} " + "x" * 1000 for number in range(40)]
    await recorded(path, *(asking(*said[:length]) for length in range(2, 41, 2)))
    assert path.stat().st_size < 2 * sum(map(len, said)) + 20 * 4000


async def test_a_restarted_worker_goes_on_recording_after_a_torn_line(path: Path) -> None:
    await recorded(path, asking("s", "a"))
    with path.open("ab") as file:
        file.write(b'{"kind": "call", "purp')
    replayer = await recorded(path, asking("s", "b"))
    assert (await replayer.complete(asking("s", "a"), CHAIN)).text == "answer 1"
    assert (await replayer.complete(asking("s", "b"), CHAIN)).text == "answer 1"


@pytest.mark.parametrize(
    ("content", "named"),
    [(None, "cannot be read"), ("", "holds no recorded call"), ('{"kind": "recording", "version": 9}', "version 9")],
    ids=["missing", "empty", "another version"],
)
def test_a_file_that_is_no_recording_is_refused(path: Path, content: str | None, named: str) -> None:
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecordingError, match=named):
        read_recording(path)


Run = Callable[..., Awaitable[tuple[AgentOutcome, MemoryStore]]]


@pytest.fixture
def run(tmp_path: Path, redis: Redis) -> Run:
    """A product owner's run on a new store and worktree each time."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("import os\n\n\ndef one() -> int:\n    return 1\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=source, check=True)

    async def play(models: Models, name: str, goal: str = "tidy up lint findings") -> tuple[AgentOutcome, MemoryStore]:
        store, layout = MemoryStore(), Layout(tmp_path / name)
        git = GitStore(layout.repository("p"))
        await git.create()
        base = (await git.fetch(str(source))).commit
        await store.open_budget("p", Decimal(5))
        journal = GroupCommit(store)
        deps = AgentDeps(
            store=store,
            journal=journal,
            gateway=models,
            feed=Feed(redis),
            sandbox=Unconfined(),
            layout=layout,
            worker="w",
        )
        request = AgentRun(
            project="p", sprint=0, task="requirements", lineage="product_owner-1", role=Role.PRODUCT_OWNER,
            agent="p.product_owner.ada", work=Work.REQUIREMENTS, goal=goal, chain=CHAIN, base_commit=base,
            budget_scope="p",
        )  # fmt: skip
        outcome = await run_agent(request, deps, stopping=asyncio.Event(), beat=lambda *_: None, holder="h")
        await journal.aclose()
        await deps.feed.settle()
        return outcome, store

    return play


async def test_a_run_recorded_over_http_replays_with_the_provider_gone(run: Run, path: Path) -> None:
    provider = Provider()
    with serving(provider) as url:
        gateway = Gateway(Keys(url))
        recorder = Recorder(gateway, path, {"default": CHAIN}, [KEY])
        first, store = await run(recorder, "first")
        recorder.close()
        await gateway.close()
    assert first.kind is OutcomeKind.FINISHED
    assert provider.calls == first.model_calls > 1
    assert first.cost_usd > 0

    second, again = await run(Replayer(read_recording(path)), "second")
    assert provider.calls == first.model_calls
    assert (second.cost_usd, second.tokens) == (0, 0)
    assert second.model_copy(update={"cost_usd": first.cost_usd, "tokens": first.tokens}) == first
    results = [[step.request_digest for step in await kept.steps(first.thread)] for kept in (store, again)]
    assert results[0] == results[1]
    models = {step.model for step in await again.steps(first.thread) if step.model}
    assert models == {f"replay/{MODEL}"}
    assert KEY not in path.read_text()


async def test_a_changed_goal_ends_the_replayed_run_and_names_the_first_request_that_differs(
    run: Run, path: Path
) -> None:
    with serving(Provider()) as url:
        gateway = Gateway(Keys(url))
        recorder = Recorder(gateway, path, {})
        await run(recorder, "first")
        recorder.close()
        await gateway.close()
    with pytest.raises(ReplayError, match=r"request 1 \(requirements\), and message 1 \(user\) differs") as caught:
        await run(Replayer(read_recording(path)), "second", goal="mend the tests")
    assert "mend the tests" in str(caught.value)
    assert json.dumps("tidy up")[1:-1] in str(caught.value)

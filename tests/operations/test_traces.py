"""One trace from `syndic run` to each model call, on real processes, with the worker killed on the way; and the worker's log."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.support.collector import Collector, SeenSpan, collecting
from tests.support.provider import serving
from tests.support.running import BUGGY, Running, eventually, make_repository, running

pytestmark = pytest.mark.chaos

MODEL = "openai/gpt-4o-mini"
PROJECT = "traced"


@dataclass
class Story:
    """What was seen of one project whose worker was killed."""

    stack: Running
    collector: Collector
    report: dict[str, Any]
    status: dict[str, Any]
    """What `syndic status` said after the kill."""
    seen_before_kill: list[SeenSpan]

    @property
    def trace(self) -> str:
        """The trace that the command line began."""
        return self.root.trace

    @property
    def root(self) -> SeenSpan:
        [root] = [span for span in self.collector.named("StartWorkflow:Project") if span.service == "syndic"]
        return root

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stack.logs().splitlines() if line]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("traces")
    killed, go_on = threading.Event(), threading.Event()
    with collecting() as collector, serving() as provider:
        extra = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OPENAI_API_KEY": "test-key",
            "OPENAI_API_BASE": provider.url,
            "SYNDIC_MODELS": MODEL,
        }
        with running(folder, extra) as stack:
            stack.start_worker()
            stack.make_current()

            def kill_in_mid_call(number: int) -> None:
                """The worker dies in the second call, once the spans of the first and above this one have left it."""
                if number == 2:
                    eventually(
                        lambda: collector.named("chat ") and _a_run_is_under_way(collector), "spans of two calls"
                    )
                    killed.set()
                    assert go_on.wait(60)

            provider.before_answer = kill_in_mid_call
            repository = make_repository(folder / "repository", BUGGY)
            brief = folder / "brief.json"
            brief.write_text(
                json.dumps({"goal": "Make the tests pass", "repository": str(repository), "project_id": PROJECT})
            )
            stack.syndic("run", str(brief), "--autonomy", "autonomous")
            eventually(killed.is_set, "a traced model call and another one under way", within_s=150)
            before = list(collector.spans)
            stack.kill_worker()
            go_on.set()
            stack.start_worker()
            status = eventually(lambda: _status(stack), "an answer of the next worker")
            done = stack.temporal("workflow", "result", "--workflow-id", f"project/{PROJECT}", "--output", "json")
            stack.workers[-1].terminate()
            assert stack.workers[-1].wait(30) == 0
            yield Story(stack, collector, json.loads(done.stdout)["result"], status, before)


def _a_run_is_under_way(collector: Collector) -> bool:
    """The start of a run is exported by a timer; a kill before that would lose the span which the next attempt hangs on."""
    return len(collector.named("StartActivity:agent_run")) > len(collector.named("RunActivity:agent_run"))


def _status(stack: Running) -> dict[str, Any] | None:
    done = stack.syndic("status", PROJECT, "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_the_command_begins_the_trace(story: Story) -> None:
    assert story.report["state"] == "done", story.report
    assert story.root.parent == ""
    assert story.collector.problems == []


def test_everything_that_followed_is_in_that_trace_before_and_after_the_kill(story: Story) -> None:
    names = ("RunWorkflow:Project", "RunWorkflow:Sprint", "RunWorkflow:AgentTask", "RunActivity:agent_run", "chat ")
    for name in names:
        spans = story.collector.named(name)
        assert spans, name
        assert {span.trace for span in spans} == {story.trace}, name
    assert {span.service for span in story.collector.named("chat ")} == {"syndic-worker"}
    assert len({span.instance for span in story.collector.named("chat ")}) == 2  # the killed worker and the next one


def test_a_model_call_after_the_kill_leads_up_to_the_command(story: Story) -> None:
    known = {span.id for span in story.seen_before_kill}
    chats = [span for span in story.collector.named("chat ") if span.id not in known]
    lines = [[span.name, *(above.name for above in story.collector.ancestors(span))] for span in chats]
    assert [
        f"chat {MODEL}", "RunActivity:agent_run", "StartActivity:agent_run", "StartWorkflow:Project",
    ] in lines, lines  # fmt: skip
    deep = ["StartChildWorkflow:AgentTask", "StartChildWorkflow:Sprint", "StartWorkflow:Project"]
    assert any(line[-3:] == deep for line in lines), lines


def test_a_model_call_says_what_was_asked_and_billed(story: Story) -> None:
    [span, *_] = story.collector.named("chat ")
    assert span.attributes["gen_ai.request.model"] == MODEL
    assert span.attributes["gen_ai.usage.input_tokens"] == 100
    assert span.attributes["gen_ai.usage.output_tokens"] == 20
    assert span.attributes["syndic.cost_usd"] > 0
    assert span.attributes["gen_ai.request.stream"] is True
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < 60


def test_tokens_and_cost_are_metrics_that_agree_with_the_spans(story: Story) -> None:
    of_project = {"syndic.project": PROJECT, "gen_ai.request.model": MODEL}
    last = story.stack.workers[-1].pid
    spans = [span for span in story.collector.named("chat ") if span.instance.endswith(f":{last}")]
    points = [point for point in story.collector.points if point.instance.endswith(f":{last}")]
    found = replace(story.collector, points=points)
    assert spans
    assert found.total("syndic.model.calls", **of_project) == len(spans)
    assert found.total("gen_ai.client.token.usage", **of_project, **{"gen_ai.token.type": "input"}) == 100 * len(spans)
    assert found.total("gen_ai.client.token.usage", **of_project, **{"gen_ai.token.type": "output"}) == 20 * len(spans)
    cost = sum(span.attributes["syndic.cost_usd"] for span in spans)
    assert found.total("syndic.model.cost", **of_project) == pytest.approx(cost)
    assert found.total("gen_ai.client.operation.duration", **of_project) == len(spans)
    assert found.total("gen_ai.client.operation.time_to_first_chunk", **of_project) == len(spans)
    assert {point.unit for point in points if point.name == "syndic.model.cost"} == {"{USD}"}


def test_each_line_of_the_worker_is_json(story: Story) -> None:
    lines = story.log_lines()
    assert {"worker_started", "run_started", "run_finished"} <= {line["event"] for line in lines}
    assert all(line["level"] and line["timestamp"] for line in lines)


def test_lines_of_an_agent_run_carry_its_ids_and_the_trace(story: Story) -> None:
    lines = [line for line in story.log_lines() if line["event"] in {"run_started", "run_finished"}]
    engineers = [line for line in lines if "/task/" in line["workflow_id"]]
    assert engineers
    for line in lines:
        assert line["project"] == PROJECT
        assert all(line[name] for name in ("agent", "task", "run_id"))
        assert line["workflow_id"].startswith(f"project/{PROJECT}")
        assert line["trace_id"] == story.trace
    for line in engineers:
        assert line["workflow_id"].endswith(f"/task/{line['task']}")


def test_looking_leaves_no_trace(story: Story) -> None:
    assert story.status["project"] == PROJECT
    assert [span.name for span in story.collector.spans if "Query" in span.name] == []


def test_a_collector_that_is_away_costs_a_command_seconds_and_nothing_else(story: Story) -> None:
    began = time.monotonic()
    env = {**story.stack.env, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    elsewhere = Running(env, story.stack.addresses, story.stack.folder)
    done = elsewhere.syndic("pause", "nobody", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nobody" in done.stderr
    assert time.monotonic() - began < 15

"""The rehearsal provider as LiteLLM and the gateway meet it: both protocols, whole and streamed, and every fault."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import litellm
import pytest

from agents.assignments import Assignment, Work
from agents.context import opening
from agents.errors import ModelUnavailableError
from agents.gateway import Gateway
from agents.model_keys import Access, Wanted
from agents.models import ModelAnswer, ModelRequest
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Rehearsal
from agents.rehearsal.server import serving
from agents.tools.registry import tools_for
from ledger.vocabulary import Role

OPENAI, ANTHROPIC = "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"
BOTH = pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
TYPES = pytest.mark.filterwarnings("ignore")  # pydantic has something to say about LiteLLM's own types
TOOL = {
    "type": "function",
    "function": {"name": "read_file", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}},
}
REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},), tools=(TOOL,), max_tokens=500)
SAY = {"text": "I look.", "calls": [{"name": "read_file", "arguments": {"path": "a.py"}}]}
PLAN = Assignment(
    work=Work.PLAN, project="p", task="plan", role=Role.ARCHITECT, agent="p.architect.ada", goal="Fix the failing tests"
)


class Keys:
    """A key, and each protocol's address of the provider."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def access(self, wanted: Wanted) -> Access:
        return Access("sk-test-0123456789", base(self.url, wanted.model))

    def refused(self) -> None:
        """Nothing is kept."""


def base(url: str, model: str) -> str:
    return url + "/v1" if model.startswith("openai") else url


class Stage:
    """A provider that plays a script, and a gateway that asks it."""

    def __init__(self, exits: ExitStack) -> None:
        self._exits = exits

    def play(self, *rules: dict[str, Any], **script: Any) -> None:
        self.provider = Provider(Rehearsal.model_validate({"rules": rules, **script}))
        self.url = self._exits.enter_context(serving(self.provider))
        self.gateway = Gateway(Keys(self.url))

    async def ask(self, model: str, request: ModelRequest = REQUEST) -> ModelAnswer:
        return await self.gateway.complete(request, (model,))

    async def trouble(self, model: str) -> Any:
        """What LiteLLM raises."""
        with pytest.raises(Exception, match="litellm") as caught:
            await litellm.acompletion(
                model=model, messages=list(REQUEST.messages), tools=[TOOL], max_tokens=500, num_retries=0,
                max_retries=0, api_key="sk-test", api_base=base(self.url, model),
            )  # fmt: skip
        return caught.value

    async def stream(self, model: str) -> Any:
        """A streamed answer as LiteLLM puts it together."""
        chunks = await litellm.acompletion(
            model=model, messages=list(REQUEST.messages), tools=[TOOL], max_tokens=500, stream=True, num_retries=0,
            stream_options={"include_usage": True}, api_key="sk-test", api_base=base(self.url, model),
        )  # fmt: skip
        seen = [chunk async for chunk in chunks]
        assert len(seen) > 3
        return litellm.stream_chunk_builder(seen)

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + "/stats") as answer:
            return json.load(answer)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with ExitStack() as exits:
        made = Stage(exits)
        yield made
        await made.gateway.close()


@BOTH
async def test_an_answer_comes_whole_with_calls_and_usage(stage: Stage, model: str) -> None:
    stage.play({"say": SAY, "bill": {"prompt_tokens": 70, "completion_tokens": 9}})
    answer = await stage.ask(model)
    assert (answer.text, answer.finish_reason) == ("I look.", "tool_calls")
    assert [(call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [("read_file", {"path": "a.py"})]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (70, 9)
    assert answer.cost_usd > 0


@BOTH
@TYPES
async def test_a_stream_puts_together_to_the_same_answer(stage: Stage, model: str) -> None:
    stage.play({"say": SAY, "bill": {"prompt_tokens": 70, "completion_tokens": 9}})
    answer = await stage.stream(model)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("I look.", "tool_calls")
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("read_file", {"path": "a.py"})
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (70, 9)


@BOTH
async def test_the_offline_maintainer_understands_what_came_over_the_wire(stage: Stage, model: str) -> None:
    stage.play()
    tools = tuple(tool.schema() for tool in tools_for(PLAN.role, PLAN.work))
    messages = opening(PLAN, "v1")
    over_http: list[str] = []
    for _ in range(3):
        request = ModelRequest(purpose="plan", messages=tuple(messages), tools=tools)
        answer = await stage.ask(model, request)
        offline = await stage.gateway.complete(request, ("offline/maintainer",))
        calls = [(call.name, json.loads(call.arguments)) for call in answer.tool_calls]
        assert calls == [(call.name, json.loads(call.arguments)) for call in offline.tool_calls]
        over_http += [name for name, _ in calls]
        messages.append(_said(answer))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": '{"error": "there is nothing"}'}
            for call in answer.tool_calls
        ]
    assert over_http


def _said(answer: ModelAnswer) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.tool_calls
    ]
    return {"role": "assistant", "content": answer.text or None, **({"tool_calls": calls} if calls else {})}


@BOTH
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("rate_limit", "RateLimitError"),
        ("overloaded", "ServiceUnavailableError"),
        ("server_error", "InternalServerError"),
        ("auth", "AuthenticationError"),
        ("context_too_long", "ContextWindowExceededError"),
        ("content_filter", "ContentPolicyViolationError"),
        ("bad_request", "BadRequestError"),
    ],
)
async def test_a_fault_is_worded_so_that_litellm_knows_it_and_nobody_is_billed(
    stage: Stage, model: str, fault: str, name: str
) -> None:
    stage.play({"fault": fault, "retry_after_s": 7})
    error = await stage.trouble(model)
    assert type(error).__name__ == ("InternalServerError" if (model, fault) == (ANTHROPIC, "overloaded") else name)
    headers = getattr(error, "litellm_response_headers", None) or error.response.headers
    assert headers["retry-after"] == "7"
    stats = stage.stats()
    assert (stats["requests"], stats["calls"], stats["refused"]) == (1, 0, {fault: 1})


@BOTH
async def test_any_other_status_can_be_answered(stage: Stage, model: str) -> None:
    stage.play({"status": 504, "message": "the gateway of the provider timed out"})
    assert "the gateway of the provider timed out" in str(await stage.trouble(model))
    assert stage.stats()["refused"] == {"504": 1}


@BOTH
async def test_an_answer_that_is_no_json_is_billed(stage: Stage, model: str) -> None:
    stage.play({"say": SAY, "garbage": True})
    assert await stage.trouble(model)
    stats = stage.stats()
    assert (stats["calls"], stats["spoiled"]) == (1, {"garbage": 1})


@BOTH
async def test_an_answer_that_breaks_off_is_billed(stage: Stage, model: str) -> None:
    stage.play({"say": SAY, "cut_after_bytes": 40})
    with pytest.raises(ModelUnavailableError):
        await stage.ask(model)
    stats = stage.stats()
    assert (stats["calls"], stats["spoiled"]) == (1, {"cut": 1})


@BOTH
@TYPES
async def test_a_stream_that_breaks_is_noticed(stage: Stage, model: str) -> None:
    stage.play({"say": {"text": "word " * 200}, "cut_after_bytes": 2000})
    with pytest.raises(Exception, match=r"(?i)incomplete|closed|connection|peer") as caught:
        await stage.stream(model)
    assert not isinstance(caught.value, AssertionError)
    assert stage.stats()["spoiled"] == {"cut": 1}


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@BOTH
@pytest.mark.parametrize(
    ("mistake", "is_it"),
    [
        ("not_json", lambda name, text: not _is_json(text)),
        ("unknown_fields", lambda name, text: json.loads(text) == {"no_such_argument": True}),
        ("wrong_types", lambda name, text: json.loads(text) == {"path": [None]}),
        ("unknown_tool", lambda name, text: name == "no_such_read_file"),
    ],
)
async def test_wrong_arguments_arrive_as_wrong_as_they_were_sent(
    stage: Stage, model: str, mistake: str, is_it: Callable[[str, str], bool]
) -> None:
    stage.play({"say": SAY, "wrong_arguments": mistake})
    [call] = (await stage.ask(model)).tool_calls
    assert is_it(call.name, call.arguments)


@BOTH
async def test_a_bill_can_exceed_what_was_reserved_for_it(stage: Stage, model: str) -> None:
    stage.play({"say": SAY, "bill": {"of_estimate": 2.0}})
    answer = await stage.ask(model)
    assert answer.usage.completion_tokens == 2 * REQUEST.max_tokens
    assert answer.cost_usd > stage.gateway.bound(REQUEST, (model,)).usd


async def test_hidden_reasoning_is_billed_beyond_the_limit_and_cached_tokens_are_named(stage: Stage) -> None:
    bill = {"prompt_tokens": 100, "completion_tokens": 10, "reasoning_tokens": 4000, "cached_tokens": 60}
    stage.play({"say": SAY, "bill": bill})
    usage = (await stage.ask(OPENAI)).usage
    assert (usage.completion_tokens, usage.reasoning_tokens, usage.cached_tokens) == (4010, 4000, 60)
    usage = (await stage.ask(ANTHROPIC)).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (100, 4010, 60)


async def test_rules_apply_by_model_number_turn_and_text_and_the_first_one_wins(stage: Stage) -> None:
    stage.play(
        {"model": "claude-*", "say": {"text": "other"}},
        {"contains": "hello", "after": 2, "every": 4, "say": {"text": "fourth"}},
        {"turn": 0, "say": {"text": "first turn"}},
    )
    assert (await stage.ask(OPENAI)).text == "first turn"
    assert (await stage.ask(ANTHROPIC)).text == "other"  # counted by the rules for any model as well
    assert (await stage.ask(OPENAI)).text == "first turn"
    assert (await stage.ask(OPENAI)).text == "fourth"


async def test_a_numbered_request_fails_and_the_next_one_does_not(stage: Stage) -> None:
    stage.play({"calls": [2], "fault": "overloaded"}, {"say": {"text": "yes"}})
    assert (await stage.ask(OPENAI)).text == "yes"
    assert await stage.trouble(OPENAI)
    assert (await stage.ask(OPENAI)).text == "yes"


async def test_a_share_of_requests_is_answered_the_same_way_with_the_same_seed(stage: Stage) -> None:
    async def outcome() -> list[bool]:
        stage.play({"share": 0.5, "say": {"text": "one"}}, {"say": {"text": "other"}}, seed=3)
        return [(await stage.ask(OPENAI)).text == "one" for _ in range(12)]

    first = await outcome()
    assert 0 < sum(first) < 12
    assert await outcome() == first


async def test_statistics_count_tokens_and_label_their_prices(stage: Stage) -> None:
    stage.play(
        {"say": SAY, "bill": {"prompt_tokens": 1000, "completion_tokens": 500}},
        rates={"gpt-*": {"prompt": "2", "completion": "10"}},
    )
    await stage.ask(OPENAI)
    stats = stage.stats()
    assert "synthetic" in stats["label"]
    assert Decimal(stats["synthetic_cost_usd"]) == Decimal("0.007")
    assert stats["models"]["gpt-4o-mini"]["prompt_tokens"] == 1000
    assert (stats["in_flight"], stats["most_in_flight"]) == (0, 1)


@pytest.fixture
def plain() -> Iterator[str]:
    with serving(Provider()) as url:
        yield url


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"model": "m"}', b'{"model": "m", "messages": ["x"]}'])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_what_is_no_request_is_refused_readably(plain: str, path: str, body: bytes) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(plain + path, data=body))
    assert caught.value.code == 400
    assert "error" in json.load(caught.value)
    caught.value.close()


def test_other_paths_are_not_found(plain: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(plain + "/v1/embeddings", data=b"{}")
    assert caught.value.code == 404
    caught.value.close()

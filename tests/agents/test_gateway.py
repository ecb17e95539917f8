"""Models over real HTTP and through LiteLLM: chains, failures, bounds, keys."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import litellm
import pytest

from agents.errors import ModelRefusedError, ModelUnavailableError, NoModelKeyError, UnpricedModelError
from agents.gateway import Gateway
from agents.model_keys import Access, EnvironmentKeys, Wanted
from agents.models import Bound, ModelRequest
from agents.pricing import Price, prompt_tokens_bound
from agents.roles import OFFLINE_MODEL, chain_for
from ledger.vocabulary import Role, Usage
from tests.agents.scripted import Says, Server, scripted

PRICES = {
    "openai/first": Price(Decimal("0.000001"), Decimal("0.000002")),
    "openai/second": Price(Decimal("0.000003"), Decimal("0.000004")),
}
CHAIN = ("openai/first", "openai/second")
TOOL = {"type": "function", "function": {"name": "finish", "parameters": {"type": "object", "properties": {}}}}
REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},), tools=(TOOL,), max_tokens=500)


class Keys:
    def __init__(self, url: str, key: str = "sk-test-0123456789") -> None:
        self.url, self.key, self.refusals = url, key, 0

    async def access(self, wanted: Wanted) -> Access:
        return Access(self.key, self.url)

    def refused(self) -> None:
        self.refusals += 1


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted() as running:
        yield running


@pytest.fixture
async def gateway(server: Server) -> AsyncIterator[Gateway]:
    gateway = Gateway(Keys(server.url), prices=PRICES)
    yield gateway
    await gateway.close()


async def test_an_answer_carries_calls_usage_and_cost(server: Server, gateway: Gateway) -> None:
    server.queue = [Says("looking", (("finish", {"a": 1}),))]
    answer = await gateway.complete(REQUEST, CHAIN)
    assert answer.model == "openai/first"
    assert answer.text == "looking"
    assert [(call.name, json.loads(call.arguments)) for call in answer.tool_calls] == [("finish", {"a": 1})]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 100)
    assert answer.cost_usd == Decimal("0.0012")
    sent = server.requests[0]
    assert sent["max_tokens"] == 500
    assert sent["tools"][0]["function"]["name"] == "finish"


@pytest.mark.parametrize(
    "trouble",
    [
        Says("slow down", status=429),
        Says("broken", status=500),
        Says("overloaded", status=503),
        Says(raw=b"<html>no json</html>"),
        Says("This model's maximum context length is 10 tokens.", status=400),
        Says(finish_reason="content_filter"),
    ],
    ids=["rate limit", "500", "503", "garbage", "context too long", "filtered"],
)
async def test_the_next_model_is_asked_once_when_one_cannot_answer(
    server: Server, gateway: Gateway, trouble: Says
) -> None:
    server.queue = [trouble, Says("here")]
    answer = await gateway.complete(REQUEST, CHAIN)
    assert (answer.model, answer.text) == ("openai/second", "here")
    assert [request["model"] for request in server.requests] == ["first", "second"]


async def test_a_slow_answer_times_out_and_may_be_billed(server: Server) -> None:
    gateway = Gateway(Keys(server.url), prices=PRICES, timeout=timedelta(seconds=2))
    hold = threading.Event()
    server.queue = [Says("late", hold=hold)]
    with pytest.raises(ModelUnavailableError) as caught:
        await gateway.complete(REQUEST, CHAIN[:1])
    hold.set()
    assert caught.value.may_be_billed
    assert server.calls == 1
    await gateway.close()


async def test_retry_after_of_the_provider_is_passed_on(server: Server, gateway: Gateway) -> None:
    server.queue = [
        Says("slow down", status=429, headers={"Retry-After": "17"}),
        Says("slow down", status=429, headers={"Retry-After": "9"}),
    ]
    with pytest.raises(ModelUnavailableError) as caught:
        await gateway.complete(REQUEST, CHAIN)
    assert caught.value.retry_after == 9
    assert not caught.value.may_be_billed
    assert server.calls == 2


async def test_a_refused_key_names_the_model_and_not_the_key(server: Server) -> None:
    keys = Keys(server.url)
    gateway = Gateway(keys, prices=PRICES)
    server.queue = [Says(f"Incorrect API key provided: {keys.key}", status=401)]
    with pytest.raises(ModelRefusedError, match="openai/first") as caught:
        await gateway.complete(REQUEST, CHAIN)
    assert keys.key not in str(caught.value)
    assert keys.refusals == 1
    assert server.calls == 1
    await gateway.close()


async def test_a_bad_request_is_final(server: Server, gateway: Gateway) -> None:
    server.queue = [Says("tools must be a list", status=400)]
    with pytest.raises(ModelRefusedError, match="openai/first"):
        await gateway.complete(REQUEST, CHAIN)
    assert server.calls == 1


async def test_a_request_that_no_model_can_serve_is_refused(server: Server, gateway: Gateway) -> None:
    server.queue = [Says("This model's maximum context length is 10 tokens.", status=400)] * 2
    with pytest.raises(ModelRefusedError):
        await gateway.complete(REQUEST, CHAIN)


async def test_the_offset_gives_models_up_but_never_the_last(server: Server, gateway: Gateway) -> None:
    server.queue = [Says("a"), Says("b")]
    assert (await gateway.complete(REQUEST, CHAIN, 1)).model == "openai/second"
    assert (await gateway.complete(REQUEST, CHAIN, 7)).model == "openai/second"


async def test_a_missing_key_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    gateway = Gateway(EnvironmentKeys())
    with pytest.raises(NoModelKeyError, match="ANTHROPIC_API_KEY"):
        await gateway.complete(REQUEST, ("anthropic/claude-sonnet-4-5",))


async def test_an_unknown_provider_is_refused_readably() -> None:
    with pytest.raises(ModelRefusedError, match="nonsense"):
        await Gateway(EnvironmentKeys()).complete(REQUEST, ("nonsense",))


def test_the_bound_is_the_dearest_of_the_chain_and_no_less_than_the_bill(gateway: Gateway) -> None:
    bound = gateway.bound(REQUEST, CHAIN)
    assert bound == gateway.bound(REQUEST, CHAIN[::-1])
    assert bound.usd >= gateway.bound(REQUEST, CHAIN[:1]).usd
    assert bound.usd >= 500 * PRICES["openai/second"].completion
    assert bound.tokens > 500


def test_the_offline_maintainer_takes_no_tokens_and_an_own_model_does(gateway: Gateway) -> None:
    assert gateway.bound(REQUEST, (OFFLINE_MODEL,)) == Bound()
    assert gateway.bound(REQUEST, (OFFLINE_MODEL, "ollama/llama3")).tokens > REQUEST.max_tokens


def test_listed_models_have_a_bound_and_unlisted_ones_an_error() -> None:
    gateway = Gateway(EnvironmentKeys())
    assert gateway.bound(REQUEST, ("anthropic/claude-sonnet-4-5",)).usd > 0
    assert gateway.bound(REQUEST, ("ollama/llama3",)).usd == 0
    with pytest.raises(UnpricedModelError, match="openai/my-own"):
        gateway.bound(REQUEST, (OFFLINE_MODEL, "openai/my-own"))


def test_an_own_price_bounds_and_bills_cached_tokens_apart() -> None:
    price = Price.per_million(Decimal(10), Decimal(20), cached=Decimal(1))
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=400, reasoning_tokens=60)
    assert price.cost(usage) == Decimal("0.0084")
    assert price.bound(1000, 100) == Decimal("0.012")


def test_an_own_price_counts_more_than_the_list() -> None:
    model = "anthropic/claude-sonnet-4-5"
    dear = Gateway(EnvironmentKeys(), prices={model: Price.per_million(Decimal(1000), Decimal(1000))})
    assert dear.bound(REQUEST, (model,)).usd > Gateway(EnvironmentKeys()).bound(REQUEST, (model,)).usd


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    return a + b\n" * 50,
        base64.b64encode(bytes(range(256)) * 20).decode(),
        "0123456789" * 400,
        "多くの漢字と仮名" * 200,
        "🙂🚀🧪" * 200,
        "\u0305\u0489\ufdfa" * 200,
        "!@#$%^&*(){}[]|" * 200,
    ],
    ids=["code", "base64", "digits", "kanji", "emoji", "marks", "punctuation"],
)
def test_the_token_bound_exceeds_what_a_tokenizer_counts(text: str) -> None:
    messages = [{"role": "user", "content": text}]
    request = ModelRequest(purpose="test", messages=tuple(messages))
    assert prompt_tokens_bound(request) >= litellm.token_counter(model="gpt-4", messages=messages)


def test_a_call_with_tools_loads_nothing_that_speaks_to_mcp_servers() -> None:
    script = (
        "import asyncio, sys; from agents.gateway import Gateway; from agents.model_keys import EnvironmentKeys;"
        "asyncio.run(Gateway(EnvironmentKeys()).warm()); assert 'mcp' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_litellm_was_told_not_to_fetch_prices() -> None:
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_a_role_asks_its_own_chain_then_the_default_then_the_offline_model() -> None:
    models = {"engineer": ("a", "b"), "default": ("c",)}
    assert chain_for(Role.ENGINEER, models) == ("a", "b")
    assert chain_for(Role.JUDGE, models) == ("c",)
    assert chain_for(Role.JUDGE, {}) == (OFFLINE_MODEL,)


def test_access_does_not_show_its_key() -> None:
    assert "sk-secret" not in repr(Access("sk-secret"))

"""The way to models, and the only module that imports LiteLLM: chains, failover, upper bounds, usage and cost.

LiteLLM's own retries are off: Temporal owns them. Importing takes seconds, which is why workers import it in a thread beside
their first work.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from typing import Any

# LiteLLM reads this one variable while it is imported, and without it fetches its price list from the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import httpx
import litellm
import structlog
from litellm.exceptions import BadRequestError
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, http2_enabled
from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import Choices, Message, ModelResponse
from litellm.types.utils import Usage as BilledUsage

from agents.errors import ModelError, ModelRefusedError
from agents.failover import FailedCallError, Failover, Saw
from agents.health import Health, LocalHealth
from agents.model_failures import Fault, Trouble, trouble_of
from agents.model_keys import Access, KeySource, Wanted
from agents.models import Bound, Lost, ModelAnswer, ModelRequest, ToolCall, listener
from agents.pricing import Price, dearest_price, prompt_tokens_bound
from agents.roles import OFFLINE_MODEL
from agents.tracing import describe_answer, describe_stream, model_span
from agents.wire import Exchange, Wire, exchanging
from ledger.vocabulary import Json, Usage

log = structlog.get_logger(__name__)

CALL_TIMEOUT = timedelta(minutes=5)
MARGIN = Decimal("1.1")
"""The overrun margin: a reservation covers so many times what was counted. Where a provider bills up to `f` times the count, each
call exceeds its reservation by at most the share `f / MARGIN - 1`. All reservations together stay within the limit, and so all
overruns together within this share of it; each is a violation on the record, which blocks the next reservation.
"""
_PLACES = Decimal("1e-9")
_OFFLINE_PROVIDER = OFFLINE_MODEL.partition("/")[0]


class Gateway:
    """Asks the models of a chain, first choice first, and says beforehand what that can cost at most."""

    def __init__(
        self,
        keys: KeySource,
        *,
        prices: Mapping[str, Price] | None = None,
        timeout: timedelta = CALL_TIMEOUT,
        health: Health | None = None,
        saw: Saw | None = None,
        stream: bool = True,
    ) -> None:
        self._keys = keys
        self._stream = stream
        self._whole_only: set[str] = set()
        self._health = health or LocalHealth()
        self._saw = saw
        self._prices = dict(prices or {})
        self._timeout = timeout
        _configure()

    async def warm(self) -> None:
        """Make LiteLLM import what it imports late, so that the first call after a restart does not wait for it."""
        tool = {"type": "function", "function": {"name": "none", "parameters": {"type": "object", "properties": {}}}}
        await self._ask(OFFLINE_MODEL, ModelRequest(purpose="warm", messages=(), tools=(tool,)))  # no call of a trace

    async def ready(self) -> None:
        """At once: whoever has a gateway has imported the library."""

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        """Upper bound of one call to any model of the chain; the offline maintainer takes no dollars and no tokens.

        Raises:
            UnpricedModelError: A model's price is not known.
        """
        asked = [self._price(model) for model in chain if model != OFFLINE_MODEL]
        if not asked:
            return Bound()
        prompt = prompt_tokens_bound(request)
        cost = max(price.bound(prompt, request.max_tokens) for price in asked)
        tokens = int((prompt + request.max_tokens) * MARGIN) + 1
        return Bound((cost * MARGIN).quantize(_PLACES, ROUND_UP), tokens)

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        """Ask the chain from `offset` on (its last model where it is shorter) until one answers.

        Args:
            request: What is asked; a model that finds it too long is asked once more with a shorter one.
            chain: Models, first choice first. One whose circuit is open is passed over.
            offset: Models that were given up.
            lost: Awaited with the models that are left, before they are asked, where a call before may be billed.

        Raises:
            ModelUnavailableError: None can answer now; carries the seconds after which one may.
            ModelRefusedError: No model can serve the request as such.
            ModelKeyRefusedError: Their providers refuse the key.
            NoModelKeyError: There is no key for a model.
        """
        walk = Failover(self._traced, _provider_of, self._health, lost, self._saw)
        return await walk.answer(request, chain[min(offset, len(chain) - 1) :])

    async def close(self) -> None:
        """Close LiteLLM's connections, and have it forget them: a closed client would be taken for the same address again."""
        await close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()

    async def _traced(self, model: str, request: ModelRequest) -> ModelAnswer:
        with model_span(model, request) as span:
            answer = await self._ask(model, request)
            describe_answer(span, answer)
            return answer

    async def _ask(self, model: str, request: ModelRequest) -> ModelAnswer:
        access = Access() if model == OFFLINE_MODEL else await self._keys.access(_wanted(model))
        exchange = Exchange(self._stream and model not in self._whole_only, listener.get())
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                with exchanging(exchange):
                    response = await litellm.acompletion(**self._arguments(model, request, access))
            return self._answer(model, response)
        except (ModelError, FailedCallError):
            raise
        except Exception as error:
            # LiteLLM documents no common base for what its providers raise; the one place that sorts it is here.
            trouble = trouble_of(error, model, access.api_key)
        finally:
            describe_stream(model, exchange.first_chunk_s)
            if exchange.whole_only:
                self._whole_only.add(model)
        if trouble.fault is Fault.KEY_REFUSED:
            self._keys.refused()
        raise FailedCallError(trouble)

    def _price(self, model: str) -> Price:
        return self._prices.get(model) or dearest_price(model, _rates(model))

    def _arguments(self, model: str, request: ModelRequest, access: Access) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": model,
            "messages": [dict(message) for message in request.messages],
            "max_tokens": min(request.max_tokens, _rates(model).get("max_output_tokens") or request.max_tokens),
            "num_retries": 0,
            "max_retries": 0,
            "timeout": self._timeout.total_seconds(),
            "drop_params": True,
            "api_key": access.api_key,
            "api_base": access.api_base,
            # With tools it would look for an MCP server of its proxy, which takes half a second of imports once.
            "_skip_mcp_handler": True,
        }
        if request.tools:
            arguments |= {"tools": [dict(tool) for tool in request.tools], "tool_choice": request.tool_choice}
        return {name: value for name, value in arguments.items() if value is not None}

    def _answer(self, model: str, response: Any) -> ModelAnswer:
        if not response.choices:
            raise FailedCallError(Trouble(Fault.MALFORMED, f"{model}: the answer holds no choice"))
        choice = response.choices[0]
        calls = tuple(
            ToolCall(
                id=call.id or f"call-{index}", name=call.function.name or "", arguments=call.function.arguments or ""
            )
            for index, call in enumerate(choice.message.tool_calls or ())
        )
        text = choice.message.content or ""
        if choice.finish_reason == "content_filter" and not calls and not text:
            raise FailedCallError(Trouble(Fault.FILTERED, f"{model}: the answer was filtered", billed=True))
        usage = _usage(response)
        return ModelAnswer(
            text=text, tool_calls=calls, model=model, finish_reason=choice.finish_reason or "stop", usage=usage,
            cost_usd=self._cost(model, response, usage),
        )  # fmt: skip

    def _cost(self, model: str, response: Any, usage: Usage) -> Decimal:
        if model == OFFLINE_MODEL:
            return Decimal(0)
        if (price := self._prices.get(model)) is not None:
            cost = price.cost(usage)
        else:
            cost = Decimal(str(litellm.completion_cost(completion_response=response, model=model)))
        return cost.quantize(_PLACES, ROUND_UP)


class OfflineProvider(CustomLLM):
    """The rule-based maintainer behind LiteLLM's interface for providers of one's own."""

    async def acompletion(  # pyright: ignore[reportIncompatibleMethodOverride] LiteLLM passes keywords only
        self,
        *,
        messages: list[dict[str, Json]],
        model_response: ModelResponse,
        optional_params: dict[str, Any],
        **_: Any,
    ) -> ModelResponse:
        # Imported here: it parses and ranks source code, which only workers that serve offline agents need.
        from agents.offline.maintainer import respond

        draft = await asyncio.to_thread(respond, messages, optional_params.get("tools") or [])
        calls = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in draft.tool_calls
        ]
        message = Message(role="assistant", content=draft.text, tool_calls=calls or None)
        reason = "tool_calls" if calls else "stop"
        model_response.choices = [Choices(finish_reason=reason, index=0, message=message)]
        # No tokens were billed; without this LiteLLM would estimate some.
        setattr(model_response, "usage", BilledUsage(prompt_tokens=0, completion_tokens=0, total_tokens=0))  # noqa: B010
        return model_response


def _configure() -> None:
    litellm.suppress_debug_info = True
    # aiohttp sessions outlive their loop noisily; httpx closes with `close`.
    litellm.disable_aiohttp_transport = True
    # Both of the library's ways to an HTTP client of its own, for OpenAI's SDK and for all others, ask here for a transport.
    handler: Any = AsyncHTTPHandler  # typed for transports of its own only
    handler.create_async_transport = staticmethod(_transport)
    handler.create_httpx_proxy_mounts = staticmethod(_proxies)
    with warnings.catch_warnings():
        # LiteLLM builds its models on first use, and pydantic has something to say about them.
        warnings.simplefilter("ignore")
        ModelResponse()
    if not any(item["provider"] == _OFFLINE_PROVIDER for item in litellm.custom_provider_map):
        litellm.custom_provider_map.append({"provider": _OFFLINE_PROVIDER, "custom_handler": OfflineProvider()})


_library_transport: Any = AsyncHTTPHandler.create_async_transport
_library_proxies: Any = AsyncHTTPHandler.create_httpx_proxy_mounts


def _transport(ssl_context: Any = None, ssl_verify: bool | None = None, shared_session: Any = None) -> Wire:
    inner = _library_transport(ssl_context, ssl_verify, shared_session)  # None unless it is told something special
    verify = ssl_context or (True if ssl_verify is None else ssl_verify)
    return Wire(inner or httpx.AsyncHTTPTransport(verify=verify, http2=http2_enabled()))


def _proxies(transport: Wire, verify: Any, cert: Any) -> Mapping[str, Wire | None]:
    """httpx leaves the environment's proxies out where it is given a transport; so the library adds them, and so do we."""
    mounts = _library_proxies(transport.inner, verify=verify, cert=cert) or {}
    return {pattern: mount and Wire(mount) for pattern, mount in mounts.items()}


def _wanted(model: str) -> Wanted:
    try:
        provider = litellm.get_llm_provider(model)[1]
    except BadRequestError:
        raise ModelRefusedError(f"LiteLLM knows no provider for model {model}; write it as provider/model") from None
    missing = litellm.validate_environment(model).get("missing_keys") or ()
    return Wanted(model, provider, tuple(missing))


def _provider_of(model: str) -> str | None:
    """Whose circuit a model belongs to; the offline model has none, since nothing of it can be away."""
    return None if model == OFFLINE_MODEL else model.partition("/")[0]


def _rates(model: str) -> Mapping[str, Any]:
    """The model's row in LiteLLM's price list, which names some models with and some without their provider."""
    provider, _, name = model.partition("/")
    if model in litellm.model_cost:
        return litellm.model_cost[model]
    rates = litellm.model_cost.get(name, {})
    return rates if rates.get("litellm_provider") == provider else {}


def _usage(response: Any) -> Usage:
    usage = getattr(response, "usage", None)
    prompt, completion = (
        getattr(usage, "prompt_tokens_details", None),
        getattr(usage, "completion_tokens_details", None),
    )
    return Usage(
        prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
        cached_tokens=getattr(prompt, "cached_tokens", 0) or 0,
        reasoning_tokens=getattr(completion, "reasoning_tokens", 0) or 0,
    )

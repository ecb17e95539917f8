"""What a call can cost at most: generous token counts, the dearest rate that can apply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.errors import UnpricedModelError
from agents.models import ModelRequest
from ledger.vocabulary import Usage

MILLION = Decimal(1_000_000)

TOKENS_PER_ASCII_BYTE = Decimal("0.75")
"""English and code need about 0.25, digits and base64 up to 0.75 with the tokenizers in use."""
TOKENS_PER_OTHER_BYTE = Decimal(1)
"""A byte-level tokenizer never needs more than one token a byte."""
TOKENS_PER_MESSAGE = 32
TOKENS_PER_REQUEST = 512
"""Hidden prompts that providers add for tools."""

_PROMPT_RATES = ("input_cost_per_token", "cache_creation_input_token_cost")
_COMPLETION_RATES = ("output_cost_per_token", "output_cost_per_reasoning_token")


@dataclass(frozen=True)
class Price:
    """US dollars for one token of each kind, and for the request itself."""

    prompt: Decimal
    completion: Decimal
    request: Decimal = Decimal(0)
    cached: Decimal | None = None
    """Prompt tokens that the provider read from its cache; None bills them like the others."""

    @classmethod
    def per_million(
        cls, prompt: Decimal, completion: Decimal, request: Decimal = Decimal(0), cached: Decimal | None = None
    ) -> Price:
        """From US dollars for a million tokens, as price lists say it; `request` is for one request."""
        return cls(prompt / MILLION, completion / MILLION, request, None if cached is None else cached / MILLION)

    def cost(self, usage: Usage) -> Decimal:
        """US dollars for what was billed; reasoning tokens are among the completion tokens."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        read = self.prompt if self.cached is None else self.cached
        prompt = self.prompt * (usage.prompt_tokens - cached) + read * cached
        return prompt + self.completion * usage.completion_tokens + self.request

    def bound(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """US dollars at most: no token is counted as read from the cache."""
        dearest = max(self.prompt, self.cached or Decimal(0))
        return dearest * prompt_tokens + self.completion * completion_tokens + self.request


def dearest_price(model: str, rates: Mapping[str, Any]) -> Price:
    """The dearest rates of a model.

    Args:
        model: For the error's text.
        rates: The model's row in LiteLLM's price list.

    Raises:
        UnpricedModelError: The row holds no price.
    """
    if not any(name.startswith(_PROMPT_RATES) for name in rates):
        raise UnpricedModelError(
            f"the price of model {model} is not known, so no upper bound can be reserved; "
            "name one of LiteLLM's models as provider/model, under `models:` in the brief or in SYNDIC_MODELS, or set its "
            f'price: SYNDIC_PRICES={{"{model}": {{"prompt": 1.25, "completion": 10}}}} (US dollars for a million tokens)'
        )
    return Price(
        prompt=_dearest(rates, _PROMPT_RATES),
        completion=_dearest(rates, _COMPLETION_RATES),
        request=_dearest(rates, ("input_cost_per_request", "output_cost_per_request")),
    )


def _dearest(rates: Mapping[str, Any], names: tuple[str, ...]) -> Decimal:
    """The highest rate of a kind, whatever the context length, cache lifetime or service tier; batches are never used."""
    values = (
        Decimal(str(value))
        for name, value in rates.items()
        if name.startswith(names) and "batch" not in name and isinstance(value, int | float)
    )
    return max(values, default=Decimal(0))


def prompt_tokens_bound(request: ModelRequest) -> int:
    """More tokens than any tokenizer in use makes of the request."""
    content = [*request.messages, *request.tools]
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ascii_bytes = sum(byte < 128 for byte in body) if not body.isascii() else len(body)
    tokens = TOKENS_PER_ASCII_BYTE * ascii_bytes + TOKENS_PER_OTHER_BYTE * (len(body) - ascii_bytes)
    return int(tokens) + TOKENS_PER_MESSAGE * len(content) + TOKENS_PER_REQUEST

"""What models cost where LiteLLM's price list does not say it, or not rightly: the variable `SYNDIC_PRICES`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents.pricing import Price

Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class ModelPrice(BaseModel):
    """US dollars for a million tokens of each kind, and for one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Usd
    completion: Usd
    request: Usd = Decimal(0)
    cached: Usd | None = None
    """Prompt tokens that the provider read from its cache; None bills them like the others."""

    def rates(self) -> Price:
        """The price of one token of each kind."""
        return Price.per_million(self.prompt, self.completion, self.request, self.cached)


def read_prices(value: Any) -> Any:
    """The JSON object of the variable, its numbers exact."""
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value, parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError("must be a JSON object: model -> price")
    return parsed

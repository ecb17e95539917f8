"""What a rehearsal says, how it fails and what it bills: rules that a person writes in YAML or JSON."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from ledger.vocabulary import Brief, Json


class Fault(StrEnum):
    """Failures that each provider words in its own way. Nobody is billed for them."""

    RATE_LIMIT = "rate_limit"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    AUTH = "auth"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTER = "content_filter"
    BAD_REQUEST = "bad_request"


class Mistake(StrEnum):
    """What is wrong with the arguments of tool calls."""

    NOT_JSON = "not_json"
    UNKNOWN_FIELDS = "unknown_fields"
    WRONG_TYPES = "wrong_types"
    UNKNOWN_TOOL = "unknown_tool"


class Break(StrEnum):
    """What becomes of a stream that goes wrong in its middle. Each is billed."""

    CUT = "cut"
    END = "end"
    """It ends as if it were complete."""
    GARBAGE = "garbage"
    """What follows is no event."""
    ERROR = "error"
    """The provider says that it failed, in its protocol's words."""


class Said(Brief):
    """A tool call; `arguments` as text go out exactly as they are."""

    name: str
    arguments: dict[str, Json] | str = {}


class Saying(Brief):
    """An answer that is written down beforehand."""

    text: str = ""
    calls: tuple[Said, ...] = ()


class Bill(Brief):
    """What is billed. Without any of it: a token for every four bytes of request and answer."""

    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    factor: float = Field(default=1.0, ge=0)
    """Times what was counted."""
    of_estimate: float | None = Field(default=None, ge=0)
    """Times the upper bound that Syndic reserves for the request; above 1.1 a bill exceeds its reservation."""
    reasoning_tokens: int = Field(default=0, ge=0)
    """Completion tokens that are billed and never shown, beyond `max_tokens` if need be."""
    cached_tokens: int = Field(default=0, ge=0)
    """How many of the prompt's tokens count as read from a cache."""


class Rule(Brief):
    """When, and what then. All conditions must hold; the first rule of a script that applies is the one that does.

    `calls`, `every`, `after` and `share` look at the requests that fit the rule's other conditions, numbered from 1.
    """

    model: str = "*"
    """A glob over the model's name as it comes over the wire, without LiteLLM's provider prefix."""
    api: Literal["openai", "anthropic"] | None = None
    contains: str | None = None
    """Text of the last message."""
    turn: int | None = Field(default=None, ge=0)
    """How many answers the conversation holds already."""
    stream: bool | None = None
    """Whether the answer is asked for as a stream."""
    calls: tuple[int, ...] = ()
    every: int | None = Field(default=None, ge=1)
    after: int = Field(default=0, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)
    """Chance for each request, from the script's seed."""

    say: Saying | None = None
    """Left out: the offline maintainer answers."""
    fault: Fault | None = None
    status: int | None = Field(default=None, ge=400, le=599)
    """A failure that `fault` does not name."""
    message: str | None = None
    """The text of the failure."""
    retry_after_s: float | None = Field(default=None, ge=0)
    first_byte_s: float | None = Field(default=None, ge=0)
    """Seconds until the first byte, in place of the script's."""
    cut_after_bytes: int | None = Field(default=None, ge=0)
    """The connection breaks after so much of the answer's body."""
    then: Break = Break.CUT
    """How a stream goes on after `cut_after_bytes`."""
    whole: bool = False
    """Answer in one piece though a stream is asked for."""
    no_usage: bool = False
    """A stream says nothing of what it used."""
    garbage: bool = False
    """The body is no JSON."""
    wrong_arguments: Mistake | None = None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] | None = None
    bill: Bill | None = None

    def fits(self, model: str, api: str, last: str, turn: int, stream: bool = False) -> bool:
        """Whether the request itself is one that the rule is about."""
        return (
            fnmatchcase(model, self.model)
            and self.api in (None, api)
            and (self.contains is None or self.contains in last)
            and self.turn in (None, turn)
            and self.stream in (None, stream)
        )

    def is_due(self, number: int, chance: float) -> bool:
        """Whether it applies to the `number`th request that fits; `chance` is drawn from 0 to 1 for each."""
        return (
            number > self.after
            and (not self.calls or number in self.calls)
            and (self.every is None or number % self.every == 0)
            and (self.share is None or chance < self.share)
        )

    @property
    def fails(self) -> bool:
        """Whether the answer is a status that nobody is billed for."""
        return self.fault is not None or self.status is not None


class Rate(Brief):
    """A synthetic price in US dollars for a million tokens."""

    prompt: Decimal = Field(default=Decimal(1), ge=0)
    completion: Decimal = Field(default=Decimal(4), ge=0)


class Rehearsal(Brief):
    """A whole script."""

    seed: int = 0
    first_byte_s: float = Field(default=0.0, ge=0)
    rates: dict[str, Rate] = {}
    """Synthetic prices by glob over the model's name, for the provider's own count of costs; first match wins."""
    rules: tuple[Rule, ...] = ()

    def rate(self, model: str) -> Rate:
        """The synthetic price of a model."""
        return next((rate for name, rate in self.rates.items() if fnmatchcase(model, name)), Rate())

"""The provider behind the protocols: which rule applies, what is answered and billed, and what was counted on its side."""

from __future__ import annotations

import json
import math
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

from agents.models import ModelRequest
from agents.pricing import prompt_tokens_bound
from agents.rehearsal.script import Bill, Mistake, Rehearsal, Rule
from agents.rehearsal.wire import LABEL, Asked, Billed, Call, Reply

BYTES_PER_TOKEN = 4
_MILLION = 1_000_000
_PLAIN = Rule()


class Provider:
    """Safe to be asked from many threads. A call is a request that is billed, answered or not; failures are none."""

    def __init__(self, rehearsal: Rehearsal | None = None) -> None:
        self.rehearsal = rehearsal or Rehearsal()
        self.calls = 0
        self._lock = threading.Lock()
        self._chances = random.Random(self.rehearsal.seed)  # noqa: S311 - a rehearsal must repeat itself
        self._fitting = Counter[int]()
        self._counts = Counter[str]()
        self._models: dict[str, Counter[str]] = {}
        self._costs: dict[str, Decimal] = {}
        self._busy = 0
        self._busiest = 0

    def rule_for(self, asked: Asked) -> Rule:
        """The first rule of the script that applies; each request is counted by every rule that it fits."""
        due: list[Rule] = []
        with self._lock:
            for index, rule in enumerate(self.rehearsal.rules):
                if rule.fits(asked.model, asked.api, asked.last, asked.turn, asked.stream):
                    self._fitting[index] += 1
                    if rule.is_due(self._fitting[index], self._chances.random()):
                        due.append(rule)
        return due[0] if due else _PLAIN

    def first_byte_s(self, rule: Rule) -> float:
        """Seconds to wait before anything is sent."""
        return self.rehearsal.first_byte_s if rule.first_byte_s is None else rule.first_byte_s

    def before_answer(self, number: int, asked: Asked) -> None:
        """Runs when a call is counted and nothing is sent; for those who embed the provider."""

    def refuse(self, rule: Rule) -> None:
        """Count a failure."""
        with self._lock:
            self._counts["requests"] += 1
            self._counts[f"refused:{rule.fault or rule.status}"] += 1

    @contextmanager
    def call(self, asked: Asked, rule: Rule) -> Iterator[Reply]:
        """Count and bill a call, and say what is answered. The block sends it."""
        with self._lock:
            self.calls += 1
            number = self.calls
            self._counts["requests"] += 1
            self._busy += 1
            self._busiest = max(self._busiest, self._busy)
        try:
            self.before_answer(number, asked)
            reply = _reply(asked, rule, number)
            self._book(asked, reply.billed)
            yield reply
        finally:
            with self._lock:
                self._busy -= 1

    def spoiled(self, how: str) -> None:
        """Count an answer that was billed and cannot be used."""
        with self._lock:
            self._counts[f"spoiled:{how}"] += 1

    def cost_usd(self, model: str, billed: Billed) -> Decimal:
        """What tokens cost at the script's synthetic rates."""
        rate = self.rehearsal.rate(model)
        return (rate.prompt * billed.prompt + rate.completion * billed.completion) / _MILLION

    def stats(self) -> dict[str, Any]:
        """What was counted here, whatever became of the answers; costs are synthetic and labelled so."""
        with self._lock:
            return {
                "label": LABEL,
                "requests": self._counts["requests"],
                "calls": self.calls,
                "in_flight": self._busy,
                "most_in_flight": self._busiest,
                "refused": _part(self._counts, "refused:"),
                "spoiled": _part(self._counts, "spoiled:"),
                "models": {
                    model: {**counts, "synthetic_cost_usd": str(self._costs[model])}
                    for model, counts in sorted(self._models.items())
                },
                "synthetic_cost_usd": str(sum(self._costs.values(), Decimal(0))),
            }

    def _book(self, asked: Asked, billed: Billed) -> None:
        cost = self.cost_usd(asked.model, billed)
        with self._lock:
            self._costs[asked.model] = self._costs.get(asked.model, Decimal(0)) + cost
            self._models.setdefault(asked.model, Counter()).update(
                calls=1,
                prompt_tokens=billed.prompt,
                completion_tokens=billed.completion,
                reasoning_tokens=billed.reasoning,
                cached_tokens=billed.cached,
            )


def _part(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sorted(counts.items()) if name.startswith(prefix)}


def _reply(asked: Asked, rule: Rule, number: int) -> Reply:
    text, calls = _said(asked, rule, number)
    if rule.wrong_arguments is not None:
        calls = tuple(_mistaken(call, rule.wrong_arguments) for call in calls)
    reason = rule.finish_reason or ("tool_calls" if calls else "stop")
    billed = _billed(asked, text, calls, rule.bill or Bill())
    return Reply(number, text, calls, reason, billed)


def _said(asked: Asked, rule: Rule, number: int) -> tuple[str, tuple[Call, ...]]:
    if rule.say is None:
        # Imported here: a script that says everything itself needs none of what reads source code.
        from agents.offline.maintainer import respond

        draft = respond(asked.messages, asked.tools)
        return draft.text, tuple(Call(call["id"], call["name"], call["arguments"]) for call in draft.tool_calls)
    calls = tuple(
        Call(f"call_{number}_{index}", said.name, _arguments(said.arguments))
        for index, said in enumerate(rule.say.calls)
    )
    return rule.say.text, calls


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mistaken(call: Call, mistake: Mistake) -> Call:
    match mistake:
        case Mistake.NOT_JSON:
            return replace(call, arguments=call.arguments.rstrip().removesuffix("}") + ', "')
        case Mistake.UNKNOWN_FIELDS:
            return replace(call, arguments='{"no_such_argument": true}')
        case Mistake.WRONG_TYPES:
            return replace(call, arguments=json.dumps({name: [None] for name in _names(call.arguments)}))
        case Mistake.UNKNOWN_TOOL:
            return replace(call, name=f"no_such_{call.name}")


def _names(arguments: str) -> list[str]:
    try:
        return list(json.loads(arguments))
    except (TypeError, ValueError):
        return []


def _billed(asked: Asked, text: str, calls: tuple[Call, ...], bill: Bill) -> Billed:
    prompt, completion = _tokens(asked.messages) + _tokens(asked.tools), _tokens([text, *map(vars, calls)])
    if bill.of_estimate is not None:
        prompt = math.ceil(_estimate(asked) * bill.of_estimate)
        completion = math.ceil(asked.max_tokens * bill.of_estimate)
    prompt = math.ceil(prompt * bill.factor) if bill.prompt_tokens is None else bill.prompt_tokens
    completion = math.ceil(completion * bill.factor) if bill.completion_tokens is None else bill.completion_tokens
    cached = min(bill.cached_tokens, prompt)
    return Billed(prompt, completion + bill.reasoning_tokens, bill.reasoning_tokens, cached)


def _tokens(value: Any) -> int:
    return math.ceil(len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _estimate(asked: Asked) -> int:
    """The tokens that Syndic reserves for such a prompt, with its margin."""
    request = ModelRequest(purpose="", messages=tuple(asked.messages), tools=tuple(asked.tools))
    return prompt_tokens_bound(request)

"""One call through a chain of models: who is asked next when one cannot answer, and what remains when none can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from agents.errors import ModelError, ModelKeyRefusedError, ModelRefusedError, ModelUnavailableError
from agents.health import Health, Leave
from agents.model_failures import REQUEST_BOUND, UNHEALTHY, Fault, Trouble
from agents.models import Lost, ModelAnswer, ModelRequest
from agents.trimming import trimmed

log = structlog.get_logger(__name__)

Ask = Callable[[str, ModelRequest], Awaitable[ModelAnswer]]
"""Asks one model once. Raises FailedCallError."""


Saw = Callable[[str, bool], Awaitable[None]]
"""Told of each call to a model whether it gave an answer."""


class FailedCallError(Exception):
    """One model did not answer."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


class Failover:
    """Walks one request through a chain.

    Args:
        ask: Asks one model once.
        provider_of: The name of a model's provider, for its circuit; None for models that have none.
        health: The circuits.
        lost: Reserves for the rest of the chain before it is asked.
        saw: Keeps the record of models on trial.
    """

    def __init__(
        self,
        ask: Ask,
        provider_of: Callable[[str], str | None],
        health: Health,
        lost: Lost | None = None,
        saw: Saw | None = None,
    ) -> None:
        self._ask = ask
        self._provider_of = provider_of
        self._health = health
        self._lost = lost
        self._saw = saw
        self._troubles: list[Trouble] = []
        self._refused_by: set[str | None] = set()
        self._lost_calls = False
        """Whether a call since the last reservation may be billed."""

    async def answer(self, request: ModelRequest, chain: Sequence[str]) -> ModelAnswer:
        """The first answer of the chain. Raises as `agents.gateway.Gateway.complete` says."""
        for place, model in enumerate(chain):
            if self._provider_of(model) in self._refused_by:
                continue  # it would be asked with the key that was refused
            if self._lost_calls and self._lost is not None:
                await self._lost(chain[place:])
                self._lost_calls = False
            try:
                return await self._from(model, request)
            except FailedCallError as error:
                self._note(model, error.trouble)
                if error.trouble.fault is Fault.REFUSED:
                    break
        raise _verdict(self._troubles, lost=self._lost_calls)

    async def _from(self, model: str, request: ModelRequest) -> ModelAnswer:
        try:
            return await self._once(model, request)
        except FailedCallError as error:
            shorter = trimmed(request) if error.trouble.fault is Fault.CONTEXT_TOO_LONG else None
            if shorter is None:
                raise
            log.warning("conversation_trimmed", model=model, messages=len(request.messages), left=len(shorter.messages))
        return await self._once(model, shorter)

    async def _once(self, model: str, request: ModelRequest) -> ModelAnswer:
        provider = self._provider_of(model)
        leave = await self._health.leave((provider, model)) if provider else Leave()
        if not leave.granted:
            text = f"{model}: not asked: {leave.reason}"
            raise FailedCallError(Trouble(Fault.RESTING, text, retry_after=leave.wait_s))
        try:
            answer = await self._ask(model, request)
        except FailedCallError as error:
            if provider:
                await self._count(provider, model, error.trouble, leave)
            raise
        await self._health.succeeded(leave)
        if self._saw is not None:
            await self._saw(model, True)
        return answer

    async def _count(self, provider: str, model: str, trouble: Trouble, leave: Leave) -> None:
        if trouble.fault in UNHEALTHY:
            await self._health.failed(provider, trouble.fault, None)
        elif trouble.fault is Fault.RATE_LIMIT:
            await self._health.failed(model, trouble.fault, trouble.retry_after)
        else:  # it answered, if only to refuse
            await self._health.succeeded(leave)
        if self._saw is not None and trouble.fault is not Fault.CONTEXT_TOO_LONG:
            await self._saw(model, False)

    def _note(self, model: str, trouble: Trouble) -> None:
        self._troubles.append(trouble)
        self._lost_calls = self._lost_calls or trouble.may_be_billed
        if trouble.fault is Fault.KEY_REFUSED:
            self._refused_by.add(self._provider_of(model))
        log.warning("model_failed", model=model, fault=trouble.fault.value, reason=trouble.text)


def _verdict(troubles: Sequence[Trouble], *, lost: bool) -> ModelError:
    text = "; ".join(trouble.text for trouble in troubles)
    faults = {trouble.fault for trouble in troubles}
    if faults <= REQUEST_BOUND | {Fault.REFUSED}:
        return ModelRefusedError(text, may_be_billed=lost)
    if faults <= REQUEST_BOUND | {Fault.REFUSED, Fault.KEY_REFUSED}:
        return ModelKeyRefusedError(text, may_be_billed=lost)
    waits = [trouble.retry_after for trouble in troubles if trouble.retry_after is not None]
    return ModelUnavailableError(text, min(waits, default=None), may_be_billed=lost)

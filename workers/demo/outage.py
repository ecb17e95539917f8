"""The demo's other half: models over HTTP at synthetic prices, a provider that fails in mid-run, a budget that is reached."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from redis.asyncio import Redis

from agents.breaker import Circuit
from agents.finishing import pause
from agents.health import SharedHealth
from agents.rehearsal import server
from agents.rehearsal.provider import Provider
from agents.rehearsal.script import Fault, Rehearsal, Rule
from agents.rehearsal.wire import Asked
from ledger.clock import utc_now
from ledger.vocabulary import Json, StepKind, StepStatus, dollars
from workers.commands.provider import MODELS, exports
from workers.console import CommandError
from workers.demo.evidence import Evidence
from workers.demo.proof import Claim
from workflows.specs import ProjectSpec

FIRST, SECOND = MODELS
"""The chain: two models of two providers, as the circuits see them."""
BUDGET_USD = Decimal("0.80")
"""Synthetic; less than the whole work needs."""
BEGINS_AFTER = 12
"""Calls that are answered before the outage begins."""
LOOK_S = 0.1
GIVE_UP_S = 90.0


class Faltering(Provider):
    """The offline maintainer behind two protocols, one of which can be away."""

    def __init__(self) -> None:
        super().__init__(Rehearsal())
        self.is_down = False
        self.requests: list[tuple[datetime, bool]] = []
        """When the first model was asked, and whether it answered."""

    def rule_for(self, asked: Asked) -> Rule:
        down = self.is_down and asked.api == _provider(FIRST)
        if asked.api == _provider(FIRST):
            self.requests.append((utc_now(), not down))
        return Rule(fault=Fault.OVERLOADED) if down else Rule()


@dataclass
class Outage:
    """Serves the models, takes the first one away for a while and watches what the workers make of it."""

    provider: Faltering = field(default_factory=Faltering)
    began: datetime | None = None
    opened: Circuit | None = None
    closed: datetime | None = None

    @contextmanager
    def serving(self) -> Iterator[dict[str, str]]:
        """Serve on a free port of this machine; gives what the worker's environment needs."""
        with server.serving(self.provider) as url:
            # A proxy of the person's must not be asked for an address of this machine.
            direct = {name: f"{os.environ.get(name, '')},127.0.0.1".strip(",") for name in ("NO_PROXY", "no_proxy")}
            yield {**exports(url, self.provider.rehearsal), **direct}

    @property
    def introduction(self) -> str:
        return (
            f"The models are {FIRST} and {SECOND}: offline/maintainer behind a rehearsal provider on this machine. Their "
            "prices are synthetic, nobody is billed."
        )

    def fill(self, spec: ProjectSpec) -> ProjectSpec:
        """The brief with the chain, and a budget that the work exceeds."""
        return spec.model_copy(update={"models": {"default": MODELS}, "budget_usd": BUDGET_USD})

    @asynccontextmanager
    async def directed(self, redis_url: str, narrate: Callable[[str], None]) -> AsyncIterator[None]:
        """Make the outage while the block runs; what has not come about by its end is a claim that does not hold."""
        task = asyncio.create_task(self.direct(redis_url, narrate), name="demo-outage")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def direct(self, redis_url: str, narrate: Callable[[str], None]) -> None:
        """Let the first provider fail until its circuit is open, and wait until a probe has closed it again.

        Raises:
            CommandError: Something of it was not seen in time.
        """
        redis = Redis.from_url(redis_url)
        try:
            await self._fail(SharedHealth(redis), narrate)
        finally:
            await redis.aclose()

    async def _fail(self, health: SharedHealth, narrate: Callable[[str], None]) -> None:
        name = _provider(FIRST)
        await _until(self._busy, "the first calls")
        self.began, self.provider.is_down = utc_now(), True
        narrate(f"Provider {name} now answers 503 to every call; the next model of the chain is {SECOND}.")

        async def opened() -> bool:
            self.opened = (await health.circuits()).get(name)
            return self.opened is not None and self.opened.trips > 0

        async def closed() -> bool:
            return name not in await health.circuits()

        await _until(opened, "an open circuit")
        self.provider.is_down = False
        narrate(f"The circuit of {name} is open: all workers pass it over and ask {SECOND}.")
        narrate("The provider is back. After the circuit's rest one call, the probe, will find out.")
        await _until(closed, "the probe that closes the circuit")
        self.closed = utc_now()
        narrate(f"The probe was answered: the circuit of {name} is closed, and {FIRST} is the first choice again.")

    async def _busy(self) -> bool:
        return self.provider.calls >= BEGINS_AFTER

    def failovers(self, evidence: Evidence) -> int:
        """Calls that the second model answered from the beginning of the outage until the circuit was closed."""
        if self.began is None:
            return 0
        end = self.closed or utc_now()
        return sum(
            step.kind is StepKind.MODEL
            and step.model == SECOND
            and step.started_at is not None
            and self.began <= step.started_at <= end
            for step in evidence.steps
        )

    def prove(self, evidence: Evidence) -> list[Claim]:
        """What this demo says it shows besides what the other one does."""
        return [self._failed_over(evidence), self._probed(), _asked_for_money(evidence), self._billed(evidence)]

    def summary(self, evidence: Evidence) -> dict[str, Json]:
        """What the last line holds besides the ordinary demo's."""
        return {
            "failovers": self.failovers(evidence),
            "budget_approvals": budget_approvals(evidence),
            "in_doubt": evidence.in_doubt,
            "synthetic_prices": True,
        }

    def _failed_over(self, evidence: Evidence) -> Claim:
        calls = Counter(
            step.model for step in evidence.steps if step.kind is StepKind.MODEL and step.status is StepStatus.DONE
        )
        refused = sum(not answered for _, answered in self.provider.requests)
        by_model = ", ".join(f"{count} {model}" for model, count in calls.most_common())
        moved = self.failovers(evidence)
        text = f"{refused} calls met the outage, {moved} were answered by {SECOND} meanwhile; all answers: {by_model}"
        return Claim(title="another model took over", holds=refused > 0 and moved > 0, evidence=text)

    def _probed(self) -> Claim:
        title = "the circuit opened, and a probe closed it"
        refused = [at for at, answered in self.provider.requests if not answered]
        if self.opened is None or self.closed is None or not refused:
            return Claim(title=title, holds=False, evidence="no circuit was seen to open and to close")
        probe = next((at for at, answered in self.provider.requests if answered and at > refused[-1]), None)
        if probe is None:
            return Claim(title=title, holds=False, evidence="the provider was never asked again")
        rested = (probe - refused[-1]).total_seconds()
        text = (
            f"opened after {self.opened.failures} failures in a row ({self.opened.reason}); probe {rested:.1f} s later"
        )
        return Claim(title=title, holds=rested > 1, evidence=text)

    def _billed(self, evidence: Evidence) -> Claim:
        title = "the provider's count agrees with the journal, at synthetic prices"
        answered = sum(row.calls for row in evidence.usage)
        cost = sum((row.cost_usd for row in evidence.usage), Decimal(0))
        violations, doubt = len(evidence.of("budget_violated")), evidence.in_doubt
        text = (
            f"{self.provider.calls} calls there, {answered} journaled, {doubt} in doubt; {violations} violations; "
            f"{dollars(cost)} USD at synthetic prices, which nobody is billed"
        )
        holds = 0 < answered <= self.provider.calls <= answered + doubt and not violations
        return Claim(title=title, holds=holds, evidence=text)


def budget_approvals(evidence: Evidence) -> int:
    """Requests for more budget that were granted."""
    return sum(
        entry.body["approval_kind"] == "budget" and entry.body["decision"] == "approve"
        for entry in evidence.of("decision_made")
    )


def _asked_for_money(evidence: Evidence) -> Claim:
    title = "the budget was reached, a person raised it, and the work went on"
    raised = [entry for entry in evidence.of("budget_changed") if entry.body["raised"]]
    asked = [entry for entry in evidence.of("approval_requested") if entry.body["approval_kind"] == "budget"]
    later = [entry for entry in evidence.of("step_recorded") if raised and entry.seq > raised[-1].seq]
    limits = ", ".join(f"{entry.body['limit_usd']} USD" for entry in raised)
    text = (
        f"{len(asked)} asked, {budget_approvals(evidence)} granted; new limits: {limits}; {len(later)} steps afterwards"
    )
    return Claim(title=title, holds=bool(asked and raised and later and budget_approvals(evidence)), evidence=text)


def _provider(model: str) -> str:
    return model.partition("/")[0]


async def _until(seen: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + GIVE_UP_S
    while not await seen():
        if asyncio.get_running_loop().time() > deadline:
            raise CommandError(f"the outage shows nothing: {what} did not come within {GIVE_UP_S:.0f} s")
        await pause(LOOK_S)

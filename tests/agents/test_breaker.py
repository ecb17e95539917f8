"""Circuits: when one opens, how long it rests, and that all workers see the same one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from agents.breaker import FIRST_REST_S, LONGEST_REST_S, THRESHOLD, Circuit, failed
from agents.health import PROBE_S, PROBE_WAIT_S, Health, LocalHealth, SharedHealth

NAMES = ("openai", "openai/first")


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["local", "shared"])
def health(request: pytest.FixtureRequest, clock: Clock) -> Health:
    if request.param == "local":
        return LocalHealth(clock)
    return SharedHealth(request.getfixturevalue("redis"), clock)


async def fail(health: Health, times: int = THRESHOLD, name: str = "openai") -> None:
    for _ in range(times):
        await health.failed(name, "overload")


async def test_a_circuit_opens_after_failures_in_a_row(health: Health, clock: Clock) -> None:
    await fail(health, THRESHOLD - 1)
    assert (await health.leave(NAMES)).granted
    await fail(health, 1)
    refused = await health.leave(NAMES)
    assert refused.wait_s == pytest.approx(FIRST_REST_S)
    assert "overload" in refused.reason
    assert (await health.leave(("anthropic", "anthropic/other"))).granted


async def test_a_success_closes_it_and_forgets(health: Health, clock: Clock) -> None:
    await fail(health, THRESHOLD - 1)
    await health.succeeded(await health.leave(NAMES))
    assert await health.circuits() == {}
    await fail(health, THRESHOLD - 1)
    assert (await health.leave(NAMES)).granted


async def test_after_its_rest_one_caller_probes_and_the_others_wait(health: Health, clock: Clock) -> None:
    await fail(health)
    clock.now += FIRST_REST_S
    probe = await health.leave(NAMES)
    assert probe.granted
    assert (await health.leave(NAMES)).wait_s == PROBE_WAIT_S
    await health.succeeded(probe)
    assert (await health.leave(NAMES)).granted
    assert (await health.leave(NAMES)).granted


async def test_a_failed_probe_doubles_the_rest(health: Health, clock: Clock) -> None:
    await fail(health)
    clock.now += FIRST_REST_S
    assert (await health.leave(NAMES)).granted
    await fail(health, 1)
    assert (await health.leave(NAMES)).wait_s == pytest.approx(2 * FIRST_REST_S)


async def test_retry_after_rests_one_model_at_once_and_needs_no_probe(health: Health, clock: Clock) -> None:
    await health.failed("openai/first", "rate limit", 17)
    assert (await health.leave(NAMES)).wait_s == pytest.approx(17)
    assert (await health.leave(("openai", "openai/second"))).granted
    clock.now += 17
    assert (await health.leave(NAMES)).granted
    assert (await health.leave(NAMES)).granted


async def test_a_prober_that_died_holds_others_up_only_for_a_while(clock: Clock) -> None:
    health = LocalHealth(clock)
    await fail(health)
    clock.now += FIRST_REST_S
    await health.leave(NAMES)
    clock.now += PROBE_S
    assert (await health.leave(NAMES)).granted


async def test_all_workers_see_what_one_has_seen(redis: Redis, clock: Clock) -> None:
    one, other = SharedHealth(redis, clock), SharedHealth(redis, clock)
    await fail(one)
    assert not (await other.leave(NAMES)).granted
    assert (await other.circuits())["openai"].trips == 1
    clock.now += FIRST_REST_S
    probe = await other.leave(NAMES)
    assert not (await one.leave(NAMES)).granted
    await other.succeeded(probe)
    assert (await one.leave(NAMES)).granted


async def test_failures_of_many_workers_add_up(redis: Redis, clock: Clock) -> None:
    for _ in range(THRESHOLD):
        await SharedHealth(redis, clock).failed("openai", "time-out")
    assert not (await SharedHealth(redis, clock).leave(NAMES)).granted


async def test_without_redis_a_worker_goes_by_its_own_circuits(clock: Clock) -> None:
    client = Redis(port=1)
    health = SharedHealth(client, clock)
    assert (await health.leave(NAMES)).granted
    await fail(health)
    assert not (await health.leave(NAMES)).granted
    await client.aclose()


@given(st.lists(st.tuples(st.floats(0, 1000), st.none() | st.floats(0, 10_000)), max_size=60))
def test_no_rest_is_longer_than_the_longest_and_trouble_never_shortens_one(
    events: list[tuple[float, float | None]],
) -> None:
    circuit, now = Circuit(), 0.0
    for later, rest_s in events:
        now += later
        before = circuit
        circuit = failed(circuit, now, "x", rest_s)
        assert circuit.rests_until >= before.rests_until
        assert circuit.wait_s(now) <= LONGEST_REST_S * (1 + 1e-9)

"""Models chosen while workers run: by role and class, for a part of the runs, withdrawn when they fail."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from agents.gateway import Gateway
from agents.model_choice import Canary, Choice, SharedChoices, chain_of
from agents.models import ModelRequest
from agents.pricing import Price
from tests.agents.scripted import Says, scripted
from tests.agents.test_gateway import Keys

REQUEST = ModelRequest(purpose="test", messages=({"role": "user", "content": "hello"},), max_tokens=50)
THREADS = [f"p/s1/t{number}/engineer-1" for number in range(400)]
NEW = Canary(model="openai/new", percent=25, max_error_rate=0.3, after_calls=4)


def test_a_role_asks_its_own_choice_else_the_default_else_its_own_chain() -> None:
    choices = {"engineer": Choice(chain=("a/b",)), "default": Choice(chain=("c/d",))}
    assert chain_of(choices, "engineer", "t") == ("a/b",)
    assert chain_of(choices, "judge", "t") == ("c/d",)
    assert chain_of({}, "judge", "t") is None


def test_a_class_stands_for_its_models() -> None:
    choices = {"fast": Choice(chain=("a/b", "c/d")), "qa": Choice(chain=("fast", "e/f"))}
    assert chain_of(choices, "qa", "t") == ("a/b", "c/d", "e/f")


def test_a_canary_is_asked_first_by_its_part_of_the_runs_and_always_by_the_same() -> None:
    choices = {"engineer": Choice(chain=("openai/old",), canary=NEW)}
    first = [chain_of(choices, "engineer", thread) for thread in THREADS]
    assert first == [chain_of(choices, "engineer", thread) for thread in THREADS]
    assert set(first) == {("openai/old",), ("openai/new", "openai/old")}
    part = sum(chain == ("openai/new", "openai/old") for chain in first) / len(THREADS)
    assert 0.15 < part < 0.35


@pytest.mark.parametrize("values", [{"percent": 0}, {"percent": 101}, {"max_error_rate": 1.0}, {"after_calls": 0}])
def test_a_canary_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Canary.model_validate({"model": "a/b", "percent": 5, **values})


async def test_a_choice_of_one_process_is_used_by_another_and_can_be_taken_back(redis: Redis) -> None:
    one, other = SharedChoices(redis), SharedChoices(redis)
    await one.put("engineer", Choice(chain=("a/b",)))
    assert await other.chain("engineer", "t") == ("a/b",)
    assert await one.drop("engineer")
    assert not await one.drop("engineer")
    assert await other.chain("engineer", "t") is None


async def test_without_redis_the_last_choice_known_stays(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = SharedChoices(redis)
    await choices.put("engineer", Choice(chain=("a/b",)))
    await choices.chain("engineer", "t")

    async def gone(_: str) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(redis, "hgetall", gone)
    assert await choices.chain("engineer", "t") == ("a/b",)


async def test_a_canary_that_fails_too_often_is_withdrawn_for_all_workers(redis: Redis) -> None:
    choices, other = SharedChoices(redis), SharedChoices(redis)
    await choices.put("engineer", Choice(chain=("openai/old",), canary=NEW))
    await choices.chain("engineer", "t")
    for ok in (True, True, False):
        await choices.saw("openai/new", ok)
        await choices.saw("openai/old", False)
    assert (await other.all())["engineer"].canary == NEW
    await choices.saw("openai/new", False)
    after = (await other.all())["engineer"]
    assert after.canary is None
    assert after.withdrawn == "openai/new: 2 of 4 calls failed"
    assert {await other.chain("engineer", thread) for thread in THREADS} == {("openai/old",)}


async def test_a_canary_that_works_stays(redis: Redis) -> None:
    choices = SharedChoices(redis)
    await choices.put("engineer", Choice(chain=("openai/old",), canary=NEW))
    await choices.chain("engineer", "t")
    for _ in range(10):
        await choices.saw("openai/new", True)
    assert (await choices.all())["engineer"].canary == NEW


async def test_calls_over_http_decide_on_the_canary(redis: Redis) -> None:
    choices = SharedChoices(redis)
    prices = dict.fromkeys(("openai/new", "openai/old"), Price(Decimal(0), Decimal(0)))
    await choices.put("engineer", Choice(chain=("openai/old",), canary=NEW.model_copy(update={"percent": 100})))
    with scripted() as server:
        gateway = Gateway(Keys(server.url), prices=prices, saw=choices.saw)
        for _ in range(4):
            chain = await choices.chain("engineer", "t")
            assert chain == ("openai/new", "openai/old")
            server.queue = [Says("no", status=429), Says("here")]
            assert (await gateway.complete(REQUEST, chain)).model == "openai/old"
        await gateway.close()
    assert await choices.chain("engineer", "t") == ("openai/old",)

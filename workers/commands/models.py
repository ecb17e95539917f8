"""`syndic models`: which models roles ask, changed while workers run, and how providers are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.vocabulary import Role
from workers.console import USAGE, CommandError, emit, run_work, show
from workers.settings import load_settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

app = typer.Typer(
    help="Show and change which models roles ask.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[
    str, typer.Argument(help="A role, `default`, or a class: reasoning, fast, cheap, local.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command(name="set")
def set_models(
    name: Name,
    chain: Annotated[str, typer.Argument(help="Models or classes, comma separated, first choice first.")],
    canary: Annotated[str | None, typer.Option(help="A model that a part of the runs asks first.")] = None,
    percent: Annotated[int, typer.Option(help="How large that part is.", min=1, max=100)] = 10,
    max_error_rate: Annotated[float, typer.Option(help="Above this share of failed calls it is withdrawn.")] = 0.2,
    as_json: AsJson = False,
) -> None:
    """Choose the models of a role; workers use them from their next call on."""

    async def work() -> None:
        from pydantic import ValidationError

        from agents.model_choice import Canary, Choice, SharedChoices

        names = tuple(part.strip() for part in chain.split(",") if part.strip())
        _check(name, (*names, *([canary] if canary else ())))
        try:
            trial = Canary(model=canary, percent=percent, max_error_rate=max_error_rate) if canary else None
            choice = Choice(chain=names, canary=trial)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            raise CommandError(f"{'.'.join(map(str, found['loc']))}: {found['msg']}", USAGE) from None
        async with _redis() as redis:
            await SharedChoices(redis).put(name, choice)
        if as_json:
            emit({"name": name, **choice.model_dump(mode="json")})
        else:
            tried = f"; {percent} % of the runs ask {canary} first" if canary else ""
            show(f"{name} asks {', '.join(names)} from the next call on{tried}")

    run_work(work())


@app.command()
def clear(name: Name) -> None:
    """Take a choice back: runs ask the chains of their brief or settings again."""

    async def work() -> None:
        from agents.model_choice import SharedChoices

        async with _redis() as redis:
            dropped = await SharedChoices(redis).drop(name)
        show(f"{name}: back to brief and settings" if dropped else f"there was no choice for {name}")

    run_work(work())


@app.command(name="show")
def show_models(as_json: AsJson = False) -> None:
    """Show the choices that are in force, and providers and models that are or were in trouble."""

    async def work() -> None:
        from agents.health import SharedHealth
        from agents.model_choice import SharedChoices

        async with _redis() as redis:
            choices = await SharedChoices(redis).all()
            circuits = await SharedHealth(redis).circuits()
        now = time.time()
        if as_json:
            rests = {name: {"rests_s": c.wait_s(now), "reason": c.reason} for name, c in circuits.items()}
            emit({"choices": {n: c.model_dump(mode="json") for n, c in choices.items()}, "circuits": rests})
            return
        for name, choice in sorted(choices.items()):
            trial = f"  canary {choice.canary.model} {choice.canary.percent} %" if choice.canary else ""
            gone = f"  withdrawn: {choice.withdrawn}" if choice.withdrawn else ""
            show(f"{name}: {', '.join(choice.chain)}{trial}{gone}")
        if not choices:
            show("no choices; runs ask the chains of their brief or settings")
        for name, circuit in circuits.items():
            wait = circuit.wait_s(now)
            state = f"rests for {wait:.0f} s" if wait else f"{circuit.failures} failures in a row"
            show(f"{name}: {state} ({circuit.reason})")

    run_work(work())


def _check(name: str, models: tuple[str, ...]) -> None:
    """Refuse names and models that would only fail at the next call."""
    from agents.gateway import Gateway
    from agents.model_choice import DEFAULT
    from agents.model_keys import EnvironmentKeys
    from agents.models import ModelRequest
    from agents.roles import MODEL_CLASSES

    known = (DEFAULT, *MODEL_CLASSES, *(role.value for role in Role))
    if name not in known:
        raise CommandError(f"{name!r} is no role and no class; known: {', '.join(known)}", USAGE)
    if name in MODEL_CLASSES and any(model in MODEL_CLASSES for model in models):
        raise CommandError("the chain of a class names models, not classes", USAGE)
    prices = {model: price.rates() for model, price in load_settings().prices.items()}
    wanted = [model for model in models if model not in MODEL_CLASSES]
    Gateway(EnvironmentKeys(), prices=prices).bound(ModelRequest(purpose="check", messages=()), wanted)


@asynccontextmanager
async def _redis() -> AsyncIterator[Redis]:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    from workers.stack import resolve

    redis = Redis.from_url(resolve(load_settings()).redis_url)
    try:
        yield redis
    except (RedisError, OSError) as error:
        raise CommandError(f"Redis cannot be reached: {str(error)[:200]}; is the stack up? (syndic up)") from None
    finally:
        await redis.aclose()

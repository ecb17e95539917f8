"""`syndic provider`: a model provider for rehearsals."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.console import USAGE, CommandError, emit, run_work, say, show

if TYPE_CHECKING:
    from agents.rehearsal.script import Rehearsal

MODELS = ("openai/rehearsal", "anthropic/rehearsal")
"""Names that label every cost as rehearsed. Other names are served as well, and charged at their real prices."""


def provider(
    script: Annotated[
        Path | None, typer.Argument(help="YAML or JSON with rules; without one the offline maintainer answers.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8089,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when it listens.")] = False,
) -> None:
    """Serve OpenAI's chat completions and Anthropic's messages, scripted, until Ctrl-C. No model, no bill.

    Prints the exports that lead a worker here, and at the end what was counted. Tokens and prices are synthetic.
    """
    run_work(_serve(script, host, port, as_json))


async def _serve(script: Path | None, host: str, port: int, as_json: bool) -> None:
    from agents.rehearsal.provider import Provider
    from agents.rehearsal.script import Rehearsal
    from agents.rehearsal.server import serving

    answering = Provider(load_rehearsal(script) if script else Rehearsal())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        with serving(answering, host, port) as url:
            _announce(url, answering.rehearsal, as_json)
            await stopped.wait()
    except OSError as error:
        raise CommandError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    if as_json:
        emit(answering.stats())
    else:
        _summarise(answering.stats())


def load_rehearsal(path: Path) -> Rehearsal:
    """Read a script.

    Raises:
        CommandError: It cannot be read, or one line for each mistake in it.
    """
    import yaml
    from pydantic import ValidationError

    from agents.rehearsal.script import Rehearsal

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML as well
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{path} cannot be read: {error}", USAGE) from error
    try:
        return Rehearsal.model_validate({} if content is None else content)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise CommandError(f"{path} is no script for a rehearsal:\n" + "\n".join(lines), USAGE) from None


def exports(url: str, rehearsal: Rehearsal) -> dict[str, str]:
    """What the environment of workers needs."""
    rate = rehearsal.rate("rehearsal")
    price = {"prompt": str(rate.prompt), "completion": str(rate.completion)}
    return {
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": "rehearsal",
        "ANTHROPIC_API_BASE": url,
        "ANTHROPIC_API_KEY": "rehearsal",
        "SYNDIC_MODELS": MODELS[0],
        "SYNDIC_PRICES": json.dumps(dict.fromkeys(MODELS, price)),
    }


def _announce(url: str, rehearsal: Rehearsal, as_json: bool) -> None:
    if as_json:
        show(json.dumps({"url": url, "stats": f"{url}/stats", "environment": exports(url, rehearsal)}))
        return
    say(f"A provider for rehearsals listens on {url}; its count is at {url}/stats. Ctrl-C stops it.")
    say("Its tokens and prices are synthetic. Where the workers run:")
    for name, value in exports(url, rehearsal).items():
        show(f"export {name}={shlex.quote(value)}")


def _summarise(stats: dict[str, Any]) -> None:
    say(f"{stats['requests']} requests, {stats['calls']} of them billed calls ({stats['label']})")
    for model, counts in stats["models"].items():
        say(
            f"  {model}: {counts['calls']} calls, {counts['prompt_tokens']} + {counts['completion_tokens']} tokens, "
            f"${counts['synthetic_cost_usd']} at synthetic prices"
        )

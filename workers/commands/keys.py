"""`syndic keys new|show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from workers.console import emit, run_work, say, show, whoami

app = typer.Typer(
    help="Make and show the keys with which persons sign decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Argument(help="File of the private key.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="Your name among the approvers; yours by default.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def new(file: File, name: Name = None, as_json: AsJson = False) -> None:
    """Make a key pair. The private key stays in FILE; what is printed belongs into a brief's `approvers`."""

    async def work() -> None:
        from workers.keys import write_key

        path = file.expanduser()
        _show(write_key(path).public.jwk, name, as_json)
        say(f"the private key is in {path}; keep it to yourself, and sign with `syndic approve REQUEST --key {path}`")

    run_work(work())


@app.command(name="show")
def show_key(file: File, name: Name = None, as_json: AsJson = False) -> None:
    """Print the public part of the key in FILE, as a brief's `approvers` take it."""

    async def work() -> None:
        from workers.keys import read_key

        _show(read_key(file.expanduser()).public.jwk, name, as_json)

    run_work(work())


def _show(jwk: dict[str, str], name: str | None, as_json: bool) -> None:
    approver = {"name": name or whoami(), "key": jwk}
    if as_json:
        emit(approver)
    else:
        show(json.dumps({"approvers": [approver]}))

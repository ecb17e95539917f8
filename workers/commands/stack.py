"""`syndic up`, `down`, `env`, `doctor`: the local stack and the machine it runs on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from workers.console import FAILED, emit, run_work, say, show
from workers.settings import OWN_PROFILE, load_settings

if TYPE_CHECKING:
    from workers.doctor import Finding
    from workers.stack.addresses import Addresses

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def up(
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Also start a worker process.")] = True,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the stack is ready.")] = False,
    profile: Annotated[
        str, typer.Option(help="Temporal CLI profile to write; empty for none.", metavar="NAME")
    ] = OWN_PROFILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when the stack is ready.")] = False,
) -> None:
    """Start the local stack: Temporal with Web UI, Postgres, Redis and a worker. Ctrl-C stops it.

    A server whose address is set (TEMPORAL_ADDRESS or a profile, SYNDIC_DATABASE_URL, SYNDIC_REDIS_URL) is used as it is.
    """
    from workers.stack.addresses import Addresses, dumps
    from workers.stack.control import detach as start_detached
    from workers.stack.control import run_until_stopped
    from workers.stack.supervisor import Stack
    from workers.telemetry import configure_logging

    settings = load_settings()
    if detach:
        options = ["--worker" if worker else "--no-worker", "--profile", profile]
        line = run_work(start_detached(settings, options))
        show(line) if as_json else _announce(Addresses.model_validate_json(line))
        return

    def ready(addresses: Addresses) -> None:
        if as_json:
            show(dumps(addresses))
        else:
            _announce(addresses)
            say("Ctrl-C stops it.")

    configure_logging("warning", settings.log_format)  # what a person needs to know comes through `report`
    stack = Stack(settings, worker=worker, profile=profile or None, report=say)
    run_work(run_until_stopped(stack, ready))


def _announce(addresses: Addresses) -> None:
    say(f"Syndic is up. Temporal: {addresses.temporal}  Web UI: {addresses.web_ui or 'your own'}")
    say(f"State: {addresses.state_dir}")
    say("Try `temporal --profile syndic workflow list`, or `syndic run --help`.")


def down(as_json: Json = False) -> None:
    """Stop the local stack and wait until all of it has ended. Data stays."""
    from workers.stack.control import take_down

    settings = load_settings()
    stopped = run_work(take_down(settings.state_dir))
    if as_json:
        emit({"state_dir": str(settings.state_dir), "stopped": stopped})
    else:
        say(f"stopped the stack on {settings.state_dir}" if stopped else f"nothing runs on {settings.state_dir}")


def env(as_json: Json = False) -> None:
    """Print the exports that point other tools at the stack: `eval "$(syndic env)"`. They hold passwords."""
    from workers.stack.addresses import resolve

    exports = resolve(load_settings()).exports()
    if as_json:
        emit(exports)
        return
    for name, value in exports.items():
        show(f"export {name}={shlex.quote(value)}")


def doctor(as_json: Json = False) -> None:
    """Check what Syndic needs on this machine, and say what is missing and what follows from it."""
    from workers.doctor import State, examine

    findings = run_work(examine())
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    if as_json:
        emit({"healthy": not broken, "findings": [finding.model_dump(mode="json") for finding in findings]})
    else:
        _print_findings(findings)
    raise typer.Exit(FAILED if broken else 0)


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    from workers.doctor import State

    colours = {State.OK: "green", State.WARNING: "yellow", State.BROKEN: "red"}
    table = Table("", "check", "found", box=None, pad_edge=False)
    for finding in findings:
        text = finding.detail + (f"\n{finding.remedy}" if finding.remedy else "")
        table.add_row(f"[{colours[finding.state]}]{finding.state.value}[/]", finding.check, text)
    Console().print(table)

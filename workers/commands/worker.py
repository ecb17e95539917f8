"""`syndic worker`, `syndic migrate`, `syndic rollout`: the operator's commands."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from workers.settings import Settings, load_settings


def worker(
    queues: Annotated[str, typer.Option(help="Task queues to serve, comma separated.")] = (
        "syndic,syndic-agents,syndic-tools"
    ),
    deployment: Annotated[str, typer.Option(help="Worker Deployment name.")] = "syndic",
    build_id: Annotated[
        str | None, typer.Option(help="Build id; the source's own digest where it is left out.")
    ] = None,
) -> None:
    """Run one worker process until it is interrupted; then it finishes what is in flight."""
    from workers.client import exit_process
    from workers.deployment import build_id as own_build_id
    from workers.registry import UnknownQueueError, check_queues
    from workers.telemetry import configure_logging
    from workers.worker import WorkerProcess

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    try:
        names = check_queues([name.strip() for name in queues.split(",") if name.strip()])
    except UnknownQueueError as error:
        raise typer.BadParameter(str(error), param_hint="--queues") from error
    process = WorkerProcess(settings, names, deployment, build_id or own_build_id())

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, process.stop)
        await process.run()

    asyncio.run(run())
    exit_process(0)


def migrate() -> None:
    """Bring the database's schema and Temporal's search attributes up to this build. Safe to run again."""
    from workers.client import exit_process

    settings = load_settings()
    asyncio.run(_migrate(settings))
    exit_process(0)


async def _migrate(settings: Settings) -> None:
    from ledger.postgres import migrate as migrate_database
    from workers.client import connect, register_search_attributes
    from workers.stack.addresses import resolve

    if settings.owner_database_url is None:
        raise typer.BadParameter(
            "set SYNDIC_OWNER_DATABASE_URL to the address of the role that owns the schema; "
            "the role that workers use must not own it",
            param_hint="SYNDIC_OWNER_DATABASE_URL",
        )
    await migrate_database(settings.owner_database_url.get_secret_value())
    await register_search_attributes(await connect(resolve(settings)))
    typer.echo("schema and search attributes are up to date", err=True)


def rollout(
    build_id: Annotated[str, typer.Option(help="Build id to make current.")],
    deployment: Annotated[str, typer.Option(help="Worker Deployment name.")] = "syndic",
) -> None:
    """Make a build the deployment's current version once its workers poll.

    The same as `temporal worker deployment set-current-version`, with waiting.
    """
    from workers.client import connect, exit_process
    from workers.deployment import DeploymentError, set_current_version
    from workers.stack.addresses import resolve

    async def run() -> None:
        client = await connect(resolve(load_settings()))
        await set_current_version(client, deployment, build_id)

    try:
        asyncio.run(run())
    except DeploymentError as error:
        typer.echo(f"error: {error}", err=True)
        exit_process(1)
    typer.echo(f"{deployment}:{build_id} is current", err=True)
    exit_process(0)

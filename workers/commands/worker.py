"""`syndic worker`, `syndic migrate`, `syndic rollout`: the operator's commands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any

import typer
import uvloop

from workers.console import FAILED, USAGE, expected, give_up, say
from workers.errors import WorkersError
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
    from workers.memory import postpone_collections

    postpone_collections()
    from workers.deployment import build_id as own_build_id
    from workers.deployment import deployment_version
    from workers.preflight import prepare
    from workers.queues import check_queues
    from workers.telemetry import configure_logging, tell_stacks

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    tell_stacks()
    names = check_queues([name.strip() for name in queues.split(",") if name.strip()])
    version = deployment_version(deployment, own_build_id() if build_id is None else build_id)

    async def run() -> None:
        await prepare(settings)
        from workers.worker import WorkerProcess  # seconds of imports, for which a mistake need not wait

        process = WorkerProcess(settings, names, version)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, process.stop)
        await process.run()

    _perform(run())


def migrate() -> None:
    """Bring the database's schema and Temporal's search attributes up to this build. Safe to run again."""
    from workers.telemetry import configure_logging

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    _perform(_migrate(settings))
    say("schema and search attributes are up to date")


async def _migrate(settings: Settings) -> None:
    from ledger.postgres import migrate as migrate_database
    from workers.client import connect, register_search_attributes
    from workers.stack.addresses import resolve

    if settings.owner_database_url is None:
        give_up(
            "set SYNDIC_OWNER_DATABASE_URL to the address of the role that owns the schema; "
            "the role that workers use must not own it",
            USAGE,
        )
    await migrate_database(settings.owner_database_url.get_secret_value())
    await register_search_attributes(await connect(resolve(settings)))


def rollout(
    build_id: Annotated[str, typer.Option(help="Build id to make current.")],
    deployment: Annotated[str, typer.Option(help="Worker Deployment name.")] = "syndic",
    within: Annotated[float, typer.Option(help="Seconds to wait for workers.", min=0)] = 60,
) -> None:
    """Make a build the deployment's current version once its workers poll every task queue.

    The same as `temporal worker deployment set-current-version`, with waiting.
    """
    from workers.client import connect
    from workers.deployment import deployment_version, set_current_version
    from workers.stack.addresses import resolve
    from workers.telemetry import configure_logging

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    deployment_version(deployment, build_id)

    async def run() -> None:
        client = await connect(resolve(settings))
        await set_current_version(client, deployment, build_id, within=timedelta(seconds=within))

    _perform(run())
    say(f"{deployment}:{build_id} is current")


def _perform(work: Coroutine[Any, Any, None]) -> None:
    """Run an operator's command; what a person can mend ends it with one text and a code, never with a traceback."""
    try:
        uvloop.run(work)
    except WorkersError as error:
        give_up(error, error.exit_code)
    except Exception as error:
        if text := expected(error):
            give_up(text, FAILED)
        raise

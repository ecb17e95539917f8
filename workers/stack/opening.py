"""Finding or starting the three servers, side by side, and gathering where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from workers.client import connect, register_search_attributes
from workers.settings import Settings
from workers.stack.addresses import Addresses, temporal_profile
from workers.stack.credentials import Credentials, load_credentials
from workers.stack.errors import StackError
from workers.stack.parts import Part, Report
from workers.stack.postgres import OWNER, WORKER, Postgres, check_database
from workers.stack.profile import write_profile
from workers.stack.redis import Redis, check_redis
from workers.stack.temporal import Temporal

_UNKNOWN: Final = {"database_url": "", "redis_url": ""}
"""Stands in for what the other openers are still finding out."""


class Host(Protocol):
    """Who keeps running what is started here."""

    report: Report

    async def run(self, part: Part) -> None: ...

    def found(self, name: str) -> None: ...

    def remembered_ports(self, name: str) -> dict[str, int]: ...


class Opening:
    """One start of a stack. An address that is set is checked and used; the rest is started."""

    def __init__(self, settings: Settings, profile_name: str | None, host: Host) -> None:
        self._settings = settings
        self._dir = settings.state_dir
        self._profile_name = profile_name
        self._host = host
        self._known: dict[str, Any] = {}

    async def addresses(self) -> Addresses:
        """Open everything.

        Raises:
            WorkersError: what is set does not answer, or what is started does not run.
        """
        profile = temporal_profile(self._settings)
        self._known = {"state_dir": self._dir, "profile": profile, "namespace": "default"}
        credentials = load_credentials(self._dir)
        await _together(self._open_postgres(credentials), self._open_redis(credentials), self._open_temporal())
        return Addresses.model_validate(self._known)

    async def _open_postgres(self, credentials: Credentials) -> None:
        from ledger.postgres import migrate

        settings = self._settings
        if settings.database_url is not None:
            await check_database(settings.database_url.get_secret_value(), "SYNDIC_DATABASE_URL")
            self._host.found("postgres")
            owner = settings.owner_database_url.get_secret_value() if settings.owner_database_url else None
            self._known |= {"database_url": settings.database_url.get_secret_value(), "owner_database_url": owner}
            if owner is None:
                self._host.report("postgres: found; its schema is left as it is, SYNDIC_OWNER_DATABASE_URL is not set")
                return
            await check_database(owner, "SYNDIC_OWNER_DATABASE_URL")
            await migrate(owner)
            return
        postgres = Postgres(self._dir, credentials, self._host.remembered_ports("postgres"))
        await self._host.run(postgres)
        await postgres.open_database()
        await migrate(postgres.url(OWNER))
        await postgres.admit_worker()
        self._known |= {"database_url": postgres.url(WORKER), "owner_database_url": postgres.url(OWNER)}

    async def _open_redis(self, credentials: Credentials) -> None:
        if self._settings.redis_url is not None:
            url = self._settings.redis_url.get_secret_value()
            await check_redis(url)
            self._host.found("redis")
        else:
            redis = Redis(self._dir, credentials, self._host.remembered_ports("redis"), self._host.report)
            await self._host.run(redis)
            url = redis.url
        self._known["redis_url"] = url

    async def _open_temporal(self) -> None:
        profile = self._known["profile"]
        if profile is not None:
            namespace = profile.namespace or "default"
            self._known |= {"temporal": profile.address, "namespace": namespace}
            await self._use_own_temporal(Addresses.model_validate({**_UNKNOWN, **self._known}))
            return
        namespace = self._settings.temporal_namespace or "default"
        temporal = Temporal(self._dir, namespace, self._host.remembered_ports("temporal"), self._host.report)
        await self._host.run(temporal)
        await temporal.configure()
        self._known |= {"temporal": temporal.address, "web_ui": temporal.web_ui, "namespace": namespace}
        if self._profile_name is not None:
            self._write_profile(self._profile_name, temporal.address, namespace)

    async def _use_own_temporal(self, addresses: Addresses) -> None:
        await register_search_attributes(await connect(addresses))
        self._host.found("temporal")

    def _write_profile(self, name: str, address: str, namespace: str) -> None:
        try:
            write_profile(self._settings.temporal_config_file, name, address, namespace)
        except (StackError, OSError) as error:  # a convenience: the stack is good without it
            self._host.report(f"no Temporal CLI profile was written: {error}")


async def _together(*steps: Coroutine[Any, Any, None]) -> None:
    """Run steps side by side; the first error cancels the others and comes out as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

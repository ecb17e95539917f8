"""The embedded stack as one object: found or started, kept running, stopped without remains."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from workers.client import connect, register_search_attributes
from workers.settings import OWN_PROFILE, Settings
from workers.stack.addresses import (
    Addresses,
    PartRecord,
    StackRecord,
    read_record,
    temporal_profile,
    write_record,
)
from workers.stack.child import Child
from workers.stack.credentials import Credentials, load_credentials
from workers.stack.errors import StackError, state_error
from workers.stack.parts import Part, Report
from workers.stack.postgres import OWNER, WORKER, Postgres, check_database
from workers.stack.processes import ProcessId, end, identify
from workers.stack.profile import write_profile
from workers.stack.redis import Redis, check_redis
from workers.stack.state import StateLock, prepare_state_dir
from workers.stack.temporal import Temporal

STOP_ORDER: Final = ("worker", "temporal", "redis", "postgres")
"""Who depends on others goes first."""
ORPHAN_GRACE_S: Final = 10


class Stack:
    """Temporal, Postgres and Redis for one state folder, and a worker unless it is not wanted.

    Args:
        settings: addresses that are set there are used and never replaced by an embedded server.
        worker: also start a worker process and make its build the current one.
        profile: name of the Temporal CLI profile to write, None for none.
        report: takes a line whenever something happens that the person should know.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker: bool = True,
        profile: str | None = OWN_PROFILE,
        report: Report = lambda _: None,
    ) -> None:
        self._settings = settings
        self._dir = settings.state_dir
        self._worker = worker
        self._profile = profile
        self._report = report
        self._lock = StateLock(self._dir)
        self._children: dict[str, Child] = {}
        self._found: dict[str, PartRecord] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._known: dict[str, Any] = {}
        self._record: StackRecord | None = None
        self._at_once = asyncio.Event()

    def addresses(self) -> Addresses:
        """Where everything is; only after `start`."""
        if self._record is None or self._record.addresses is None:
            raise StackError("the stack is not up")
        return self._record.addresses

    def record(self) -> StackRecord:
        """What `stack.json` says: processes, ports and logs of every part."""
        if self._record is None:
            raise StackError("the stack is not up")
        return self._record

    async def start(self) -> Addresses:
        """Find or start everything, and return when all of it answers.

        Raises:
            StackHeldError: another supervisor holds the state folder.
            StackError: something cannot run; whatever was started is stopped again.
        """
        prepare_state_dir(self._dir)
        me = identify(os.getpid())
        if me is None:
            raise StackError("this process cannot be told from others: is /proc mounted?")
        self._lock.acquire(me)
        try:
            return await self._open(me)
        except OSError as error:
            await self.stop()
            raise state_error(self._dir, error) from error
        except BaseException:
            await self.stop()
            raise

    async def _open(self, me: ProcessId) -> Addresses:
        last = read_record(self._dir)
        await self._stop_orphans(last)
        self._record = StackRecord(supervisor=me, since=datetime.now(UTC), parts=last.parts if last else {})
        profile = temporal_profile(self._settings)
        self._known = {"state_dir": self._dir, "profile": profile, "namespace": "default"}
        credentials = load_credentials(self._dir)
        await _together(self._open_postgres(credentials), self._open_redis(credentials), self._open_temporal())
        addresses = Addresses.model_validate(self._known)
        if self._worker:
            from workers.stack.worker import WorkerPart

            await self._run(WorkerPart(addresses))
        self._record = self._record.model_copy(update={"addresses": addresses, "ready": True})
        self._save()
        return addresses

    async def _open_postgres(self, credentials: Credentials) -> None:
        from ledger.postgres import migrate

        settings = self._settings
        if settings.database_url is not None:
            await check_database(settings.database_url.get_secret_value(), "SYNDIC_DATABASE_URL")
            self._find("postgres")
            owner = settings.owner_database_url.get_secret_value() if settings.owner_database_url else None
            self._known |= {"database_url": settings.database_url.get_secret_value(), "owner_database_url": owner}
            if owner is None:
                self._report("postgres: found; its schema is left as it is, SYNDIC_OWNER_DATABASE_URL is not set")
                return
            await check_database(owner, "SYNDIC_OWNER_DATABASE_URL")
            await migrate(owner)
            return
        postgres = Postgres(self._dir, credentials, self._ports("postgres"))
        await self._run(postgres)
        await postgres.open_database()
        await migrate(postgres.url(OWNER))
        await postgres.admit_worker()
        self._known |= {"database_url": postgres.url(WORKER), "owner_database_url": postgres.url(OWNER)}

    async def _open_redis(self, credentials: Credentials) -> None:
        if self._settings.redis_url is not None:
            url = self._settings.redis_url.get_secret_value()
            await check_redis(url)
            self._find("redis")
        else:
            redis = Redis(self._dir, credentials, self._ports("redis"), self._report)
            await self._run(redis)
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
        temporal = Temporal(self._dir, namespace, self._ports("temporal"))
        await self._run(temporal)
        await temporal.configure()
        self._known |= {"temporal": temporal.address, "web_ui": temporal.web_ui, "namespace": namespace}
        if self._profile is not None:
            self._write_profile(self._profile, temporal.address, namespace)

    async def _use_own_temporal(self, addresses: Addresses) -> None:
        await register_search_attributes(await connect(addresses))
        self._find("temporal")

    def _write_profile(self, name: str, address: str, namespace: str) -> None:
        try:
            write_profile(self._settings.temporal_config_file, name, address, namespace)
        except (StackError, OSError) as error:  # a convenience: the stack is good without it
            self._report(f"no Temporal CLI profile was written: {error}")

    async def _run(self, part: Part) -> None:
        log = self._dir / "logs" / f"{part.name}.log"
        child = Child(part, log, self._report, self._save)
        self._children[part.name] = child
        await child.start()
        self._watchers.append(asyncio.create_task(child.watch(), name=f"watch-{part.name}"))

    async def watch(self) -> None:
        """Return when the stack is stopped.

        Raises:
            PartFailedError: a part died so often that it was given up.
        """
        done, _ = await asyncio.wait(self._watchers, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    def hurry(self) -> None:
        """Do not wait for good ends any longer: kill what still runs."""
        self._at_once.set()

    async def stop(self) -> None:
        """Stop what was started, those that depend on others first, and release the state folder."""
        for name in STOP_ORDER:
            if name in self._children:
                await self._stop_child(self._children[name])
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._watchers.clear()
        if self._record is not None:
            self._record = self._record.model_copy(update={"addresses": None, "ready": False})
            self._save()
        self._children.clear()
        self._lock.release()

    async def _stop_child(self, child: Child) -> None:
        good_end = asyncio.create_task(child.stop(at_once=self._at_once.is_set()))
        impatient = asyncio.create_task(self._at_once.wait())
        await asyncio.wait({good_end, impatient}, return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        if not good_end.done():
            good_end.cancel()
            await asyncio.gather(good_end, return_exceptions=True)
            await child.stop(at_once=True)

    async def _stop_orphans(self, last: StackRecord | None) -> None:
        """Stop what a killed supervisor left running, known by number and start."""
        for name in STOP_ORDER:
            part = last.parts.get(name) if last else None
            if part is None or part.process is None or identify(part.process.pid) != part.process:
                continue
            self._report(f"{name}: stopping process {part.process.pid}, left by a supervisor that was killed")
            good_end = signal.SIGINT if name == "postgres" else signal.SIGTERM
            await end(part.process, good_end, ORPHAN_GRACE_S)

    def _find(self, name: str) -> None:
        self._found[name] = PartRecord(source="found")
        self._save()

    def _ports(self, name: str) -> dict[str, int]:
        part = self._record.parts.get(name) if self._record else None
        return part.ports if part else {}

    def _save(self) -> None:
        if self._record is None:
            return
        current = {**self._found, **{name: child.record for name, child in self._children.items()}}
        self._record = self._record.model_copy(update={"parts": {**self._record.parts, **current}})
        write_record(self._dir, self._record)


_UNKNOWN: Final = {"database_url": "", "redis_url": ""}
"""Stands in for what the other openers are still finding out."""


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

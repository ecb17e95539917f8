"""The embedded stack as one object: found or started, kept running, stopped without remains."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import Final

from workers.settings import OWN_PROFILE, Settings
from workers.stack.addresses import (
    Addresses,
    PartRecord,
    StackRecord,
    read_record,
    write_record,
)
from workers.stack.child import Child
from workers.stack.errors import StackError, state_error
from workers.stack.opening import Opening
from workers.stack.parts import Part, Report
from workers.stack.processes import ProcessId, end, identify
from workers.stack.state import StateLock, prepare_state_dir

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
        self.report = report
        self._lock = StateLock(self._dir)
        self._children: dict[str, Child] = {}
        self._found: dict[str, PartRecord] = {}
        self._watchers: list[asyncio.Task[None]] = []
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
        addresses = await Opening(self._settings, self._profile, self).addresses()
        if self._worker:
            from workers.stack.worker import WorkerPart

            await self.run(WorkerPart(addresses))
        self._record = self._record.model_copy(update={"addresses": addresses, "ready": True})
        self._save()
        return addresses

    async def run(self, part: Part) -> None:
        """Start a part and keep it running."""
        log = self._dir / "logs" / f"{part.name}.log"
        child = Child(part, log, self.report, self._save)
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
            self.report(f"{name}: stopping process {part.process.pid}, left by a supervisor that was killed")
            good_end = signal.SIGINT if name == "postgres" else signal.SIGTERM
            await end(part.process, good_end, ORPHAN_GRACE_S)

    def found(self, name: str) -> None:
        """Note that a part is the person's own."""
        self._found[name] = PartRecord(source="found")
        self._save()

    def remembered_ports(self, name: str) -> dict[str, int]:
        """The ports a part had the last time."""
        part = self._record.parts.get(name) if self._record else None
        return part.ports if part else {}

    def _save(self) -> None:
        if self._record is None:
            return
        current = {**self._found, **{name: child.record for name, child in self._children.items()}}
        self._record = self._record.model_copy(update={"parts": {**self._record.parts, **current}})
        write_record(self._dir, self._record)

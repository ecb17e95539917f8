"""Embedded Temporal: the dev server of the `temporal` program, with its history on disk and the Web UI."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from workers.client import SEARCH_ATTRIBUTES, register_search_attributes
from workers.settings import plain_environment
from workers.stack import binaries
from workers.stack.parts import Report, folder
from workers.stack.ports import HOST, choose
from workers.stack.processes import Command, tail
from workers.stack.visibility_indexes import PATIENCE_S, free_workflow_list

USUAL_PORT: Final = 7233
USUAL_UI_PORT: Final = 8233
RETENTION: Final = timedelta(days=30)
"""How long closed workflows stay visible; the dev server's default is a day."""
SQLITE_PRAGMAS: Final = ("journal_mode=wal", "synchronous=1", f"busy_timeout={PATIENCE_S * 1000:.0f}")
"""Four times the throughput of the default, safe against a killed process, and patient with another that writes."""
DYNAMIC_CONFIG: Final = (
    "history.transferProcessorMaxPollRPS=1000",
    "system.forceSearchAttributesCacheRefreshOnRead=false",
)
"""The one shard's queue is otherwise read 20 times a second, which adds 50 ms to each hop, and the kinds of columns that
search attributes can have, which never change, six times for each workflow."""
COLLECTIONS: Final = {"GOGC": "300"}
"""Fewer garbage collections: a tenth of the server's work, for 250 to 430 MB of memory in place of 210 to 270 MB."""
STARTED: Final = "Server:"
"""Begins the lines that the dev server prints once it listens."""
TYPE_NAMES: Final = {2: "Keyword", 4: "Double", 7: "KeywordList"}
"""`IndexedValueType` -> the name that the command line wants."""


class Temporal:
    """The part `temporal`."""

    name = "temporal"

    def __init__(self, state_dir: Path, namespace: str, remembered: dict[str, int], report: Report) -> None:
        self._database = folder(state_dir, "temporal") / "temporal.db"
        self._namespace = namespace
        self._report = report
        self._log = state_dir / "logs" / "temporal.log"
        self._log_start = 0
        self._port = choose(remembered.get("grpc"), USUAL_PORT)
        self._ui_port = choose(remembered.get("web_ui"), USUAL_UI_PORT, taken=[self._port])
        self._program = binaries.required(binaries.temporal(), "Temporal", "TEMPORAL_ADDRESS")

    @property
    def ports(self) -> dict[str, int]:
        return {"grpc": self._port, "web_ui": self._ui_port}

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def web_ui(self) -> str:
        return f"http://{HOST}:{self._ui_port}"

    async def prepare(self) -> None:
        """Nothing: the server makes its database."""

    def clear_stale(self) -> None:
        """Nothing: SQLite finds the write-ahead log of a killed server by itself."""

    def command(self) -> Command:
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        argv = [str(self._program), "server", "start-dev", "--log-level", "warn", "--disable-config-env"]
        argv += ["--disable-config-file", "--ip", HOST, "--ui-ip", HOST, "--db-filename", str(self._database)]
        argv += ["--port", str(self._port), "--ui-port", str(self._ui_port), "--ui-disable-news-fetch"]
        argv += [item for pragma in SQLITE_PRAGMAS for item in ("--sqlite-pragma", pragma)]
        argv += [item for value in DYNAMIC_CONFIG for item in ("--dynamic-config-value", value)]
        for name, kind in SEARCH_ATTRIBUTES.items():
            argv += ["--search-attribute", f"{name}={TYPE_NAMES[kind]}"]
        if self._namespace != "default":
            argv += ["--namespace", self._namespace]
        return Command(argv, {**plain_environment(), **COLLECTIONS}, cwd=self._database.parent)

    async def is_ready(self) -> bool:
        """Only when this very process says that it listens: otherwise a stranger on the port would be taken for it."""
        if STARTED not in tail(self._log, self._log_start):
            return False
        try:
            client = await Client.connect(self.address, namespace=self._namespace)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=self._namespace))
        except (RuntimeError, RPCError):
            return False
        return True

    def move_ports(self) -> bool:
        self._port = choose()
        self._ui_port = choose(taken=[self._port])
        return True

    async def configure(self) -> None:
        """Set the retention, see that the search attributes are there, and free the list of workflows of idle indexes."""
        client = await Client.connect(self.address, namespace=self._namespace)
        retention = Duration()
        retention.FromTimedelta(RETENTION)
        await client.workflow_service.update_namespace(
            UpdateNamespaceRequest(
                namespace=self._namespace, config=NamespaceConfig(workflow_execution_retention_ttl=retention)
            )
        )
        await register_search_attributes(client)
        await free_workflow_list(client, self._database, self._report)

"""The workflow sandbox shares contracts with the worker: one class, not two."""

from __future__ import annotations

import importlib
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import WorkflowSerializationContext
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from ledger.rows import NewEntry
from ledger.vocabulary import Role
from workers.payloads import data_converter
from workers.sandbox import PASSTHROUGH, new_workflow_runner
from workflows.project import Project
from workflows.specs import ProjectSpec


@workflow.defn(name="WhoAmI")
class WhoAmI:
    """Tells which objects its imports gave it."""

    @workflow.run
    async def run(self, entry: NewEntry) -> dict[str, int]:
        from activities.contracts import RecordEntries
        from ledger.rows import NewEntry as Inner
        from ledger.vocabulary import Role as InnerRole
        from workflows.specs import ProjectSpec as InnerSpec

        assert RecordEntries(entries=(entry,)).entries[0] == entry
        return {
            "module": id(sys.modules[__name__]),
            "package": id(sys.modules[__name__.partition(".")[0]]),
            "role": id(InnerRole),
            "entry": id(Inner),
            "received": id(type(entry)),
            "spec": id(InnerSpec),
        }


def test_every_shared_module_exists_and_says_why() -> None:
    for module, reason in PASSTHROUGH.items():
        importlib.import_module(module)
        assert len(reason) > 10


@pytest.mark.timeout(60)
async def test_contract_classes_are_the_same_inside_and_outside() -> None:
    server = Path(sys.executable).with_name("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=pydantic_data_converter,
        test_server_existing_path=str(server),
        test_server_startup_timeout=timedelta(minutes=1),
    ) as environment:
        client: Client = environment.client
        runner = new_workflow_runner()
        async with Worker(client, task_queue="sandbox", workflows=[WhoAmI], workflow_runner=runner):
            entry = NewEntry(project="p", key="k", kind="note", body={})
            inside = await client.execute_workflow(WhoAmI.run, entry, id=str(uuid.uuid4()), task_queue="sandbox")
    # The workflow's own module and its packages are its own.
    assert inside.pop("module") != id(sys.modules[__name__])
    assert inside.pop("package") != id(sys.modules[__name__.partition(".")[0]])
    assert inside == {
        "role": id(Role),
        "entry": id(NewEntry),
        "received": id(NewEntry),
        "spec": id(ProjectSpec),
    }


async def test_a_process_sees_nothing_of_what_a_sandbox_imports() -> None:
    package = sys.modules["workflows"]
    before = dict(vars(package))
    defn = workflow._Definition.must_from_class(Project)  # pyright: ignore[reportPrivateUsage] as the worker does
    new_workflow_runner().prepare_workflow(defn)
    assert vars(package) == before


def test_the_converter_looks_at_no_context() -> None:
    context = WorkflowSerializationContext(namespace="n", workflow_id="w")
    assert data_converter.with_context(context) is data_converter
    assert data_converter.external_storage is None

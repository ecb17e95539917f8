"""Making a workflow's instance without what Temporal's sandbox would do for nothing: a tenth of what a short workflow takes.

It reaches below the SDK's public face, so that `tests/stack/test_sandbox.py` holds it to what it relies on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox._runner import (
    _Instance,  # pyright: ignore[reportPrivateUsage] nothing public makes an instance
)

_NO_STORE = StorageDriverStoreContext(target=None)


@dataclass(frozen=True)
class LeanRunner(SandboxedWorkflowRunner):
    """Sandboxed like its base, for converters that ask for no context, as ours does."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _LeanInstance(det, self.runner_class, self.restrictions)


class _LeanInstance(_Instance):
    def get_serialization_context(self, command_info: object) -> SerializationContext | None:
        # Asked several times for each payload, each time by executing code in the sandbox; our converter looks at none.
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return _NO_STORE  # as above: payloads stay where they are

    def _run_code(self, code: str, **extra_globals: object) -> None:
        super()._run_code(_compiled(code), **extra_globals)

    def _create_instance(self) -> None:
        # Python looks for a module by way of its packages. Those that hold no code need not be found and run again.
        for package in _empty_parents(self._workflow_module_name()):
            self.importer.new_modules[package.__name__] = _twin(package)
        super()._create_instance()


@cache
def _compiled(code: str) -> Any:
    """The few lines that lead into the sandbox are the same for each turn of each workflow of a type."""
    return compile(code, "workflow_sandbox.py", "exec")


@cache
def _empty_parents(module: str) -> tuple[ModuleType, ...]:
    return tuple(_parents(module))


def _parents(module: str) -> Iterator[ModuleType]:
    parts = module.split(".")
    for length in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:length]))
        if package is None or not _is_empty(package):
            return  # what lies below it is found through it
        yield package


def _is_empty(package: ModuleType) -> bool:
    file = package.__file__
    return file is None or Path(file).stat().st_size == 0


def _twin(package: ModuleType) -> ModuleType:
    """The package without its modules: those of the sandbox are not those of the process."""
    twin = ModuleType(package.__name__)
    twin.__path__ = package.__path__
    twin.__package__, twin.__spec__ = package.__package__, package.__spec__
    return twin

"""Sandboxes import the modules of workflows again for each instance: their code is found and read once a process.

A worker thereby executes the code that it began with, even when files change under it, and a process that keeps no compiled
files (`PYTHONDONTWRITEBYTECODE`, a folder that it may not write) does not compile its workflows for each instance.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Final

from temporalio.worker.workflow_sandbox._importer import Importer

_PROCESS: Final = sys.modules
"""What the process has loaded; within a sandbox the same name means what the sandbox has."""


def read_once() -> None:
    """Have sandboxes find here what the process has loaded from source files. Ordinary imports go on as before."""
    if not any(isinstance(finder, _Known) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Known())


class _Known(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if Importer.current_importer() is None:
            return None
        spec = getattr(_PROCESS.get(fullname), "__spec__", None)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        return spec_from_file_location(
            fullname,
            spec.loader.path,
            loader=_Kept(spec.loader),
            submodule_search_locations=spec.submodule_search_locations,
        )


class _Kept(SourceFileLoader):
    """Of the process's own module, by its own loader."""

    _codes: Final[dict[str, CodeType | None]] = {}
    """By path."""

    def __init__(self, loader: SourceFileLoader) -> None:
        super().__init__(loader.name, loader.path)

    def get_code(self, fullname: str) -> CodeType | None:
        if self.path not in self._codes:
            self._codes[self.path] = super().get_code(fullname)
        return self._codes[self.path]

"""What sandboxes import again: executed for each of them, read once a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.worker.workflow_sandbox import SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

from workers.reimports import read_once


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a module, as the process has loaded it."""
    package = tmp_path / "rooms_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("MADE = []\n")
    (package / "room.py").write_text("from rooms_of_test import MADE\n\nBUILD = 1\nMADE.append(BUILD)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("rooms_of_test.room")
    read_once()
    yield package
    for name in ("rooms_of_test.room", "rooms_of_test"):
        del sys.modules[name]


def in_a_sandbox(name: str) -> ModuleType:
    importer = Importer(SandboxRestrictions.default, RestrictionContext())
    with importer.applied():
        return import_module(name)


def test_each_sandbox_executes_a_module_for_itself(rooms: Path) -> None:
    first, second = in_a_sandbox("rooms_of_test.room"), in_a_sandbox("rooms_of_test.room")
    assert first is not second is not sys.modules["rooms_of_test.room"]
    assert first.MADE == second.MADE == [1]
    assert first.MADE is not second.MADE
    assert first.__file__ == str(rooms / "room.py")


def test_a_file_that_changes_changes_no_worker_that_runs(rooms: Path) -> None:
    assert in_a_sandbox("rooms_of_test.room").BUILD == 1
    (rooms / "room.py").write_text("BUILD = 22\n")
    assert in_a_sandbox("rooms_of_test.room").BUILD == 1
    (rooms / "room.py").unlink()
    assert in_a_sandbox("rooms_of_test.room").BUILD == 1


def test_what_the_process_has_not_loaded_is_imported_as_ever(rooms: Path) -> None:
    (rooms / "late.py").write_text("BUILD = 1\n")
    assert in_a_sandbox("rooms_of_test.late").BUILD == 1
    with pytest.raises(ModuleNotFoundError):
        in_a_sandbox("rooms_of_test.never")


def test_ordinary_imports_go_on_as_before(rooms: Path) -> None:
    assert in_a_sandbox("rooms_of_test.room").BUILD == 1
    del sys.modules["rooms_of_test.room"]
    (rooms / "room.py").write_text("BUILD = 22  # of another length\n")
    assert import_module("rooms_of_test.room").BUILD == 22


def test_it_is_installed_once() -> None:
    read_once()
    installed = list(sys.meta_path)
    read_once()
    assert sys.meta_path == installed

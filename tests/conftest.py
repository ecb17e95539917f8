"""Shared by all rooms: quick folders run first, so that a plain mistake shows in seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.running import Running, running

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
"""Some tests import the model library before the gateway does, which says the same."""

os.environ.setdefault("GOGC", "300")
"""Of Temporal servers that tests start: fewer garbage collections, as in the embedded stack."""

LATE = ("chaos", "demo", "operations", "badinput", "integration", "stack", "activities", "conformance")
"""Folders that start servers or processes, in the order in which they run after all others: those with long modules first, so that
two runners end at about the same time."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        room = item.path.relative_to(config.rootpath / "tests").parts[0] if "tests" in item.path.parts else ""
        return LATE.index(room) + 1 if room in LATE else 0

    items.sort(key=rank)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One stack with one worker for all rooms; tests that break stacks, kill workers or need other settings start their own."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        started.start_worker()
        started.make_current()
        yield started

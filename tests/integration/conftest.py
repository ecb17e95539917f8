"""One stack with one worker for the whole room; tests that kill workers start stacks of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Running, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with running(folder) as started:
        started.start_worker()
        started.make_current()
        yield started

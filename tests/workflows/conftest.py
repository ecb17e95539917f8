"""A real Temporal server for this folder, and one world of workers around scripted activities for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.workflows.world import World, serving, working


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    async with serving() as environment:
        yield environment


@pytest.fixture
def cached_workflows() -> int:
    """How many workflows the workers keep in memory."""
    return 100


@pytest_asyncio.fixture(loop_scope="session")
async def world(server: WorkflowEnvironment, cached_workflows: int) -> AsyncIterator[World]:
    async with working(server.client, cached_workflows=cached_workflows) as world:
        yield world

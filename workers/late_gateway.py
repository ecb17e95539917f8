"""The gateway, opened beside a worker's first work: importing the model library takes longer than the rest of a start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agents.models import Bound, Lost, ModelAnswer, ModelRequest

if TYPE_CHECKING:
    from agents.gateway import Gateway


class LateGateway:
    """`agents.models.Models` by way of a gateway that a thread opens from now on.

    Args:
        make: Imports and makes the gateway; called once, in a thread.
    """

    def __init__(self, make: Callable[[], Gateway]) -> None:
        self._opening = asyncio.create_task(asyncio.to_thread(make), name="opening models")
        self._warming = asyncio.create_task(self._warm(), name="warming")

    async def ready(self) -> None:
        """Wait until models can be asked; raises what opening them raised."""
        await self._opened()

    def bound(self, request: ModelRequest, chain: Sequence[str]) -> Bound:
        """As the gateway says, once it is ready."""
        return self._opening.result().bound(request, chain)

    async def complete(
        self, request: ModelRequest, chain: Sequence[str], offset: int = 0, *, lost: Lost | None = None
    ) -> ModelAnswer:
        """As the gateway does; raises what it raises."""
        return await (await self._opened()).complete(request, chain, offset, lost=lost)

    async def close(self) -> None:
        """Wait for what cannot be stopped, the imports, and close the gateway. That it could not be opened was told by `ready`."""
        await asyncio.wait([self._warming])
        cold = self._warming.exception()
        if self._opening.exception() is None:
            await self._opening.result().close()
            if cold is not None:
                raise cold

    async def _opened(self) -> Gateway:
        return await asyncio.shield(self._opening)

    async def _warm(self) -> None:
        """What the library imports at its first call is imported before anybody's."""
        await (await self._opened()).warm()

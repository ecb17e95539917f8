"""Putting messages on the streams of inboxes: consecutive numbers, nothing twice, nothing behind a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from redis.asyncio import Redis

from ledger.messages import EVERYONE, TEAM, Message

ATTEMPT_S = 5.0
"""How long one round of appends may take: a Redis that hangs must not hang the relay."""

APPEND = """
local generation, number = tonumber(ARGV[1]), tonumber(ARGV[2])
local at_generation, at_number = 0, 0
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local g, n = string.match(info[i + 1], '(%d+)-(%d+)')
      at_generation, at_number = tonumber(g), tonumber(n)
    end
  end
end
if at_generation > generation then return {-1, at_generation} end
if at_generation < generation then at_number = 0 end
if number > at_number + 1 then return {-2, 0} end
for i = 3, #ARGV do
  if number > at_number then
    redis.call('XADD', KEYS[1], string.format('%.0f-%.0f', generation, number), 'envelope', ARGV[i])
  end
  number = number + 1
end
return {0, redis.call('XLEN', KEYS[1])}
"""
"""Appends envelopes with consecutive numbers. Answers a verdict, and the stream's length or the generation it is at."""


class Verdict(IntEnum):
    """What became of an append."""

    DONE = 0
    """They are there, added now or before."""
    AHEAD = -1
    """The stream is of a later generation."""
    GAP = -2
    """Entries before them are missing."""
    FAILED = -3
    """Redis refused; said here, not by the script."""


@dataclass(frozen=True)
class Append:
    """Consecutive messages of one inbox, and their envelopes."""

    messages: Sequence[Message]
    texts: Sequence[str]

    @property
    def first(self) -> Message:
        return self.messages[0]


def inbox_key(project: str, agent: str) -> str:
    """The stream of an inbox. The braces keep a project's streams on one node of a Redis cluster."""
    name = {EVERYONE: "everyone", TEAM: "team"}.get(agent, f"inbox:{agent}")
    return f"syndic:{{{project}}}:{name}"


async def append_all(redis: Redis, appends: Sequence[Append]) -> list[tuple[int, Any]]:
    """Append to each inbox in one round trip.

    Returns:
        For each a verdict, and what goes with it: the stream's length, the generation it is at, or the error.
    """
    if not appends:
        return []
    async with asyncio.timeout(ATTEMPT_S), redis.pipeline(transaction=False) as pipe:
        for append in appends:
            first = append.first
            key = inbox_key(first.project, first.target)
            pipe.eval(APPEND, 1, key, first.generation or 0, first.number or 0, *append.texts)
        answers = await pipe.execute(raise_on_error=False)
    return [(Verdict.FAILED, answer) if isinstance(answer, Exception) else tuple(answer) for answer in answers]

"""What the in-memory twin does with lineages, as `ledger/sql/migrations/0014_lineages.sql` does it."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from ledger._memory_apply import has_result
from ledger._memory_mail import Mail
from ledger._memory_state import KeptMessage, KeptStep, State, Thread
from ledger.clock import Clock
from ledger.errors import LineageError
from ledger.lineages import Forked

_NUMBER = re.compile(r"\d+")


class MemoryLineages:
    """Keeps `ledger.lineages.LineageStore`."""

    _state: State
    _clock: Clock

    async def fork(self, source: str, target: str, step: int) -> Forked:
        state, mark = self._state, f"{source}#{step}"
        old = state.threads.get(source)
        if old is None:
            raise LineageError(f"there is no run {source}")
        known = state.threads.get(target)
        if known is not None and known.origin != mark:
            raise LineageError(f"the run {target} exists already")
        doubted = told = 0
        if known is None:
            before = _before(state, source, step)
            doubted = state.doubt(source)
            _fence(old)
            state.threads[target] = Thread(old.info.model_copy(update={"thread": target}), origin=mark)
            for kept in before:
                state.steps[target, kept.step.ordinal, kept.step.sub] = _copied(kept, target)
            told = _tell_again(state, old, target, step, self._clock())
        return Forked(commit=_commit(state, target), in_doubt=doubted, told_again=told)

    async def retire(self, project: str, sprint: int, task: str) -> int:
        ended = [
            thread
            for thread in self._state.threads.values()
            if (thread.info.project, thread.info.sprint, thread.info.task) == (project, sprint, task)
        ]
        for thread in ended:
            if thread.holder is not None:
                _fence(thread)
        return sum(self._state.doubt(thread.info.thread) for thread in ended)


def _before(state: State, source: str, step: int) -> list[KeptStep]:
    found = [
        kept for kept in state.steps.values()
        if kept.step.thread == source and kept.step.ordinal < step and has_result(kept)
    ]  # fmt: skip
    if step < 1 or len({kept.step.ordinal for kept in found}) < step:
        raise LineageError(f"the run {source} has no step {step} to go on from")
    return found


def _fence(thread: Thread) -> None:
    thread.epoch, thread.holder, thread.expires_at = thread.epoch + 1, None, None


def _copied(kept: KeptStep, target: str) -> KeptStep:
    step = kept.step
    changes = {
        "thread": target,
        "origin": step.origin or step.thread,
        "cost_usd": Decimal(0),
        "usage": None,
        "epoch": 0,
        "attempt": 1,
    }
    return KeptStep(step.model_copy(update=changes), kept.result)


def _tell_again(state: State, old: Thread, target: str, step: int, now: datetime) -> int:
    mail = Mail(state)
    heard = [kept for kept in mail.all(old.info.project, old.info.agent) if _is_unheard(kept, old.info.thread, step)]
    for kept in heard:
        mail.put(kept.message.model_copy(update={"id": f"{kept.message.id}/again/{target}"}), now)
    return len(heard)


def _is_unheard(kept: KeptMessage, thread: str, step: int) -> bool:
    read = _place(thread, "#", kept.read_by_step)
    asked = _place(thread, "/", kept.message.correlation) if kept.message.type == "RESPONSE" else None
    return read is not None and read >= step and (asked is None or asked < step)


def _place(thread: str, mark: str, place: str | None) -> int | None:
    """The ordinal in `<thread><mark><ordinal>...`; None where it is about another thread."""
    if place is None or not place.startswith(thread + mark):
        return None
    number = _NUMBER.match(place, len(thread + mark))
    return int(number[0]) if number else None


def _commit(state: State, target: str) -> str | None:
    served = sorted(
        (kept.step.ordinal, kept.step.sub, kept.step.commit)
        for key, kept in state.steps.items()
        if key[0] == target and kept.step.origin and kept.step.commit
    )
    return served[-1][2] if served else None

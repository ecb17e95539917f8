"""Figures, ratios and targets from what was measured, for terminals, files and programs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Samples = Mapping[str, Mapping[str, Sequence["Sample"]]]
"""By setting and row, one a round; of tasks alone, one a turn."""


@dataclass(frozen=True)
class Sample:
    """One group of tasks of one row."""

    tasks: int
    seconds: float
    cpu_s: float
    """Of the row's process; servers are not in it."""
    durations: Sequence[float]
    added_ms: float | None = None
    """Median of what a model step took beyond the model."""

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds

    @property
    def latency_ms(self) -> float:
        """Median of one task."""
        return 1000 * statistics.median(self.durations)


@dataclass(frozen=True)
class Target:
    """What the project set itself. `at_least` says on which side of the limit the measured value must lie."""

    text: str
    values: Sequence[float]
    """One a round, turn or kill; none where it was not measured."""
    limit: float
    at_least: bool

    @property
    def value(self) -> float | None:
        """The median."""
        return statistics.median(self.values) if self.values else None

    @property
    def holds(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def ratios(
    samples: Samples, setting: str, row: str, other: str, figure: Callable[[Sample], float] = lambda s: s.rate
) -> list[float]:
    """One row's figure over another's in the same round or turn, for each of them."""
    ours, theirs = (samples.get(setting, {}).get(name, ()) for name in (row, other))
    return [figure(mine) / figure(its) for mine, its in zip(ours, theirs, strict=False)]


def targets(samples: Samples, restarts_s: Sequence[float] = ()) -> list[Target]:
    """The targets for the agent run as one workflow."""
    run = "syndic-run"
    found = [
        Target(f"tasks/s against {other}, model at {setting}", ratios(samples, setting, run, other), limit, True)
        for setting in samples
        if setting.endswith("ms")
        for other, limit in (("temporalio-langgraph", 2.5), ("dbos", 1.1), ("raw", 0.6))
    ]
    alone = ratios(samples, "alone", run, "saver-activity", lambda sample: sample.latency_ms)
    added = [sample.added_ms for sample in samples.get("alone", {}).get(run, ()) if sample.added_ms is not None]
    return [
        *found,
        Target("one task alone, time against saver-activity", alone, 1.0, False),
        Target("added time per model call, ms, one task alone", added, 3.0, False),
        Target("restart to all done, s", restarts_s, 5.0, False),
    ]


def table(samples: Samples, titles: Mapping[str, str]) -> list[list[str]]:
    """Head and one line a row: medians over the rounds."""
    loaded = [setting for setting in samples if setting.endswith("ms")]
    head = ["row", "what it is", *(f"tasks/s, model {setting}" for setting in loaded)]
    head += ["ms of CPU a task", "alone, ms", "added a model call, ms: alone", "loaded"]
    return [head, *(_line(samples, loaded, name, title) for name, title in titles.items())]


def _line(samples: Samples, loaded: Sequence[str], name: str, title: str) -> list[str]:
    def median(setting: str, figure: Callable[[Sample], float | None], digits: int = 1) -> str:
        values = [figure(sample) for sample in samples.get(setting, {}).get(name, ())]
        known = [value for value in values if value is not None]
        return f"{statistics.median(known):.{digits}f}" if known else "-"

    return [
        name,
        title,
        *(median(setting, lambda sample: sample.rate) for setting in loaded),
        median(loaded[0], lambda sample: 1000 * sample.cpu_s / sample.tasks) if loaded else "-",
        median("alone", lambda sample: sample.latency_ms),
        median("alone", lambda sample: sample.added_ms),
        median(loaded[0], lambda sample: sample.added_ms) if loaded else "-",
    ]


def targets_table(found: Sequence[Target]) -> list[list[str]]:
    """Head and one line a target."""
    words = {True: "holds", False: "missed", None: "not measured"}
    lines = [
        [target.text, f"{'>=' if target.at_least else '<='} {target.limit:g}",
         "-" if target.value is None else f"{target.value:.2f}",
         f"{min(target.values):.2f} to {max(target.values):.2f}" if target.values else "-", words[target.holds]]
        for target in found
    ]  # fmt: skip
    return [["target of the agent run", "wanted", "median", "lowest to highest", ""], *lines]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table as markdown."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rest))


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A table for terminals."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def as_json(samples: Samples, found: Sequence[Target], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured."""
    rows = {
        setting: {
            name: [
                {"tasks_per_s": s.rate, "cpu_ms": 1000 * s.cpu_s / s.tasks, "median_ms": s.latency_ms, "added_ms": s.added_ms}
                for s in group
            ]
            for name, group in by_row.items()
        }
        for setting, by_row in samples.items()
    }  # fmt: skip
    named = [
        {"target": t.text, "limit": t.limit, "at_least": t.at_least, "measured": t.value, "holds": t.holds}
        for t in found
    ]
    return {"facts": dict(facts), "rounds": rows, "targets": named}

"""What the benchmark makes of its samples: ratios in pairs, targets that say when they were missed, tables."""

from __future__ import annotations

import json

from bench.report import Sample, aligned, as_json, markdown, ratios, table, targets, targets_table

TITLES = {"syndic-run": "an agent run", "raw": "the floor", "dbos": "DBOS"}


def sample(rate: float, added_ms: float | None = None, ms: float = 10.0) -> Sample:
    """Ten tasks at a rate, a second of CPU for all."""
    return Sample(10, 10 / rate, 1.0, [ms / 1000] * 10, added_ms)


def test_ratios_are_taken_within_a_round_so_that_a_slow_machine_is_slow_for_both() -> None:
    samples = {
        "0 ms": {"syndic-run": [sample(50), sample(5), sample(60)], "raw": [sample(100), sample(10), sample(100)]}
    }
    assert ratios(samples, "0 ms", "syndic-run", "raw") == [0.5, 0.5, 0.6]


def test_a_target_holds_is_missed_or_was_not_measured() -> None:
    samples = {
        "0 ms": {"syndic-run": [sample(50)], "raw": [sample(80)], "dbos": [sample(60)]},
        "alone": {"syndic-run": [sample(1, 2.5, ms=9)], "saver-activity": [sample(1, ms=10)]},
    }
    found = {target.text: target.holds for target in targets(samples, restarts_s=[6.2, 4.0, 6.1])}
    assert found == {
        "tasks/s against temporalio-langgraph, model at 0 ms": None,
        "tasks/s against dbos, model at 0 ms": False,
        "tasks/s against raw, model at 0 ms": True,
        "one task alone, time against saver-activity": True,
        "added time per model call, ms, one task alone": True,
        "restart to all done, s": False,
    }
    lines = targets_table(targets(samples, restarts_s=[6.2, 4.0, 6.1]))
    assert lines[-1] == ["restart to all done, s", "<= 5", "6.10", "4.00 to 6.20", "missed"]
    words = [line[-1] for line in targets_table(targets(samples))]
    assert words == ["", "not measured", "missed", "holds", "holds", "holds", "not measured"]


def test_a_row_that_was_not_measured_is_shown_as_such() -> None:
    lines = table({"0 ms": {"raw": [sample(80)]}, "alone": {}}, TITLES)
    assert lines[0][:3] == ["row", "what it is", "tasks/s, model 0 ms"]
    assert lines[1] == ["syndic-run", "an agent run", "-", "-", "-", "-", "-"]
    assert lines[2] == ["raw", "the floor", "80.0", "100.0", "-", "-", "-"]
    assert len({len(line) for line in aligned(lines).splitlines()}) == 1
    assert markdown(lines).splitlines()[1] == "| --- | --- | --- | --- | --- | --- | --- |"


def test_everything_that_was_measured_is_json() -> None:
    samples = {"0 ms": {"raw": [sample(80)]}}
    document = json.loads(json.dumps(as_json(samples, targets(samples), {"cores": 2})))
    assert document["facts"] == {"cores": 2}
    assert document["rounds"]["0 ms"]["raw"][0]["tasks_per_s"] == 80.0
    assert {target["holds"] for target in document["targets"]} == {None}

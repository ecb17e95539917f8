"""Which kinds are asked when; the table of docs/autonomy.md is what the code says.

Where it is meant to differ, write it anew: SYNDIC_WRITE_DOCS=1 .venv/bin/pytest tests/unit/test_checkpoints.py
"""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path

import pytest

from ledger.vocabulary import ApprovalKind, Autonomy, Mode
from workflows.approval_policy import KindPolicy
from workflows.checkpoints import NEEDS, asked, faults, objection_below, objection_to_mode, replans_asked
from workflows.controls import AutonomyChange

PAGE = Path(__file__).parents[2] / "docs" / "autonomy.md"
TABLE = re.compile(r"(<!-- asked -->\n).*?(<!-- end -->)", re.DOTALL)
EVERYWHERE = list(product(Autonomy, Mode))


def table() -> str:
    columns = [f"{autonomy.value}<br>{mode.value}" for autonomy, mode in EVERYWHERE]
    rows = [f"| kind | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for kind in ApprovalKind:
        cells = ["asks" if asked(kind, autonomy, mode) else "" for autonomy, mode in EVERYWHERE]
        rows.append(f"| `{kind.value}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def test_the_page_shows_what_is_asked_when() -> None:
    text = PAGE.read_text(encoding="utf-8")
    fresh = TABLE.sub(lambda match: f"{match[1]}{table()}\n{match[2]}", text)
    if os.environ.get("SYNDIC_WRITE_DOCS") == "1":
        PAGE.write_text(fresh, encoding="utf-8")
    assert table() in PAGE.read_text(encoding="utf-8"), "the table differs; see the head of this file"


def kinds(autonomy: Autonomy, mode: Mode) -> set[ApprovalKind]:
    return {kind for kind in ApprovalKind if asked(kind, autonomy, mode)}


def test_an_autonomous_project_asks_only_what_it_cannot_go_on_without() -> None:
    assert kinds(Autonomy.AUTONOMOUS, Mode.AUTO) == NEEDS
    assert kinds(Autonomy.AUTONOMOUS, Mode.DRY_RUN) == NEEDS


def test_milestones_add_the_plan_and_each_sprint_and_supervision_adds_everything() -> None:
    milestone = kinds(Autonomy.MILESTONE, Mode.AUTO)
    assert milestone == NEEDS | {ApprovalKind.PLAN, ApprovalKind.MILESTONE}
    assert kinds(Autonomy.SUPERVISED, Mode.AUTO) == set(ApprovalKind)


@pytest.mark.parametrize("autonomy", Autonomy)
def test_strict_asks_before_each_task_and_each_merge_besides(autonomy: Autonomy) -> None:
    more = kinds(autonomy, Mode.STRICT) - kinds(autonomy, Mode.AUTO)
    assert more == {ApprovalKind.TASK, ApprovalKind.MERGE} - kinds(autonomy, Mode.AUTO)


@pytest.mark.parametrize("autonomy", Autonomy)
def test_a_dry_run_never_asks_about_a_merge_even_where_the_brief_wants_it(autonomy: Autonomy) -> None:
    for kind in (ApprovalKind.MERGE, ApprovalKind.MILESTONE):
        assert not asked(kind, autonomy, Mode.DRY_RUN)
        assert not asked(kind, autonomy, Mode.DRY_RUN, wish=True)


@pytest.mark.parametrize("kind", ApprovalKind)
def test_the_brief_has_the_last_word_on_each_kind(kind: ApprovalKind) -> None:
    assert asked(kind, Autonomy.AUTONOMOUS, Mode.AUTO, wish=True)
    assert not asked(kind, Autonomy.SUPERVISED, Mode.STRICT, wish=False)


def test_later_plans_are_asked_about_only_under_supervision() -> None:
    assert replans_asked(Autonomy.SUPERVISED, Mode.AUTO)
    assert not replans_asked(Autonomy.SUPERVISED, Mode.AUTO, wish=False)
    assert not replans_asked(Autonomy.MILESTONE, Mode.AUTO)


@pytest.mark.parametrize(("present", "wanted", "begun", "possible"), [
    (Mode.AUTO, Mode.STRICT, True, True),
    (Mode.STRICT, Mode.AUTO, True, True),
    (Mode.AUTO, Mode.DRY_RUN, True, True),
    (Mode.DRY_RUN, Mode.AUTO, False, True),
    (Mode.DRY_RUN, Mode.AUTO, True, False),
    (Mode.DRY_RUN, Mode.STRICT, True, False),
])  # fmt: skip
def test_a_project_may_stop_merging_at_any_time_and_begin_only_before_its_sprints(
    present: Mode, wanted: Mode, begun: bool, possible: bool
) -> None:
    assert (objection_to_mode(present, wanted, begun=begun) is None) is possible


def test_below_a_project_only_what_is_asked_can_change() -> None:
    assert objection_below(Mode.AUTO, Mode.STRICT) is None
    assert objection_below(Mode.AUTO, Mode.DRY_RUN) is not None
    assert objection_below(Mode.DRY_RUN, Mode.AUTO) is not None


def test_children_are_not_told_of_a_dry_run() -> None:
    change = AutonomyChange(autonomy=Autonomy.SUPERVISED, mode=Mode.DRY_RUN)
    assert change.for_children() == AutonomyChange(autonomy=Autonomy.SUPERVISED)
    assert AutonomyChange(mode=Mode.DRY_RUN).for_children() is None
    assert AutonomyChange(mode=Mode.STRICT).for_children() == AutonomyChange(mode=Mode.STRICT)
    with pytest.raises(ValueError, match="say what changes"):
        AutonomyChange()


def test_tools_are_listed_for_the_kind_tool_alone_and_not_forbidden_at_once() -> None:
    assert faults({ApprovalKind.TOOL: KindPolicy(tools=("run_program",))}) == []
    assert "kind `tool`" in faults({ApprovalKind.PLAN: KindPolicy(tools=("run_program",))})[0]
    assert "contradict" in faults({ApprovalKind.TOOL: KindPolicy(ask=False, tools=("run_program",))})[0]

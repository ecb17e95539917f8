"""The pure parts of workflows: parsing, councils, progress, names, what is shown."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from agents.assignments import Plan, PlannedSprint, Verdict
from agents.topology import COUNCIL
from ledger.vocabulary import Answer, ApprovalKind, Autonomy, Brief, Mode, Phase, Role, TaskKind, TaskState
from tests.workflows.script import change, plan
from workflows import briefs, messages, team
from workflows.answering import Waiting, answering_command
from workflows.approval_models import Decision
from workflows.approvals import ApprovalBook
from workflows.council import Opinion, accepted, objections
from workflows.details import GAP, details
from workflows.progress import Progress
from workflows.recorder import PART_LIMIT, parts
from workflows.reports import SprintReport, TaskReport
from workflows.specs import GateBrief, ProjectSpec
from workflows.views import StatusView

# Messages.

FIELDS = st.sampled_from(["by", "approval", "decision", "text"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
    max_leaves=5,
)
PAYLOADS = st.builds(
    Payload,
    metadata=st.dictionaries(st.sampled_from(["encoding", "type"]), st.sampled_from([b"json/plain", b"\xff", b""])),
    data=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()),
)


@given(st.one_of(st.sampled_from([*messages.SIGNALS, "edit", "decide_now"]), st.text()), st.lists(PAYLOADS, max_size=3))
def test_parsing_a_message_never_raises(name: str, payloads: list[Payload]) -> None:
    values = [RawValue(payload) for payload in payloads]
    for parse in (messages.parse_signal, messages.parse_update):
        message = parse(name, values)
        assert isinstance(message, messages.Refusal | Brief)
        if isinstance(message, messages.Refusal):
            assert 0 < len(message.reason) <= messages.REASON_LIMIT
            assert message.reason.isprintable()


def test_pause_and_resume_need_no_argument() -> None:
    assert not isinstance(messages.parse_signal("pause", []), messages.Refusal)


@pytest.mark.parametrize(("to", "refused"), [("shop.architect.ada", False), ("architect.ada", True), ("nobody", True)])
def test_a_question_to_whom_no_agent_id_names_is_refused(to: str, refused: bool) -> None:
    run = {
        "project": "shop", "sprint": 1, "task": "one", "lineage": "engineer-1.1", "role": "engineer",
        "agent": "shop.engineer.grace", "work": "change", "goal": "g", "instructions": "i", "chain": ["m"],
        "budget_scope": "shop/s1/one",
    }  # fmt: skip
    content = json.dumps({"id": "q", "to": to, "text": "where?", "run": run}).encode()
    message = messages.parse_signal("ask", [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=content))])
    assert isinstance(message, messages.Refusal) is refused, message
    assert not refused or "is no agent: <project>.<role>.<name>" in message.reason


def test_deeply_nested_json_is_refused() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 100_000)
    assert isinstance(messages.parse_signal("decide", [RawValue(payload)]), messages.Refusal)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("feedback", {"text": "go on", "by": "pat\u0000"}, "NUL character"),
        ("decide", {"approval": "a", "decision": "approve", "by": "pat", "signature": "x" * 500_000}, "more than"),
        ("pause", {"by": "x" * 201}, "by: String should have at most 200"),
        ("edit", {"do": "skip", "task": "one", "by": "x" * 201}, "by: String should have at most 200"),
        ("decide", {"approval": "a", "decision": "approve", "by": "p", "budget_tokens": 2**63}, "budget_tokens"),
    ],
)
def test_what_could_not_be_written_down_is_refused(name: str, content: dict[str, Any], complaint: str) -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(content).encode())
    message = messages.parse_signal(name, [RawValue(payload)])
    assert isinstance(message, messages.Refusal)
    assert complaint in message.reason


def test_a_backslash_before_u0000_is_no_nul_and_what_an_agent_asks_is_taken_as_it_is() -> None:
    def read(name: str, content: dict[str, Any]) -> object:
        return messages.parse_signal(
            name, [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(content).encode()))]
        )

    assert not isinstance(read("feedback", {"text": r"\u0000 and \\u0000"}), messages.Refusal)
    assert not isinstance(read("answered", {"question": "\u0000"}), messages.Refusal)


@given(st.lists(st.integers(0, 2 * PART_LIMIT).map(lambda size: "x" * size), max_size=8))
def test_what_is_too_much_for_one_write_is_parted_in_order(items: list[str]) -> None:
    found = parts(items)
    assert [item for part in found for item in part] == items
    assert all(part for part in found)
    assert all(sum(map(len, part)) <= PART_LIMIT or len(part) == 1 for part in found)


def test_start_values_that_the_sdk_has_decoded_already_are_read_too() -> None:
    spec = messages.parse_start([{"goal": "fix it", "repository": "/r"}], ProjectSpec)
    assert spec.autonomy is Autonomy.MILESTONE


# Briefs.


@pytest.mark.parametrize(
    ("workflow_id", "parts"),
    [
        ("project/p", ("p", None, None)),
        ("project/p-1/sprint/12", ("p-1", 12, None)),
        ("project/p/sprint/1/task/t-x", ("p", 1, "t-x")),
    ],
)
def test_a_workflow_id_names_project_sprint_and_task(workflow_id: str, parts: tuple[Any, ...]) -> None:
    address = briefs.address_of(workflow_id)
    assert address is not None
    assert (address.project, address.sprint, address.task) == parts


@pytest.mark.parametrize("workflow_id", ["p", "project/", "project/P", "project/p/sprint/0", "project/p/task/t", ""])
def test_other_ids_name_nothing(workflow_id: str) -> None:
    assert briefs.address_of(workflow_id) is None


def test_gates_are_split_like_a_shell_would() -> None:
    (gate,) = briefs.gate_specs([GateBrief(name="t", run="pytest -k 'a or b'")]) or ()
    assert gate.argv == ("pytest", "-k", "a or b")


def test_two_gates_of_one_name_are_refused() -> None:
    gate = GateBrief(name="t", run="pytest")
    with pytest.raises(briefs.BriefError, match="must differ"):
        briefs.gate_specs([gate, gate])


def test_faults_of_a_plan_name_the_task() -> None:
    bad = Plan(
        summary="",
        sprints=(
            PlannedSprint(goal="", tasks=(change("a", role=Role.ANALYST), change("b", role=Role.JUDGE))),
            PlannedSprint(goal="", tasks=(change("c", depends_on=("a",)), change("d", depends_on=("zz",)))),
        ),
    )
    faults = briefs.plan_faults(bad, sprints_left=1)
    assert len(faults) == 4
    assert "2 sprints, 1 are left" in faults[0]
    assert "'a' changes files" in faults[1]


def test_the_briefs_scope_holds_for_tasks_that_name_none() -> None:
    narrowed = briefs.within(("lib/**",), plan(change("a", scope=("**",)), change("b", scope=("x/*",))))
    assert [task.scope for task in narrowed.sprints[0].tasks] == [("lib/**",), ("x/*",)]


# Who works.


def test_neighbours_and_reliefs_have_different_names() -> None:
    neighbours = [team.agent_id("p", Role.ENGINEER, place) for place in range(12)]
    reliefs = [team.agent_id("p", Role.ENGINEER, place, 1) for place in range(12)]
    assert len({*neighbours, *reliefs}) == 24
    assert len({team.agent_id("p", Role.ENGINEER, 0, shift) for shift in range(4)}) == 4


@pytest.mark.parametrize(
    ("models", "chain"),
    [
        ({}, ("offline/maintainer",)),
        ({"default": ("a",)}, ("a",)),
        ({"default": ("a",), "engineer": ("b", "c")}, ("b", "c")),
    ],
)
def test_a_roles_chain_is_its_own_else_the_default_else_offline(models: Any, chain: tuple[str, ...]) -> None:
    assert team.chain_of(models, Role.ENGINEER) == chain


# The council.


def opinions(*answers: Answer | None) -> list[Opinion]:
    return [
        Opinion(
            seat=seat,
            judge=seat.value,
            verdict=None if answer is None else Verdict(verdict=answer, confidence=0.5, reasons=("because",)),
            trouble="lost" if answer is None else "",
        )
        for seat, answer in zip(COUNCIL, answers, strict=True)
    ]


@given(st.lists(st.sampled_from([*Answer, None]), min_size=4, max_size=4))
def test_accepted_means_three_approvals_and_no_rejection(answers: list[Answer | None]) -> None:
    given_opinions = opinions(*answers)
    expected = answers.count(Answer.APPROVE) >= 3 and Answer.REJECT not in answers
    assert accepted(given_opinions) is expected
    assert len(objections(given_opinions)) == 4 - answers.count(Answer.APPROVE)


# Progress.


def report(name: str, state: TaskState, sprint: int = 1, **more: Any) -> TaskReport:
    return TaskReport(
        task=name, sprint=sprint, kind=TaskKind.CHANGE, state=state, summary=f"{name} {state}", agent="a", **more
    )


def sprint_of(*reports: TaskReport) -> SprintReport:
    return SprintReport(sprint=reports[0].sprint, tasks=reports, commit="c", passed=True, summary="")


def test_a_task_planned_again_counts_with_its_last_report() -> None:
    progress = Progress()
    progress.add(sprint_of(report("a", TaskState.FAILED), report("b", TaskState.MERGED)))
    progress.merge([1])
    progress.add(sprint_of(report("a", TaskState.MERGED, sprint=2)))
    assert (progress.total, progress.merged_tasks) == (2, 1)
    progress.merge([2])
    assert progress.merged_tasks == 2
    assert progress.verdict(merges=True, plan="")[0] is Phase.DONE


def test_work_that_never_reached_the_projects_branch_is_a_failure() -> None:
    progress = Progress([report("a", TaskState.MERGED)])
    state, text = progress.verdict(merges=True, plan="")
    assert state is Phase.FAILED
    assert "no sprint passed" in text
    assert progress.settled()[0].state is TaskState.ACCEPTED


def test_accepted_changes_of_a_dry_run_are_a_success() -> None:
    progress = Progress([report("a", TaskState.ACCEPTED), report("b", TaskState.FAILED)])
    state, text = progress.verdict(merges=False, plan="")
    assert state is Phase.DONE
    assert text == "1 of 2 tasks succeeded, 0 merged; b: b failed"


def test_what_is_left_names_each_task_with_what_became_of_it() -> None:
    sprint = sprint_of(report("a", TaskState.FAILED), report("b", TaskState.MERGED), report("c", TaskState.SKIPPED))
    left = Progress().left(sprint, [change("a"), change("b"), change("c")], plan(change("d")))
    assert [(row["task"]["id"], row["state"]) for row in left] == [
        ("a", "failed"),
        ("c", "skipped"),
        ("d", "waiting"),
    ]


# What is shown.


def test_the_details_show_phase_board_cost_and_each_request_with_its_answer() -> None:
    book = ApprovalBook("project/p", "p.")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    view = book.request(
        ApprovalKind.BUDGET,
        {"limit_usd": "5"},
        summary="it's more",
        on_approve="more",
        on_reject="less",
        now=now,
        ttl=timedelta(days=1),
    )
    status = StatusView(
        project="p",
        workflow_id="project/p",
        phase=Phase.SPRINTS,
        detail="sprint 1",
        mode=Mode.AUTO,
        autonomy=Autonomy.MILESTONE,
        paused=True,
        awaiting=(view,),
        refused=0,
        cost_usd=Decimal("0.25"),
        budget_usd=Decimal(5),
        events=("something happened",),
    )
    text = details(status, Progress([report("a", TaskState.RUNNING, title="x | y")]).views(Plan(summary="")))
    for part in (
        "**sprints** (paused)",
        "0.25 of 5.00 USD",
        "| a | running |",
        "x \\| y",
        view.digest,
        "- something happened",
    ):
        assert part in text.replace(GAP, "")
    words = shlex.split(answering_command(Waiting.of(view)))
    assert words[:5] == ["temporal", "workflow", "signal", "--workflow-id", "project/p"]
    decision = Decision.model_validate_json(words[words.index("--input") + 1])
    assert book.decide(decision, now).accepted


def test_another_namespace_stands_in_the_answering_command() -> None:
    book = ApprovalBook("project/p")
    view = book.request(
        ApprovalKind.PLAN,
        {},
        summary="",
        on_approve="",
        on_reject="",
        now=datetime(2030, 1, 1, tzinfo=UTC),
        ttl=timedelta(days=1),
    )
    assert "--namespace prod" in answering_command(Waiting.of(view), namespace="prod")

"""Every role on the real tools, in small repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agents.assignments import Document, Feedback, GateState, Work
from agents.offline.maintainer import respond
from ledger.vocabulary import Role, Seat
from tests.agents.offline.house import FORMAT, House, Run, opening

SHOP = {
    "pyproject.toml": '[tool.ruff.lint]\nselect = ["F", "UP", "SIM", "E7"]\n[tool.pytest.ini_options]\npythonpath = ["."]\n',
    "README.md": "# shop\n\nPrices.\n",
    "shop/__init__.py": "",
    "shop/prices.py": (
        "def total(prices, discount):\n"
        '    """Sum with a discount from three pieces on."""\n'
        "    amount = sum(prices)\n"
        "    if len(prices) > 3:\n"
        "        amount -= discount\n"
        "    return amount\n"
    ),
    "shop/report.py": (
        "import os\nimport sys\n\nfrom shop.prices import total\n\n\n"
        "def title(name):\n    unused = name\n    return name.upper()\n"
    ),
    "shop/bill.py": "from shop.report import total\n\n\ndef bill(prices):\n    return total(prices, 1)\n",
    "tests/test_prices.py": (
        "from shop.prices import total\n\n\n"
        "def test_three_pieces_are_discounted():\n    assert total([1, 2, 3], 1) == 5\n\n\n"
        "def test_two_pieces_are_not():\n    assert total([1, 2], 1) == 3\n"
    ),
    "tests/test_bill.py": "from shop.bill import bill\n\n\ndef test_bill():\n    assert bill([1]) == 1\n",
}
RED = "tests/test_prices.py::test_three_pieces_are_discounted"


@pytest.fixture
async def shop(tmp_path: Path) -> House:
    house = House(tmp_path, quick=True)
    house.write(SHOP)
    await house.baseline()
    return house


@pytest.fixture
async def real_shop(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.write(SHOP)
    await house.baseline()
    return house


def document(name: str, value: Any) -> Document:
    return Document(name=name, text=value if isinstance(value, str) else json.dumps(value))


def change_documents(house: House, run: Run, gates: Any) -> tuple[Document, ...]:
    rows = [{**state.model_dump(), "gate": state.name} for state in gates]
    return document("result", run.arguments), document("diff", house.diff()), document("gates", rows)


@pytest.mark.chaos
async def test_a_red_test_becomes_green_with_the_real_tools(real_shop: House) -> None:
    run = await real_shop.run(Work.CHANGE, params={"intent": "repair", "tests": [RED]}, scope=("shop/**",))
    assert run.arguments["outcome"] == "changed"
    assert real_shop.changed() == ["shop/prices.py"]
    assert "len(prices) >= 3" in (real_shop.tree / "shop/prices.py").read_text()
    assert (await real_shop.check())[0].passed
    assert run.turns <= 12


TWO_BUGS = {
    "shop/__init__.py": "",
    "shop/range.py": (
        "def last(n):\n    return list(range(n))[-1]\n\n\n"
        "def largest(a, b):\n    if a < b:\n        return a\n    return b\n\n\n"
        "def same(a):\n    return a\n"
    ),
    "tests/test_range.py": (
        "from shop.range import largest, last, same\n\n\n"
        "def test_last():\n    assert last(3) == 3\n    assert last(5) == 5\n\n\n"
        "def test_largest():\n    assert largest(1, 2) == 2\n    assert largest(5, 3) == 5\n\n\n"
        "def test_same():\n    assert same(1) == 1\n"
    ),
}


@pytest.mark.chaos
async def test_two_bugs_behind_one_test_module_are_mended_one_after_the_other(tmp_path: Path) -> None:
    house = House(tmp_path, quick=True)
    house.write(TWO_BUGS)
    await house.baseline()
    tests = list(house.states[0].failures)
    assert len(tests) == 2
    run = await house.run(Work.CHANGE, params={"intent": "repair", "tests": tests}, scope=("shop/**",))
    assert run.arguments["outcome"] == "changed"
    assert (await house.check())[0].passed, run.arguments
    assert len(run.used("apply_patch")) == 2


async def test_a_second_attempt_does_not_repeat_what_the_judges_refused(shop: House) -> None:
    task: dict[str, Any] = {"params": {"intent": "repair", "tests": [RED]}, "scope": ("shop/**",)}
    first = await shop.run(Work.CHANGE, **task)
    diff = shop.diff()
    refused = Feedback(
        source="judge:quality", text="not like this; refused change shop/prices.py: `if len(prices) >= 3:`"
    )
    second = await shop.run(Work.CHANGE, attempt=2, feedback=(refused,), documents=(document("diff", diff),), **task)
    assert second.arguments["outcome"] == "changed"
    assert second.arguments["summary"] != first.arguments["summary"]
    assert "len(prices) >= 3" not in (shop.tree / "shop/prices.py").read_text()
    assert (await shop.check())[0].passed


async def test_a_person_who_speaks_during_the_work_is_heard(shop: House) -> None:
    assignment = shop.assignment(
        Work.CHANGE, params={"intent": "tidy", "paths": ["shop/report.py"]}, scope=("shop/**",)
    )
    messages = opening(assignment)
    messages.append({"role": "user", "content": 'Message:\n```json\n{"source": "person:ann", "text": "no F401"}\n```'})
    findings = [{"path": "shop/report.py", "line": 1, "column": 8, "code": "F401", "message": "m", "fixable": True}]
    first = respond(messages, names(shop, Work.CHANGE)).tool_calls[0]
    messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": first["id"], "function": first}]})
    messages.append({"role": "tool", "tool_call_id": first["id"], "content": json.dumps({"findings": findings})})
    assert respond(messages, names(shop, Work.CHANGE)).tool_calls[0]["name"] == "finish"


async def test_a_repair_that_cannot_work_is_given_up_honestly(shop: House) -> None:
    test = "from shop.prices import total\n\n\ndef test_wish():\n    assert total([], 0) == 'a poem'\n"
    shop.write({"tests/test_wish.py": test})
    await shop.baseline()
    wish = {"intent": "repair", "tests": ["tests/test_wish.py::test_wish"]}
    run = await shop.run(Work.CHANGE, params=wish, scope=("shop/report.py",))
    assert run.arguments["outcome"] == "gave_up"
    assert shop.changed() == []


async def test_the_next_agent_does_not_try_again_what_the_former_one_tried(tmp_path: Path) -> None:
    house = House(tmp_path, quick=True)
    test = "from one import same\n\n\ndef test_wish():\n    assert same(1) == 'a poem'\n"
    house.write({"one.py": "def same(a):\n    return a\n", "test_one.py": test})
    await house.baseline()
    text = "gave up: 200 patches tried for test_one.py::test_wish, none turned it green without breaking others"
    note = Feedback(source="validation", text=text)
    params = {"intent": "repair", "tests": ["test_one.py::test_wish"]}
    run = await house.run(Work.CHANGE, attempt=2, feedback=(note,), params=params, scope=("/*.py",))
    assert run.used("try_patch") == []
    assert run.arguments["outcome"] == "gave_up"
    assert "200 patches tried for test_one.py::test_wish" in run.arguments["summary"]


async def test_tidying_breaks_a_hidden_re_export_and_the_second_attempt_gives_it_back(shop: House) -> None:
    task: dict[str, Any] = {"params": {"intent": "tidy", "paths": ["shop/report.py"]}, "scope": ("shop/**",)}
    first = await shop.run(Work.CHANGE, **task)
    assert first.arguments["outcome"] == "changed"
    assert not first.used("run_gate"), "the gates run afterwards anyway"
    state = (await shop.check())[0]
    assert "tests/test_bill.py" in state.failures
    again = Feedback(source="gate:tests", text="new failures", data={"failures": list(state.failures)})
    second = await shop.run(Work.CHANGE, attempt=2, feedback=(again,), **task)
    assert second.arguments["outcome"] == "changed"
    text = (shop.tree / "shop/report.py").read_text()
    assert "from shop.prices import total as total\n" in text
    assert "import os" not in text
    assert "unused" not in text
    assert (await shop.check())[0].failures == (RED,)
    lint = await shop.run(Work.CHANGE, **task)
    assert lint.arguments["outcome"] == "nothing_to_do"


async def test_a_clean_package_needs_nothing(shop: House) -> None:
    run = await shop.run(Work.CHANGE, params={"intent": "tidy", "paths": ["shop/prices.py"]}, scope=("shop/**",))
    assert run.arguments["outcome"] == "nothing_to_do"
    assert shop.changed() == []


async def test_a_person_may_take_a_rule_away(shop: House) -> None:
    wish = Feedback(source="person:ann", text="no F401 please")
    task: dict[str, Any] = {"params": {"intent": "tidy", "paths": ["shop/report.py"]}, "scope": ("shop/**",)}
    await shop.run(Work.CHANGE, feedback=(wish,), **task)
    text = (shop.tree / "shop/report.py").read_text()
    assert "import os" in text
    assert "unused" not in text


async def test_the_plan_separates_repairing_from_tidying(shop: House) -> None:
    run = await shop.run(Work.PLAN, goal="Fix the red tests, clean up lint and report the risks")
    (sprint,) = run.arguments["sprints"]
    tasks = {task["id"]: task for task in sprint["tasks"]}
    assert set(tasks) == {"analysis", "repair-prices", "tidy-shop"}
    assert tasks["repair-prices"]["scope"] == ["shop/prices.py"]
    assert tasks["repair-prices"]["params"]["tests"] == [RED]
    assert tasks["tidy-shop"]["depends_on"] == ["analysis", "repair-prices"]
    assert tasks["repair-prices"]["priority"] > tasks["tidy-shop"]["priority"]


async def test_a_plan_honours_what_a_person_wants(shop: House) -> None:
    wish = Feedback(source="person:ann", text="only tidy; make it beautiful")
    run = await shop.run(Work.PLAN, goal="Fix the red tests and clean up lint", feedback=(wish,))
    assert [task["id"] for task in run.arguments["sprints"][0]["tasks"]] == ["tidy-shop"]
    assert any("make it beautiful" in risk for risk in run.arguments["risks"])


async def test_an_empty_plan_says_which_findings_are_left_alone_and_why(tmp_path: Path) -> None:
    house = House(tmp_path, quick=True)
    house.write({"a.py": "def f(x):\n    return '%s' % (x,)\n"})
    run = await house.run(Work.PLAN, goal="Clean up lint")
    assert run.arguments["sprints"] == []
    assert "none of 1 lint finding(s)" in run.arguments["summary"]
    assert "UP031 1" in run.arguments["summary"]
    assert "no linter is configured" in run.arguments["summary"]


async def test_files_that_a_program_wrote_are_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path, quick=True)
    house.write({"p/_version.py": "# file generated by a build; don't change\nimport os\n", "p/a.py": "import os\n"})
    run = await house.run(Work.PLAN, goal="Clean up lint")
    [task] = run.arguments["sprints"][0]["tasks"]
    assert task["params"]["paths"] == ["p/a.py"]
    assert any("1 lint finding(s) in generated files" in risk for risk in run.arguments["risks"])
    (house.tree / "p/a.py").unlink()
    run = await house.run(Work.PLAN, goal="Clean up lint")
    assert "no findings but 1 in generated files" in run.arguments["summary"]


async def test_where_nothing_is_wrong_the_plan_is_empty(tmp_path: Path) -> None:
    house = House(tmp_path, quick=True)
    house.write({"a.py": "X = 1\n", "test_a.py": "def test_a():\n    pass\n"})
    await house.baseline()
    run = await house.run(Work.PLAN, goal="Fix the red tests and clean up lint")
    assert run.arguments["sprints"] == []
    assert "Nothing to do" in run.arguments["summary"]


async def test_a_replan_takes_what_was_skipped_and_leaves_what_failed(shop: House) -> None:
    def task(name: str, **more: Any) -> dict[str, Any]:
        return {"id": name, "title": name, "kind": "change", "instructions": "i", "params": {"intent": "tidy"}, **more}

    plan = {"summary": "s", "sprints": [{"goal": "g", "tasks": [task("one"), task("two", depends_on=["one"])]}]}
    left = [
        {"task": "one", "sprint": 1, "kind": "change", "state": "failed", "summary": "gave up", "agent": "a"},
        {"task": "two", "sprint": 1, "kind": "change", "state": "skipped", "summary": "", "agent": "a"},
    ]
    run = await shop.run(
        Work.PLAN,
        role=Role.PROJECT_MANAGER,
        params={"unfinished": left, "remaining": [{"goal": "later", "tasks": [task("three")]}]},
        documents=(document("plan", plan),),
    )
    assert [[t["id"] for t in s["tasks"]] for s in run.arguments["sprints"]] == [["two"], ["three"]]
    assert run.arguments["sprints"][0]["tasks"][0]["depends_on"] == []
    assert any("one" in risk for risk in run.arguments["risks"])


async def test_the_survey_reads_documents_and_carries_on_after_a_refusal(shop: House, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("hidden")
    (shop.tree / "docs").mkdir()
    os.symlink(secret, shop.tree / "docs/storage.md")
    run = await shop.run(Work.SURVEY, goal="Look at it")
    assert any("refused" in answer or "error" in answer for _, answer in run.used("read_file"))
    titles = [finding["title"] for finding in run.arguments["findings"]]
    assert "Could not be read: docs/storage.md" in titles
    assert f"Failing test: {RED}" in titles
    assert "hidden" not in json.dumps(run.arguments)


async def test_requirements_name_what_is_out_of_scope(shop: House) -> None:
    run = await shop.run(Work.REQUIREMENTS, goal="Fix the failing tests and add a CLI")
    assert run.arguments["intents"] == ["repair"]
    assert run.arguments["out_of_scope"][0].startswith("add a cli")
    assert "SYNDIC_MODELS" in run.arguments["out_of_scope"][0]


async def test_a_goal_that_no_rule_serves_is_refused_with_what_can_be_done(shop: House) -> None:
    run = await shop.run(Work.REQUIREMENTS, goal="Port this to Rust")
    assert run.ending == "refuse"
    assert "SYNDIC_MODELS" in run.arguments["reason"]
    assert len(run.arguments["can_do"]) == 3


async def test_qa_notices_what_is_worse(shop: House) -> None:
    assert (await shop.run(Work.QA)).arguments["passed"]
    shop.write({"shop/bill.py": "def bill(prices):\n    return 7\n"})
    run = await shop.run(Work.QA)
    assert not run.arguments["passed"]
    assert "tests/test_bill.py::test_bill fails" in json.dumps(run.arguments)


async def test_a_good_change_is_approved_by_every_seat(shop: House) -> None:
    task: dict[str, Any] = {"params": {"intent": "repair", "tests": [RED]}, "scope": ("shop/**",)}
    run = await shop.run(Work.CHANGE, **task)
    documents = change_documents(shop, run, await shop.check())
    for seat in Seat:
        verdict = await shop.run(Work.JUDGE, seat=seat, documents=documents, **task)
        assert verdict.arguments["verdict"] == "approve", verdict.arguments
        assert verdict.arguments["evidence"]


@pytest.mark.parametrize(
    ("seat", "path", "text", "reason"),
    [
        (Seat.CONSTITUTIONAL, "tests/test_bill.py", "def test_bill():\n    pass\n", "test files changed"),
        (Seat.CONSTITUTIONAL, "shop/bill.py", "import os  # noqa: F401\n", "new suppressions"),
        (Seat.CONSTITUTIONAL, "README.md", "# shop!\n", "outside the task's scope"),
        (Seat.CONSTITUTIONAL, "shop/bill.py", "TOKEN = 'abcdefghijklmnop'\n", "looks like a secret"),
        (Seat.TECHNICAL, "shop/bill.py", "def bill(:\n", "does not parse"),
        (Seat.QUALITY, "shop/bill.py", "breakpoint()\n", "left behind"),
        (
            Seat.INTEGRATION,
            "shop/prices.py",
            "def totals(prices):\n    return 1\n",
            "removed but used elsewhere: total",
        ),
    ],
)
async def test_a_bad_change_is_sent_back_with_a_reason(
    shop: House, seat: Seat, path: str, text: str, reason: str
) -> None:
    shop.write({path: text})
    result = {"summary": "s", "outcome": "changed", "evidence": [{"claim": "c", "source": "s"}]}
    documents = (document("result", result), document("diff", shop.diff()), document("gates", []))
    run = await shop.run(Work.JUDGE, seat=seat, documents=documents, scope=("shop/**",))
    assert run.arguments["verdict"] == "revise"
    assert any(reason in text for text in run.arguments["reasons"]), run.arguments["reasons"]


async def test_a_report_is_judged_too(shop: House) -> None:
    run = await shop.run(Work.ANALYSIS, goal="analyze", params={"intent": "analyze"})
    good, empty = document("report", run.arguments), document("report", {"summary": "", "markdown": ""})
    assert (await shop.run(Work.JUDGE, seat=Seat.QUALITY, documents=(good,))).arguments["verdict"] == "approve"
    assert (await shop.run(Work.JUDGE, seat=Seat.QUALITY, documents=(empty,))).arguments["verdict"] == "revise"


async def test_text_hygiene_serves_a_repository_without_python(tmp_path: Path) -> None:
    house = House(tmp_path, gates=())
    house.write({"notes.txt": "a  \nb", "data.bin": "x  \n"})
    await house.baseline()
    plan = await house.run(Work.PLAN, goal="Tidy up")
    (task,) = plan.arguments["sprints"][0]["tasks"]
    run = await house.run(Work.CHANGE, params=task["params"], scope=tuple(task["scope"]))
    assert run.arguments["outcome"] == "changed"
    assert (house.tree / "notes.txt").read_text() == "a\nb\n"
    assert house.changed() == ["notes.txt"]


def names(house: House, work: Work) -> list[dict[str, Any]]:
    tools = (
        "list_files",
        "read_file",
        "search",
        "lint",
        "run_gate",
        "rank_suspects",
        "try_patch",
        "apply_patch",
        "finish",
    )
    return [{"type": "function", "function": {"name": name}} for name in (*tools, "fix_lint", "refuse", "escalate")]


@pytest.mark.parametrize("work", list(Work))
@pytest.mark.parametrize("intent", ["repair", "tidy"])
def test_where_every_tool_fails_each_role_still_ends(tmp_path: Path, work: Work, intent: str) -> None:
    house = House(tmp_path)
    failure = Feedback(source="gate:tests", text="x")
    for feedback in ((), (failure,)):
        assignment = house.assignment(
            work, goal="fix the tests and tidy", params={"intent": intent, "tests": ["a::b"]}, feedback=feedback
        )
        messages = opening(assignment)
        for _ in range(41):
            draft = respond(messages, names(house, work))
            calls = [
                {"id": c["id"], "function": {"name": c["name"], "arguments": c["arguments"]}} for c in draft.tool_calls
            ]
            if calls[0]["function"]["name"] in {"finish", "refuse", "escalate"}:
                break
            messages.append({"role": "assistant", "content": draft.text, "tool_calls": calls})
            messages += [{"role": "tool", "tool_call_id": c["id"], "content": '{"error": "broken"}'} for c in calls]
        else:
            raise AssertionError("the run does not end")


def test_a_result_that_is_refused_twice_goes_to_a_person(tmp_path: Path) -> None:
    house = House(tmp_path)
    messages = opening(house.assignment(Work.JUDGE, seat=Seat.QUALITY))
    seen: list[str] = []
    for _ in range(3):
        draft = respond(messages, names(house, Work.JUDGE))
        call = draft.tool_calls[0]
        seen.append(call["name"])
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": call["id"], "function": call}]})
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": '{"error": "invalid"}'})
    assert seen == ["finish", "finish", "escalate"]


def test_a_change_that_no_rule_serves_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    assignment = house.assignment(Work.CHANGE, title="Add a CLI", instructions="Write a CLI")
    draft = respond(opening(assignment), names(house, Work.CHANGE))
    assert draft.tool_calls[0]["name"] == "refuse"


def test_the_same_conversation_gets_the_same_answer(tmp_path: Path) -> None:
    house = House(tmp_path)
    messages = opening(house.assignment(Work.SURVEY))
    first, second = (respond(messages, names(house, Work.SURVEY)) for _ in range(2))
    assert first == second
    assert first.tool_calls[0]["id"] == "call_000_00"


def test_without_an_assignment_it_says_what_it_is() -> None:
    draft = respond([{"role": "user", "content": "hello"}], [])
    assert "no language model" in draft.text
    assert draft.tool_calls == []


async def test_a_patched_file_is_formatted_where_the_repository_has_a_formatter(tmp_path: Path) -> None:
    house = House(tmp_path, gates=(FORMAT,))
    house.write({
        "pyproject.toml": '[tool.ruff.lint]\nselect = ["F", "UP"]\n[tool.ruff.format]\n',
        "p/a.py": "from typing import List\n\n\ndef f(x: List[int],):\n    unused = 1\n    return x\n",
        "p/b.py": "import os\n\nX = 1\n",
    })  # fmt: skip
    await house.baseline()
    assert house.states[0].failures == ("p/a.py",)
    run = await house.run(Work.CHANGE, params={"intent": "tidy", "paths": ["p/a.py", "p/b.py"]}, scope=("p/**",))
    assert run.arguments["outcome"] == "changed"
    assert "import os" not in (house.tree / "p/b.py").read_text()
    assert "def f(x: list[int],):\n    return x\n" in (house.tree / "p/a.py").read_text(), "it was not formatted before"
    assert (await house.check())[0].failures == ("p/a.py",)


async def test_a_file_that_lost_its_format_gets_it_back(tmp_path: Path) -> None:
    house = House(tmp_path, gates=(FORMAT,))
    text = "import os\n\n\ndef f():\n    return 1\n"
    settings = '[tool.ruff]\nline-length = 80\nlint.select = ["F", "UP"]\n[tool.ruff.format]\n'
    house.write({"pyproject.toml": settings, "a.py": text})
    await house.baseline()
    assert house.states[0].passed
    run = await house.run(Work.CHANGE, params={"intent": "tidy", "paths": ["a.py"]}, scope=("/*.py",))
    assert run.used("run_program"), run.calls
    assert (await house.check())[0].passed


async def test_findings_of_a_lint_gate_are_mended_by_linting_again(shop: House) -> None:
    shop.states = (*shop.states, GateState(name="lint", kind="lint", passed=False))
    more = Feedback(source="gate:lint", text="1 more findings of F401 in shop/report.py")
    task: dict[str, Any] = {"params": {"intent": "tidy", "paths": ["shop/report.py"]}, "scope": ("shop/**",)}
    run = await shop.run(Work.CHANGE, attempt=2, feedback=(more,), **task)
    assert run.arguments["outcome"] == "changed"
    again = await shop.run(Work.CHANGE, attempt=3, feedback=(more,), **task)
    assert again.arguments["outcome"] == "gave_up", "what it cannot mend it does not call done"

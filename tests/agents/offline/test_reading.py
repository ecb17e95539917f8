"""Conversations, replays, diffs, documents: what the scripts stand on."""

from __future__ import annotations

import json
from typing import Any

from agents.assignments import Assignment, Document, Feedback, Work
from agents.offline.conversation import Call, read_conversation, read_result
from agents.offline.diffs import parse_diff
from agents.offline.papers import diff_of, gate_results
from agents.offline.script import Desk, End, Script, Turn, replay
from agents.offline.source import Edit, Source, apply_edits
from agents.offline.units import split
from ledger.vocabulary import Role

ASSIGNMENT = Assignment(work=Work.SURVEY, project="p", task="t", role=Role.ANALYST, agent="a", goal="g ``` g")


def opening() -> list[dict[str, Any]]:
    text = json.dumps(ASSIGNMENT.model_dump(mode="json"), indent=2)
    return [
        {"role": "system", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": f"Assignment:\n```json\n{text}\n```"}]},
    ]


def turn(name: str, arguments: str, answer: str | None, number: int) -> list[dict[str, Any]]:
    call = {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
    messages: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    return messages + ([{"role": "tool", "tool_call_id": f"c{number}", "content": answer}] if answer else [])


def note(text: str) -> dict[str, Any]:
    body = json.dumps({"source": "person:ann", "text": text})
    return {"role": "user", "content": f"Message:\n```json\n{body}\n```"}


def script(desk: Desk) -> Script:
    first = yield from desk.use("one", "read_file", path="a")
    second = yield from desk.use("two", "read_file", path=first.get("text", "?"))
    return End(f"{len(desk.notes)}", Call("finish", {"ok": second.ok, "asked": [n.text for n in desk.notes]}))


def said(messages: list[dict[str, Any]]) -> Turn:
    desk = Desk(ASSIGNMENT, frozenset({"read_file"}))
    result = replay(script(desk), desk, read_conversation(messages))
    return result.turn if isinstance(result, End) else result


def test_the_assignment_is_read_although_it_holds_a_fence() -> None:
    assert read_conversation(opening()).assignment == ASSIGNMENT


def test_a_script_goes_on_where_the_record_ends() -> None:
    messages = opening()
    assert said(messages).calls[0].arguments == {"path": "a"}
    messages += turn("read_file", '{"path": "a"}', '{"text": "b"}', 1)
    assert said(messages).calls[0].arguments == {"path": "b"}
    messages += turn("read_file", '{"path": "b"}', '{"error": "refused"}', 2)
    assert said(messages).calls[0] == Call("finish", {"ok": False, "asked": []})


def test_turns_of_another_model_are_passed_over() -> None:
    messages = opening() + turn("search", '{"pattern": "x"}', "{}", 1) + turn("read_file", '{"path": "a"}', "{}", 2)
    assert said(messages).calls[0].arguments == {"path": "?"}


def test_a_message_is_heard_from_the_turn_after_which_it_came() -> None:
    messages = opening() + turn("read_file", '{"path": "a"}', '{"text": "b"}', 1) + [note("hello")]
    messages += turn("read_file", '{"path": "b"}', "{}", 2)
    assert said(messages).calls[0].arguments["asked"] == ["hello"]


def test_a_tool_that_is_not_on_offer_answers_without_a_turn() -> None:
    desk = Desk(ASSIGNMENT, frozenset())
    result = replay(script(desk), desk, read_conversation(opening()))
    assert isinstance(result, End)


def test_broken_records_are_errors_and_never_raised() -> None:
    conversation = read_conversation(opening() + turn("read_file", "{broken", None, 1))
    assert conversation.turns[0].calls == (Call("read_file", {}),)
    assert not conversation.turns[0].results[0].ok
    assert read_result("no json").error
    assert read_result('{"refused": true, "reason": "outside"}').error == "outside"
    assert read_result("[1]").data == {"value": [1]}


DIFF = """diff --git a/m.py b/m.py
index 1..2 100644
--- a/m.py
+++ b/m.py
@@ -1,4 +1,3 @@
-import os
-import sys
+import re

 def f():
@@ -9,2 +8,3 @@ def g():
 x
+y
 z
diff --git a/new.py b/new.py
new file mode 100644
--- /dev/null
+++ b/new.py
@@ -0,0 +1 @@
+x = 1
\\ No newline at end of file
"""


def test_a_diff_is_read_and_can_be_taken_back() -> None:
    first, second = parse_diff(DIFF)
    assert (first.path, first.added, first.removed) == ("m.py", ["import re", "y"], ["import os", "import sys"])
    assert (second.old, second.new) == (None, "new.py")
    new = "import re\n\ndef f():\n4\n5\n6\n7\nx\ny\nz\n"
    old = "import os\nimport sys\n\ndef f():\n4\n5\n6\n7\nx\nz\n"
    assert apply_edits(new, first.reverse()) == old


def test_lines_of_a_hunk_that_look_like_headers_are_content() -> None:
    text = "--- a/s.sql\n+++ b/s.sql\n@@ -1,2 +1,2 @@\n--- old comment\n+++ new\n x\n"
    (diff,) = parse_diff(text)
    assert (diff.removed, diff.added) == (["-- old comment"], ["++ new"])


def documents(task: str, **texts: str) -> Assignment:
    named = tuple(Document(name=name.replace("__", "/"), text=text) for name, text in texts.items())
    return ASSIGNMENT.model_copy(update={"task": task, "documents": named})


def test_a_predecessors_diff_is_not_the_tasks_own() -> None:
    assert diff_of(documents("t", other__diff=DIFF)) == ""
    assert diff_of(documents("t", other__diff=DIFF, diff="--- a/q\n+++ b/q\n")).startswith("--- a/q")
    assert "new.py" in diff_of(documents("sprint", other__diff=DIFF))


def test_gate_results_are_read_from_their_document() -> None:
    row = {"gate": {"name": "tests", "kind": "tests"}, "passed": False, "failures": ["a::b"], "counts": {"failed": 1}}
    (found,) = gate_results(documents("t", gates=json.dumps([row]), survey='{"gates": 3}'))
    assert found == {"name": "tests", "kind": "tests", "passed": False, "failures": ["a::b"], "counts": {"failed": 1}}


def test_edits_count_lines_as_git_does() -> None:
    source = Source("m.py", "a\x0cb\nc\n")
    assert source.lines == ["a\x0cb\n", "c\n"]
    assert apply_edits("a\nb\n", (Edit("m", 2, 1, "x\n"), Edit("m", 2, 2, ""))) == "a\nx\n"


def test_parts_of_a_repository_do_not_overlap() -> None:
    units = split(["src/p/a/x.py", "src/p/b/y.py", "src/p/z.py", "src/p/a/q/w.py"])
    assert {unit.scope for unit in units} == {("src/p/a/**",), ("src/p/b/**",), ("/src/p/*.py",)}
    assert split(["one/a.py", "two/b.py", "c.py"])[0].files
    assert sum(len(unit.files) for unit in split([f"p{n}/a.py" for n in range(20)])) == 20


def test_feedback_in_plain_words_is_a_note() -> None:
    conversation = read_conversation([*opening(), {"role": "user", "content": "hello"}])
    assert conversation.notes == (Feedback(source="message", text="hello"),)

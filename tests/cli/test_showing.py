"""A request on the screen: everything the digest covers, nothing a terminal obeys."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.chain import digest
from ledger.memory import MemoryStore
from ledger.vocabulary import Answer, ApprovalKind
from workers.exhibits import DIFF, Exhibit, fits, read_exhibits, references
from workers.showing import ago, outline, page
from workflows.approval_models import ApprovalView, Vote

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
PATCH = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\x1b[31m\n+b\xe2\x80\xae\n"


def request(subject: dict[str, Any], **more: Any) -> ApprovalView:
    fields: dict[str, Any] = {
        "id": "shop.merge-1", "kind": ApprovalKind.MERGE, "digest": digest(subject), "subject": subject,
        "summary": "merge\x1b[2J it", "on_approve": "it is merged", "on_reject": "it is not", "workflow_id": "project/shop",
        "requested_at": NOW - timedelta(hours=3), "expires_at": NOW + timedelta(days=7),
    }  # fmt: skip
    return ApprovalView(**fields | more)


def lines(view: ApprovalView, exhibits: tuple[Exhibit, ...] = ()) -> str:
    return "\n".join(text.plain for text in page(view, exhibits, {"approve": "syndic approve shop.merge-1"}, NOW))


def ref(name: str, content: bytes, media_type: str = "text/plain") -> dict[str, Any]:
    return {
        "name": name, "digest": hashlib.sha256(content).hexdigest(), "media_type": media_type, "size": len(content)
    }  # fmt: skip


def test_everything_that_the_digest_covers_is_shown() -> None:
    subject = {"tool": "run_program", "arguments": {"argv": ["rm", "-rf", "build"], "n": 0, "deep": {"a": False}}}
    text = lines(request(subject))
    for words in (
        "tool: run_program",
        "- rm",
        "- -rf",
        "n: 0",
        "a: false",
        "it is merged",
        "syndic approve shop.merge-1",
    ):
        assert words in text
    assert "of all that stands below" in text


def test_a_digest_that_does_not_fit_is_called_out() -> None:
    view = request({"a": 1}).model_copy(update={"subject": {"a": 2}})
    assert not fits(view)
    assert "do not decide" in lines(view)


def test_what_strangers_wrote_moves_no_cursor_and_turns_no_direction() -> None:
    exhibit = Exhibit.model_validate({"reference": ref("di\x1bff", PATCH, DIFF), "text": PATCH.decode()})
    text = lines(request({"que\x9bstion": "why\x1b]0;x\x07 \u202e?"}), (exhibit,))
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text)
    assert "-a�[31m" in text


def test_a_diff_is_coloured_by_its_lines() -> None:
    exhibit = Exhibit.model_validate({"reference": ref("diff", PATCH, DIFF), "text": PATCH.decode()})
    shown = {text.plain: text.style for text in page(request({}), (exhibit,), {}, NOW)}
    assert [shown[line] for line in ("--- a/x", "@@ -1 +1 @@", "+b�")] == ["bold", "cyan", "green"]


def test_several_lines_stay_several_lines_and_repetitions_are_repeated() -> None:
    same = ["src/**"]
    text = outline({"text": "one\ntwo", "a": same, "b": same, "nothing": []})
    assert text == "text: |-\n  one\n  two\na:\n- src/**\nb:\n- src/**"


def test_votes_say_who_is_proven_and_who_is_claimed() -> None:
    votes = (
        Vote(by="pat", decision=Answer.APPROVE, at=NOW, key="k1"),
        Vote(by="lee", decision=Answer.REJECT, at=NOW, comment="no"),
    )
    text = lines(request({}, state="rejected", votes=votes, quorum=2, signed=True, consumed="the project ended"))
    assert "approve by pat (verified, key k1)" in text
    assert "reject by lee (a claim)" in text
    assert "2 different persons; signed only" in text
    assert "the project ended" in text
    assert "How it is answered" not in text


async def test_documents_are_found_by_task_and_read_by_their_digests() -> None:
    store = MemoryStore()
    await store.put_artifact(PATCH, DIFF)
    await store.put_artifact(b"{}", "application/json")
    subject = {
        "report": {"tasks": [{"task": "one", "documents": [ref("diff", PATCH, DIFF), ref("result", b"{}")]}]},
        "lost": ref("diff", b"gone", DIFF),
    }
    assert [(task, found.name) for task, found in references(subject)] == [
        ("one", "diff"), ("one", "result"), ("", "diff"),
    ]  # fmt: skip
    found = [exhibit async for exhibit in read_exhibits(store, subject, everything=False)]
    assert [exhibit.text for exhibit in found] == [PATCH.decode(), None, None]
    assert "there is no artifact" in found[2].fault
    text = lines(request(subject), tuple(found))
    assert "diff of one (text/x-diff" in text
    assert "shown with --documents" in text
    assert "cannot be shown" in text
    all_of_it = [exhibit async for exhibit in read_exhibits(store, subject, everything=True)]
    assert [exhibit.text for exhibit in all_of_it] == [PATCH.decode(), "{}", None]


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (119, "119 s"), (3600, "60 min"), (90_000, "25 h"), (864_000, "10 days")]
)
def test_spans_are_said_in_one_unit(seconds: int, said: str) -> None:
    assert ago(timedelta(seconds=seconds)) == said

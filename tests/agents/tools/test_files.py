"""Files are read in windows, written whole or not at all, and only where the task may write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.tools import files, search
from agents.tools.edits import Edit, EditError, edited, lines_of

TOOLS = {tool.name: tool for tool in (*files.TOOLS, *search.TOOLS)}


async def test_listing_leaves_caches_and_git_out_and_says_when_it_is_cut(
    tree: Path, make_context: Any, use: Any, fill: Any
):
    fill({"a.py": "", "src/b.py": "", "src/__pycache__/b.pyc": "", ".git": "gitdir: x", "c.txt": ""})
    _, content = await use(TOOLS["list_files"], make_context())
    assert content == {"files": ["a.py", "c.txt", "src/b.py"], "total": 3, "truncated": False}
    _, content = await use(TOOLS["list_files"], make_context(), glob="*.py", limit=1)
    assert content == {"files": ["a.py"], "total": 2, "truncated": True}


async def test_a_huge_listing_still_fits(make_context: Any, use: Any, fill: Any):
    fill({f"{'d' * 60}/{index:04}-{'n' * 60}.py": "" for index in range(600)})
    _, content = await use(TOOLS["list_files"], make_context(), limit=5_000)
    assert content["truncated"]
    assert 200 < len(content["files"]) < 600


async def test_reading_gives_the_asked_lines(make_context: Any, use: Any, fill: Any):
    fill({"a.txt": "one\ntwo\nthree"})
    _, content = await use(TOOLS["read_file"], make_context(), path="a.txt", start=2, end=9)
    assert content == {"path": "a.txt", "text": "two\nthree", "start": 2, "end": 3, "lines": 3, "truncated": False}


async def test_a_long_file_is_cut_at_a_line_and_can_be_read_on(make_context: Any, use: Any, fill: Any):
    text = "".join(f'line "{number}" with a \\ and more\n' for number in range(5_000))
    fill({"a.txt": text})
    seen, start = "", 1
    while start <= 5_000:
        _, content = await use(TOOLS["read_file"], make_context(), path="a.txt", start=start)
        seen, start = seen + content["text"], content["end"] + 1
    assert seen == text


@pytest.mark.parametrize(
    ("path", "hint"),
    [("../x", "`..`"), ("/etc/passwd", "absolute"), (".git/config", ".git"), ("gone.py", "no file"), ("d", "folder"),
     ("link", "outside"), ("bin", "UTF-8"), ("pipe", "neither")],
)  # fmt: skip
async def test_what_cannot_be_read_is_an_answer(tree: Path, make_context: Any, use: Any, path: str, hint: str):
    (tree / "d").mkdir()
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "bin").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tree / "pipe")
    result, content = await use(TOOLS["read_file"], make_context(), path=path)
    assert not result.ok
    assert hint in content["error"]


async def test_writing_keeps_the_mode_and_warns_of_broken_python(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"run.py": "x = 1\n"})
    (tree / "run.py").chmod(0o755)
    _, content = await use(TOOLS["write_file"], make_context(), path="run.py", text="x = (\n")
    assert content["bytes"] == 6
    assert "does not parse" in content["warning"]
    assert (tree / "run.py").stat().st_mode & 0o777 == 0o755
    _, content = await use(TOOLS["write_file"], make_context(), path="new/deep/x.txt", text="ä")
    assert (tree / "new/deep/x.txt").read_text() == "ä"
    assert not list(tree.rglob("*.syndic-new"))


@pytest.mark.parametrize("path", ["tests/test_a.py", "pyproject.toml", "../x", "out/x", "other/x.py"])
async def test_tools_refuse_paths_even_when_policy_was_not_asked(tree: Path, make_context: Any, use: Any, path: str):
    (tree / "out").symlink_to("/tmp")
    context = make_context(scope=("**", "!other/**"))
    edit = {"path": path, "start": 1, "end": 0, "text": "x"}
    for name, arguments in (
        ("write_file", {"path": path, "text": "x"}),
        ("replace", {"path": path, "old": "a", "new": "b"}),
        ("apply_patch", {"edits": [{"path": "ok.py", "start": 1, "end": 0, "text": "x"}, edit]}),
    ):
        result, _ = await use(TOOLS[name], context, **arguments)
        assert not result.ok
    assert not (tree / "ok.py").exists()


async def test_replacing_needs_exactly_one_occurrence(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"a.py": "a = 1\nb = 1\n"})
    for old in ("= 1", "c = 1"):
        result, _ = await use(TOOLS["replace"], make_context(), path="a.py", old=old, new="")
        assert not result.ok
    await use(TOOLS["replace"], make_context(), path="a.py", old="b = 1", new="b = 2")
    assert (tree / "a.py").read_text() == "a = 1\nb = 2\n"


async def test_windows_line_endings_stay(tree: Path, make_context: Any, use: Any):
    (tree / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await use(TOOLS["replace"], make_context(), path="a.txt", old="one\ntwo", new="1\n2")
    await use(TOOLS["apply_patch"], make_context(), edits=[{"path": "a.txt", "start": 3, "end": 3, "text": "3\n4"}])
    assert (tree / "a.txt").read_bytes() == b"1\r\n2\r\n3\r\n4\r\n"


async def test_a_patch_applies_to_all_files_or_to_none(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"a.py": "1\n2\n3\n", "b.py": "x\n"})
    good = [
        {"path": "a.py", "start": 1, "end": 1, "text": "one"},
        {"path": "a.py", "start": 3, "end": 2, "text": "2.5"},
    ]
    result, _ = await use(
        TOOLS["apply_patch"], make_context(), edits=[*good, {"path": "b.py", "start": 5, "end": 6, "text": ""}]
    )
    assert not result.ok
    assert (tree / "a.py").read_text() == "1\n2\n3\n"
    _, content = await use(
        TOOLS["apply_patch"], make_context(), edits=[*good, {"path": "b.py", "start": 1, "end": 1, "text": ""}]
    )
    assert content["paths"] == ["a.py", "b.py"]
    assert (tree / "a.py").read_text() == "one\n2\n2.5\n3\n"
    assert (tree / "b.py").read_text() == ""


def edit(start: int, end: int, text: str) -> Edit:
    return Edit(path="a", start=start, end=end, text=text)


@pytest.mark.parametrize(
    ("text", "edits", "expected"),
    [
        ("a\nb", [edit(2, 2, "c")], "a\nc"),
        ("a\nb", [edit(3, 2, "c")], "a\nb\nc\n"),
        ("", [edit(1, 0, "c")], "c\n"),
        ("a\nb\n", [edit(1, 2, "")], ""),
        ("a\n\x0cb\nc\n", [edit(2, 2, "B")], "a\nB\nc\n"),
    ],
)
def test_edits_at_the_end_of_a_file(text: str, edits: list[Edit], expected: str):
    assert edited(text, edits) == expected


@pytest.mark.parametrize(
    "edits", [[edit(1, 2, ""), edit(2, 2, "")], [edit(3, 3, "")], [edit(2, 0, "")], [edit(4, 3, "")]]
)
def test_edits_that_do_not_fit_are_refused(edits: list[Edit]):
    with pytest.raises(EditError):
        edited("a\nb\n", edits)


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=5), min_size=1),
    data=st.data(),
)
def test_an_edit_leaves_all_other_lines_as_they_are(lines: list[str], data: st.DataObject):
    text = "".join(line + "\n" for line in lines)
    start = data.draw(st.integers(1, len(lines)))
    end = data.draw(st.integers(start - 1, len(lines)))
    after = lines_of(edited(text, [edit(start, end, "new")]))
    assert after == [*lines_of(text)[: start - 1], "new\n", *lines_of(text)[end:]]


def test_unknown_arguments_are_refused():
    with pytest.raises(ValidationError):
        TOOLS["read_file"].arguments.model_validate({"path": "a", "line": 3})


async def test_search_finds_lines_and_skips_binaries(tree: Path, make_context: Any, use: Any, fill: Any):
    fill({"a.py": "import os\nx = 1\n", "b/c.py": "import sys\n", "d.txt": "import no\n"})
    (tree / "e.py").write_bytes(b"import\0x")
    (tree / "f.py").symlink_to("/etc/passwd")
    _, content = await use(TOOLS["search"], make_context(), pattern=r"^import (os|sys)$", glob="*.py")
    assert content["matches"] == [
        {"path": "a.py", "line": 1, "text": "import os"},
        {"path": "b/c.py", "line": 1, "text": "import sys"},
    ]
    _, content = await use(TOOLS["search"], make_context(), pattern="import", limit=2)
    assert content["truncated"]


async def test_a_bad_pattern_and_one_that_never_ends_are_answers(
    make_context: Any, use: Any, fill: Any, monkeypatch: Any
):
    fill({"a.txt": "a" * 40 + "!\n"})
    result, _ = await use(TOOLS["search"], make_context(), pattern="(")
    assert not result.ok
    monkeypatch.setattr(search, "TIMEOUT_S", 0.5)
    result, content = await use(TOOLS["search"], make_context(), pattern="(a+)+$")
    assert not result.ok
    assert "longer than" in content["error"]

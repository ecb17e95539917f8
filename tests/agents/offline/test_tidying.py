"""Hand-made fixes, white space and names given back."""

from __future__ import annotations

import pytest

from agents.offline.diffs import parse_diff
from agents.offline.handwork import edits_for
from agents.offline.hygiene import cleaned
from agents.offline.reexports import (
    Missing,
    import_from,
    insertion,
    missing_for,
    missing_in_output,
    removed_import,
    well_known,
)
from agents.offline.source import Source, apply_edits


def mended(text: str, code: str, line: int, column: int) -> str:
    edits = edits_for(Source("m.py", text), [{"path": "m.py", "code": code, "line": line, "column": column}])
    return apply_edits(text, tuple(edits))


@pytest.mark.parametrize(
    ("code", "line", "column", "before", "after"),
    [
        ("F841", 2, 5, "def f():\n    x = g()\n    return 1\n", "def f():\n    g()\n    return 1\n"),
        ("F841", 2, 5, "def f():\n    x = 1\n    return 1\n", "def f():\n    return 1\n"),
        ("F841", 2, 5, "def f():\n    x = 1\n", "def f():\n    pass\n"),
        ("F841", 2, 5, "def f():\n    x: int = g()\n", "def f():\n    g()\n"),
        ("F841", 3, 1, "try:\n    g()\nexcept E as e:\n    pass\n", "try:\n    g()\nexcept E:\n    pass\n"),
        ("F841", 3, 1, "try:\n    g()\nexcept (E, F) as e:\n    pass\n", "try:\n    g()\nexcept (E, F):\n    pass\n"),
        ("E711", 1, 4, "if x == None:\n    pass\n", "if x is None:\n    pass\n"),
        ("E711", 1, 9, "if x != None:\n    pass\n", "if x is not None:\n    pass\n"),
        ("E401", 1, 8, "import os, sys as s\n", "import os\nimport sys as s\n"),
        ("E731", 1, 1, "f = lambda a, b=1: a + b\n", "def f(a, b=1):\n    return a + b\n"),
        ("B007", 1, 5, "for i in range(3):\n    g()\n", "for _i in range(3):\n    g()\n"),
        ("SIM118", 2, 4, "d = {}\nif k in d.keys():\n    pass\n", "d = {}\nif k in d:\n    pass\n"),
    ],
)
def test_a_finding_without_a_safe_fix_is_mended(code: str, line: int, column: int, before: str, after: str) -> None:
    assert mended(before, code, line, column) == after


@pytest.mark.parametrize(
    ("code", "line", "column", "text"),
    [
        ("E711", 1, 4, "if Model.column == None:\n    pass\n"),  # an overloaded operator may stand behind an attribute
        ("SIM118", 1, 4, "if k in d.keys():\n    pass\n"),
        ("B007", 1, 5, "for i in range(3):\n    g()\nprint(i)\n"),
        ("F841", 2, 5, "def f():\n    a, b = g()\n"),
        ("F841", 2, 5, "def f():\n    x = 1  # why\n"),
        ("E999", 1, 1, "x = 1\n"),
    ],
)
def test_what_might_change_behaviour_is_left(code: str, line: int, column: int, text: str) -> None:
    assert mended(text, code, line, column) == text


def test_white_space_is_cleaned_and_markdown_breaks_are_kept() -> None:
    assert cleaned("a.txt", "a  \nb\t\n\n\n") == "a\nb\n"
    assert cleaned("a.md", "a  \nb   \n  \nc") == "a  \nb\n\nc\n"
    assert cleaned("a.txt", "a\r\nb\nc\r\n") == "a\r\nb\r\nc\r\n"
    assert cleaned("a.txt", "") == ""


FILES = ["src/p/a.py", "src/p/b.py", "src/p/__init__.py", "tests/test_a.py"]


def test_missing_names_are_read_from_the_output_of_a_gate() -> None:
    output = "ImportError: cannot import name 'x' from 'p.a' (/t/src/p/a.py)\nAttributeError: module 'p.b' has no attribute 'y'"
    assert missing_in_output(output, FILES) == {Missing("src/p/a.py", "x"), Missing("src/p/b.py", "y")}


def test_missing_names_are_found_without_any_output() -> None:
    importers = {"tests/test_a.py": "from p.a import (\n    x,\n    known,\n)\n", "src/p/b.py": "from .a import z\n"}
    modules = {"src/p/a.py": "def known(): ...\n"}
    assert missing_for(importers, modules, FILES) == {Missing("src/p/a.py", "x"), Missing("src/p/a.py", "z")}


def test_submodules_and_modules_that_answer_for_themselves_miss_nothing() -> None:
    importers = {"tests/test_a.py": "from p import a, dynamic\n"}
    assert missing_for(importers, {"src/p/__init__.py": "def __getattr__(name): ...\n"}, FILES) == set()


def test_the_import_comes_back_as_an_explicit_re_export() -> None:
    removed = ["from .b import (", "    x,", "    y as z,", ")", "import os"]
    diff = (
        "--- a/src/p/a.py\n+++ b/src/p/a.py\n@@ -1,5 +1 @@\n"
        + "".join(f"-{line}\n" for line in removed)
        + "+import re\n"
    )
    files = parse_diff(diff)
    assert removed_import(files, Missing("src/p/a.py", "x")) == "from .b import x as x"
    assert removed_import(files, Missing("src/p/a.py", "z")) == "from .b import y as z"
    assert removed_import(files, Missing("src/p/a.py", "os")) == "import os as os"
    assert removed_import(files, Missing("src/p/b.py", "x")) is None


def test_without_a_diff_the_import_is_made_from_where_the_name_is_defined() -> None:
    absolute = Source("src/p/a.py", '"""Doc."""\n\nimport os\n\nX = 1\n')
    assert import_from(absolute, "src/p/q/b.py", "x") == "from p.q.b import x as x"
    relative = Source("src/p/a.py", "from .c import y\n")
    assert import_from(relative, "src/p/q/b.py", "x") == "from .q.b import x as x"
    edited = apply_edits(absolute.text, (insertion(absolute, ["from p.b import x as x"]),))
    assert edited == '"""Doc."""\n\nimport os\nfrom p.b import x as x\n\nX = 1\n'
    assert (well_known("os"), well_known("Optional")) == ("import os as os", "from typing import Optional as Optional")

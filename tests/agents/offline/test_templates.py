"""For each kind of bug: the fix is among the candidates, and near enough to the top to be tried."""

from __future__ import annotations

import ast
import textwrap

import pytest

from agents.offline.sites import Hints
from agents.offline.source import Source, apply_edits
from agents.offline.templates import Candidate, candidates

NO_HINTS = Hints()
TRIED = 240


def made(buggy: str, line: int | None, hints: Hints = NO_HINTS) -> tuple[str, tuple[Candidate, ...]]:
    """Candidates for a snippet; without a line every line is a suspect."""
    text = textwrap.dedent(buggy).lstrip("\n")
    lines = [line] if line else range(1, text.count("\n") + 1)
    return text, candidates("m.py", text, tuple((n, 1.0) for n in lines), hints)


def rank_of(buggy: str, fixed: str, line: int | None = None, hints: Hints = NO_HINTS) -> int:
    """Place of the fix among the candidates, counted from 1."""
    text, found = made(buggy, line, hints)
    wanted = ast.dump(ast.parse(textwrap.dedent(fixed)))
    for place, candidate in enumerate(found, 1):
        if ast.dump(ast.parse(apply_edits(text, candidate.edits))) == wanted:
            return place
    raise AssertionError(f"the fix is not among {len(found)} candidates")


FIXES = {
    "boundary": ("def f(a, b):\n    return a < b\n", "def f(a, b):\n    return a <= b\n"),
    "wrong direction": ("def f(a, b):\n    return a < b\n", "def f(a, b):\n    return a > b\n"),
    "equality": ("def f(a):\n    if a == 3:\n        return 1\n", "def f(a):\n    if a != 3:\n        return 1\n"),
    "is for ==": ("def f(a, b):\n    return a is b\n", "def f(a, b):\n    return a == b\n"),
    "not in": ("def f(a, b):\n    return a in b\n", "def f(a, b):\n    return a not in b\n"),
    "bound moved by one": (
        "def f(i, n):\n    return i < n\n",
        "def f(i, n):\n    return i < n - 1\n",
    ),
    "and for or": ("def f(a, b):\n    return a and b\n", "def f(a, b):\n    return a or b\n"),
    "second of three and": (
        "def f(a, b, c):\n    return a and b and c\n",
        "def f(a, b, c):\n    return a and b or c\n",
    ),
    "condition too many": (
        "def f(a, b):\n    if a and b:\n        return 1\n",
        "def f(a, b):\n    if a:\n        return 1\n",
    ),
    "superfluous not": ("def f(a):\n    if not a:\n        return 1\n", "def f(a):\n    if a:\n        return 1\n"),
    "missing not": ("def f(a):\n    if a:\n        return 1\n", "def f(a):\n    if not a:\n        return 1\n"),
    "missing not of a call": (
        "def f(a):\n    while a.empty():\n        a.step()\n",
        "def f(a):\n    while not a.empty():\n        a.step()\n",
    ),
    "truth for None": (
        "def f(a):\n    if a:\n        return 1\n",
        "def f(a):\n    if a is not None:\n        return 1\n",
    ),
    "None for truth": (
        "def f(a):\n    if a is None:\n        return 1\n",
        "def f(a):\n    if not a:\n        return 1\n",
    ),
    "filter of a comprehension": (
        "def f(xs):\n    return [x for x in xs if x.ok]\n",
        "def f(xs):\n    return [x for x in xs if not x.ok]\n",
    ),
    "filter too many": ("def f(xs):\n    return [x for x in xs if x]\n", "def f(xs):\n    return [x for x in xs]\n"),
    "minus for plus": ("def f(a, b):\n    return a + b\n", "def f(a, b):\n    return a - b\n"),
    "floor division": ("def f(a, b):\n    return a / b\n", "def f(a, b):\n    return a // b\n"),
    "operator in a nested term": (
        "def f(a, b, c):\n    return (a + b) * c\n",
        "def f(a, b, c):\n    return (a - b) * c\n",
    ),
    "product for sum, operands kept together": (
        "def f(a, b, c):\n    return a * (b + c)\n",
        "def f(a, b, c):\n    return a + (b + c)\n",
    ),
    "swapped operands": ("def f(a, b):\n    return a - b\n", "def f(a, b):\n    return b - a\n"),
    "operand too many": ("def f(a):\n    return len(a) + 1\n", "def f(a):\n    return len(a)\n"),
    "operand too few": ("def f(a):\n    return len(a)\n", "def f(a):\n    return len(a) + 1\n"),
    "augmented": ("def f(n):\n    n -= 1\n    return n\n", "def f(n):\n    n += 1\n    return n\n"),
    "assignment for augmented": (
        "def f(xs):\n    n = 0\n    for x in xs:\n        n = x\n    return n\n",
        "def f(xs):\n    n = 0\n    for x in xs:\n        n += x\n    return n\n",
    ),
    "augmented for assignment": ("def f(n):\n    n += 1\n    return n\n", "def f(n):\n    n = 1\n    return n\n"),
    "branches of a choice": ("def f(a):\n    return 1 if a else 2\n", "def f(a):\n    return 2 if a else 1\n"),
    "constant off by one": ("def f(a):\n    return a[2]\n", "def f(a):\n    return a[1]\n"),
    "zero for one": ("def f():\n    n = 1\n    return n\n", "def f():\n    n = 0\n    return n\n"),
    "flag": ("def f(a):\n    return g(a, strict=False)\n", "def f(a):\n    return g(a, strict=True)\n"),
    "empty for None": ("def f():\n    return None\n", "def f():\n    return []\n"),
    "first for last": ("def f(a):\n    return a[0]\n", "def f(a):\n    return a[-1]\n"),
    "index off by one": ("def f(a, i):\n    return a[i]\n", "def f(a, i):\n    return a[i - 1]\n"),
    "slice bound": ("def f(a, n):\n    return a[:n]\n", "def f(a, n):\n    return a[:n + 1]\n"),
    "slice end too many": ("def f(a, n):\n    return a[1:n]\n", "def f(a, n):\n    return a[1:]\n"),
    "slice start for end": ("def f(a, n):\n    return a[n:]\n", "def f(a, n):\n    return a[:n]\n"),
    "key that may be missing": ("def f(a, k):\n    return a[k]\n", "def f(a, k):\n    return a.get(k)\n"),
    "range end": ("def f(n):\n    return list(range(n))\n", "def f(n):\n    return list(range(n + 1))\n"),
    "range start": ("def f(n):\n    return list(range(n))\n", "def f(n):\n    return list(range(1, n))\n"),
    "range of two": ("def f(a, b):\n    return range(a, b)\n", "def f(a, b):\n    return range(a, b + 1)\n"),
    "enumerate start": ("def f(a):\n    return enumerate(a)\n", "def f(a):\n    return enumerate(a, 1)\n"),
    "min for max": ("def f(a):\n    return max(a)\n", "def f(a):\n    return min(a)\n"),
    "any for all": ("def f(a):\n    return all(a)\n", "def f(a):\n    return any(a)\n"),
    "startswith for endswith": (
        "def f(a):\n    return a.startswith('x')\n",
        "def f(a):\n    return a.endswith('x')\n",
    ),
    "swapped arguments": ("def f(a, b):\n    return g(a, b)\n", "def f(a, b):\n    return g(b, a)\n"),
    "argument too many": ("def f(a, b):\n    return g(a, b)\n", "def f(a, b):\n    return g(a)\n"),
    "parameter not passed on": (
        "def g(a, deep=False):\n    return a\n\ndef f(a, deep):\n    return g(a)\n",
        "def g(a, deep=False):\n    return a\n\ndef f(a, deep):\n    return g(a, deep=deep)\n",
    ),
    "sorted the wrong way": ("def f(a):\n    return sorted(a)\n", "def f(a):\n    return sorted(a, reverse=True)\n"),
    "reverse flag": (
        "def f(a):\n    return sorted(a, reverse=True)\n",
        "def f(a):\n    return sorted(a, reverse=False)\n",
    ),
    "sort in place lost": ("def f(a):\n    return a.sort()\n", "def f(a):\n    return sorted(a)\n"),
    "conversion too many": ("def f(a):\n    return int(a)\n", "def f(a):\n    return a\n"),
    "alias for a copy": ("def f(a):\n    b = a\n    return b\n", "def f(a):\n    b = list(a)\n    return b\n"),
    "forgotten await": (
        "async def g():\n    return 1\n\nasync def f():\n    a = g()\n    return a\n",
        "async def g():\n    return 1\n\nasync def f():\n    a = await g()\n    return a\n",
    ),
    "default of get": ("def f(a, k):\n    return a.get(k)\n", "def f(a, k):\n    return a.get(k, 0)\n"),
    "type check too narrow": (
        "def f(a):\n    return isinstance(a, list)\n",
        "def f(a):\n    return isinstance(a, (list, tuple))\n",
    ),
    "wrong variable": (
        "def f(width, height):\n    return width * width\n",
        "def f(width, height):\n    return width * height\n",
    ),
    "wrong attribute": (
        """
        class P:
            def __init__(self):
                self.width = 1
                self.height = 2

            def f(self):
                return self.width
        """,
        """
        class P:
            def __init__(self):
                self.width = 1
                self.height = 2

            def f(self):
                return self.height
        """,
    ),
    "wrong method": (
        """
        class P:
            def one(self):
                return 1

            def two(self):
                return 2

            def f(self):
                return self.one()
        """,
        """
        class P:
            def one(self):
                return 1

            def two(self):
                return 2

            def f(self):
                return self.two()
        """,
    ),
    "self forgotten": (
        """
        class P:
            def __init__(self, limit):
                self.limit = 1

            def f(self, limit):
                return limit
        """,
        """
        class P:
            def __init__(self, limit):
                self.limit = 1

            def f(self, limit):
                return self.limit
        """,
    ),
    "wrong function of the module": (
        "def up(a):\n    return a\n\ndef down(a):\n    return a\n\ndef f(a):\n    return up(a)\n",
        "def up(a):\n    return a\n\ndef down(a):\n    return a\n\ndef f(a):\n    return down(a)\n",
    ),
    "missing return": ("def f(a):\n    g(a)\n", "def f(a):\n    return g(a)\n"),
    "result not returned": (
        "def f(a):\n    b = g(a)\n",
        "def f(a):\n    b = g(a)\n    return b\n",
    ),
    "fluent method": (
        "class P:\n    def f(self, a):\n        self.a = a\n",
        "class P:\n    def f(self, a):\n        self.a = a\n        return self\n",
    ),
    "break for continue": (
        "def f(a):\n    for x in a:\n        if x:\n            break\n",
        "def f(a):\n    for x in a:\n        if x:\n            continue\n",
    ),
    "return inside the loop": (
        "def f(a):\n    n = 0\n    for x in a:\n        n += x\n        return n\n",
        "def f(a):\n    n = 0\n    for x in a:\n        n += x\n    return n\n",
    ),
    "statement outside the loop": (
        "def f(a):\n    for x in a:\n        y = x\n    g(y)\n",
        "def f(a):\n    for x in a:\n        y = x\n        g(y)\n",
    ),
    "statement too many": (
        "def f(a):\n    a.reverse()\n    return a\n",
        "def f(a):\n    return a\n",
    ),
    "mutable default": (
        "def f(x, into=[]):\n    into.append(x)\n    return into\n",
        "def f(x, into=None):\n    if into is None:\n        into = []\n    into.append(x)\n    return into\n",
    ),
    "base class forgotten": (
        "class B(A):\n    def __init__(self):\n        self.x = 1\n",
        "class B(A):\n    def __init__(self):\n        super().__init__()\n        self.x = 1\n",
    ),
    "in an f-string": ('def f(a, b):\n    return f"{a + b}!"\n', 'def f(a, b):\n    return f"{a - b}!"\n'),
    "in a lambda": (
        "def f(a):\n    return sorted(a, key=lambda x: x[0])\n",
        "def f(a):\n    return sorted(a, key=lambda x: x[1])\n",
    ),
    "after text that is not ASCII": (
        'def f(a, b):\n    return "äöü€", a + b\n',
        'def f(a, b):\n    return "äöü€", a - b\n',
    ),
}


@pytest.mark.parametrize("name", FIXES)
def test_the_fix_of_a_common_bug_is_among_the_candidates(name: str) -> None:
    buggy, fixed = FIXES[name]
    assert rank_of(buggy, fixed) <= TRIED


HINTED = {
    "division by zero": (
        "def f(a):\n    return sum(a) / len(a)\n",
        "def f(a):\n    if not a:\n        return 0\n    return sum(a) / len(a)\n",
        Hints(exceptions=frozenset({"ZeroDivisionError"})),
    ),
    "None has no attribute": (
        "def f(a):\n    return a.name\n",
        "def f(a):\n    if a is None:\n        return None\n    return a.name\n",
        Hints(exceptions=frozenset({"AttributeError"}), output="'NoneType' object has no attribute 'name'"),
    ),
    "wrong exception": (
        "def f(a):\n    raise TypeError(a)\n",
        "def f(a):\n    raise LookupError(a)\n",
        Hints(exceptions=frozenset({"LookupError"})),
    ),
    "misspelt text": (
        "def f():\n    return 'helo world'\n",
        "def f():\n    return 'hello world'\n",
        Hints(strings=frozenset({"hello world"})),
    ),
    "number of the test": (
        "def f():\n    return 60\n",
        "def f():\n    return 3600\n",
        Hints(numbers=frozenset({3600})),
    ),
    "undefined name": (
        "LIMIT = 3\n\ndef f():\n    return LIMITS\n",
        "LIMIT = 3\n\ndef f():\n    return LIMIT\n",
        Hints(output="NameError: name 'LIMITS' is not defined", exceptions=frozenset({"NameError"})),
    ),
}


@pytest.mark.parametrize("name", HINTED)
def test_what_the_test_says_leads_to_the_fix(name: str) -> None:
    buggy, fixed, hints = HINTED[name]
    assert rank_of(buggy, fixed, hints=hints) <= 60


def test_a_module_constant_used_by_a_suspect_line_is_suspect_too() -> None:
    buggy = "DAYS = 6\n\ndef f(weeks):\n    return weeks * DAYS\n"
    assert rank_of(buggy, buggy.replace("6", "7"), line=4) <= 60


def test_a_default_of_the_function_around_a_suspect_line_is_suspect_too() -> None:
    buggy = "def f(a, strict=True):\n    return g(a, strict)\n"
    assert rank_of(buggy, buggy.replace("True", "False"), line=2) <= 60


def test_the_head_of_a_long_statement_is_found_from_any_of_its_lines() -> None:
    buggy = "def f(a, b):\n    return (\n        a\n        < b\n    )\n"
    assert rank_of(buggy, buggy.replace("<", "<="), line=2) <= 10


def test_every_candidate_parses_and_changes_one_file_only() -> None:
    with open(textwrap.__file__, encoding="utf-8") as file:
        text = file.read()
    found = candidates("textwrap.py", text, tuple((n, 1.0) for n in range(200, 320)), NO_HINTS)
    assert len(found) > 500
    for candidate in found[::25]:
        ast.parse(apply_edits(text, candidate.edits))
        assert candidate.path == "textwrap.py"
        assert {edit.path for edit in candidate.edits} == {"textwrap.py"}


def test_a_candidate_keeps_the_comments_and_quotes_of_its_line() -> None:
    text, found = made("def f(a, b):\n    return g('x',  a < b)  # why\n", 2)
    assert "    return g('x',  a <= b)  # why\n" in {c.edits[0].text for c in found}
    del text


def test_windows_line_endings_are_kept() -> None:
    text = "def f(x, into=[]):\r\n    into.append(x)\r\n    return into\r\n"
    found = candidates("m.py", text, ((2, 1.0),), NO_HINTS)
    assert all("\n" not in edit.text.replace("\r\n", "") for c in found for edit in c.edits)


def test_the_same_file_gives_the_same_candidates_in_the_same_order() -> None:
    text, first = made(FIXES["mutable default"][0], None)
    candidates.cache_clear()
    second = candidates("m.py", text, tuple((n, 1.0) for n in range(1, text.count("\n") + 1)), NO_HINTS)
    assert first == second


def test_text_that_does_not_parse_has_no_candidates() -> None:
    assert candidates("m.py", "def f(:\n", ((1, 1.0),), NO_HINTS) == ()
    assert Source("m.py", "\0").tree is None


def test_suspicion_and_weight_order_the_candidates() -> None:
    text = "def f(a, b):\n    return a < b\n\ndef g(a, b):\n    return a < b\n"
    found = candidates("m.py", text, ((2, 0.2), (5, 1.0)), NO_HINTS)
    assert found[0].line == 5
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)


def test_decorated_methods_with_long_lines_are_patched_in_place() -> None:
    name = "a" * 120
    buggy = f"""
    class P:
        @property
        @wrap(lambda f: f)
        def f(self):
            {name} = self.x
            return {name} > 1
    """
    text, found = made(buggy, 6)
    fixed = text.replace("> 1", ">= 1")
    assert fixed in {apply_edits(text, c.edits) for c in found[:5]}


def test_an_attribute_that_shares_its_name_with_a_method_is_offered_and_first_where_the_function_uses_it() -> None:
    buggy = """
        class Item:
            def indent(self, n):
                if self.trivia.trail.startswith("x"):
                    self.trivia.indent = n
            def other(self, item):
                item.indent(2)
                return self.trivia.comment
    """
    text, found = made(buggy, 3)
    named = [c for c in found if c.template == "attribute" and "self.trivia." in c.after]
    assert "self.trivia.indent.startswith" in named[0].after
    assert text.count("self.trivia.indent") == 1


def test_text_is_neither_subtracted_nor_divided() -> None:
    _, found = made('def f(n):\n    return "\\n" + " " * n\n', 2)
    assert not [c for c in found if c.template == "arithmetic"]

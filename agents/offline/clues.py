"""What failing tests tell before any patch is tried: their literals, the exceptions, the places in tracebacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from agents.offline.sites import Hints
from agents.offline.source import Source

_EXCEPTION = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Warning|Interrupt|Iteration|Exit))\b")
_FRAME = re.compile(r'^(?:\s*File ")?([^\s":]+\.py)(?:", line |:)(\d+)', re.MULTILINE)
_NUMBERS = 16
"""Numbers of the tests that are offered as constants; more would crowd out better candidates."""


def path_of(test: str) -> str:
    """File of a test id such as `tests/test_a.py::TestB::test_c[1]`."""
    return test.partition("::")[0]


def name_of(test: str) -> str:
    """Function of a test id, empty for a file that could not be collected."""
    return test.rpartition("::")[2].partition("[")[0] if "::" in test else ""


def by_module(tests: Iterable[str]) -> list[list[str]]:
    """Failing tests grouped by their likely cause: the test module they stand in. The largest group comes first."""
    groups: dict[str, list[str]] = {}
    for test in tests:
        groups.setdefault(path_of(test), []).append(test)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def read_hints(tests: Sequence[str], sources: dict[str, str], output: str, files: Iterable[str] = ()) -> Hints:
    """Hints from the tests' own source and from their output.

    Args:
        tests: Ids of the failing tests.
        sources: Text of test files by path.
        output: The end of what the gate printed.
        files: Paths of the repository, to recognise frames of tracebacks.
    """
    strings: set[str] = set()
    numbers: dict[int | float, None] = {}
    names: set[str] = set()
    for node in (n for path in sources for n in _test_nodes(path, sources[path], tests)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        ):
            numbers[node.value] = None
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    raised = set(_EXCEPTION.findall(output)) | {name for name in names if _EXCEPTION.fullmatch(name)}
    return Hints(
        strings=frozenset(sorted(strings)[:200]),
        numbers=frozenset(list(numbers)[:_NUMBERS]),
        names=frozenset(names),
        exceptions=frozenset(raised),
        output=output,
        lines=frozenset(frames(output, files)),
    )


def _test_nodes(path: str, text: str, tests: Sequence[str]) -> list[ast.AST]:
    """Nodes of the failing test functions of one file; of the whole file where none can be told apart."""
    tree = Source(path, text).tree
    if tree is None:
        return []
    wanted = {name_of(test) for test in tests if path_of(test) == path} - {""}
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in wanted
    ]
    return [part for node in functions or [tree] for part in ast.walk(node)]


def frames(output: str, files: Iterable[str]) -> list[tuple[str, int]]:
    """Places in tracebacks that lie in the repository, as path and line."""
    known = list(files)
    found: list[tuple[str, int]] = []
    for name, line in _FRAME.findall(output):
        path = next((f for f in known if name == f or name.endswith("/" + f)), None)
        if path is not None:
            found.append((path, int(line)))
    return found


def imported_modules(path: str, text: str) -> list[tuple[str, str]]:
    """What a file imports: pairs of module and name (empty for `import module`), relative ones resolved by its path."""
    tree = Source(path, text).tree
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            found.extend((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.extend((_absolute(path, node), alias.name) for alias in node.names)
    return found


def _absolute(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = path.split("/")[: -node.level]
    if parts[:1] == ["src"] or parts[:1] == ["lib"]:
        parts = parts[1:]
    return ".".join([*parts, *([node.module] if node.module else [])])

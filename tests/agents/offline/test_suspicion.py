"""From imports and ranked lines to what may be patched."""

from __future__ import annotations

from agents.offline.sites import Hints
from agents.offline.suspicion import imported_sources, scores_of


def test_an_imported_module_is_its_source_and_never_its_stub() -> None:
    files = ["parse/__init__.py", "parse/__init__.pyi", "parse/only.pyi"]
    importers = {"tests/test_parse.py": "import parse\nimport parse.only\n"}
    for listed in (files, files[::-1]):
        assert imported_sources(importers, listed) == ["parse/__init__.py"]


def test_a_stub_is_under_no_suspicion() -> None:
    rows = [{"path": path, "line": 1, "score": 1.0} for path in ("a.pyi", "a.py")]
    assert list(scores_of(rows, Hints(), ("**",))) == ["a.py"]

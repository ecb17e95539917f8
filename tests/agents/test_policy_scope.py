"""Scope globs open ordinary files; tests and gate configuration must be named outright."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.scope import in_scope, is_gate_configuration, is_test_file, refusal_to_write

TESTS = ["tests/test_a.py", "tests/helpers.py", "src/pkg/tests/data.json", "test_x.py", "a/x_test.py", "conftest.py"]
CONFIGURATION = [
    "pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini", "ruff.toml", ".ruff.toml", "a/conftest.py",
    ".github/workflows/ci.yml", "sub/pyproject.toml",
]  # fmt: skip
CATCH_ALLS = ["**", "*", "**/*", "/**", "*.py", "**/*.py", "*.toml", "src/**", "*.*"]


@pytest.mark.parametrize("path", TESTS)
def test_test_files_are_known(path: str):
    assert is_test_file(path)


@pytest.mark.parametrize("path", CONFIGURATION)
def test_gate_configuration_is_known(path: str):
    assert is_gate_configuration(path)


@pytest.mark.parametrize(
    "path", ["src/latest.py", "src/contest.py", "docs/testing.md", "src/attest/x.py", "a/test.txt"]
)
def test_ordinary_files_are_not_taken_for_tests(path: str):
    assert not is_test_file(path)
    assert refusal_to_write(("**",), path) is None


@pytest.mark.parametrize("path", [*TESTS, *CONFIGURATION])
@pytest.mark.parametrize("glob", CATCH_ALLS)
def test_no_catch_all_opens_a_test_or_gate_configuration(glob: str, path: str):
    assert refusal_to_write((glob,), path)
    assert refusal_to_write(tuple(CATCH_ALLS), path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("tests/**", "tests/test_a.py"),
        ("tests/", "tests/deep/helpers.py"),
        ("test_*.py", "a/test_x.py"),
        ("src/pkg/tests/test_b.py", "src/pkg/tests/test_b.py"),
        ("pyproject.toml", "pyproject.toml"),
        ("/pyproject.toml", "pyproject.toml"),
        (".github/**", ".github/workflows/ci.yml"),
        ("conftest.py", "conftest.py"),
    ],
)
def test_a_glob_that_names_them_opens_them(glob: str, path: str):
    assert refusal_to_write((glob,), path) is None
    assert refusal_to_write(("**", glob), path) is None


def test_naming_one_test_opens_no_other():
    assert refusal_to_write(("**", "tests/test_a.py"), "tests/test_b.py")


def test_a_negation_closes_what_another_glob_opened():
    assert refusal_to_write(("src/**", "!src/gen/**"), "src/gen/a.py")
    assert refusal_to_write(("tests/**", "!tests/test_a.py"), "tests/test_a.py")


@pytest.mark.parametrize("scope", [(), ("",), ("#x",), ("!",), ("a\\",), ("../**",)])
def test_a_scope_that_says_nothing_opens_nothing(scope: tuple[str, ...]):
    assert not in_scope(scope, "x.py")
    assert refusal_to_write(scope, "x.py")


@given(path=st.text(min_size=1, max_size=40), scope=st.lists(st.text(max_size=8), max_size=4))
def test_any_glob_and_any_name_give_an_answer_and_never_an_error(path: str, scope: list[str]):
    refusal = refusal_to_write(scope, path)
    assert refusal is None or refusal

"""Models that cannot be asked: the project ends at once and says what is missing where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.badinput.person import REPORT, TEXT, assert_untouched, contents, run
from tests.support.running import Running, make_repository

MODELS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "m-unknown": (
        {"default": ["nonsense/none"]},
        ("model nonsense/none", "provider/model, under `models:` in the brief"),
    ),
    "m-nameless": ({"default": ["gpt"]}, ("model gpt", "under `models:` in the brief")),
    "m-keyless": ({"default": ["openai/gpt-5-mini"]}, ("model openai/gpt-5-mini needs OPENAI_API_KEY", "workers")),
}


@pytest.mark.parametrize(("name", "given"), MODELS.items(), ids=MODELS)
def test_a_model_that_cannot_be_asked_ends_the_project_with_the_remedy(
    stack: Running, tmp_path: Path, name: str, given: tuple[dict[str, Any], tuple[str, ...]]
) -> None:
    models, said = given
    repository = make_repository(tmp_path / "shop", TEXT)
    before = contents(repository)
    ended = run(stack, tmp_path, name, {**REPORT, "repository": str(repository), "models": models})
    assert (ended.code, ended.report["state"]) == (1, "failed"), ended
    assert all(words in ended.report["summary"] for words in said), ended.report["summary"]
    assert ended.report["summary"].count("NoModelKey") == 1
    assert (ended.report["approvals"], ended.report["ledger_verified"]) == (0, True)
    assert_untouched(repository, before)

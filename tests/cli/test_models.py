"""`syndic models`: choices that workers use from their next call on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

Syndic = Callable[..., Result]


@pytest.fixture
def redis_url(syndic: Syndic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real Redis; the other servers are only named. It comes after `syndic`, which clears what is set here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).parent / "redis-server"
    if not program.exists():
        pytest.skip("there is no redis-server")
    command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    url = f"redis://127.0.0.1:{port}/0"
    monkeypatch.setenv("SYNDIC_REDIS_URL", url)
    monkeypatch.setenv("SYNDIC_DATABASE_URL", "postgresql://me:none@127.0.0.1:1/none")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}) as process:
        _until_it_answers(port)
        yield url
        process.terminate()


def _until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise


@pytest.mark.usefixtures("redis_url")
def test_a_choice_is_made_shown_and_taken_back(syndic: Syndic) -> None:
    made = syndic(
        "models", "set", "engineer", "fast, anthropic/claude-sonnet-4-5", "--canary", "openai/gpt-5", "--percent", "5"
    )
    assert made.exit_code == 0, made.output
    assert "5 % of the runs ask openai/gpt-5 first" in made.stdout
    shown = json.loads(syndic("models", "show", "--json").stdout)
    assert shown["choices"]["engineer"]["chain"] == ["fast", "anthropic/claude-sonnet-4-5"]
    assert shown["choices"]["engineer"]["canary"]["percent"] == 5
    assert shown["circuits"] == {}
    assert "engineer: fast, anthropic/claude-sonnet-4-5  canary openai/gpt-5 5 %" in syndic("models", "show").stdout
    assert syndic("models", "clear", "engineer").exit_code == 0
    assert "no choices" in syndic("models", "show").stdout


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enginer", "openai/gpt-5"), "is no role and no class"),
        (("engineer", ","), "chain"),
        (("engineer", "openai/my-own"), "price of model openai/my-own"),
        (("fast", "cheap"), "names models, not classes"),
        (("engineer", "openai/gpt-5", "--canary", "openai/gpt-5", "--max-error-rate", "3"), "max_error_rate"),
    ],
)
def test_a_choice_that_could_not_work_is_refused(syndic: Syndic, arguments: tuple[str, ...], said: str) -> None:
    refused = syndic("models", "set", *arguments)
    assert refused.exit_code != 0
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_redis_that_is_away_is_said(syndic: Syndic, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNDIC_REDIS_URL", "redis://127.0.0.1:1/0")
    refused = syndic("models", "show")
    assert refused.exit_code == 1
    assert "Redis cannot be reached" in refused.stderr

"""`syndic doctor`: what it looks at, and what makes it fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.stack.conftest import Shell
from workers import doctor
from workers.doctor import Finding, State
from workers.stack import binaries


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.fixture
def sealed_vault() -> Iterator[str]:
    class Sealed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Sealed) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_machine_that_has_everything_is_healthy(shell: Shell) -> None:
    ended = shell.run("doctor", "--json", OPENAI_API_KEY="s3cret")
    report = json.loads(ended.stdout)
    assert ended.returncode == 0, report
    assert report["healthy"] is True
    checks = {finding["check"] for finding in report["findings"]}
    assert checks >= {"Python", "packages", "git", "bubblewrap", "state folder", "Temporal", "Postgres", "Redis"}
    assert "OPENAI_API_KEY" in ended.stdout
    assert "s3cret" not in ended.stdout
    assert not shell.state_dir.exists()


@pytest.mark.usefixtures("clean_environment")
async def test_without_the_embedded_servers_it_is_healthy_and_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("temporal", "redis"):
        monkeypatch.setattr(binaries, name, lambda: None)
    monkeypatch.setattr(binaries, "postgres", lambda _: None)
    findings = await doctor.examine()
    for server in ("Temporal", "Postgres", "Redis"):
        assert by_check(findings)[server].state is State.WARNING
        assert "syndic[local]" in by_check(findings)[server].remedy
    assert not [finding for finding in findings if finding.state is State.BROKEN]


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("SYNDIC_DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/db", "Postgres"),
        ("SYNDIC_REDIS_URL", "redis://:s3cret@127.0.0.1:1/0", "Redis"),
        ("TEMPORAL_ADDRESS", "127.0.0.1:1", "Temporal"),
        ("VAULT_ADDR", "http://127.0.0.1:1", "Vault"),
        ("SYNDIC_STATE_DIR", "/proc/syndic", "state folder"),
        ("SYNDIC_LOG_LEVEL", "loud", "settings"),
    ],
)
async def test_what_is_configured_and_does_not_work_is_broken(
    variable: str, value: str, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    finding = by_check(await doctor.examine())[check]
    assert finding.state is State.BROKEN
    assert "s3cret" not in finding.detail


@pytest.mark.usefixtures("clean_environment")
async def test_a_sealed_vault_is_told_from_an_unreachable_one(
    sealed_vault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ADDR", sealed_vault)
    assert by_check(await doctor.examine())["Vault"].detail.endswith("is sealed")


@pytest.mark.usefixtures("clean_environment")
async def test_without_bubblewrap_it_names_the_consequence_and_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = by_check(await doctor.examine())["bubblewrap"]
    assert finding.state is State.WARNING
    assert "refuse" in finding.detail
    monkeypatch.setenv("SYNDIC_UNSAFE_COMMANDS", "1")
    assert "with your rights" in by_check(await doctor.examine())["bubblewrap"].detail

"""`syndic provider` as a process: what it prints, what it serves, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

SYNDIC = str(Path(sys.executable).parent / "syndic")
ASK = {"model": "rehearsal", "messages": [{"role": "user", "content": "hello"}]}


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [SYNDIC, "provider", "--port", "0", "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_serves_a_script_and_says_at_the_end_what_it_counted(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("rules:\n- say: {text: rehearsed}\n  bill: {prompt_tokens: 10, completion_tokens: 2}\n")
    with start(str(script)) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        environment = told["environment"]
        prices = json.loads(environment["SYNDIC_PRICES"])
        assert prices[environment["SYNDIC_MODELS"]] == {"prompt": "1", "completion": "4"}
        request = urllib.request.Request(environment["OPENAI_API_BASE"] + "/chat/completions", json.dumps(ASK).encode())
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"] == "rehearsed"
        process.send_signal(signal.SIGTERM)
        stats = json.loads(process.stdout.read())
        assert process.wait(20) == 0
    assert (stats["calls"], stats["models"]["rehearsal"]["prompt_tokens"]) == (1, 10)
    assert "synthetic" in stats["label"]


@pytest.mark.parametrize(
    ("text", "named"),
    [("rules:\n- sey: {}\n", "rules.0.sey"), ("rules: [", "cannot be read"), ("- 1\n", "is no script")],
    ids=["a typo", "broken", "no mapping"],
)
def test_a_mistake_in_the_script_is_named(tmp_path: Path, text: str, named: str) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(text)
    with start(str(script)) as process:
        _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert named in error
    assert "Traceback" not in error

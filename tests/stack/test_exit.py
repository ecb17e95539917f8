"""`exit_process`, the one way out."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-c", program]  # -I: a person's PYTHONUNBUFFERED would change what is tested
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_written_arrives_and_the_status_is_kept() -> None:
    ended = run("import sys; from workers.client import exit_process; sys.stdout.write('x' * 100_000); exit_process(3)")
    assert (ended.returncode, len(ended.stdout), ended.stderr) == (3, 100_000, "")


def test_a_reader_that_has_gone_does_not_change_the_status() -> None:
    program = (
        "import os, sys; from workers.client import exit_process\n"
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        "sys.stdout.write('x'); exit_process(4)"
    )
    assert run(program).returncode == 4

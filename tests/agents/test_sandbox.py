"""What a hostile program sees, reaches and leaves behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.errors import SandboxMissingError
from agents.execution import all_pids
from agents.sandbox import Bubblewrap, Limits, Refusing, Sandbox, Unconfined, find_sandbox

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed; CI installs it")
PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")


@pytest.fixture
async def box() -> Sandbox:
    found = await find_sandbox()
    if isinstance(found, Refusing):
        pytest.skip(found.reason)
    return found


def alive(mark: str) -> list[int]:
    """Processes of this machine whose command line holds `mark`."""
    found = []
    for pid in all_pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in line and pid != os.getpid():
            found.append(pid)
    return found


async def until(condition: Callable[[], object]) -> bool:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.02)
    return True


async def gone(mark: str) -> bool:
    return await until(lambda: not alive(mark))


async def test_only_the_given_folders_are_there(box: Sandbox, tmp_path: Path) -> None:
    for name in ("tree", "state", "shown"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    script = (
        f"cat file; cat {tmp_path}/shown/file; cat {tmp_path}/state/file; ls {tmp_path}; ls -A ~; ls -A {Path.home()}"
    )
    done = await box.run(["sh", "-c", script], cwd=tmp_path / "tree", readable=[tmp_path / "shown"])
    assert "treeshown" in done.stdout
    assert "state" not in done.stdout
    assert f"{tmp_path}/state/file" in done.stderr
    for secret in (".ssh", ".config", ".bash_history", ".netrc"):
        assert secret not in done.stdout


async def test_only_writable_folders_can_be_changed(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "tree" / "out").mkdir(parents=True)
    tree = tmp_path / "tree"
    argv = ["sh", "-c", "echo x > out/a; echo x > b; echo x > /usr/c; echo x > /etc/d; echo x > /e; echo x > /tmp/f"]
    done = await box.run(argv, cwd=tree, writable=[tree / "out"])
    assert sorted(path.name for path in tree.rglob("*")) == ["a", "out"]
    assert done.stderr.count("Read-only file system") == 4
    done = await box.run(["sh", "-c", "echo y > b && test ! -e /tmp/f"], cwd=tree, writable=[tree])
    assert (done.exit_code, (tree / "b").read_text()) == (0, "y\n")


async def test_the_environment_is_empty_but_for_a_list(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@example.org")
    done = await box.run(["env"], cwd=tmp_path, env={"GIVEN": "1"})
    names = {line.split("=")[0] for line in done.stdout.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH", "HOME", "TMPDIR", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONNOUSERSITE", "GIVEN"
    }  # fmt: skip
    everything = await box.run(["sh", "-c", "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'"], cwd=tmp_path)
    assert "secret" not in everything.stdout


async def test_our_sockets_ports_and_processes_are_out_of_reach(box: Sandbox, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        local.bind(str(tmp_path / "s"))
        local.listen()
        abstract.bind(f"\0syndic-test-{os.getpid()}")
        abstract.listen()
        program = f"""
import os, socket
def reach(family, address):
    try:
        socket.socket(family).connect(address)
        return True
    except OSError:
        return False
print(reach(socket.AF_INET, {server.getsockname()!r}))
print(reach(socket.AF_UNIX, {str(tmp_path / "s")!r}))
print(reach(socket.AF_UNIX, chr(0) + "syndic-test-{os.getpid()}"))
print(reach(socket.AF_INET, ("192.0.2.1", 80)))
print(len([p for p in os.listdir("/proc") if p.isdigit()]) > 5)
"""
        (tmp_path / "tree").mkdir()
        done = await box.run([PYTHON, "-c", program], cwd=tmp_path / "tree")
    assert done.stdout.split() == ["False"] * 5, done.stderr


async def test_a_loopback_server_of_its_own_works(box: Sandbox, tmp_path: Path) -> None:
    program = (
        "import socket as s; a = s.create_server(('127.0.0.1', 0)); s.create_connection(a.getsockname()); print('ok')"
    )
    assert (await box.run([PYTHON, "-c", program], cwd=tmp_path)).stdout == "ok\n"


async def serve_one_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage")
    await writer.drain()
    writer.close()


async def test_setup_reaches_the_named_registry_and_no_other_server_of_this_machine(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "x.whl").write_text("wheel")
    (tmp_path / "tree").mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    registry = await asyncio.start_server(serve_one_page, "127.0.0.1", 0)
    other = await asyncio.start_server(serve_one_page, "127.0.0.1", 0)
    urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple" for server in (registry, other)]
    monkeypatch.setenv("PIP_INDEX_URL", urls[0])
    program = f"""
import os, socket, urllib.error, urllib.request
for url in {urls!r} + ["http://169.254.169.254/", "http://localhost/"]:
    try:
        print(urllib.request.urlopen(url).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code)
try:
    socket.create_connection(("127.0.0.1", {other.sockets[0].getsockname()[1]}))
except ConnectionRefusedError:
    print("no route")
print(os.listdir(os.environ["PIP_FIND_LINKS"]), os.environ.get("UV_CACHE_DIR"))
"""
    async with registry, other:
        done = await box.run([PYTHON, "-c", program], cwd=tmp_path / "tree", network=True)
    assert done.stdout.splitlines() == ["page", "403", "403", "403", "no route", "['x.whl'] None"], done.stderr


async def test_the_persons_proxy_is_used_and_its_password_is_not_shown(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nvia")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"http://me:s3cret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", address)
    program = "import os, urllib.request as u; print(u.urlopen('http://index.example/x').read().decode(), *os.environ.values())"
    async with server:
        done = await box.run([PYTHON, "-c", program], cwd=tmp_path, network=True)
    assert done.stdout.startswith("via "), done.stderr
    assert "s3cret" not in done.stdout
    assert asked[0].startswith(b"GET http://index.example/x HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6czNjcmV0\r\n" in asked[0]


async def test_a_time_out_kills_everything_and_keeps_what_was_written(box: Sandbox, tmp_path: Path) -> None:
    mark = f"31{os.getpid()}.5"
    argv = ["sh", "-c", f"echo before; setsid sleep {mark} & sleep {mark}"]
    done = await box.run(argv, cwd=tmp_path, limits=Limits(timeout_s=0.5))
    assert (done.exit_code, done.timed_out, done.stdout) == (None, True, "before\n")
    assert done.duration_s < 3
    assert await gone(mark)


async def test_background_children_die_with_their_program(box: Sandbox, tmp_path: Path) -> None:
    mark = f"32{os.getpid()}.5"
    done = await box.run(["sh", "-c", f"setsid nohup sleep {mark} & exit 3"], cwd=tmp_path)
    assert done.exit_code == 3
    assert done.duration_s < 3
    assert await gone(mark)


async def test_cancellation_kills_the_program(box: Sandbox, tmp_path: Path) -> None:
    mark = f"33{os.getpid()}.5"
    running = asyncio.create_task(box.run(["sleep", mark], cwd=tmp_path))
    await until(lambda: alive(mark))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(mark)


async def test_a_fork_bomb_is_stopped(box: Sandbox, tmp_path: Path) -> None:
    mark = f"34{os.getpid()}.5"
    argv = ["sh", "-c", f"while :; do sleep {mark} & done"]
    done = await box.run(argv, cwd=tmp_path, limits=Limits(timeout_s=20, processes=60))
    assert (done.exit_code, done.exceeded) == (None, "processes")
    assert await gone(mark)


async def test_memory_is_bounded_for_one_process_and_for_all(box: Sandbox, tmp_path: Path) -> None:
    one = await box.run([PYTHON, "-c", "x = b'x' * (300 << 20)"], cwd=tmp_path, limits=Limits(memory_mb=200))
    assert "MemoryError" in one.stderr
    program = "import os, time\nfor _ in range(4):\n    os.fork()\nx = b'x' * (40 << 20)\ntime.sleep(20)"
    many = await box.run([PYTHON, "-c", program], cwd=tmp_path, limits=Limits(memory_mb=200, timeout_s=15))
    assert (many.exit_code, many.exceeded) == (None, "memory")


async def test_large_files_are_stopped(box: Sandbox, tmp_path: Path) -> None:
    argv = ["sh", "-c", "head -c 5000000 /dev/zero > big"]
    await box.run(argv, cwd=tmp_path, writable=[tmp_path], limits=Limits(file_mb=1))
    assert (tmp_path / "big").stat().st_size == 1 << 20


async def test_large_output_keeps_beginning_and_end(box: Sandbox, tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last"]
    done = await box.run(argv, cwd=tmp_path, limits=Limits(output_bytes=1000))
    assert done.truncated
    assert len(done.stdout) < 1100
    assert done.stdout.startswith("first\n")
    assert done.stdout.endswith("last\n")
    assert "bytes left out" in done.stdout


async def test_arguments_are_not_interpreted(box: Sandbox, tmp_path: Path) -> None:
    done = await box.run(["printf", "%s|", "$HOME", "`id`", "a b", "--ro-bind"], cwd=tmp_path)
    assert done.stdout == "$HOME|`id`|a b|--ro-bind|"
    assert (await box.run(["no-such-program"], cwd=tmp_path)).exit_code == 127


async def test_without_bubblewrap_programs_are_refused_with_the_remedy(tmp_path: Path) -> None:
    refusing = await find_sandbox(executable="no-such-bwrap")
    with pytest.raises(
        SandboxMissingError, match=r"not installed.*apt-get install bubblewrap.*SYNDIC_UNSAFE_COMMANDS=1"
    ):
        await refusing.run(["true"], cwd=tmp_path)


async def test_a_bubblewrap_that_does_not_work_is_found_out(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    refusing = await find_sandbox(executable=str(broken))
    with pytest.raises(SandboxMissingError, match="No permissions to create new namespace"):
        await refusing.run(["true"], cwd=tmp_path)
    assert isinstance(await find_sandbox(executable=str(broken), unsafe=True), Unconfined)
    assert isinstance(await find_sandbox(unsafe=True), Bubblewrap), "what can be confined is confined"


async def test_unconfined_programs_still_have_limits_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    box = Unconfined()
    mark = f"35{os.getpid()}.5"
    argv = ["sh", "-c", f"env; echo $HOME; sleep {mark} & sleep {mark}"]
    done = await box.run(argv, cwd=tmp_path, limits=Limits(timeout_s=0.5))
    assert done.timed_out
    assert "secret" not in done.stdout
    assert not Path(done.stdout.split()[-1]).exists(), "its home was a folder of its own"
    assert await gone(mark)

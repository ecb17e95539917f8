"""Programs in bubblewrap: namespaces of their own, the toolchain read-only, and nothing else but the given paths."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agents.disk import check_room
from agents.execution import Completed, Limits, all_pids, execute, limited
from agents.registry_proxy import RELAY, Policy, registry_proxy

HOME = "/home/syndic"
_URL = re.compile(r"https?://[^\s\"',]+")
_USER = 1000
_TOOLCHAIN = ("/usr", "/nix/store")
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "ca-certificates", "ssl/certs",
    "ssl/openssl.cnf", "pki/tls/certs", "pki/tls/openssl.cnf", "pki/ca-trust/extracted",
)  # fmt: skip
"""Not /etc/ssl as a whole: it holds private keys."""
_CONFIGURATION = ("/etc/pip.conf", "/etc/uv")
_HOME_CONFIGURATION = (".config/pip", ".pip", ".config/uv")
_NAMESPACES = (
    "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try",
    "--uid", str(_USER), "--gid", str(_USER), "--hostname", "sandbox", "--new-session", "--die-with-parent", "--cap-drop", "ALL",
)  # fmt: skip
_FILES = {
    "/etc/passwd": f"syndic:x:{_USER}:{_USER}::{HOME}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "/etc/group": f"syndic:x:{_USER}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_REGISTRY_PREFIXES = ("PIP_", "UV_")
_REGISTRY_NAMES = frozenset(
    {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle"}
)  # fmt: skip
_OURS = (
    "UV_CACHE_DIR", "UV_PROJECT", "UV_PYTHON", "UV_WORKING", "UV_ENV", "UV_TOOL",
    "PIP_CACHE_DIR", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE",
)  # fmt: skip
"""Settings that say where our own environment lies, not where packages come from."""
_TEMPORARY = "/tmp"  # noqa: S108  (a tmpfs inside the sandbox)


def base_variables(home: str, temporary: str) -> dict[str, str]:
    """The whole environment a program starts with, before the caller's additions."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
    }


def registry_variables() -> dict[str, str]:
    """What reaching a package registry needs of our own environment: index, proxy and certificate settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower() in _REGISTRY_NAMES or (name.startswith(_REGISTRY_PREFIXES) and not name.startswith(_OURS))
    }


def interpreter_paths() -> tuple[Path, ...]:
    """The Python installation that environments are made from, where it lies outside /usr.

    Never read from an environment's `pyvenv.cfg`: the target's setup could write any folder there.
    """
    found = dict.fromkeys((Path(sys.base_prefix), Path(sys.base_prefix).resolve()))
    return tuple(path for path in found if not _in_toolchain(path))


def _program_paths(program: str) -> tuple[Path, ...]:
    """What a program named by its path brings along: the environment it lies in, of our own one nothing but itself."""
    path = Path(program)
    if not path.is_absolute():
        return ()
    environment = path.parent.parent
    owned = environment == Path(sys.prefix) or not (environment / "pyvenv.cfg").is_file()
    return (path if owned else environment,)


class Bubblewrap:
    """Runs programs through `bwrap`."""

    name = "bubblewrap"

    def __init__(self, executable: str = "bwrap") -> None:
        self._executable = shutil.which(executable) or executable

    async def run(
        self, argv: Sequence[str], *, cwd: Path, writable: Sequence[Path] = (), readable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None, network: bool = False, limits: Limits | None = None,
    ) -> Completed:  # fmt: skip
        """See `agents.sandbox.Sandbox.run`."""
        limits = limits or Limits()
        visible = [*readable, *interpreter_paths(), *_program_paths(argv[0])]
        if network:
            visible += _registry_paths()
        async with contextlib.AsyncExitStack() as stack:
            if network:
                proxy = await stack.enter_async_context(registry_proxy(Policy.of(os.environ, _configured_urls())))
                visible.append(proxy)
                argv = [_python(), "-I", "-c", RELAY, str(proxy), *argv]
            files = stack.enter_context(_data_files(_FILES))
            command = [
                self._executable,
                *_NAMESPACES,
                *_toolchain(network),
                *(part for path, fd in files.items() for part in ("--ro-bind-data", str(fd), path)),
                *_binds(cwd, writable, visible),
                *_registry_configuration(network),
                *("--remount-ro", "/", "--chdir", str(cwd.absolute()), "--", *limited(argv, limits)),
            ]
            variables = base_variables(HOME, _TEMPORARY) | (_index_variables() if network else {}) | dict(env or {})
            done = await execute(
                command, cwd=Path("/"), env=variables, limits=limits, members=_namespace_members,
                pass_fds=list(files.values()),
            )  # fmt: skip
        if done.exit_code != 0:
            check_room(writable)
        return done


def _toolchain(network: bool) -> list[str]:
    options: list[str] = []
    for path in filter(os.path.exists, _TOOLCHAIN):
        options += ["--ro-bind", path, path]
    for link in filter(os.path.lexists, _LINKS):
        options += ["--symlink", os.readlink(link), link] if os.path.islink(link) else ["--ro-bind", link, link]
    wanted = [f"/etc/{name}" for name in _ETC] + list(_CONFIGURATION if network else ())
    for path in filter(os.path.exists, wanted):
        options += ["--ro-bind", os.path.realpath(path), path]
    return [*options, "--proc", "/proc", "--dev", "/dev", "--tmpfs", _TEMPORARY, "--tmpfs", HOME]


def _binds(cwd: Path, writable: Sequence[Path], readable: Sequence[Path]) -> list[str]:
    """Outer folders first, so that a writable folder inside a read-only one stays writable; what is shown is not shown again."""
    kinds = {path.absolute(): "--ro-bind" for path in readable}
    kinds |= {path.absolute(): "--bind" for path in writable}
    if not any(cwd.absolute().is_relative_to(path) for path in kinds):
        kinds[cwd.absolute()] = "--ro-bind"
    mounted: list[Path] = []
    for path in sorted(kinds, key=lambda path: len(path.parts)):
        shown = _in_toolchain(path) or any(path.is_relative_to(outer) for outer in mounted)
        if kinds[path] == "--bind" or not shown:
            mounted.append(path)
    return [part for path in mounted for part in (kinds[path], str(path), str(path))]


def _in_toolchain(path: Path) -> bool:
    return path == Path("/") or any(path.is_relative_to(part) for part in _TOOLCHAIN)


def _python() -> str:
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def _index_variables() -> dict[str, str]:
    """Registry settings without the person's proxy, which may hold a password and is not reached from inside."""
    return {name: value for name, value in registry_variables().items() if not name.lower().endswith("_proxy")}


def _configured_urls() -> list[str]:
    """Index URLs of the person's pip and uv configuration files."""
    places = [*map(Path, _CONFIGURATION), *(Path.home() / name for name in _HOME_CONFIGURATION)]
    files = [file for place in places for file in ([place] if place.is_file() else place.glob("*"))]
    return [url for file in files if file.is_file() for url in _URL.findall(file.read_text(errors="replace"))]


def _registry_paths() -> list[Path]:
    """Local wheel folders and certificate files that the registry settings point to."""
    words = [word.removeprefix("file://") for value in registry_variables().values() for word in value.split()]
    return [path for path in map(Path, words) if path.is_absolute() and path != Path("/") and path.exists()]


def _registry_configuration(network: bool) -> list[str]:
    if not network:
        return []
    found = [name for name in _HOME_CONFIGURATION if (Path.home() / name).is_dir()]
    return [part for name in found for part in ("--ro-bind", str(Path.home() / name), f"{HOME}/{name}")]


@contextlib.contextmanager
def _data_files(files: Mapping[str, str]) -> Iterator[dict[str, int]]:
    opened: dict[str, int] = {}
    try:
        for path, text in files.items():
            opened[path] = os.memfd_create(path.replace("/", "-"))
            os.write(opened[path], text.encode())
            os.lseek(opened[path], 0, os.SEEK_SET)
        yield opened
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _namespace_members(monitor: int) -> Iterable[int]:
    """Processes in the pid namespace that `bwrap` (the monitor) opened."""
    own = _pid_namespace(os.getpid())
    try:
        children = [int(pid) for pid in Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()]
    except OSError:
        return []
    inner = {space for child in children if (space := _pid_namespace(child)) not in (None, own)}
    return [pid for pid in all_pids() if _pid_namespace(pid) in inner] if inner else []


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None

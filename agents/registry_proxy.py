"""The one way out for setting up an environment: HTTP through a socket of ours, to public addresses and named registries.

A sandbox that shared the machine's network would let a hostile `setup.py` talk to every server that listens on it, the
embedded Temporal and Redis among them. So a sandbox has no network even then; what runs inside speaks to `RELAY`, which
speaks to this proxy, which decides. TLS stays end to end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

RELAY = """
import os, socket, subprocess, sys, threading
path, argv = sys.argv[1], sys.argv[2:]
def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(server):
    while True:
        inner = server.accept()[0]
        outer = socket.socket(socket.AF_UNIX)
        outer.connect(path)
        for pair in ((inner, outer), (outer, inner)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
server = socket.create_server(("127.0.0.1", 0), backlog=128)
threading.Thread(target=serve, args=(server,), daemon=True).start()
address = "http://127.0.0.1:%d" % server.getsockname()[1]
env = dict(os.environ)
for name in ("http_proxy", "https_proxy", "all_proxy"):
    env[name] = env[name.upper()] = address
sys.exit(subprocess.run(argv, env=env).returncode & 255)
"""
"""Runs inside: a listener of its own loopback that hands every connection to the socket, and the program as its child."""

_PORTS = frozenset({80, 443})
_HEAD_LIMIT = 65_536
_CONNECT_S = 30.0
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_INDEXES = re.compile(r"INDEX|FIND_LINKS|TRUSTED_HOST|INSECURE_HOST")
Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Upstream:
    """The person's own HTTP proxy; `authorization` is the header line it wants, or empty."""

    endpoint: Endpoint
    authorization: bytes = b""


@dataclass(frozen=True)
class Policy:
    """Where connections may go."""

    named: frozenset[Endpoint] = frozenset()
    """Registries of the person's own settings; they may be on this machine or a private network."""
    upstream: Upstream | None = None
    direct: tuple[str, ...] = ()
    """Host suffixes that are reached without the upstream proxy (`NO_PROXY`)."""

    @classmethod
    def of(cls, variables: Mapping[str, str], extra: Iterable[str] = ()) -> Policy:
        """Read the policy from registry settings (`PIP_*`, `UV_*`, `*_PROXY`) and further index URLs."""
        words = [word for name, value in variables.items() if _INDEXES.search(name) for word in value.split()]
        named = frozenset(filter(None, map(_endpoint, (*words, *extra))))
        proxies = {
            name.lower(): value for name, value in variables.items() if name.lower().endswith("_proxy") and value
        }
        chosen = next((proxies[n] for n in ("https_proxy", "all_proxy", "http_proxy") if n in proxies), "")
        direct = (suffix.strip().lstrip("*.") for suffix in proxies.get("no_proxy", "").split(","))
        return cls(named, _upstream(chosen), tuple(filter(None, direct)))

    def upstream_for(self, host: str) -> Upstream | None:
        """The proxy to go through, None for a direct connection."""
        near = any(host == suffix or host.endswith(f".{suffix}") for suffix in self.direct)
        return None if near else self.upstream

    async def address(self, host: str, port: int) -> Endpoint | None:
        """The address to connect to, None where it is refused. It is the one that was checked, so names cannot rebind."""
        if (host, port) in self.named:
            return host, port
        if port not in _PORTS:
            return None
        if self.upstream_for(host):
            return None if _is_local(host) else (host, port)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        return None if any(map(_is_local, addresses)) else (addresses[0], port)


@contextlib.asynccontextmanager
async def registry_proxy(policy: Policy) -> AsyncIterator[Path]:
    """Serve the proxy on a socket in a private folder while the block runs; yields the socket's path."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_serve(policy, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with tempfile.TemporaryDirectory(prefix="syndic-net-") as folder:
        path = Path(folder) / "proxy"
        server = await asyncio.start_unix_server(accept, path, limit=_HEAD_LIMIT)
        try:
            yield path
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(policy: Policy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection; whatever goes wrong with it ends it, and the program inside reports that its download failed."""
    outer: asyncio.StreamWriter | None = None
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        wanted = _endpoint(f"//{target}" if method == "CONNECT" else target)
        address = await policy.address(*wanted) if wanted else None
        if wanted is None or address is None:
            writer.write(_REFUSED)
            return
        upstream = policy.upstream_for(wanted[0])
        try:
            async with asyncio.timeout(_CONNECT_S):
                inner, outer = await asyncio.open_connection(*(upstream.endpoint if upstream else address))
        except (OSError, TimeoutError):
            writer.write(_UNREACHABLE)
            return
        if method == "CONNECT" and upstream is None:
            writer.write(_CONNECTED)
        else:
            outer.write(head[:-2] + (upstream.authorization if upstream else b"") + b"\r\n")
        await asyncio.gather(_pump(reader, outer), _pump(inner, writer))
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    finally:
        for end in filter(None, (outer, writer)):
            end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_HEAD_LIMIT):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _upstream(url: str) -> Upstream | None:
    """An HTTP proxy's URL; other kinds (SOCKS) are not supported and would leave setup without a network."""
    endpoint = _endpoint(url)
    if endpoint is None or urlsplit(url).scheme not in ("http", ""):
        return None
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.username is None:
        return Upstream(endpoint)
    token = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode())
    return Upstream(endpoint, b"Proxy-Authorization: Basic " + token + b"\r\n")


def _endpoint(url: str) -> Endpoint | None:
    """Host and port of a URL, `host:port` or bare host name."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        if not parts.hostname or (os.path.isabs(url) and not url.startswith("//")):
            return None
        return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """Whether it is this machine, its neighbourhood (cloud metadata services lie there) or nothing that can be reached."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast

"""Choosing ports on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

HOST: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(*preferred: int | None, taken: Iterable[int] = ()) -> int:
    """The first preferred port that is free, else any free one."""
    avoided = set(taken)
    for port in preferred:
        if port is not None and port not in avoided and is_free(port):
            return port
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in avoided:
            return port

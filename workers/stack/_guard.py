"""Becomes a server process that dies with its parent: `python -I -S _guard.py PARENT SIGNAL UID:GID PROGRAM [ARGUMENT ...]`.

A file of its own, without imports of ours, because it runs between fork and exec and must start in milliseconds. (A
`preexec_fn` would do the same in a forked copy of a process with threads, where it can deadlock.)

Postgres refuses to run as root. Where root starts it, it gets another user's id, and keeps one capability, to pass through
folders that only root may enter: the state folder and Syndic's own environment often lie in `/root`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def main() -> None:
    """Take the arguments apart, prepare this process and replace it with the program."""
    parent, death_signal, user, *command = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        become(uid, gid)
    die_with(int(parent), int(death_signal))
    os.execv(command[0], command)  # noqa: S606 - an argument list, no shell


def die_with(parent: int, death_signal: int) -> None:
    """Have the kernel send the signal when the parent ends. Only Linux can; elsewhere the next start finds orphans."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def become(uid: int, gid: int) -> None:
    """Give up root, all groups and every capability but the one to search folders."""
    libc = ctypes.CDLL(None, use_errno=True)
    keeps = libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if not keeps:  # a container that took CAP_SETPCAP away: the folders must be open to the user then
        return
    if not any(_keep_only(libc, capability) for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)):
        _set_capabilities(libc, 0)


def _keep_only(libc: ctypes.CDLL, capability: int) -> bool:
    if not _set_capabilities(libc, 1 << capability):
        return False
    return libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0


def _set_capabilities(libc: ctypes.CDLL, mask: int) -> bool:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    return libc.capset(header, data) == 0


if __name__ == "__main__":
    main()

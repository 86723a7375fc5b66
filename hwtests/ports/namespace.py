"""A network namespace for this thread and what it starts: the machine's own interfaces are never touched."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from hwtests.debian_kernel import run

CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(rc: int, what: str) -> None:
    if rc:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


@contextlib.contextmanager
def namespace() -> Iterator[None]:
    """Only loopback is there. Threads and programs started inside stay in it; interfaces end with the last of them."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            ip("link set lo up")
            yield
        finally:
            _check(_libc.setns(before, CLONE_NEWNET), "setns")
    finally:
        os.close(before)


def ip(command: str) -> str:
    """``ip COMMAND``; raises ProgramError."""
    return run("ip", *command.split())


def quiet(interface: str) -> None:
    """No frames of its own (IPv6 says hello), and up."""
    run("sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=1")
    ip(f"link set {interface} up")

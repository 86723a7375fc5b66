"""File descriptors from a peer: what they are, and who closes them."""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Iterable
from pathlib import Path

from ...errors import ProtocolViolation

_EVENTFD = "anon_inode:[eventfd]"


def close_all(fds: Iterable[int]) -> None:
    """Close every fd that is one."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def kind(fd: int) -> str:
    """What an fd is, for people: ``'a pipe'``, ``'an eventfd'``."""
    if is_eventfd(fd):
        return "an eventfd"
    mode = os.fstat(fd).st_mode
    for test, text in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return text
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def is_eventfd(fd: int) -> bool:
    """Only the link's name tells an eventfd from other anonymous inodes."""
    return str(Path(f"/proc/self/fd/{fd}").readlink()) == _EVENTFD


def check_eventfd(fd: int, what: str) -> None:
    """Refuse anything else, and make it non-blocking: a guest must not be able to block a signal to it."""
    if not is_eventfd(fd):
        raise ProtocolViolation(f"the {what} fd must be an eventfd, got {kind(fd)}")
    os.set_blocking(fd, False)


def check_socket(fd: int, what: str) -> None:
    """Refuse anything that is not a socket."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise ProtocolViolation(f"the {what} fd must be a socket, got {kind(fd)}")


def signal_eventfd(fd: int) -> None:
    """Add one to an eventfd of the guest's; a full counter already wakes the other side.

    The guest shares the open file and can clear O_NONBLOCK, so ask before writing.
    """
    if fd < 0:
        return
    room = select.poll()
    room.register(fd, select.POLLOUT)
    if room.poll(0):
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(fd, 1)

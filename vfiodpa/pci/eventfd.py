"""Eventfds that callers hand in: checked before anybody relies on them."""

from __future__ import annotations

import os

from ..errors import DeviceError

ANY = "anon_inode:[eventfd]"


def kind_of(fd: int) -> str:
    """What an fd refers to, as the kernel names it; empty when it is not open."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 # not resolved: it is no path
    except OSError:
        return ""


def duplicate_eventfd(fd: int, what: str, device: str) -> int:
    """A duplicate of an eventfd. Raises ``DeviceError`` (EINVAL, EBADF) for anything else, as VFIO does."""
    kind = kind_of(fd)
    if kind != ANY:
        cause = f"EINVAL: not an eventfd but {kind}" if kind else "EBADF: it is not open"
        raise DeviceError(f"{what}: fd {fd} cannot be used", device=device, cause=cause)
    return os.dup(fd)

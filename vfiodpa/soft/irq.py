"""Eventfds that other rooms hand in: checked, duplicated, owned here until replaced.

As with VFIO, the caller keeps its fd and may close it. What a C thread writes to must not block, so
O_NONBLOCK is set; that flag belongs to the open file and is seen by the caller too.
"""

from __future__ import annotations

import os

from ..errors import DeviceError
from ..pci.eventfd import duplicate_eventfd

NONE = -1


def take_eventfd(fd: int, what: str, device: str) -> int:
    """A duplicate of an eventfd. Raises ``DeviceError`` (EINVAL, EBADF) for anything else, as VFIO does."""
    own = duplicate_eventfd(fd, what, device)
    os.set_blocking(own, False)
    return own


class Vectors:
    """The eventfd of each MSI-X vector. Whoever uses the fds is told before an old one is closed."""

    def __init__(self, device: str, count: int) -> None:
        self._device = device
        self._fds = [NONE] * count

    def __len__(self) -> int:
        return len(self._fds)

    @property
    def enabled(self) -> bool:
        """Is any vector attached? (The kernel enables MSI-X with the first one.)"""
        return any(fd != NONE for fd in self._fds)

    def fd(self, vector: int) -> int:
        """The eventfd of a vector, or -1: no such vector, or nothing attached."""
        return self._fds[vector] if vector < len(self._fds) else NONE

    def swap(self, vector: int, fd: int | None) -> int:
        """Attach ``fd`` (or nothing) and return the old duplicate, which the caller closes after the change."""
        if not 0 <= vector < len(self._fds):
            cause = f"EINVAL: the function has {len(self._fds)} vectors"
            raise DeviceError(f"vector {vector} does not exist", device=self._device, cause=cause)
        return self.put(vector, NONE if fd is None else take_eventfd(fd, f"vector {vector}", self._device))

    def put(self, vector: int, own: int) -> int:
        """The same with an fd that is ours already."""
        old, self._fds[vector] = self._fds[vector], own
        return old

    def take_all(self) -> list[int]:
        """Detach every vector; returns the duplicates to close."""
        old, self._fds = self._fds, [NONE] * len(self._fds)
        return [fd for fd in old if fd != NONE]


def close_fd(fd: int) -> None:
    """Close an fd of ours; -1 is none."""
    if fd != NONE:
        os.close(fd)

"""One MSI-X vector, several users: a C thread passes each signal of it on to the eventfd of every user.

A user is so notified when another one's queue had buffers used. Virtio allows that: a driver looks at its
ring and finds nothing.
"""

from __future__ import annotations

import os
from typing import Any

from .._native import ffi, lib
from ..errors import check


class FanOut:
    """The shared vectors of one function.

    The users' eventfds stay the caller's, who closes one only after ``remove`` or another ``set``.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._relay: Any = None
        self._sources: dict[int, int] = {}  # the eventfd behind each shared vector: ours
        self._users: set[int] = set()

    def __contains__(self, vector: int) -> bool:
        return vector in self._sources

    def source(self, vector: int) -> int:
        """The eventfd that the vector has to signal; made when it is asked for the first time."""
        if vector not in self._sources:
            self._start()
            self._sources[vector] = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._sources[vector]

    def set(self, vector: int, user: int, fd: int) -> None:
        """From now on the vector's signals reach ``fd`` too. It must not block: the guest shares its flags."""
        self.remove(user)
        os.set_blocking(fd, False)
        bell = ffi.new("struct vdp_doorbell *", {"kind": lib.VDP_DOORBELL_EVENTFD, "fd": fd})
        rc = lib.vdp_relay_add(self._relay, _slot(user), self.source(vector), bell)
        check(rc, f"cannot share MSI-X vector {vector}", device=self._device)
        self._users.add(user)

    def remove(self, user: int) -> None:
        """On return nobody signals the user's eventfd; harmless when it is not there."""
        if user in self._users:
            self._users.discard(user)
            lib.vdp_relay_del(self._relay, _slot(user))

    def signal(self, vector: int) -> None:
        """Notify every user of the vector once, for what was lost meanwhile."""
        os.eventfd_write(self._sources[vector], 1)

    def drop(self, vector: int) -> None:
        """The vector is nobody's any more. With the last one the thread ends."""
        os.close(self._sources.pop(vector))
        if not self._sources:
            lib.vdp_relay_fini(self._relay)
            self._relay = None

    def _start(self) -> None:
        if self._relay is None:
            relay = ffi.new("struct vdp_relay **")
            check(lib.vdp_relay_init(relay), "cannot start the interrupt relay", device=self._device)
            self._relay = relay[0]


def _slot(user: int) -> int:
    return user + 1  # -1 is for configuration changes
